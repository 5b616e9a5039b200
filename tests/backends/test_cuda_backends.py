"""The CUDA backends, where there is a GPU: `pytest -m gpu`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from zoobench.backends import BACKENDS, CUDA_BACKENDS
from zoobench.executors.local import LocalExecutor
from zoobench.measure.sensors import Sensors
from zoobench.terms import Precision

if TYPE_CHECKING:
    from tests.backends.conftest import Runner

    Start = Callable[..., Runner]

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

EAGER = ("pytorch_cuda", "torch_compile_cuda")


@pytest.fixture(params=[n for n in CUDA_BACKENDS if "image_classification" in BACKENDS[n].tasks])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each CUDA backend that can run here."""
    name: str = request.param
    reason = LocalExecutor(tmp_path).probe([name])[name]
    if reason:
        pytest.skip(f"{name}: {reason}")
    return name


def test_the_graph_runs_on_the_gpu_in_fp32(start: Start, backend: str):
    runner = start(backend, model="vit" if backend.startswith("torch_compile") else "resnet", batch=3)
    runner.load()
    check = runner.check()
    assert check.passed, check
    assert check.tolerance == 1e-3
    evidence = runner.evidence()
    assert evidence.device == "cuda"
    assert evidence.precision == "fp32", "TF32 is a precision of its own"
    provider = BACKENDS[backend].provider or "cuda"
    assert evidence.provider_time[provider] > 0.9
    if backend in EAGER:
        assert evidence.details["cuda_event_p50_ms"] > 0
        assert evidence.details["cuda_allocator_peak_bytes"] > 0
    else:
        assert evidence.details["providers"][0] == provider
    # A context alone is hundreds of megabytes.
    assert Sensors(worker_pid=runner.worker.pid, gpu_index=0).gpu_bytes() > 100e6


@pytest.mark.parametrize("precision", [Precision.TF32, Precision.FP16])
def test_other_precisions_are_what_they_say(start: Start, backend: str, precision: Precision):
    if precision.value not in BACKENDS[backend].precisions:
        pytest.skip(f"{backend} has no {precision.value}")
    runner = start(backend, model="vit" if backend in EAGER else "resnet", precision=precision)
    runner.load()
    check = runner.check()
    assert check.finite
    assert check.tolerance == 2e-2
    assert runner.evidence().precision == precision.value


def test_io_binding_leaves_the_copies_out(start: Start, backend: str):
    runner = start(backend, model="vit" if backend in EAGER else "resnet", batch=3, io_binding=True)
    runner.load()
    assert runner.check().passed
    assert runner.evidence().details["boundary"] == "device_to_device"
