"""`make test` runs every test that pytest would, each once, and ends as its worst part ends."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STUB = """#!{python}
import json, os, pathlib, sys
log = pathlib.Path(os.environ["STUB_LOG"])
calls = json.loads(log.read_text()) if log.exists() else []
log.write_text(json.dumps([*calls, sys.argv[1:]]))
sys.exit(json.loads(os.environ["STUB_CODES"])[len(calls)])
"""


def make_test(folder: Path, *codes: int) -> tuple[int, list[list[str]]]:
    """The recipe's exit code, from make's message, and pytest's arguments, call by call."""
    python = folder / "python"
    python.write_text(STUB.format(python=sys.executable))
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "--old-file=lint", "test", f"PYTHON={python}", "ARGS=-k name"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "STUB_LOG": str(folder / "log"), "STUB_CODES": json.dumps(codes)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = done.stderr.rpartition("Error ")[2].split()
    return int(said[0]) if done.returncode else 0, json.loads((folder / "log").read_text())


@pytest.mark.parametrize(
    ("codes", "ends"),
    [((1, 0), 1), ((0, 1), 1), ((5, 0), 0), ((5, 5), 5)],
)
def test_both_parts_run_and_the_worst_decides(codes: tuple[int, ...], ends: int, tmp_path: Path) -> None:
    code, calls = make_test(tmp_path, *codes)
    assert code == ends
    assert [words[:2] + words[-2:] for words in calls] == [["-m", "pytest", "-k", "name"]] * 2


def test_what_is_interrupted_does_not_go_on(tmp_path: Path) -> None:
    code, calls = make_test(tmp_path, 2, 0)
    assert (code, len(calls)) == (2, 1)


def test_the_parts_together_are_what_pytest_alone_would_run(tmp_path: Path) -> None:
    code, calls = make_test(tmp_path, 0, 0)
    assert code == 0
    parts = [words[words.index("-m", 2) + 1] for words in calls]
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    whole = options["addopts"].split("-m ")[1].strip("'")
    marks = [mark.split(":")[0] for mark in options["markers"]]
    for values in itertools.product([False, True], repeat=len(marks)):
        marked = dict(zip(marks, values, strict=True))
        assert sum(eval(part, {}, marked) for part in parts) == eval(whole, {}, marked), marked
    assert "-n" not in calls[1], "what is alone has no neighbour"
