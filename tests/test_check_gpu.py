from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from zoobench.doctor import Finding

SCRIPT = Path(__file__).resolve().parents[1] / "diagnos/check_gpu.py"


@pytest.fixture
def check_gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))
    specification = importlib.util.spec_from_file_location("check_gpu", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("problem", 1), ("info", 1)])
def test_the_exit_code_says_whether_a_gpu_is_usable(
    check_gpu: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str,
    code: int,
) -> None:
    finding = Finding(area="gpu", name="torch", level=level, text="what torch said", advice="do this")  # type: ignore[arg-type]
    monkeypatch.setattr(check_gpu, "gpu_findings", lambda: [finding])
    assert check_gpu.main() == code
    shown = capsys.readouterr().out
    assert "what torch said" in shown
    assert "do this" in shown
    assert "python src/benchmark.py" in shown


def test_as_a_user_types_it_from_another_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(SCRIPT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode in (0, 1), done.stderr
    assert "gpu" in done.stdout
    assert "src/benchmark.py" in done.stdout


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(SCRIPT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install -r requirements.txt")
    assert "Traceback" not in done.stderr
