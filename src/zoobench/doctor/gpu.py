"""Can models run on a GPU here, and on which runtimes? Driver and cards first, then each runtime is tried."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from zoobench.doctor.diagnosis import DRIVER_ADVICE, diagnose
from zoobench.doctor.finding import Finding
from zoobench.doctor.nvidia import Nvml, card_findings, driver_finding, no_driver_finding, nvidia_card_on_bus
from zoobench.doctor.software import Version, installed_version
from zoobench.doctor.trial import Answer, run_trial
from zoobench.errors import pip_install, pip_uninstall
from zoobench.machine.cpus import ROOT
from zoobench.machine.gpus import import_nvml
from zoobench.machine.identity import container

TRIALS = {
    "torch": "torch",
    "CUDAExecutionProvider": "onnxruntime",
    "TensorrtExecutionProvider": "onnxruntime",
}
"""What is tried → the name of its distribution without GPU support."""


def two_onnxruntimes() -> str:
    """What to do where both builds unpacked into one folder."""
    return f"{pip_uninstall('onnxruntime', 'onnxruntime-gpu')} && {pip_install('onnxruntime-gpu')}"


Try = Callable[[str], Answer]


def gpu_findings(
    *,
    load_nvml: Callable[[], Any] = import_nvml,
    try_runtime: Try = run_trial,
    version: Version = installed_version,
    root: Path = ROOT,
) -> list[Finding]:
    """The GPU part of the doctor.

    Runtimes are tried only where the driver shows a GPU; each trial is a child process of some seconds.

    Args:
        load_nvml, try_runtime, version, root: what is asked; tests give their own.
    """
    nvml, error = _start(load_nvml)
    conflict = onnxruntime_conflict(version)
    if nvml is None:
        return [_no_binding(error), *conflict]
    if error is not None:
        return [no_driver_finding(error, nvml, nvidia_card_on_bus(root), container(root)), *conflict]
    try:
        asks = Nvml(nvml)
        count = asks.ask("DeviceGetCount") or 0
        cuda = asks.ask("SystemGetCudaDriverVersion_v2") or 0
        findings = [driver_finding(nvml, count)]
        for index in range(count):
            findings += card_findings(nvml, index, frozenset({os.getpid()}))
    finally:
        nvml.nvmlShutdown()
    findings += conflict
    if count:
        findings += [
            absent_finding(name, version) or trial_finding(name, try_runtime(name), cuda // 1000)
            for name in TRIALS
        ]
    return findings


def _start(load_nvml: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """NVML, and why it did not start; (None, reason) without the binding."""
    try:
        nvml = load_nvml()
    except ImportError as error:
        return None, error
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return nvml, error
    return nvml, None


def _no_binding(error: Exception | None) -> Finding:
    text = f"the NVML binding is missing ({error}), so nothing is known about GPUs"
    return Finding(area="gpu", name="driver", level="problem", text=text, advice=pip_install("nvidia-ml-py"))


def usable_gpu(findings: Iterable[Finding]) -> bool:
    """Whether at least one runtime really ran its node on a GPU."""
    return any(f.area == "gpu" and f.name in TRIALS and f.level == "ok" for f in findings)


def closing_line(findings: Iterable[Finding]) -> str:
    """The whole in one line, with the command that comes next."""
    findings = list(findings)
    if usable_gpu(findings):
        return "A GPU is ready. Next: python src/benchmark.py --gpu"
    cpu = "The CPU backends need none: python src/benchmark.py"
    if any(f.level == "problem" for f in findings):
        return f"No GPU can be used until the problems above are solved. {cpu}"
    return f"No GPU can be used on this machine. {cpu}"


def onnxruntime_conflict(version: Version = installed_version) -> list[Finding]:
    """onnxruntime and onnxruntime-gpu unpack into one folder: the one installed last hides the other."""
    cpu, gpu = version("onnxruntime"), version("onnxruntime-gpu")
    if cpu is None or gpu is None:
        return []
    return [
        Finding(
            area="gpu",
            name="onnxruntime packages",
            level="problem",
            text=f"onnxruntime {cpu} and onnxruntime-gpu {gpu} are both installed: one hides the other",
            advice=two_onnxruntimes(),
        )
    ]


def absent_finding(name: str, version: Version) -> Finding | None:
    """A runtime that is not installed for the GPU at all, with the command that installs it."""
    if name == "torch":
        missing = version("torch") is None
        text, advice = "torch is not installed", pip_install("torch", "torchvision")
    else:
        missing = version("onnxruntime-gpu") is None
        rival = version("onnxruntime") is not None
        text = "onnxruntime-gpu is not installed" + (" (onnxruntime is the CPU build)" if rival else "")
        advice = two_onnxruntimes() if rival else pip_install("onnxruntime-gpu")
    if not missing and name == "TensorrtExecutionProvider" and version("tensorrt") is None:
        missing, text, advice = True, "TensorRT is not installed", f"{pip_install('tensorrt')} (optional)"
    if not missing:
        return None
    return Finding(area="gpu", name=name, level="info", text=text, advice=advice)


def trial_finding(name: str, answer: Answer, driver_major: int) -> Finding:
    """What a trial says, with the common failures told apart."""
    built = [f"{TRIALS[name]} {answer.version}" if answer.version else TRIALS[name]]
    if answer.cuda_build:
        built.append(f"CUDA {answer.cuda_build}")
    if answer.cudnn:
        built.append(f"cuDNN {answer.cudnn}")
    label = ", ".join(built)
    if answer.ran:
        where = f" on {answer.device}" if answer.device else ""
        return Finding(
            area="gpu", name=name, level="ok", text=f"{label}: a convolution ran{where} and is right"
        )
    cause, advice = _explain(name, answer, driver_major)
    return Finding(area="gpu", name=name, level="problem", text=f"{label}: {cause}", advice=advice)


def _explain(name: str, answer: Answer, driver_major: int) -> tuple[str, str]:
    error = answer.error or "no error was given"
    major = int(answer.cuda_build.split(".")[0]) if answer.cuda_build else None
    if name == "torch" and answer.version and major is None:
        return (
            error,
            f"{pip_install('--force-reinstall', 'torch', 'torchvision')} (PyPI's Linux builds have CUDA)",
        )
    if name != "torch" and answer.available and name not in answer.available:
        return error, two_onnxruntimes()
    found = diagnose(f"{error}\n{answer.stderr}", major)
    if found is not None:
        return (found.cause, found.advice)
    if major is not None and driver_major and major > driver_major:
        return (
            f"built for CUDA {answer.cuda_build}, but the driver serves CUDA {driver_major}.x",
            DRIVER_ADVICE,
        )
    last = next((line for line in reversed(answer.stderr.splitlines()) if line.strip()), "")
    return (
        f"{error}{f' ({last.strip()[:300]})' if last else ''}",
        "see nvidia-smi, and the runtime's own GPU guide",
    )
