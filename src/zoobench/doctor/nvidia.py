"""The driver and each card, as NVML shows them: who else is on it, what holds its clocks down, ECC, MIG."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoobench.doctor.finding import Finding, Level
from zoobench.machine.gpus import cuda_version_text

GIB = 2**30
NVIDIA_PCI_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"

THROTTLES = {
    "SwPowerCap": "the power limit",
    "HwSlowdown": "a hardware slowdown",
    "SwThermalSlowdown": "the temperature (software limit)",
    "HwThermalSlowdown": "the temperature (hardware limit)",
    "HwPowerBrakeSlowdown": "the power brake (supply)",
    "ApplicationsClocksSetting": "an applications clocks setting",
    "SyncBoost": "a sync boost group",
}
"""NVML's clock-event reasons that slow a card down. Idle and display are left out: they are usual."""


class Nvml:
    """NVML with answers of None where a card does not support the question."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def ask(self, call: str, *args: Any) -> Any:
        """The answer of `nvml<call>(*args)`, or None when this card or driver has none."""
        try:
            return getattr(self.module, f"nvml{call}")(*args)
        except (self.module.NVMLError, AttributeError):
            return None


def nvidia_card_on_bus(root: Path) -> bool:
    """Whether an NVIDIA display controller sits on the PCI bus, driver or not."""
    for device in (root / "sys/bus/pci/devices").glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:
            continue  # the device went away, or hides this
        if vendor.strip() == NVIDIA_PCI_VENDOR and kind.startswith(DISPLAY_CLASS):
            return True
    return False


def no_driver_finding(error: Exception | None, nvml: Any, card: bool, container: str | None) -> Finding:
    """Why NVML does not start, and what to do, told apart by its error code and by what the PCI bus shows."""
    code = getattr(error, "value", None)
    mismatch = getattr(nvml, "NVML_ERROR_LIB_RM_VERSION_MISMATCH", 18)
    forbidden = getattr(nvml, "NVML_ERROR_NO_PERMISSION", 4)
    if code == mismatch:
        text = "the driver's library and its kernel module have different versions"
        return _driver("problem", text, "reboot: the driver was updated while the old one was loaded")
    if code == forbidden:
        text = "this user may not use the NVIDIA driver"
        return _driver(
            "problem", text, "add the user to the group that owns /dev/nvidia* (often video or render)"
        )
    if card and container:
        text = f"an NVIDIA card is there, but this container ({container}) was started without it"
        return _driver(
            "problem", text, "start it with docker run --gpus all (needs nvidia-container-toolkit)"
        )
    if card:
        text = f"an NVIDIA card is there, but its driver does not answer ({error})"
        advice = (
            "install or reload the driver: https://www.nvidia.com/drivers; then nvidia-smi must list the card"
        )
        return _driver("problem", text, advice)
    text = "no NVIDIA GPU in this machine: its PCI bus shows none, and no driver is loaded"
    advice = "measure on the CPU (pytorch, onnx_cpu, openvino), or go to a machine with an NVIDIA GPU"
    if container:
        advice += "; if the host has one, start this container with docker run --gpus all"
    return _driver("info", text, advice)


def _driver(level: Level, text: str, advice: str | None = None) -> Finding:
    return Finding(area="gpu", name="driver", level=level, text=text, advice=advice)


def driver_finding(nvml: Any, count: int) -> Finding:
    """The driver that runs, and the newest CUDA it serves."""
    asks = Nvml(nvml)
    driver = asks.ask("SystemGetDriverVersion")
    cuda = asks.ask("SystemGetCudaDriverVersion_v2")
    text = f"NVIDIA driver {driver}, serves CUDA up to {cuda_version_text(cuda) if cuda else 'unknown'}"
    if count == 0:
        advice = "check CUDA's device nodes (ls /dev/nvidia*) and docker's --gpus all"
        return _driver("problem", f"{text}, but shows no GPU", advice)
    return _driver("ok", text)


def card_findings(nvml: Any, index: int, own_pids: frozenset[int]) -> list[Finding]:
    """One card: memory, foreign processes, clocks, ECC, persistence, MIG and compute mode."""
    asks = Nvml(nvml)
    handle = asks.ask("DeviceGetHandleByIndex", index)
    name = f"GPU {index}"
    if handle is None:
        text, advice = "the driver lists it, but it does not answer", "reboot; see sudo dmesg | grep -i xid"
        return [Finding(area="gpu", name=name, level="problem", text=text, advice=advice)]
    looks: tuple[Callable[[Nvml, Any, str], Finding | None], ...] = (
        _identity,
        _clocks,
        _ecc,
        _persistence,
        _mig,
        _compute_mode,
    )
    findings = [look(asks, handle, name) for look in looks]
    return [f for f in (*findings, _processes(asks, handle, name, own_pids)) if f is not None]


def _identity(asks: Nvml, handle: Any, name: str) -> Finding:
    memory = asks.ask("DeviceGetMemoryInfo", handle)
    capability = asks.ask("DeviceGetCudaComputeCapability", handle)
    parts = [str(asks.ask("DeviceGetName", handle) or "unnamed")]
    if capability:
        parts.append(f"compute capability {capability[0]}.{capability[1]}")
    if memory is None:
        return Finding(area="gpu", name=name, level="ok", text=", ".join(parts))
    parts.append(f"{memory.free / GIB:.1f} GiB free of {memory.total / GIB:.1f} GiB")
    short = memory.free < memory.total / 4
    return Finding(
        area="gpu",
        name=name,
        level="warning" if short else "ok",
        text=", ".join(parts),
        advice="its memory is nearly full: end what holds it (nvidia-smi lists the processes)"
        if short
        else None,
    )


def _clocks(asks: Nvml, handle: Any, name: str) -> Finding | None:
    """What holds the clock down now. Drivers before 535 know it as throttle reasons."""
    reasons = asks.ask("DeviceGetCurrentClocksEventReasons", handle)
    if reasons is None:
        reasons = asks.ask("DeviceGetCurrentClocksThrottleReasons", handle)
    if reasons is None:
        return None
    held = [
        why
        for key, why in THROTTLES.items()
        if reasons & getattr(asks.module, f"nvmlClocksEventReason{key}", 0)
    ]
    sm = getattr(asks.module, "NVML_CLOCK_SM", 1)
    clock, top = asks.ask("DeviceGetClockInfo", handle, sm), asks.ask("DeviceGetMaxClockInfo", handle, sm)
    degrees = asks.ask("DeviceGetTemperature", handle, getattr(asks.module, "NVML_TEMPERATURE_GPU", 0))
    text = f"SM clock {clock} of {top} MHz, {degrees} °C"
    if not held:
        return Finding(area="gpu", name=f"{name} clocks", level="ok", text=f"{text}; nothing holds it down")
    return Finding(
        area="gpu",
        name=f"{name} clocks",
        level="warning",
        text=f"{text}; held down by {' and '.join(held)}",
        advice="see nvidia-smi -q -d PERFORMANCE,POWER; for steady clocks: sudo nvidia-smi -lgc MHZ",
    )


def _ecc(asks: Nvml, handle: Any, name: str) -> Finding | None:
    mode = asks.ask("DeviceGetEccMode", handle)
    if mode is None:
        return None
    uncorrected = asks.ask(
        "DeviceGetTotalEccErrors",
        handle,
        getattr(asks.module, "NVML_MEMORY_ERROR_TYPE_UNCORRECTED", 1),
        getattr(asks.module, "NVML_VOLATILE_ECC", 0),
    )
    if uncorrected:
        text, advice = (
            f"{uncorrected} uncorrected memory errors",
            "do not trust results: reset or replace the card",
        )
        return Finding(area="gpu", name=f"{name} ECC", level="problem", text=text, advice=advice)
    text = (
        "on"
        if mode[0]
        else "off: a little more bandwidth and memory than with it; compare only like with like"
    )
    return Finding(area="gpu", name=f"{name} ECC", level="ok" if mode[0] else "info", text=text)


def _persistence(asks: Nvml, handle: Any, name: str) -> Finding | None:
    mode = asks.ask("DeviceGetPersistenceMode", handle)
    if mode is None or mode:
        return None
    return Finding(
        area="gpu",
        name=f"{name} persistence",
        level="info",
        text="off: the driver unloads between processes, and each load takes a second or more longer",
        advice="sudo nvidia-smi -pm 1",
    )


def _mig(asks: Nvml, handle: Any, name: str) -> Finding | None:
    mode = asks.ask("DeviceGetMigMode", handle)
    if not mode or not mode[0]:
        return None
    return Finding(
        area="gpu",
        name=f"{name} MIG",
        level="warning",
        text="the card is split into instances (MIG): figures are those of one, beside neighbours",
        advice="choose one with CUDA_VISIBLE_DEVICES (nvidia-smi -L), or sudo nvidia-smi -mig 0",
    )


def _compute_mode(asks: Nvml, handle: Any, name: str) -> Finding | None:
    mode = asks.ask("DeviceGetComputeMode", handle)
    prohibited = getattr(asks.module, "NVML_COMPUTEMODE_PROHIBITED", 2)
    exclusive = getattr(asks.module, "NVML_COMPUTEMODE_EXCLUSIVE_PROCESS", 3)
    if mode not in (prohibited, exclusive):
        return None
    text = (
        "compute mode prohibited: no process may use the card"
        if mode == prohibited
        else "compute mode exclusive: workers of a group cannot hold the card together"
    )
    return Finding(
        area="gpu",
        name=f"{name} compute mode",
        level="problem",
        text=text,
        advice="sudo nvidia-smi -c DEFAULT",
    )


def _processes(asks: Nvml, handle: Any, name: str, own_pids: frozenset[int]) -> Finding | None:
    running = {
        process.pid: process
        for kind in ("Compute", "Graphics")
        for process in asks.ask(f"DeviceGet{kind}RunningProcesses", handle) or ()
        if process.pid not in own_pids
    }
    if not running:
        return Finding(area="gpu", name=f"{name} processes", level="ok", text="nobody else is on it")
    named = [_process_text(asks, process) for process in list(running.values())[:5]]
    return Finding(
        area="gpu",
        name=f"{name} processes",
        level="warning",
        text=f"{len(running)} foreign on it: {', '.join(named)}",
        advice="end them before a run: they take turns with the model on the card",
    )


def _process_text(asks: Nvml, process: Any) -> str:
    program = asks.ask("SystemGetProcessName", process.pid)
    label = os.path.basename(str(program).split()[0]) if program else "a process"  # noqa: PTH119
    used = f", {process.usedGpuMemory / GIB:.1f} GiB" if process.usedGpuMemory else ""
    return f"{label} (pid {process.pid}{used})"
