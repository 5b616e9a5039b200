from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from zoobench.errors import pip_install
from zoobench.machine.gpus import Gpus, cuda_version_text, read_gpus


class NVMLError(Exception):
    pass


def nvml(count: int = 1, fail: str = "") -> Any:
    def answer(name: str, value: Any) -> Any:
        def call(*_: Any) -> Any:
            if name == fail:
                raise NVMLError("Driver Not Loaded")
            return value

        return call

    closed: list[bool] = []
    return SimpleNamespace(
        NVMLError=NVMLError,
        closed=closed,
        nvmlInit=answer("nvmlInit", None),
        nvmlShutdown=lambda: closed.append(True),
        nvmlDeviceGetCount=answer("nvmlDeviceGetCount", count),
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetName=answer("nvmlDeviceGetName", "NVIDIA L4"),
        nvmlSystemGetDriverVersion=lambda: "580.65.06",
        nvmlSystemGetCudaDriverVersion_v2=lambda: 13000,
    )


def test_versions_read_as_people_write_them() -> None:
    assert [cuda_version_text(n) for n in (12040, 13000, 11080)] == ["12.4", "13.0", "11.8"]


def test_gpus_driver_and_cuda() -> None:
    module = nvml(count=2)
    seen = read_gpus(lambda: module)
    assert seen == Gpus(names=("NVIDIA L4", "NVIDIA L4"), driver="580.65.06", cuda="13.0")
    assert module.closed == [True]


def test_the_reason_for_none_is_kept() -> None:
    def missing() -> Any:
        raise ImportError("No module named 'pynvml'")

    assert pip_install("nvidia-ml-py") in str(read_gpus(missing).reason)
    assert "Driver Not Loaded" in str(read_gpus(lambda: nvml(fail="nvmlInit")).reason)
    assert "shows no GPU" in str(read_gpus(lambda: nvml(count=0)).reason)
    lost = nvml(fail="nvmlDeviceGetName")
    assert "does not answer" in str(read_gpus(lambda: lost).reason)
    assert lost.closed == [True]
