"""The parent starts without runtimes: each command is run in a process of its own, which says what it imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SRC = Path(__file__).resolve().parents[1] / "src"
RUNTIMES = {"torch", "torchvision", "timm", "transformers", "onnx", "onnxruntime", "openvino", "tensorrt"}

# Looks when the interpreter ends, so that what a command imports last is seen too.
_SPY = """
import atexit, json, sys
@atexit.register
def tell():
    with open(sys.argv[1], "w") as file:
        json.dump(sorted({name.partition(".")[0] for name in sys.modules}), file)
from zoobench.cli import main
sys.exit(main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str
    imported: set[str]


def command(folder: Path, *words: str) -> Outcome:
    told = folder / "imported.json"
    environment = {
        **os.environ,
        "PYTHONPATH": str(SRC),
        "ZOOBENCH_CACHE": str(folder / "cache"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", _SPY, str(told), *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Outcome(done.returncode, done.stdout, done.stderr, set(json.loads(told.read_text())))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A folder with the results of a run on the fake backend, and how the run went."""
    folder = tmp_path_factory.mktemp("measured")
    return folder, command(folder, "run", "--models", "resnet18", "resnet50", "--backends", "fake")


def test_help_and_version_import_next_to_nothing(tmp_path: Path) -> None:
    for flag in ("--help", "--version"):
        seen = command(tmp_path, flag)
        assert seen.code == 0
        assert not seen.imported & {*RUNTIMES, "cyclopts", "pydantic", "rich", "numpy", "scipy", "asyncio"}


@pytest.mark.parametrize(
    "words",
    [
        ["models"],
        ["models", "--json"],
        ["schema"],
        ["run", "--help"],
        ["dashboard", "--help"],
        ["cache", "ls"],
        ["init"],
        ["run", "--models", "resnet18", "--backends", "fake", "--dry-run"],
        ["tune", "resnet18", "--backends", "fake"],
    ],
    ids=" ".join,
)
def test_a_command_imports_no_runtime(words: list[str], tmp_path: Path) -> None:
    seen = command(tmp_path, *words)
    assert seen.code == 0, seen.stderr
    assert not seen.imported & {*RUNTIMES, "streamlit", "pandas"}


def test_a_run_imports_no_runtime(measured: tuple[Path, Outcome]) -> None:
    _, seen = measured
    assert seen.code == 0, seen.stderr
    assert "resnet18" in seen.stdout
    assert not seen.imported & RUNTIMES


@pytest.mark.slow
def test_asking_runtimes_whether_they_can_run_imports_none_here(tmp_path: Path) -> None:
    seen = command(tmp_path, "run", "--gpu", "--models", "resnet18", "--dry-run")
    assert seen.code in (0, 2), seen.stderr
    assert not seen.imported & RUNTIMES


@pytest.mark.parametrize("name", ["RESULTS.md", "results.html", "report.json"])
def test_a_report_imports_no_runtime(name: str, measured: tuple[Path, Outcome]) -> None:
    folder, _ = measured
    seen = command(folder, "report", "--results-dir", "results", "--output", name)
    assert seen.code == 0, seen.stderr
    assert (folder / name).stat().st_size > 0
    assert not seen.imported & RUNTIMES


def test_a_recommendation_imports_no_runtime(measured: tuple[Path, Outcome]) -> None:
    folder, _ = measured
    seen = command(folder, "recommend", "--results-dir", "results")
    assert seen.code == 0, seen.stderr
    assert "Ship resnet" in seen.stdout
    # It reads rows alone, so it needs none of the nouns' classes, whose making takes longer than the answer.
    assert not seen.imported & {*RUNTIMES, "pydantic", "numpy", "scipy"}


def test_resuming_a_finished_run_imports_no_arithmetic(measured: tuple[Path, Outcome]) -> None:
    folder, _ = measured
    seen = command(folder, "run", "--models", "resnet18", "resnet50", "--backends", "fake")
    assert seen.code == 0, seen.stderr
    assert "2 measured before" in seen.stderr
    assert not seen.imported & {*RUNTIMES, "numpy", "scipy"}


def test_an_explanation_imports_no_runtime(measured: tuple[Path, Outcome]) -> None:
    folder, _ = measured
    seen = command(folder, "explain", "latest", "resnet18", "batch=1")
    assert seen.code == 0, seen.stderr
    assert "tells no kernels" in seen.stdout
    assert not seen.imported & RUNTIMES


def test_the_package_itself_imports_next_to_nothing(tmp_path: Path) -> None:
    script = "import sys, zoobench; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(done.stdout.split()) & {*RUNTIMES, "pydantic", "numpy", "rich"}
