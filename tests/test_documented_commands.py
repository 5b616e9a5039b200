"""The documented commands, word for word, as typed in a checkout: here a copy of it, so that nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.known_ceilings import write_known_ceilings
from tests.loopback_hub import LoopbackHub, tiny_timm_repo

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
BRIEFLY = "--max-case-time 1 --json"
"""How precise the numbers are is nobody's question here."""
NOBODY_LISTENS = "http://127.0.0.1:9"
YOUR_MODEL = (
    'MODEL_REGISTRY["your_model"] = {"name": "your_model", "hf_id": "org/model-name", '
    '"task": "classification", "img_size": 224, "opset": 17}\n'
)


class Checkout:
    """A copy of what the documented commands use, with an environment that is its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        for name in ("src", "diagnos"):
            shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.environment = {
            **os.environ,
            "HF_ENDPOINT": NOBODY_LISTENS,
            "HF_HOME": str(folder / "hf"),
            "ZOOBENCH_CACHE": str(folder / "cache"),
            "ZOOBENCH_LOCK": str(folder / "measuring.lock"),
            "CUDA_VISIBLE_DEVICES": "",
        }
        self.environment.pop("PYTHONPATH", None)
        write_known_ceilings(folder / "cache")

    def type(self, line: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a line that begins with `python`."""
        program, *words = shlex.split(line)
        assert program == "python"
        return subprocess.run(
            [sys.executable, *words],
            cwd=cwd or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=230,
        )

    def add_your_model(self) -> None:
        with (self.folder / "src/model_registry.py").open("a") as file:
            file.write(YOUR_MODEL)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def records(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_measure_then_report(checkout: Checkout) -> None:
    done = checkout.type(
        "python src/benchmark.py --models resnet18 resnet50 efficientnet_b0 --batch-sizes 1 4 8 --backends fake"
    )
    assert done.returncode == 0, done.stderr
    for text in ("resnet18", "resnet50", "efficientnet_b0", "Batch 1", "Batch 4", "Batch 8"):
        assert text in done.stdout
    assert "9 cells" in done.stderr

    done = checkout.type("python src/report_generator.py --results-dir results --output RESULTS.md")
    assert done.returncode == 0, done.stderr
    report = (checkout.folder / "RESULTS.md").read_text("utf-8")
    for text in ("resnet18", "resnet50", "efficientnet_b0"):
        assert text in report
    assert (checkout.folder / "results.csv").is_file()


def test_the_scripts_are_the_commands(checkout: Checkout) -> None:
    for script, command in (("benchmark", "run"), ("report_generator", "report"), ("exporter", "export")):
        by_path = checkout.type(f"python src/{script}.py --help")
        assert by_path.returncode == 0, by_path.stderr
        checkout.environment["PYTHONPATH"] = str(checkout.folder / "src")
        assert by_path.stdout == checkout.type(f"python -m zoobench {command} --help").stdout
        del checkout.environment["PYTHONPATH"]


def test_they_run_the_code_beside_them_from_any_folder(checkout: Checkout, tmp_path: Path) -> None:
    version = checkout.folder / "src/zoobench/_version.py"
    version.write_text('__version__ = "0.0.0.beside"\n')
    script = checkout.folder / "src/benchmark.py"
    done = checkout.type(
        f"python {script} --models resnet18 --backends fake --results-dir found", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (manifest,) = (tmp_path / "found/runs").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["versions"]["zoobench"] == "0.0.0.beside"


def test_a_model_of_your_own(checkout: Checkout) -> None:
    done = checkout.type("python src/benchmark.py --models your_model --backends fake --json")
    assert done.returncode == 2
    assert "your_model" in done.stderr

    checkout.add_your_model()
    done = checkout.type("python src/benchmark.py --models your_model --backends fake --json")
    assert done.returncode == 0, done.stderr
    (record,) = records(done)
    assert record["model"]["name"] == "your_model"
    assert record["model"]["hf_id"] == "org/model-name"


@pytest.mark.parametrize(
    "line", ["python src/benchmark.py --models your_model", "python src/exporter.py your_model"]
)
def test_the_placeholder_fails_with_a_clear_line(line: str, checkout: Checkout) -> None:
    checkout.add_your_model()
    done = checkout.type(line)
    assert done.returncode == 2
    assert "the Hub cannot be reached and 'org/model-name' has no known architecture" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_model_of_your_own_that_exists(checkout: Checkout, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add("org/model-name", tiny_timm_repo())
    checkout.environment["HF_ENDPOINT"] = loopback_hub.url
    checkout.add_your_model()
    done = checkout.type(f"python src/benchmark.py --models your_model {BRIEFLY}")
    assert done.returncode == 0, done.stderr
    found = {record["case"]["backend"]: record for record in records(done)}
    assert set(found) == {"pytorch", "onnx_cpu"}
    for record in found.values():
        assert record["status"] == "ok"
        assert record["model"]["weights"] == "pretrained"
        assert len(record["model"]["revision"]) == 40
        assert record["latency"]["p50_ms"] > 0
    assert found["onnx_cpu"]["artifact"]["opset"] == 17

    done = checkout.type("python src/exporter.py your_model --output your_model.onnx")
    assert done.returncode == 0, done.stderr
    assert (checkout.folder / "your_model.onnx").stat().st_size > 0
    assert "passed" in done.stdout


@pytest.mark.slow
def test_gpu_without_a_gpu_says_what_it_would_have_run_and_what_to_do(checkout: Checkout) -> None:
    done = checkout.type("python src/benchmark.py --gpu")
    assert done.returncode == 2
    assert "resnet18 · onnx_cuda · batch 1" in done.stderr
    assert "torch sees no CUDA device" in done.stderr
    assert "diagnos/check_gpu.py" in done.stderr
    assert not (checkout.folder / "results").exists()


@pytest.mark.slow
def test_the_gpu_check(checkout: Checkout) -> None:
    done = checkout.type("python diagnos/check_gpu.py")
    assert done.returncode == 1, done.stderr
    assert "torch" in done.stdout


def recipe(heading: str) -> dict[str, list[str]]:
    """The code blocks of a section of CONTRIBUTING.md, by language, in their order."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks: dict[str, list[str]] = {}
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```", section, re.DOTALL | re.MULTILINE):
        blocks.setdefault(language, []).append(code)
    return blocks


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}"
    file.write_text(text.replace(old, new))


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def apply_recipes(folder: Path) -> None:
    package, tests = folder / "src/zoobench", folder / "tests"
    (model,) = recipe("Add a model")["toml"]
    with (package / "catalog/models.toml").open("a") as file:
        file.write(f"\n{model}")
    module, row, test = recipe("Add a backend")["python"]
    write(package / "backends/onnx_reference.py", module)
    edit(
        package / "backends/__init__.py",
        "BACKENDS: dict[str, Row] = {\n",
        f"BACKENDS: dict[str, Row] = {{\n{row}",
    )
    write(tests / "backends/test_onnx_reference.py", test)
    task = recipe("Add a task")
    module, row, word, runs_on, test = task["python"]
    write(package / "tasks/image_embedding.py", module)
    edit(package / "tasks/__init__.py", "TASKS: dict[str, str] = {", f"TASKS: dict[str, str] = {{\n{row}")
    edit(
        package / "spec.py",
        'Task = Annotated[\n    Literal["image_classification", "object_detection", "text_generation"], '
        "BeforeValidator(_task_name)\n]\n",
        word,
    )
    edit(package / "backends/__init__.py", 'PICTURES = ("image_classification", DETECTION)\n', runs_on)
    write(tests / "tasks/test_image_embedding.py", test)
    (registry,) = task["toml"]
    write(folder / "mine.toml", registry)


def save_small_network(file: Path) -> None:
    """One linear layer: (batch, 3, 8, 8) → (batch, 5)."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.Generator(np.random.PCG64(1)).normal(size=(3 * 64, 5)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["pixels"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)


@pytest.mark.slow
def test_the_recipes_work_as_they_stand(checkout: Checkout) -> None:
    apply_recipes(checkout.folder)
    save_small_network(checkout.folder / "model.onnx")

    checkout.environment["PYTHONPATH"] = "src"
    done = checkout.type("python -m pytest -q -c /dev/null --rootdir . tests")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    shutil.copytree(ROOT / "tests/catalog", checkout.folder / "tests/catalog")
    # The slow ones build models that the recipe does not touch.
    done = checkout.type("python -m pytest -q -c /dev/null --rootdir . -m 'not slow' tests/catalog")
    assert done.returncode == 0, f"a recipe breaks the catalog's tests: {done.stdout}"
    del checkout.environment["PYTHONPATH"]

    done = checkout.type(
        f"python src/benchmark.py --models model.onnx --backends onnx_cpu onnx_reference {BRIEFLY}"
    )
    assert done.returncode == 0, done.stderr
    assert {record["case"]["backend"] for record in records(done)} == {"onnx_cpu", "onnx_reference"}
    assert all(record["check"]["passed"] for record in records(done))

    done = checkout.type(
        f"python src/benchmark.py --registry mine.toml --models embedder --backends onnx_cpu {BRIEFLY}"
    )
    assert done.returncode == 0, done.stderr
    (record,) = records(done)
    assert record["model"]["task"] == "image_embedding"
    assert record["check"]["top1_agreement"] == 1.0

    done = checkout.type(
        f"python src/benchmark.py --models resnet26 --weights random --backends pytorch {BRIEFLY}"
    )
    assert done.returncode == 0, done.stderr
    (record,) = records(done)
    assert record["model"]["weights"] == "random"
