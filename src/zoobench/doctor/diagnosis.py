"""From what a failing GPU runtime wrote to what is the matter and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from zoobench.errors import pip_install


class Diagnosis(NamedTuple):
    """What is the matter, and what to do about it."""

    cause: str
    advice: str


DRIVER_ADVICE = (
    "update the NVIDIA driver (https://www.nvidia.com/drivers), or install a build for an older CUDA "
    "(torch: https://pytorch.org/get-started/locally)"
)
DISTRIBUTIONS = {
    "cublas": "nvidia-cublas",
    "cublasLt": "nvidia-cublas",
    "cudart": "nvidia-cuda-runtime",
    "cufft": "nvidia-cufft",
    "curand": "nvidia-curand",
    "cusparse": "nvidia-cusparse",
    "cusolver": "nvidia-cusolver",
    "nvrtc": "nvidia-cuda-nvrtc",
    "nvJitLink": "nvidia-nvjitlink",
}
"""Library → the distribution on PyPI that holds it; up to CUDA 12 the names end in `-cu12`."""

SONAME_IS_CUDA = frozenset({"cublas", "cublasLt", "cudart", "nvrtc", "nvJitLink"})
"""Libraries whose soname carries CUDA's own major version; the others count for themselves."""

_MISSING = re.compile(
    r"lib(?P<name>[A-Za-z_]+)\.so(?:\.(?P<major>\d+))?[\d.]*: cannot open shared object file"
)


def diagnose(output: str, cuda_major: int | None = None) -> Diagnosis | None:
    """Tell the common failures apart.

    Args:
        output: the error's message and what the runtime wrote to stderr.
        cuda_major: CUDA major version that the failing runtime was built for, where it is known.

    Returns:
        None when the text is none of those known here.
    """
    if found := _MISSING.search(output):
        major = int(found["major"]) if found["major"] else None
        return _missing_library(found["name"], major, cuda_major)
    for pattern, make in _PATTERNS:
        if match := re.search(pattern, output, re.IGNORECASE):
            return make(match)
    return None


def _missing_library(name: str, major: int | None, cuda_major: int | None) -> Diagnosis:
    library = f"lib{name}.so" + (f".{major}" if major is not None else "")
    cause = f"{library} is missing"
    if name in ("cuda", "nvidia-ml"):
        return Diagnosis(
            f"{cause}: no NVIDIA driver is visible", "install the driver, or run docker with --gpus all"
        )
    if name.startswith(("nvinfer", "nvonnxparser")):
        wanted = f"tensorrt=={major}.*" if major else "tensorrt"
        return Diagnosis(f"{cause}: TensorRT is not installed, or another version", pip_install(wanted))
    cuda = (major if name in SONAME_IS_CUDA else None) or cuda_major
    if name.startswith("cudnn"):
        version = f"=={major}.*" if major else ""
        return Diagnosis(f"{cause}: cuDNN", pip_install(f"nvidia-cudnn-cu{cuda or 12}{version}"))
    if name in DISTRIBUTIONS:
        suffix = f"-cu{cuda}" if cuda is not None and cuda < 13 else ""
        version = f"=={cuda}.*" if cuda is not None and cuda >= 13 and name in SONAME_IS_CUDA else ""
        return Diagnosis(f"{cause}: part of CUDA", pip_install(f"{DISTRIBUTIONS[name]}{suffix}{version}"))
    return Diagnosis(cause, f"install the package that holds {library}, or add its folder to LD_LIBRARY_PATH")


def _always(cause: str, advice: str) -> Callable[[re.Match[str]], Diagnosis]:
    return lambda _: Diagnosis(cause, advice)


_PATTERNS: tuple[tuple[str, Callable[[re.Match[str]], Diagnosis]], ...] = (
    (
        r"Found no NVIDIA driver",
        _always("the runtime finds no NVIDIA driver", "install the driver, or run docker with --gpus all"),
    ),
    (
        r"CUDA driver version is insufficient|driver on your system is too old|CUDA failure 35\b",
        _always("the NVIDIA driver is too old for this CUDA build", DRIVER_ADVICE),
    ),
    (
        r"out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED",
        _always("the GPU's memory is full", "end the processes that hold it (nvidia-smi lists them)"),
    ),
    (
        r"no kernel image is available|CUDA failure 209\b|not compatible with the current PyTorch",
        _always(
            "this build has no kernels for this GPU's compute capability",
            "install a build that has them (a newer one for a new GPU, one for an older CUDA for an old GPU)",
        ),
    ),
    (
        r"busy or unavailable|CUDA failure 46\b",
        _always(
            "the GPU refuses another process",
            "end the process that holds it, or set the compute mode: sudo nvidia-smi -c DEFAULT",
        ),
    ),
    (
        r"no CUDA-capable device|No CUDA GPUs are available|CUDA failure 100\b|invalid device ordinal",
        _always(
            "CUDA shows no device to this process",
            "check CUDA_VISIBLE_DEVICES, and docker's --gpus all",
        ),
    ),
    (
        r"system not yet initialized|CUDA failure 802\b",
        _always(
            "CUDA says that the system is not yet initialised",
            "on machines with NVSwitch: sudo systemctl start nvidia-fabricmanager",
        ),
    ),
    (
        r"forward compatibility was attempted|CUDA failure 80[34]\b|driver/library version mismatch",
        _always(
            "the driver's library and its kernel module have different versions",
            "reboot, or take CUDA's compat folder out of LD_LIBRARY_PATH",
        ),
    ),
    (
        r"CUDA unknown error|CUDA failure 999\b",
        _always("CUDA could not start, and does not say why", "reload the nvidia_uvm module, or reboot"),
    ),
)
