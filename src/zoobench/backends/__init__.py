"""Backends: the protocol and the one table. A backend is one module, one row here, one extra, one test.

A row names its class as `"module:Class"`, so nothing is imported until it is used: the parent process reads
this table and must never import a runtime.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from zoobench.terms import CLIENT_OPTIONS, DETECTION, LOAD_OPTIONS, TEXT, TOKEN_OPTIONS, Precision

if TYPE_CHECKING:
    import numpy as np

    from zoobench.outcome import Evidence
    from zoobench.spec import Artifact, ArtifactFormat, Case

    Tensors = Mapping[str, np.ndarray]
    """Named arrays on the host, batch axis first."""


class Session(Protocol):
    """A loaded model: tensors in, tensors out."""

    def bind(self, inputs: Tensors) -> Callable[[], Tensors]:
        """Return the call that is timed. It runs the model on `inputs` and returns when outputs are on the host."""
        ...

    def evidence(self) -> Evidence:
        """What really ran; may run the model again under the runtime's profiler, so it comes after all timing."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class TokenSession(Session, Protocol):
    """A loaded language model. What `bind` gives makes one request: `token_ids` (batch, new tokens), and `token_ns`
    (new tokens), nanoseconds from its begin until each was on the host. It may be given what to call once the first
    token is there, and several that were bound may be called at once where the row says `clients`."""

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Of every position, teacher-forced: int64 (batch, tokens) → float32 (batch, tokens, vocabulary)."""
        ...

    def kv_bytes(self) -> tuple[int | None, int | None]:
        """Of the last request's keys and values: bytes used, and bytes reserved."""
        ...


class Backend(Protocol):
    """A runtime on a device class."""

    def unavailable(self) -> str | None:
        """None when it can run here, else the reason and the command that mends it. Asked in the probe worker."""
        ...

    def import_runtime(self, artifact: Artifact) -> None:
        """Import all that `load` will need, so that load time and memory are the model's own."""
        ...

    def load(self, artifact: Artifact, case: Case) -> Session:
        """Load `artifact` for `case`.

        Raises:
            UsageError: the case asks for an option or a precision that this runtime refuses.
        """
        ...


PICTURES = ("image_classification", DETECTION)
"""Tasks whose models take pictures: what runs a tensor through a graph runs them all."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        target: `"module:Class"` of the backend.
        device: device class the case runs on: `cpu`, `cuda`, or `remote`, of which nothing is known here.
        format: artifact format it loads.
        precisions: what it can run; anything else is a skip with a reason.
        own_artifact: those of the precisions for which there must be a file of its own; the others are made of fp32's
            when it is loaded. Maps the precision to the file's format.
        refusals: a better reason why it does not run a precision.
        tasks: tasks it can run.
        extra: the extra of this package that installs it, None when the base install does.
        packages: distributions whose versions belong in the measurement key.
        options: names of the options that it understands, beside COMMON_OPTIONS.
        provider: the name under which the evidence must show the graph; None: any on the device.
        largest_batch: more than so many items it does not take in one call; None: as many as there is memory for.
        clients: whether several may ask it at once.
        inline: runs inside the parent on a virtual clock (only `fake` does).
        ranked: False keeps it out of every ranking.
    """

    target: str
    device: str
    format: ArtifactFormat
    precisions: tuple[str, ...]
    tasks: tuple[str, ...] = PICTURES
    own_artifact: Mapping[str, ArtifactFormat] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    extra: str | None = None
    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    provider: str | None = None
    largest_batch: int | None = None
    clients: bool = True
    inline: bool = False
    ranked: bool = True


COMMON_OPTIONS = ("gap_ms", "io_binding", "inputs_sha256", *LOAD_OPTIONS, *TOKEN_OPTIONS, *CLIENT_OPTIONS)
"""Options of the scenario and the boundary, which every backend honours."""

FLAGS = ("io_binding", "channels_last", "allow_spinning", "enable_cpu_mem_arena")
"""Options that are true or false and nothing else."""

_TORCH = ("torch", "timm", "transformers")
_EAGER_OPTIONS = ("channels_last",)
_COMPILE_OPTIONS = ("channels_last", "compile_mode")
_ORT_OPTIONS = ("graph_optimization",)
_ORT_CPU_OPTIONS = (*_ORT_OPTIONS, "allow_spinning", "enable_cpu_mem_arena")

BACKENDS: dict[str, Row] = {
    "pytorch": Row(
        "zoobench.backends.pytorch:PyTorch",
        "cpu",
        "torch",
        ("fp32", "bf16"),
        tasks=(*PICTURES, TEXT),
        packages=_TORCH,
        options=_EAGER_OPTIONS,
    ),
    "torch_compile": Row(
        "zoobench.backends.pytorch:TorchCompile",
        "cpu",
        "torch",
        ("fp32", "bf16"),
        packages=_TORCH,
        options=_COMPILE_OPTIONS,
    ),
    "onnx_cpu": Row(
        "zoobench.backends.onnxruntime:OnnxCpu",
        "cpu",
        "onnx",
        ("fp32", "int8", "int8_dynamic"),
        own_artifact={"int8": "onnx", "int8_dynamic": "onnx"},
        refusals={
            "fp16": "ONNX Runtime's CPU provider has hardly any fp16 kernels: it casts to fp32 and back, which is only "
            "slower; on a CPU use int8, or bf16 on pytorch or openvino",
            "bf16": "ONNX Runtime's CPU provider has no bf16 kernels for convolutions; use pytorch or openvino",
        },
        extra="cpu",
        packages=("onnxruntime",),
        options=_ORT_CPU_OPTIONS,
        provider="CPUExecutionProvider",
    ),
    "openvino": Row(
        "zoobench.backends.openvino:OpenVino",
        "cpu",
        "onnx",
        ("fp32", "bf16", "int8"),
        own_artifact={"int8": "openvino"},
        refusals={
            "fp16": "OpenVINO's CPU plugin computes fp16 in fp32 on most CPUs; use bf16 or int8",
            "int8_dynamic": "OpenVINO's int8 is static; use int8",
        },
        extra="openvino",
        packages=("openvino",),
        options=("performance_hint", "num_streams"),
    ),
    "ort_genai": Row(
        "zoobench.backends.ort_genai:OrtGenai",
        "cpu",
        "genai",
        ("fp32", "int8", "int4"),
        tasks=(TEXT,),
        own_artifact={"fp32": "genai", "int8": "genai", "int4": "genai"},
        refusals={
            "fp16": "ONNX Runtime's CPU provider has hardly any fp16 kernels; on a CPU use fp32, int8 or int4",
            "bf16": "ONNX Runtime's CPU provider has no bf16 kernels; use fp32, int8 or int4, or bf16 on pytorch",
            "int8_dynamic": "its int8 is weights only, with activations as they are; use int8",
        },
        extra="genai",
        packages=("onnxruntime-genai", "onnxruntime"),
    ),
    "llama_cpp": Row(
        "zoobench.backends.llama_cpp:LlamaCpp",
        "cpu",
        "gguf",
        # int8 is Q8_0; int4 is Q4_K_M, which is what llama.cpp's users take.
        ("fp32", "fp16", "int8", "int4"),
        tasks=(TEXT,),
        own_artifact=dict.fromkeys(("fp32", "fp16", "int8", "int4"), "gguf"),
        refusals={
            "bf16": "bf16 files for llama.cpp are not made yet; use fp16 or int8, or bf16 on pytorch",
            "int8_dynamic": "its int8 is weights in blocks, with activations rounded as they come; use int8",
        },
        extra="llama_cpp",
        packages=("llama-cpp-python", "gguf"),
        # One context answers one request at a time.
        clients=False,
    ),
    "openvino_genai": Row(
        "zoobench.backends.openvino_genai:OpenVinoGenai",
        "cpu",
        "openvino_text",
        ("fp32", "bf16", "int8", "int4"),
        tasks=(TEXT,),
        own_artifact={"fp32": "openvino_text", "int8": "openvino_text", "int4": "openvino_text"},
        refusals={
            "fp16": "OpenVINO's CPU plugin computes fp16 in fp32 on most CPUs; use bf16, int8 or int4",
            "int8_dynamic": "its int8 rounds activations as they come already; use int8",
        },
        extra="openvino_genai",
        packages=("openvino-genai", "openvino"),
        # Its streamer is for one prompt, and without it no token has a time.
        largest_batch=1,
        clients=False,
    ),
    "endpoint": Row(
        "zoobench.backends.endpoint:Endpoint",
        "remote",
        "endpoint",
        ("served",),
        tasks=(TEXT,),
        packages=("httpx2",),
        options=("endpoint", "api", "timeout_s"),
        largest_batch=1,
    ),
    "pytorch_cuda": Row(
        "zoobench.backends.pytorch:PyTorchCuda",
        "cuda",
        "torch",
        ("fp32", "tf32", "fp16", "bf16"),
        tasks=(*PICTURES, TEXT),
        packages=_TORCH,
        options=_EAGER_OPTIONS,
    ),
    "ort_genai_cuda": Row(
        "zoobench.backends.ort_genai:OrtGenaiCuda",
        "cuda",
        "genai_cuda",
        ("fp32", "fp16", "bf16", "int4"),
        tasks=(TEXT,),
        own_artifact=dict.fromkeys(("fp32", "fp16", "bf16", "int4"), "genai_cuda"),
        refusals={
            "int8": "ONNX Runtime's CUDA provider has no int8 kernels for language models; use fp16 or int4"
        },
        extra="genai_cuda",
        packages=("onnxruntime-genai-cuda",),
    ),
    "torch_compile_cuda": Row(
        "zoobench.backends.pytorch:TorchCompileCuda",
        "cuda",
        "torch",
        ("fp32", "tf32", "fp16", "bf16"),
        packages=_TORCH,
        options=_COMPILE_OPTIONS,
    ),
    "onnx_cuda": Row(
        "zoobench.backends.onnxruntime:OnnxCuda",
        "cuda",
        "onnx",
        ("fp32", "tf32", "fp16"),
        own_artifact={"fp16": "onnx"},
        refusals={
            "int8": "ONNX Runtime's CUDA provider has no int8 kernels, so int8 would run on the CPU; use onnx_tensorrt or "
            "onnx_cpu",
            "int8_dynamic": "ONNX Runtime's CUDA provider has no int8 kernels; use onnx_cpu",
        },
        extra="cuda",
        packages=("onnxruntime-gpu",),
        options=_ORT_OPTIONS,
        provider="CUDAExecutionProvider",
    ),
    "onnx_tensorrt": Row(
        "zoobench.backends.onnxruntime:OnnxTensorRT",
        "cuda",
        "onnx",
        ("fp32", "tf32", "fp16"),
        refusals={
            "int8": "TensorRT takes symmetric int8 only, which is not made yet; use onnx_cpu or openvino",
            "int8_dynamic": "TensorRT has no dynamic int8; use onnx_cpu",
        },
        extra="tensorrt",
        packages=("onnxruntime-gpu", "tensorrt"),
        options=_ORT_OPTIONS,
        provider="TensorrtExecutionProvider",
    ),
    "fake": Row(
        "zoobench.backends.fake:Fake",
        "cpu",
        "fake",
        ("fp32", "fp16", "bf16", "int8", "int8_dynamic"),
        options=(
            "fake_p50_ms",
            "fake_sigma",
            "fake_slowdown",
            "fake_drift",
            "fake_outliers",
            "fake_fork_sigma",
            "fake_correlation",
            "fake_seed",
            "fake_fault",
            "fake_clock",
        ),
        tasks=("image_classification",),
        provider="fake",
        inline=True,
        ranked=False,
    ),
}

RIVALS = {"onnxruntime": "onnxruntime-gpu", "onnxruntime-gpu": "onnxruntime"}
"""Distributions that bring the same module, of which one is installed."""

DEFAULT_BACKENDS = ("pytorch", "onnx_cpu")
DEFAULT_TEXT_BACKENDS = ("pytorch", "ort_genai")
CUDA_BACKENDS = tuple(name for name, row in BACKENDS.items() if row.device == "cuda")


def artifact_key(backend: str, precision: Precision) -> str:
    """Which of a model's artifacts the backend runs at that precision: `onnx`, `torch`, `onnx:int8`."""
    row = BACKENDS[backend]
    stored = precision.value if precision.value in row.own_artifact else "fp32"
    return f"{row.own_artifact[stored]}:{stored}" if stored in row.own_artifact else row.format


def on_virtual_clock(case: Case) -> bool:
    """Whether the case runs inside the parent and takes no real time; else it needs the machine for itself."""
    return BACKENDS[case.backend].inline and case.options.get("fake_clock") != "wall"


def open_backend(name: str) -> Backend:
    """Import and make the backend called `name`. Raises ImportError when its package is missing."""
    module, _, attribute = BACKENDS[name].target.partition(":")
    return cast("Backend", getattr(importlib.import_module(module), attribute)())
