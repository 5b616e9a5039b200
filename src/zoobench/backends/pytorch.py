"""PyTorch, eager and compiled, on CPU and on CUDA."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoobench.backends.torch_module import tensors
from zoobench.errors import UsageError, pip_install
from zoobench.outcome import Evidence
from zoobench.spec import Artifact, Case
from zoobench.terms import Precision

if TYPE_CHECKING:
    import numpy as np
    import torch

    from zoobench.backends import Session, Tensors

_DTYPES = {
    Precision.FP32: "float32",
    Precision.TF32: "float32",
    Precision.FP16: "float16",
    Precision.BF16: "bfloat16",
}
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


class PyTorch:
    """Eager PyTorch on the CPU."""

    device = "cpu"
    compiles = False

    def unavailable(self) -> str | None:
        """torch must be installed; it is looked for without the seconds that importing it costs."""
        return (
            None
            if importlib.util.find_spec("torch")
            else f"torch is not installed; {pip_install('torch', 'torchvision')}"
        )

    def import_runtime(self, artifact: Artifact) -> None:
        """Import torch and the model's library."""
        from zoobench.backends.torch_module import import_library

        import_library(artifact)

    def load(self, artifact: Artifact, case: Case) -> Session:
        """Rebuild the module from the artifact and put it on the device in the case's precision."""
        import torch

        from zoobench.backends.torch_module import load_torch_module

        torch.set_num_threads(case.threads)
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)
        torch.set_grad_enabled(False)
        # fp32 means fp32: TF32 is a precision of its own.
        tf32 = case.precision is Precision.TF32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        if artifact.decoder is not None:
            from zoobench.backends.torch_text import TorchTextSession, load_causal_lm

            model = load_causal_lm(artifact, getattr(torch, _DTYPES[case.precision]))
            return TorchTextSession(model, artifact, case, self.device)
        module = load_torch_module(artifact).to(self.device, getattr(torch, _DTYPES[case.precision]))
        if case.options.get("channels_last"):
            module = module.to(memory_format=torch.channels_last)
        return TorchSession(module, artifact, case, self.device, compiles=self.compiles)


class TorchCompile(PyTorch):
    """`torch.compile` (Inductor) on the CPU; it builds C++ and therefore needs a compiler."""

    compiles = True

    def unavailable(self) -> str | None:
        """A C++ compiler must be there."""
        if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
            return "torch.compile needs a C++ compiler; apt-get install g++"
        return super().unavailable()


class PyTorchCuda(PyTorch):
    """Eager PyTorch on an NVIDIA GPU."""

    device = "cuda"

    def unavailable(self) -> str | None:
        """A CUDA build of torch and a GPU that it can use."""
        import torch

        if torch.version.cuda is None:
            return "this torch is a CPU build; install torch with CUDA"
        if not torch.cuda.is_available():
            return "torch sees no CUDA device; run `python diagnos/check_gpu.py` or `zoobench doctor`"
        return None


class TorchCompileCuda(PyTorchCuda):
    """`torch.compile` (Inductor and Triton) on an NVIDIA GPU."""

    compiles = True


class TorchSession:
    """A module bound to inputs on the host; the timed call ends when the outputs are on the host."""

    def __init__(
        self, module: torch.nn.Module, artifact: Artifact, case: Case, device: str, *, compiles: bool
    ) -> None:
        import torch

        self.case, self.device, self.artifact = case, device, artifact
        self.module: Any = module
        self.compile_s: float | None = None
        self._dtype = getattr(torch, _DTYPES[case.precision])
        self._compiled = compiles
        self._graph_breaks: int | None = None
        self._compilations = 0
        if compiles:
            self._compile(module)

    def _compile(self, module: torch.nn.Module) -> None:
        """Compile for the case's batch and run once, so that the compile time stands apart from the first call."""
        import torch

        mode = str(self.case.options.get("compile_mode", "default"))
        if mode not in COMPILE_MODES:
            raise UsageError(f"compile_mode {mode!r} is unknown; one of {', '.join(COMPILE_MODES)}")
        shape = (self.case.batch, *self.artifact.input_shape)
        example = torch.zeros(shape, dtype=self._dtype, device=self.device)
        if self.case.options.get("channels_last"):
            # Another layout than the timed inputs' would be compiled again, in the first call.
            example = example.to(memory_format=torch.channels_last)
        self._graph_breaks = int(torch._dynamo.explain(module)(example).graph_break_count)
        torch._dynamo.reset()
        begin = time.perf_counter()
        self.module = torch.compile(module, mode=mode, dynamic=False)
        with torch.inference_mode():
            self.module(example)
        self._synchronise()
        self.compile_s = time.perf_counter() - begin
        self._compilations = _compilations()

    def bind(self, inputs: Tensors) -> Callable[[], Tensors]:
        """The call copies to the device, runs, and copies the outputs back, unless `io_binding` leaves copies out."""
        import torch

        array = torch.from_numpy(next(iter(inputs.values())))
        if self.case.options.get("channels_last"):
            array = array.to(memory_format=torch.channels_last)
        module, device, dtype = self.module, self.device, self._dtype
        names = self.artifact.outputs

        if self.case.options.get("io_binding"):
            resident = array.to(device, dtype)

            def run_resident() -> Tensors:
                with torch.inference_mode():
                    outputs = tensors(module(resident))
                self._synchronise()
                return dict(zip(names, map(_LazyHost, outputs), strict=True))  # type: ignore[arg-type]

            return run_resident

        def run() -> Tensors:
            with torch.inference_mode():
                # The copy back to the host waits for the device, so no further synchronisation is needed.
                outputs = tensors(module(array.to(device, dtype)))
                return {
                    name: output.float().cpu().numpy() for name, output in zip(names, outputs, strict=True)
                }

        return run

    def evidence(self) -> Evidence:
        """Device, dtype, threads, compile mode and graph breaks, read from the module and the library."""
        import torch

        parameter = next(self.module.parameters())
        name = str(parameter.dtype).removeprefix("torch.")
        precision = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}.get(name, name)
        on_cuda = parameter.device.type == "cuda"
        tf32 = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        if precision == "fp32" and on_cuda and tf32:
            precision = "tf32"
        details: dict[str, Any] = {
            "boundary": "device_to_device" if self.case.options.get("io_binding") else "host_to_host",
            "inter_op_threads": torch.get_num_interop_threads(),
            "mkldnn": bool(torch.backends.mkldnn.is_available()),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        }
        if self._compiled:
            details["compile_mode"] = str(self.case.options.get("compile_mode", "default"))
            details["graph_breaks"] = self._graph_breaks
            details["recompilations"] = _compilations() - self._compilations
        if on_cuda:
            details["gpu"] = torch.cuda.get_device_name()
            details["cuda"] = torch.version.cuda
            details["cuda_allocator_peak_bytes"] = int(torch.cuda.max_memory_reserved())
            details["cuda_event_p50_ms"] = self._cuda_event_ms()
        return Evidence(
            runtime="torch.compile" if self._compiled else "pytorch",
            version=torch.__version__,
            device=parameter.device.type,
            precision=precision,
            threads=torch.get_num_threads(),
            provider_nodes={parameter.device.type: 1.0},
            provider_time={parameter.device.type: 1.0},
            details=details,
        )

    def close(self) -> None:
        """Drop the module."""
        self.module = None

    def _synchronise(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()

    def _cuda_event_ms(self, calls: int = 20) -> float:
        """Median time between two CUDA events around the module alone: a column of its own, never the latency."""
        import statistics

        import torch

        shape = (self.case.batch, *self.artifact.input_shape)
        example = torch.zeros(shape, dtype=self._dtype, device=self.device)
        times: list[float] = []
        with torch.inference_mode():
            for _ in range(calls):
                start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                start.record()
                self.module(example)
                end.record()
                end.synchronize()
                times.append(start.elapsed_time(end))
        return statistics.median(times)


def _compilations() -> int:
    """Frames that Dynamo has compiled in this process."""
    from torch._dynamo.utils import counters

    return int(counters["frames"]["ok"])


class _LazyHost:
    """An output left on the device: it becomes a host array only when somebody looks, outside the timing."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array: np.ndarray = self.tensor.float().cpu().numpy()
        return array if dtype is None else array.astype(dtype)
