"""ONNX Runtime on CPU, CUDA and TensorRT. This module must not import torch: its workers stay light."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.backends.onnx_profile import read_profile
from zoobench.errors import UsageError, pip_install, pip_uninstall
from zoobench.outcome import Evidence
from zoobench.spec import Artifact, Case
from zoobench.terms import Precision

if TYPE_CHECKING:
    from zoobench.backends import Tensors

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

GRAPH_OPTIMIZATIONS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
_SPINNING = "session.intra_op.allow_spinning"
_PROFILED_CALLS = 5
_TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
"""NVIDIA's libraries read it: 0 keeps TF32 off whatever a program asks for."""


class OnnxCpu:
    """The CPU execution provider."""

    provider = "CPUExecutionProvider"
    packages = "onnxruntime"

    def unavailable(self) -> str | None:
        """The provider must be in this build of onnxruntime."""
        import onnxruntime as ort

        if self.provider not in ort.get_available_providers():
            return (
                f"this onnxruntime has no {self.provider} (it has {', '.join(ort.get_available_providers())}); "
                f"{pip_uninstall('onnxruntime')} && {pip_install(self.packages)}"
            )
        return None

    def import_runtime(self, artifact: Artifact) -> None:
        """Import onnxruntime."""
        import onnxruntime  # noqa: F401

    def load(self, artifact: Artifact, case: Case) -> OrtSession:
        """Open the graph with the case's threads and graph optimisation."""
        return OrtSession(artifact, case, self.providers(artifact, case))

    def providers(self, artifact: Artifact, case: Case) -> list[Any]:
        """Execution providers, most wanted first, as `InferenceSession` takes them."""
        return [self.provider]


class OnnxCuda(OnnxCpu):
    """The CUDA execution provider."""

    provider = "CUDAExecutionProvider"
    packages = "onnxruntime-gpu"

    def unavailable(self) -> str | None:
        """The provider must be built in, and a GPU must answer."""
        return super().unavailable() or no_gpu()

    def import_runtime(self, artifact: Artifact) -> None:
        """Import onnxruntime and load the CUDA and cuDNN libraries that came as packages."""
        import onnxruntime as ort

        ort.preload_dlls()

    def providers(self, artifact: Artifact, case: Case) -> list[Any]:
        """TF32 is pinned: off for fp32, on for tf32."""
        return [(self.provider, {"use_tf32": int(case.precision is Precision.TF32)}), "CPUExecutionProvider"]


class OnnxTensorRT(OnnxCuda):
    """The TensorRT execution provider; the engine is built at load and bound to this machine."""

    provider = "TensorrtExecutionProvider"
    packages = "onnxruntime-gpu tensorrt"

    def load(self, artifact: Artifact, case: Case) -> OrtSession:
        """Pin TF32 as well: the builder allows it by default, and onnxruntime has no option for it."""
        if case.precision is Precision.TF32:
            os.environ.pop(_TF32_OVERRIDE, None)
        else:
            os.environ[_TF32_OVERRIDE] = "0"
        return super().load(artifact, case)

    def import_runtime(self, artifact: Artifact) -> None:
        """Also import tensorrt, which loads its libraries where the provider finds them."""
        super().import_runtime(artifact)
        # A TensorRT of the system's own needs no package.
        with contextlib.suppress(ImportError):
            import tensorrt  # noqa: F401

    def providers(self, artifact: Artifact, case: Case) -> list[Any]:
        """One optimisation profile for the case's batch, so that the engine is built once."""
        shape = "x".join(map(str, (case.batch, *artifact.input_shape)))
        profile = f"{artifact.input_name}:{shape}"
        options = {
            "trt_fp16_enable": case.precision is Precision.FP16,
            "trt_profile_min_shapes": profile,
            "trt_profile_opt_shapes": profile,
            "trt_profile_max_shapes": profile,
        }
        return [
            (self.provider, options),
            ("CUDAExecutionProvider", {"use_tf32": int(case.precision is Precision.TF32)}),
            "CPUExecutionProvider",
        ]


class OrtSession:
    """An `InferenceSession`; the timed call is `run` on host arrays, outputs on the host."""

    def __init__(self, artifact: Artifact, case: Case, providers: list[Any]) -> None:
        assert artifact.file is not None
        self.case, self.providers, self.stored_precision = case, providers, artifact.precision
        self.model_file, self.input_shape = str(artifact.path / artifact.file), artifact.input_shape
        self.session = self._open(self.model_file, self._options())
        self.output_names = [output.name for output in self.session.get_outputs()]

    def _options(self) -> Any:
        import onnxruntime as ort

        level = str(self.case.options.get("graph_optimization", "all"))
        if level not in GRAPH_OPTIMIZATIONS:
            raise UsageError(
                f"graph_optimization {level!r} is unknown; one of {', '.join(GRAPH_OPTIMIZATIONS)}"
            )
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, GRAPH_OPTIMIZATIONS[level])
        options.intra_op_num_threads = self.case.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Within a call the threads may wait for their next piece of work by spinning.
        spins = self.case.options.get("allow_spinning", True)
        options.add_session_config_entry(_SPINNING, "1" if spins else "0")
        options.enable_cpu_mem_arena = bool(self.case.options.get("enable_cpu_mem_arena", True))
        # Between its turns this worker must be silent, or it would slow down the one whose turn it is.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def _open(self, model_file: str, options: Any) -> Any:
        import onnxruntime as ort

        return ort.InferenceSession(model_file, options, providers=self.providers)

    def bind(self, inputs: Tensors) -> Callable[[], Tensors]:
        """Plain `run`, or with `io_binding` inputs and outputs that stay on the device."""
        names, session = self.output_names, self.session
        if self.case.options.get("io_binding"):
            return self._bind_on_device(inputs)
        feed = dict(inputs)

        def run() -> Tensors:
            return dict(zip(names, session.run(names, feed), strict=True))

        return run

    def _bind_on_device(self, inputs: Tensors) -> Callable[[], Tensors]:
        import onnxruntime as ort

        device = "cuda" if self.case.device == "cuda" else "cpu"
        binding = self.session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, device, 0))
        for name in self.output_names:
            binding.bind_output(name, device)
        names, session = self.output_names, self.session

        def run_bound() -> Tensors:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            return dict(zip(names, (_OnDevice(v) for v in binding.get_outputs()), strict=True))

        return run_bound

    def evidence(self) -> Evidence:
        """A second session under the profiler: where each node ran, and what share of the time that was."""
        import onnxruntime as ort

        with tempfile.TemporaryDirectory(prefix="zoobench-profile-") as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "ort")
            session = self._open(self.model_file, options)
            used = session.get_session_options()
            # The artifact's shape: a graph may leave its own open.
            shape = (self.case.batch, *self.input_shape)
            feed = {i.name: np.zeros(shape, dtype=np.float32) for i in session.get_inputs()}
            for _ in range(_PROFILED_CALLS):
                session.run(None, feed)
            events = json.loads(Path(session.end_profiling()).read_text())
        profile = read_profile(events)
        total = sum(profile.provider_us.values())
        return Evidence(
            runtime="onnxruntime",
            version=ort.__version__,
            device=self.case.device,
            precision=profile.quantized or self._precision(),
            threads=self.case.threads,
            provider_nodes=_shares(profile.provider_nodes),
            provider_time=_shares(profile.provider_us),
            kernels=profile.kernels,
            slowest=profile.slowest,
            details={
                "graph_optimization": str(self.case.options.get("graph_optimization", "all")),
                "allow_spinning": used.get_session_config_entry(_SPINNING) == "1",
                "enable_cpu_mem_arena": used.enable_cpu_mem_arena,
                "providers": session.get_providers(),
                "provider_options": session.get_provider_options(),
                "boundary": "device_to_device" if self.case.options.get("io_binding") else "host_to_host",
                "profiled_us": total,
            },
        )

    def _precision(self) -> str:
        kind = {"tensor(float)": "fp32", "tensor(float16)": "fp16", "tensor(bfloat16)": "bf16"}.get(
            self.session.get_inputs()[0].type, self.session.get_inputs()[0].type
        )
        if kind == "fp32" and self.stored_precision is Precision.FP16:
            # Inputs and outputs stay fp32; a cast stands behind them.
            return "fp16"
        options = self.session.get_provider_options()
        if options.get("TensorrtExecutionProvider", {}).get("trt_fp16_enable") in ("1", "True"):
            return "fp16"
        tf32 = options.get("CUDAExecutionProvider", {}).get("use_tf32") == "1" or (
            "TensorrtExecutionProvider" in options and os.environ.get(_TF32_OVERRIDE) != "0"
        )
        return "tf32" if kind == "fp32" and tf32 else kind

    def close(self) -> None:
        """Drop the session."""
        self.session = None


class _OnDevice:
    """An output left on the device; it becomes a host array only when somebody looks, outside the timing."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array: np.ndarray = self.value.numpy()
        return array if dtype is None else array.astype(dtype)


def no_gpu() -> str | None:
    """Why no NVIDIA GPU can be used; None when one answers."""
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            count = pynvml.nvmlDeviceGetCount()
        finally:
            pynvml.nvmlShutdown()
    except Exception as error:  # noqa: BLE001 - any NVML failure means that no GPU can be used; its text is the reason
        return f"no NVIDIA GPU answers ({error}); run `python diagnos/check_gpu.py`"
    return None if count else "the NVIDIA driver reports no GPU; run `python diagnos/check_gpu.py`"


def _shares(parts: Mapping[str, float]) -> dict[str, float]:
    total = sum(parts.values())
    most_first = sorted(parts.items(), key=lambda part: -part[1])
    return {name: part / total for name, part in most_first} if total else {}
