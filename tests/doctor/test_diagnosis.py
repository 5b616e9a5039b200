from __future__ import annotations

import pytest

from zoobench.doctor.diagnosis import diagnose
from zoobench.errors import pip_install

LOAD = (
    "[ONNXRuntimeError] : 1 : FAIL : Failed to load library libonnxruntime_providers_cuda.so with error: {}: "
)
GONE = "cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("library", "cuda_major", "advice"),
    [
        ("libcublasLt.so.12", None, pip_install("nvidia-cublas-cu12")),
        ("libcublasLt.so.13", None, pip_install("nvidia-cublas==13.*")),
        ("libcublas.so.12", 13, pip_install("nvidia-cublas-cu12")),
        ("libcudart.so.12", None, pip_install("nvidia-cuda-runtime-cu12")),
        ("libcufft.so.11", 12, pip_install("nvidia-cufft-cu12")),
        ("libcufft.so.12", 13, pip_install("nvidia-cufft")),
        ("libcudnn.so.9", 13, pip_install("nvidia-cudnn-cu13==9.*")),
        ("libcudnn_graph.so.9", 12, pip_install("nvidia-cudnn-cu12==9.*")),
        ("libnvinfer.so.10", 12, pip_install("tensorrt==10.*")),
        ("libnvonnxparser.so.10", 12, pip_install("tensorrt==10.*")),
        ("libcuda.so.1", None, "install the driver, or run docker with --gpus all"),
    ],
)
def test_a_missing_library_names_the_package(library: str, cuda_major: int | None, advice: str) -> None:
    found = diagnose(LOAD.format(library) + GONE, cuda_major)
    assert found is not None
    assert found.cause.startswith(f"{library} is missing")
    assert found.advice == advice


def test_an_unknown_library_is_named_all_the_same() -> None:
    found = diagnose(LOAD.format("libodd.so.3") + GONE)
    assert found is not None
    assert "LD_LIBRARY_PATH" in found.advice


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("The NVIDIA driver on your system is too old (found version 11040).", "too old"),
        ("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version", "too old"),
        ("Found no NVIDIA driver on your system.", "no NVIDIA driver"),
        ("CUDA out of memory. Tried to allocate 20.00 MiB.", "memory is full"),
        ("CUDA failure 2: out of memory ; GPU=0", "memory is full"),
        ("CUDA error: no kernel image is available for execution on the device", "no kernels"),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", "refuses another"),
        ("CUDA failure 100: no CUDA-capable device is detected", "no device"),
        ("No CUDA GPUs are available", "no device"),
        ("Error 802: system not yet initialized", "not yet initialised"),
        ("Error 804: forward compatibility was attempted on non supported HW", "different versions"),
        ("CUDA initialization: CUDA unknown error - this may be due to", "could not start"),
    ],
)
def test_common_failures_are_told_apart(output: str, cause: str) -> None:
    found = diagnose(f"noise before\n{output}\nnoise after")
    assert found is not None
    assert cause in found.cause
    assert found.advice


def test_what_is_not_known_is_not_guessed() -> None:
    assert diagnose("something else altogether") is None
