"""Every CPU backend runs a tiny real network in a real worker process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from zoobench.backends import BACKENDS
from zoobench.measure.channel import WorkerError
from zoobench.terms import Precision

if TYPE_CHECKING:
    from tests.backends.conftest import Runner

    Start = Callable[..., Runner]

pytestmark = pytest.mark.slow

SLOT = {
    "min_calls": 20,
    "slow_min_calls": 3,
    "min_seconds": 0.05,
    "slow_call_s": 0.1,
    "max_seconds": 20.0,
    "min_sample_ns": 0,
}


@pytest.mark.parametrize(
    ("backend", "runtime", "foreign", "threads"),
    [
        ("pytorch", "pytorch", "onnxruntime", 2),
        ("onnx_cpu", "onnxruntime", "libtorch", 2),
        ("openvino", "openvino", "libtorch", 1),
    ],
)
def test_a_backend_runs_what_was_asked(start: Start, backend: str, runtime: str, foreign: str, threads: int):
    runner = start(backend, batch=3, threads=threads)
    loaded = runner.load()
    assert loaded["import_s"] > 0
    assert loaded["load_s"] > 0
    assert runner.ask("first_call")["first_call_ms"] > 0
    check = runner.check()
    assert check.passed, check
    assert check.finite and not check.constant and not check.denormal
    assert len(runner.ask("slot", budget=SLOT)["samples_ns"]) >= SLOT["slow_min_calls"]
    assert runner.idle_cpu() < 0.2, "it keeps a core busy while others have their turns"
    evidence = runner.evidence()
    assert (evidence.runtime, evidence.device, evidence.precision) == (runtime, "cpu", "fp32")
    assert evidence.version
    assert evidence.threads == threads
    provider = BACKENDS[backend].provider
    assert provider is None or evidence.provider_time == {provider: 1.0}
    assert sum(evidence.provider_nodes.values()) == pytest.approx(1.0)
    assert evidence.details["boundary"] == "host_to_host"
    assert runner.maps(runtime if backend != "pytorch" else "libtorch")
    assert not runner.maps(foreign), "a worker imports its own runtime only"


@pytest.mark.parametrize("backend", ["onnx_cpu", "openvino"])
def test_io_binding_leaves_the_outputs_as_they_are(start: Start, backend: str):
    plain = start(backend, batch=3)
    plain.load()
    expected = plain.check()
    plain.load(io_binding=True)
    bound = plain.check()
    assert bound.passed
    assert bound == expected
    assert plain.evidence().details["boundary"] == "device_to_device"


def test_graph_optimisation_is_what_was_asked(start: Start):
    runner = start("onnx_cpu", batch=8)
    with pytest.raises(WorkerError, match="graph_optimization 'most' is unknown; one of all, ") as caught:
        runner.load(graph_optimization="most")
    assert caught.value.kind == "usage"
    runner.load(graph_optimization="none")
    plain = runner.evidence()
    runner.load()
    optimised = runner.evidence()
    assert plain.details["graph_optimization"] == "none"
    assert optimised.details["graph_optimization"] == "all"
    assert "Relu" in {kernel.op for kernel in plain.kernels}
    fused = {kernel.op for kernel in optimised.kernels}
    assert "Relu" not in fused, "all of them are fused into convolutions"


def test_spinning_and_the_arena_are_what_was_asked_and_outputs_stay_the_same(start: Start):
    runner = start("onnx_cpu", batch=3, threads=2)
    with pytest.raises(WorkerError, match="allow_spinning=no: true or false is needed") as caught:
        runner.load(allow_spinning="no")
    assert caught.value.kind == "usage"
    runner.load()
    expected = runner.check()
    details = runner.evidence().details
    assert (details["allow_spinning"], details["enable_cpu_mem_arena"]) == (True, True)
    runner.load(allow_spinning=False, enable_cpu_mem_arena=False)
    assert runner.check() == expected and expected.passed
    details = runner.evidence().details
    assert (details["allow_spinning"], details["enable_cpu_mem_arena"]) == (False, False)
    assert runner.idle_cpu() < 0.2


def test_openvinos_hint_and_streams_are_what_was_asked(start: Start):
    runner = start("openvino", batch=3, threads=2)
    for options, message in (
        ({"performance_hint": "fast"}, "performance_hint 'fast' is unknown; one of latency, throughput"),
        ({"num_streams": 3}, "num_streams=3: a whole number from 1 to the 2 threads is needed"),
        ({"num_streams": True}, "num_streams=True: a whole number"),
    ):
        with pytest.raises(WorkerError, match=message) as caught:
            runner.load(**options)
        assert caught.value.kind == "usage"
    seen = []
    for options in ({}, {"performance_hint": "throughput"}, {"num_streams": 2}):
        runner.load(**options)
        assert runner.check().passed
        details = runner.evidence().details
        seen.append((details["performance_hint"].rpartition(".")[2], details["streams"]))
    assert seen[0] == ("LATENCY", 1)
    assert seen[1][0] == "THROUGHPUT"
    assert seen[2] == ("LATENCY", 2)


def test_pytorch_runs_bf16_and_other_layouts(start: Start):
    runner = start("pytorch", model="vit", precision=Precision.BF16, batch=3, channels_last=True)
    runner.load()
    check = runner.check()
    assert check.passed
    assert check.tolerance == 2e-2
    assert check.max_rel and check.max_rel > 1e-3, "that was no bf16"
    assert runner.evidence().precision == "bf16"
    runner.load(io_binding=True)
    assert runner.check() == check
    assert runner.evidence().details["boundary"] == "device_to_device"


def test_torch_compile_compiles_once_and_apart(start: Start):
    runner = start("torch_compile", model="vit", batch=3, channels_last=True)
    with pytest.raises(WorkerError, match="compile_mode 'fast' is unknown; one of default, ") as caught:
        runner.load(compile_mode="fast")
    assert caught.value.kind == "usage"
    loaded = runner.load()
    assert 0 < loaded["compile_s"] <= loaded["load_s"]
    runner.ask("first_call")
    check = runner.check()
    assert check.passed
    evidence = runner.evidence()
    assert (evidence.runtime, evidence.precision, evidence.threads) == ("torch.compile", "fp32", 1)
    assert evidence.details["compile_mode"] == "default"
    assert evidence.details["graph_breaks"] == 0
    assert evidence.details["recompilations"] == 0, "what is timed is not what was compiled"
