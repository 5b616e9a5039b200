"""Measure what the CPUs can do at best with one runtime. Runs in a worker: it imports that runtime.

One runtime a process, like every measurement. NumPy's BLAS reads its thread count once, when it is loaded, so
the launcher sets `thread_environment(threads)` for the worker; the other runtimes are told here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from zoobench.machine.cpus import BF16_FLAGS, cgroup_memory_limit, cpu_flags

Runtime = Literal["numpy", "torch", "onnxruntime"]
RUNTIMES: tuple[Runtime, ...] = ("numpy", "torch", "onnxruntime")

SIZES = (512, 1024, 2048, 4096)
"""Sides of the square products: 0.27, 2.1, 17 and 137 GFLOP. Larger ones only where the one before was quick.

The smallest fits into the last cache: where it wins, the larger ones wait for memory, and a convolution need not.
"""

QUICK_S = 0.05
COPY_BYTES = 256 << 20
"""One buffer of two: well above most last-level caches, so that memory is measured and not the cache."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def thread_environment(threads: int) -> dict[str, str]:
    """What the worker's environment must hold before NumPy is imported, so that its BLAS uses `threads`."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def measure_ceilings(runtime: Runtime, threads: int, seconds: float = 0.8) -> dict[str, Any]:
    """Measure the best FLOP/s of a large matrix product and the best bytes/s of a large copy.

    Args:
        runtime: whose kernels to use.
        threads: intra-op threads, the same for every runtime.
        seconds: about how long to measure, imports and set-up left out; a third of it goes to the copy.

    Returns:
        runtime, version, threads, `flops_per_s` by precision (2·n³ a product of two n × n matrices), and
        `bytes_per_s` (a copy counted as one read and one write, as STREAM does; None for onnxruntime, which
        has no plain copy). Fit for `zoobench.machine.combine`.

    Raises:
        ValueError: an unknown runtime, no threads, or NumPy without `thread_environment(threads)`.
        ImportError: the runtime is not installed.
    """
    measurers = {"numpy": _numpy, "torch": _torch, "onnxruntime": _onnxruntime}
    if runtime not in measurers:
        raise ValueError(f"unknown runtime {runtime!r}; one of {', '.join(measurers)}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    return {"runtime": runtime, "threads": threads, **measurers[runtime](threads, seconds)}


def best_seconds(call: Callable[[], object], budget_s: float) -> float:
    """The quickest of several calls: one to warm up, then at least two and as many as `budget_s` holds."""
    call()
    best, calls, end = float("inf"), 0, time.perf_counter() + budget_s
    while calls < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        calls += 1
    return best


def best_flops(make: Callable[[int], Callable[[], object]], budget_s: float) -> float:
    """Best FLOP/s over `SIZES`; `make(n)` gives the call that multiplies two n × n matrices."""
    best = 0.0
    for n in SIZES:
        seconds = best_seconds(make(n), budget_s / len(SIZES))
        best = max(best, 2.0 * n**3 / seconds)
        if seconds > QUICK_S:
            break
    return best


def _copy_bytes() -> int:
    """Size of one buffer: `COPY_BYTES`, less where a container's memory is small."""
    limit = cgroup_memory_limit()
    return COPY_BYTES if limit is None else min(COPY_BYTES, limit // 16)


def _numpy(threads: int, seconds: float) -> dict[str, Any]:
    wrong = [name for name in THREAD_VARIABLES if os.environ.get(name) != str(threads)]
    if wrong:
        raise ValueError(f"start the worker with {', '.join(f'{name}={threads}' for name in wrong)}")
    import numpy as np

    rng = np.random.default_rng(0)

    def product(n: int) -> Callable[[], object]:
        a, b = (rng.random((n, n), dtype=np.float32) for _ in range(2))
        out = np.empty_like(a)
        return lambda: np.matmul(a, b, out=out)

    flops = best_flops(product, seconds * 2 / 3)
    source = np.ones(_copy_bytes(), dtype=np.uint8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    # copyto lets go of the interpreter lock, so threads copy at once.
    with ThreadPoolExecutor(threads) as pool:
        copy_s = best_seconds(lambda: list(pool.map(lambda part: np.copyto(*part), parts)), seconds / 3)
    return {
        "version": np.__version__,
        "flops_per_s": {"fp32": flops},
        "bytes_per_s": 2 * source.nbytes / copy_s,
    }


def _torch(threads: int, seconds: float) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    precisions = {"fp32": torch.float32}
    if BF16_FLAGS & cpu_flags():
        precisions["bf16"] = torch.bfloat16

    def product(dtype: Any) -> Callable[[int], Callable[[], object]]:
        def make(n: int) -> Callable[[], object]:
            a, b = (torch.rand(n, n).to(dtype) for _ in range(2))
            return lambda: torch.mm(a, b)

        return make

    with torch.inference_mode():
        flops = {
            name: best_flops(product(dtype), seconds * 2 / 3 / len(precisions))
            for name, dtype in precisions.items()
        }
        source = torch.ones(_copy_bytes(), dtype=torch.uint8)
        target = torch.zeros_like(source)
        copy_s = best_seconds(lambda: target.copy_(source), seconds / 3)
    return {
        "version": str(torch.__version__),
        "flops_per_s": flops,
        "bytes_per_s": 2 * source.numel() / copy_s,
    }


def _onnxruntime(threads: int, seconds: float) -> dict[str, Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")

    def make(n: int) -> Callable[[], object]:
        import numpy as np

        # Weights are constants, as in a model, so that they are packed once.
        weights = np.random.default_rng(0).random((n, n), dtype=np.float32)
        session = ort.InferenceSession(_product_model(weights), options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_cpu_input("x", weights)
        binding.bind_output("y")
        return lambda: session.run_with_iobinding(binding)

    return {
        "version": ort.__version__,
        "flops_per_s": {"fp32": best_flops(make, seconds)},
        "bytes_per_s": None,
    }


def _product_model(weights: Any) -> bytes:
    """An ONNX model `y = x @ weights` for a square fp32 matrix."""
    from onnx import TensorProto, helper, numpy_helper

    shape = list(weights.shape)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised
