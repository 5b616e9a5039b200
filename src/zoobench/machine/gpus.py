"""The NVIDIA GPUs that the driver shows, by NVML; why there are none is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoobench.errors import pip_install
from zoobench.spec import Frozen


class Gpus(Frozen):
    """The GPUs of this machine. `cuda` is the newest CUDA version that the driver serves."""

    names: tuple[str, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    reason: str | None = None


def import_nvml() -> Any:
    """The NVML binding. Imported late: start-up does not pay for it."""
    import pynvml

    return pynvml


def cuda_version_text(number: int) -> str:
    """NVML's number as people write it: 12040 is `12.4`."""
    return f"{number // 1000}.{number % 1000 // 10}"


def read_gpus(load_nvml: Callable[[], Any] = import_nvml) -> Gpus:
    """Ask NVML what there is. Never raises: without a binding or a driver the reason says so."""
    try:
        nvml = load_nvml()
    except ImportError as error:
        return Gpus(reason=f"the NVML binding is missing ({error}); {pip_install('nvidia-ml-py')}")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Gpus(reason=f"no NVIDIA driver: {error}")
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        return Gpus(
            names=tuple(nvml.nvmlDeviceGetName(handle) for handle in handles),
            driver=nvml.nvmlSystemGetDriverVersion(),
            cuda=cuda_version_text(nvml.nvmlSystemGetCudaDriverVersion_v2()),
            reason=None if handles else "the driver runs, but it shows no GPU",
        )
    except nvml.NVMLError as error:
        return Gpus(reason=f"the NVIDIA driver does not answer: {error}")
    finally:
        nvml.nvmlShutdown()
