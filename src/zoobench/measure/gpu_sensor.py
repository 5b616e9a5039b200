"""What an NVIDIA GPU says about itself at the end of a slot, by NVML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoobench.machine.gpus import import_nvml

CLOCK_EVENTS = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x20: "sw_thermal",
    0x40: "hw_thermal",
    0x80: "power_brake",
}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h) that mean a clock below the highest. Idle (0x01) and
clocks that the user has set (0x02) are no disturbance."""


class GpuSensor:
    """One open device. NVML stays initialised for the life of the process, as the driver means it to be."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    @classmethod
    def open(cls, index: int, load_nvml: Callable[[], Any] = import_nvml) -> GpuSensor | None:
        """Open the device with NVML's number `index`; None without a binding, a driver or that device."""
        try:
            nvml = load_nvml()
        except ImportError:
            return None
        try:
            nvml.nvmlInit()
            return cls(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
        except nvml.NVMLError:
            return None

    def read(self, own_pids: set[int]) -> dict[str, Any]:
        """Clocks and heat now, JSON-ready. A figure that the device does not give is None.

        Args:
            own_pids: processes of ours; the others that hold the GPU are `foreign_pids`. In a container the driver
                may show the host's numbers, or none.
        """
        nvml, handle = self._nvml, self._handle
        reasons = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
        power = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        processes = self._ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return {
            "clock_event_reasons": None
            if reasons is None
            else [name for bit, name in CLOCK_EVENTS.items() if reasons & bit],
            "sm_clock_mhz": self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            "temperature_c": self._ask(
                lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
            ),
            "power_w": None if power is None else power / 1000,
            "foreign_pids": None
            if processes is None
            else sorted(process.pid for process in processes if process.pid not in own_pids),
        }

    def held_bytes(self, pids: set[int]) -> int | None:
        """Bytes of the device's memory that these processes hold together, the CUDA context included.

        None where the driver does not show them: in a container it may give the host's numbers.
        """
        processes = self._ask(lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
        held = [process.usedGpuMemory for process in processes or () if process.pid in pids]
        return sum(held) if held and None not in held else None

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded; None where the device does not count."""
        millijoules = self._ask(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None if millijoules is None else millijoules / 1e3

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except self._nvml.NVMLError:
            return None
