from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoobench.doctor import Finding, usable_gpu
from zoobench.doctor.gpu import closing_line, gpu_findings
from zoobench.doctor.trial import Answer, run_trial
from zoobench.errors import pip_install, pip_uninstall

GIB = 2**30


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FakeNvml:
    """A healthy card; `answers` overrides calls, and an exception among them is raised."""

    NVMLError = NVMLError
    NVML_ERROR_LIB_RM_VERSION_MISMATCH, NVML_ERROR_NO_PERMISSION = 18, 4

    def __init__(self, **answers: Any) -> None:
        self.shut = 0
        self.nvmlClocksEventReasonSwPowerCap = 4
        self.nvmlClocksEventReasonHwThermalSlowdown = 64
        self.answers: dict[str, Any] = {
            "Init": None,
            "DeviceGetCount": 1,
            "SystemGetDriverVersion": "580.65.06",
            "SystemGetCudaDriverVersion_v2": 13000,
            "DeviceGetHandleByIndex": "handle",
            "DeviceGetName": "NVIDIA L4",
            "DeviceGetMemoryInfo": SimpleNamespace(free=22 * GIB, total=23 * GIB),
            "DeviceGetCudaComputeCapability": (8, 9),
            "DeviceGetCurrentClocksEventReasons": 1,
            "DeviceGetClockInfo": 210,
            "DeviceGetMaxClockInfo": 2040,
            "DeviceGetTemperature": 40,
            "DeviceGetEccMode": [1, 1],
            "DeviceGetTotalEccErrors": 0,
            "DeviceGetPersistenceMode": 1,
            "DeviceGetMigMode": NVMLError(3),
            "DeviceGetComputeMode": 0,
            "DeviceGetComputeRunningProcesses": [],
            "DeviceGetGraphicsRunningProcesses": [],
            "SystemGetProcessName": "/usr/bin/python3 train.py",
            **answers,
        }

    def nvmlShutdown(self) -> None:
        self.shut += 1

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("nvml") or name.removeprefix("nvml") not in self.answers:
            raise AttributeError(name)
        answer = self.answers[name.removeprefix("nvml")]

        def call(*_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


INSTALLED = {"torch": "2.15.0", "onnxruntime-gpu": "1.32.0", "tensorrt": "10.9"}
RAN = Answer(ran=True, version="1.0", cuda_build="13.0", device="NVIDIA L4", ran_on=("cuda",))


def look(
    root: Path,
    nvml: FakeNvml | None = None,
    answers: dict[str, Answer] | None = None,
    installed: dict[str, str] | None = None,
) -> dict[str, Finding]:
    findings = gpu_findings(
        load_nvml=lambda: nvml or FakeNvml(),
        try_runtime=lambda name: (answers or {}).get(name, RAN),
        version=(INSTALLED if installed is None else installed).get,
        root=root,
    )
    return {finding.name: finding for finding in findings}


def card_on_bus(root: Path) -> None:
    device = root / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030200\n")


def test_a_healthy_machine(tmp_path: Path) -> None:
    nvml = FakeNvml()
    found = look(tmp_path, nvml)
    assert {f.level for f in found.values()} == {"ok"}
    assert found["driver"].text == "NVIDIA driver 580.65.06, serves CUDA up to 13.0"
    assert found["GPU 0"].text == "NVIDIA L4, compute capability 8.9, 22.0 GiB free of 23.0 GiB"
    assert usable_gpu(found.values())
    assert "--gpu" in closing_line(found.values())
    assert nvml.shut == 1


def test_no_card_at_all_is_no_problem_but_no_gpu(tmp_path: Path) -> None:
    tried: list[str] = []
    findings = gpu_findings(
        load_nvml=lambda: FakeNvml(Init=NVMLError(12)),
        try_runtime=lambda name: tried.append(name) or RAN,  # type: ignore[func-returns-value]
        version={}.get,
        root=tmp_path,
    )
    assert [(f.name, f.level) for f in findings] == [("driver", "info")]
    assert "no NVIDIA GPU" in findings[0].text
    assert not usable_gpu(findings)
    assert tried == [], "without a driver no runtime is started"


@pytest.mark.parametrize(
    ("code", "card", "container", "text", "advice"),
    [
        (12, True, False, "driver does not answer", "nvidia.com/drivers"),
        (12, True, True, "started without it", "--gpus all"),
        (12, False, True, "no NVIDIA GPU", "--gpus all"),
        (18, True, False, "different versions", "reboot"),
        (4, True, False, "may not use", "group"),
    ],
)
def test_why_the_driver_is_silent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    card: bool,
    container: bool,
    text: str,
    advice: str,
) -> None:
    monkeypatch.setattr("zoobench.doctor.gpu.container", lambda root: "docker" if container else None)
    if card:
        card_on_bus(tmp_path)
    driver = look(tmp_path, FakeNvml(Init=NVMLError(code)))["driver"]
    assert text in driver.text
    assert advice in str(driver.advice)
    assert (driver.level == "problem") == card


def test_no_binding(tmp_path: Path) -> None:
    def missing() -> Any:
        raise ImportError("No module named 'pynvml'")

    findings = gpu_findings(load_nvml=missing, version={}.get, root=tmp_path)
    assert findings[0].advice == pip_install("nvidia-ml-py")


@pytest.mark.parametrize(
    ("answers", "name", "level", "text"),
    [
        ({"DeviceGetCount": 0}, "driver", "problem", "shows no GPU"),
        ({"DeviceGetCount": NVMLError(999)}, "driver", "problem", "shows no GPU"),
        ({"DeviceGetHandleByIndex": NVMLError(15)}, "GPU 0", "problem", "does not answer"),
        (
            {"DeviceGetMemoryInfo": SimpleNamespace(free=GIB, total=23 * GIB)},
            "GPU 0",
            "warning",
            "1.0 GiB free of 23.0 GiB",
        ),
        (
            {"DeviceGetCurrentClocksEventReasons": 4 | 64},
            "GPU 0 clocks",
            "warning",
            "the power limit and the temperature (hardware limit)",
        ),
        ({"DeviceGetEccMode": [0, 0]}, "GPU 0 ECC", "info", "off"),
        ({"DeviceGetTotalEccErrors": 2}, "GPU 0 ECC", "problem", "2 uncorrected"),
        ({"DeviceGetPersistenceMode": 0}, "GPU 0 persistence", "info", "off"),
        ({"DeviceGetMigMode": [1, 1]}, "GPU 0 MIG", "warning", "instances"),
        ({"DeviceGetComputeMode": 2}, "GPU 0 compute mode", "problem", "prohibited"),
        ({"DeviceGetComputeMode": 3}, "GPU 0 compute mode", "problem", "exclusive"),
        (
            {"DeviceGetComputeRunningProcesses": [SimpleNamespace(pid=7, usedGpuMemory=GIB)]},
            "GPU 0 processes",
            "warning",
            "1 foreign on it: python3 (pid 7, 1.0 GiB)",
        ),
        (
            {
                "DeviceGetGraphicsRunningProcesses": [SimpleNamespace(pid=8, usedGpuMemory=None)],
                "SystemGetProcessName": NVMLError(6),
            },
            "GPU 0 processes",
            "warning",
            "a process (pid 8)",
        ),
    ],
)
def test_what_is_wrong_with_a_card(
    tmp_path: Path, answers: dict[str, Any], name: str, level: str, text: str
) -> None:
    finding = look(tmp_path, FakeNvml(**answers))[name]
    assert finding.level == level
    assert text in finding.text
    assert finding.advice or level == "info"


def test_no_runtime_is_started_for_a_driver_without_cards(tmp_path: Path) -> None:
    assert set(look(tmp_path, FakeNvml(DeviceGetCount=0))) == {"driver"}


def test_a_driver_before_535_knows_throttle_reasons(tmp_path: Path) -> None:
    nvml = FakeNvml(DeviceGetCurrentClocksEventReasons=NVMLError(13), DeviceGetCurrentClocksThrottleReasons=4)
    assert "power limit" in look(tmp_path, nvml)["GPU 0 clocks"].text


def test_a_card_that_supports_no_question_is_still_listed(tmp_path: Path) -> None:
    refused = {
        f"DeviceGet{n}": NVMLError(3) for n in ("MemoryInfo", "EccMode", "PersistenceMode", "ComputeMode")
    }
    clocks = {f"DeviceGetCurrentClocks{n}Reasons": NVMLError(3) for n in ("Event", "Throttle")}
    found = look(tmp_path, FakeNvml(**refused, **clocks))
    assert found["GPU 0"].text == "NVIDIA L4, compute capability 8.9"
    assert not {"GPU 0 clocks", "GPU 0 ECC", "GPU 0 persistence"} & set(found)


def test_both_onnxruntimes_installed(tmp_path: Path) -> None:
    found = look(tmp_path, installed={**INSTALLED, "onnxruntime": "1.31.0"})
    assert found["onnxruntime packages"].level == "problem"
    both = pip_uninstall("onnxruntime", "onnxruntime-gpu")
    assert found["onnxruntime packages"].advice == f"{both} && {pip_install('onnxruntime-gpu')}"


def test_what_is_not_installed_is_not_tried(tmp_path: Path) -> None:
    found = look(tmp_path, installed={"onnxruntime": "1.32.0"})
    assert {found[n].level for n in ("torch", "CUDAExecutionProvider", "TensorrtExecutionProvider")} == {
        "info"
    }
    assert "CPU build" in found["CUDAExecutionProvider"].text
    assert not usable_gpu(found.values())


@pytest.mark.parametrize(
    ("name", "answer", "text", "advice"),
    [
        (
            "torch",
            Answer(error="this torch is a CPU build", version="2.15.0+cpu"),
            "CPU build",
            "--force-reinstall torch",
        ),
        (
            "CUDAExecutionProvider",
            Answer(error="CUDAExecutionProvider is not in this build", available=("CPUExecutionProvider",)),
            "not in this build",
            pip_uninstall("onnxruntime", "onnxruntime-gpu"),
        ),
        (
            "CUDAExecutionProvider",
            Answer(
                error="the node ran on CPUExecutionProvider instead",
                cuda_build="12.8",
                stderr="Failed to load library x with error: libcudnn.so.9: cannot open shared object file",
            ),
            "libcudnn.so.9 is missing",
            pip_install("nvidia-cudnn-cu12==9.*"),
        ),
        (
            "torch",
            Answer(error="odd", version="2.15.0", cuda_build="14.1"),
            "built for CUDA 14.1, but the driver serves CUDA 13.x",
            "update the NVIDIA driver",
        ),
        (
            "torch",
            Answer(error="odd", version="2.15.0", cuda_build="13.0", stderr="first\nlast words\n"),
            "odd (last words)",
            "nvidia-smi",
        ),
    ],
)
def test_why_a_trial_failed(tmp_path: Path, name: str, answer: Answer, text: str, advice: str) -> None:
    found = look(tmp_path, answers={name: answer})
    assert found[name].level == "problem"
    assert text in found[name].text
    assert advice in str(found[name].advice)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch", "CUDAExecutionProvider"])
def test_a_real_gpu_runs_a_node(name: str) -> None:
    answer = run_trial(name)
    assert answer.ran, f"{answer.error}\n{answer.stderr}"


@pytest.mark.gpu
def test_a_real_gpu_is_described() -> None:
    found = {finding.name: finding for finding in gpu_findings()}
    assert found["driver"].level == "ok"
    assert found["GPU 0"].level in ("ok", "warning")
