from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from zoobench import ceilings
from zoobench.machine import combine

CODE = """
import json, sys
from zoobench import ceilings
ceilings.SIZES, ceilings.COPY_BYTES = (128,), 1 << 20
found = ceilings.measure_ceilings(sys.argv[1], 2, seconds=0.05)
others = {"torch", "onnxruntime"} - {sys.argv[1]}
print(json.dumps({"found": found, "others": sorted(others & set(sys.modules))}))
"""


@pytest.mark.parametrize("runtime", ["numpy", "onnxruntime", pytest.param("torch", marks=pytest.mark.slow)])
def test_each_runtime_measures_alone(runtime: str) -> None:
    if runtime != "numpy":
        pytest.importorskip("importlib.metadata").version(runtime)
    environment = {**os.environ, **ceilings.thread_environment(2)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, runtime], env=environment, capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["others"] == [], "a worker imports only its own runtime"
    found = answer["found"]
    assert found["runtime"] == runtime
    assert found["threads"] == 2
    assert 1e6 < found["flops_per_s"]["fp32"] < 1e16
    assert (found["bytes_per_s"] is None) == (runtime == "onnxruntime")
    assert combine("abc", 2, [found]).flops_per_s == found["flops_per_s"]


def test_numpy_without_its_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    with pytest.raises(ValueError, match="OPENBLAS_NUM_THREADS=2"):
        ceilings.measure_ceilings("numpy", 2)


@pytest.mark.parametrize(("runtime", "threads"), [("jax", 2), ("torch", 0)])
def test_nonsense_is_refused(runtime: str, threads: int) -> None:
    with pytest.raises(ValueError, match=r"unknown runtime|at least 1"):
        ceilings.measure_ceilings(runtime, threads)  # type: ignore[arg-type]


def test_flops_count_two_operations_a_multiply_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "SIZES", (10, 20, 40))
    monkeypatch.setattr(ceilings, "best_seconds", lambda call, budget: call())
    seconds = {10: 1e-3, 20: 1e-3, 40: 1.0}
    assert ceilings.best_flops(lambda n: lambda: seconds[n], 1.0) == pytest.approx(2 * 20**3 / 1e-3)


def test_larger_sizes_are_left_out_where_one_took_long(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(ceilings, "best_seconds", lambda call, budget: call())
    ceilings.best_flops(lambda n: lambda: (tried.append(n), 1.0)[1], 1.0)
    assert tried == [ceilings.SIZES[0]]


def test_the_quickest_call_counts_and_the_first_never() -> None:
    calls: list[int] = []
    ceilings.best_seconds(lambda: calls.append(1), 0.0)
    assert len(calls) == 3
