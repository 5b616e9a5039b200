from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from zoobench.backends import BACKENDS
from zoobench.doctor import Finding, ProbeResult, examine, findings_table, headline
from zoobench.doctor.software import backend_findings, hub_findings, install_command
from zoobench.errors import pip_install, pip_uninstall

ALL = {package: "1.0" for row in BACKENDS.values() for package in row.packages}


def backends(installed: dict[str, str], **kwargs: object) -> dict[str, Finding]:
    return {f.name: f for f in backend_findings(version=installed.get, **kwargs)}  # type: ignore[arg-type]


def test_every_backend_that_runs_in_a_worker_has_a_finding() -> None:
    assert set(backends(ALL)) == {name for name, row in BACKENDS.items() if not row.inline}


def test_what_is_missing_comes_with_its_command() -> None:
    found = backends({"torch": "2", "timm": "1", "transformers": "5"})
    assert found["pytorch"].level == "ok"
    assert (found["onnx_cpu"].level, found["onnx_cpu"].advice) == ("problem", pip_install("onnxruntime"))
    assert (found["openvino"].level, found["openvino"].advice) == ("info", pip_install("openvino"))


def test_the_other_onnxruntime_must_go_first() -> None:
    command = install_command(["onnxruntime-gpu"], {"onnxruntime": "1"}.get)
    assert command == f"{pip_uninstall('onnxruntime')} && {pip_install('onnxruntime-gpu')}"


def test_a_cuda_backend_weighs_more_where_a_gpu_is() -> None:
    cpu_only = {"onnxruntime": "1.32.0"}
    without, beside = backends(cpu_only)["onnx_cuda"], backends(cpu_only, gpu_present=True)["onnx_cuda"]
    assert (without.level, without.advice) == ("info", None), "it would cost the CPU build for nothing"
    assert beside.level == "warning"
    assert str(beside.advice).startswith(f"{pip_uninstall('onnxruntime')} &&")
    assert "no GPU" in backends(ALL)["pytorch_cuda"].text


def test_the_probe_has_the_last_word() -> None:
    asked: list[list[str]] = []

    def probe(names: list[str]) -> dict[str, ProbeResult]:
        asked.append(names)
        return {name: {"reason": None, "version": "1.0"} for name in names} | {
            "torch_compile": {
                "reason": "torch.compile needs a C++ compiler; apt-get install g++",
                "version": "1.0",
            }
        }

    found = backends(ALL, probe=probe, gpu_present=True)
    assert found["torch_compile"].text == "torch.compile needs a C++ compiler"
    assert found["torch_compile"].advice == "apt-get install g++"
    assert found["onnx_cuda"].level == "ok"
    assert len(asked) == 1, "one probe worker answers for all"


def test_the_hub() -> None:
    assert hub_findings(None) == []
    assert hub_findings(lambda: (True, "https://hub answers in 0.10 s"))[0].level == "ok"
    finding = hub_findings(lambda: (False, "https://hub cannot be reached (refused): check HTTPS_PROXY"))[0]
    assert finding.level == "warning"
    assert finding.advice == "check HTTPS_PROXY"
    assert finding.text.startswith("https://hub cannot be reached (refused); ")


def test_examine_looks_at_every_area(tmp_path: Path) -> None:
    card = Finding(area="gpu", name="driver", level="info", text="none")
    found = examine(hub=lambda: (True, "answers"), results_dir=tmp_path / "results", gpu=lambda: [card])
    assert {f.area for f in found} == {"cpu", "load", "memory", "disk", "hub", "backends", "gpu"}
    for finding in found:
        assert Finding.model_validate_json(finding.model_dump_json()) == finding
        assert finding.advice or finding.level in ("ok", "info")


def test_the_table_shows_text_advice_and_brackets_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(
        findings_table(
            [
                Finding(area="cpu", name="governor", level="ok", text="performance"),
                Finding(
                    area="backends", name="odd", level="problem", text="gone", advice="pip install 'x[red]'"
                ),
            ]
        )
    )
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("cpu", "backends", "PROBLEM", "→ pip install 'x[red]'"):
        assert part in shown


def test_the_parent_imports_no_runtime_for_it(tmp_path: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path; from zoobench.doctor import examine\n"
        f"examine(results_dir=Path({str(tmp_path)!r}), gpu=lambda: [])\n"
        "heavy = {'torch', 'onnxruntime', 'openvino', 'transformers', 'timm', 'numpy'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        (["ok", "info"], "nothing stands in the way"),
        (["ok", "warning", "warning"], "2 warnings: measuring works"),
        (["problem", "warning"], "1 problem and 1 warning: mend"),
    ],
)
def test_the_last_line_says_whether_to_measure(levels: list[Any], said: str) -> None:
    findings = [Finding(area="cpu", name="x", level=level, text="y") for level in levels]
    assert headline(findings).startswith(said)
