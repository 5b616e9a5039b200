"""OpenVINO on the CPU, from the same ONNX artifact."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.errors import UsageError
from zoobench.outcome import Evidence
from zoobench.spec import Artifact, Case
from zoobench.terms import Precision

if TYPE_CHECKING:
    from zoobench.backends import Tensors


# Importing openvino sends its makers an event and leaves a client id in the home folder; without this package it
# does neither. A measuring process talks to nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


HINTS = {"latency": "LATENCY", "throughput": "THROUGHPUT"}


class OpenVino:
    """The CPU plugin; unless options say otherwise hint LATENCY and one stream: one request at a time on all the case's threads."""

    def unavailable(self) -> str | None:
        """The CPU plugin must load."""
        import openvino

        devices = openvino.Core().available_devices
        return (
            None
            if "CPU" in devices
            else f"OpenVINO has no CPU device here (it has {', '.join(devices) or 'none'})"
        )

    def import_runtime(self, artifact: Artifact) -> None:
        """Import openvino."""
        import openvino  # noqa: F401

    def load(self, artifact: Artifact, case: Case) -> OpenVinoSession:
        """Compile for the case's batch; the inference precision is pinned, never left to the plugin's choice."""
        return OpenVinoSession(artifact, case)


_PRODUCTS = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul"})
"""Layers that int8 makes faster, by OpenVINO's names."""


def _streams(case: Case) -> dict[str, str]:
    """The hint, and the streams where they are said: the hint THROUGHPUT chooses its own number.

    Raises:
        UsageError: a hint that there is not, or more streams than threads.
    """
    hint, streams = case.options.get("performance_hint", "latency"), case.options.get("num_streams")
    if hint not in HINTS:
        raise UsageError(f"performance_hint {hint!r} is unknown; one of {', '.join(HINTS)}")
    if streams is None:
        return {"PERFORMANCE_HINT": HINTS[hint], **({"NUM_STREAMS": "1"} if hint == "latency" else {})}
    if isinstance(streams, bool) or not isinstance(streams, int) or not 1 <= streams <= case.threads:
        raise UsageError(
            f"num_streams={streams}: a whole number from 1 to the {case.threads} threads is needed"
        )
    return {"PERFORMANCE_HINT": HINTS[hint], "NUM_STREAMS": str(streams)}


class OpenVinoSession:
    """A compiled model with one infer request."""

    def __init__(self, artifact: Artifact, case: Case) -> None:
        import openvino

        assert artifact.file is not None
        self.case, self.output_names = case, artifact.outputs
        core = openvino.Core()
        model = core.read_model(artifact.path / artifact.file)
        model.reshape({0: [case.batch, *artifact.input_shape]})
        properties = {
            **_streams(case),
            "INFERENCE_NUM_THREADS": case.threads,
            "INFERENCE_PRECISION_HINT": "bf16" if case.precision is Precision.BF16 else "f32",
            "ENABLE_CPU_PINNING": False,
        }
        self.compiled: Any = core.compile_model(model, "CPU", properties)
        self.request: Any = self.compiled.create_infer_request()

    def bind(self, inputs: Tensors) -> Callable[[], Tensors]:
        """The call shares the input's memory and copies the outputs, as `session.run` of other runtimes does."""
        feed = {0: next(iter(inputs.values()))}
        request = self.request
        copied = not self.case.options.get("io_binding")
        names = self.output_names

        def run() -> Tensors:
            results = request.infer(feed, share_inputs=True, share_outputs=True)
            # Names that OpenVINO gives differ between an ONNX file and what NNCF made of it; the order does not.
            found = (results[i] for i in range(len(names)))
            return {
                name: np.array(value) if copied else value for name, value in zip(names, found, strict=True)
            }

        return run

    def evidence(self) -> Evidence:
        """Execution devices, inference precision, threads and streams as the compiled model reports them."""
        import openvino

        read = self.compiled.get_property
        hint = read("INFERENCE_PRECISION_HINT").get_type_name()
        devices = [str(device) for device in read("EXECUTION_DEVICES")]
        ran = [
            tuple(str(told[key].astype(str)) for key in ("layerType", "runtimePrecision"))
            for operation in self.compiled.get_runtime_model().get_ops()
            if "runtimePrecision" in (told := operation.get_rt_info())
        ]
        layers = Counter(precision for _, precision in ran)
        # Masks are bytes too, in a model that nobody quantized.
        on_bytes = any(kind in _PRODUCTS and precision in ("i8", "u8") for kind, precision in ran)
        return Evidence(
            runtime="openvino",
            version=openvino.__version__,
            device="cpu" if devices == ["CPU"] else ",".join(devices),
            # The hint is about what is not quantized.
            precision="int8" if on_bytes else {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}.get(hint, hint),
            threads=int(read("INFERENCE_NUM_THREADS")),
            provider_nodes={device: 1 / len(devices) for device in devices},
            provider_time={device: 1 / len(devices) for device in devices},
            details={
                "streams": int(read("NUM_STREAMS")),
                "layers": dict(layers.most_common()),
                "performance_hint": str(read("PERFORMANCE_HINT")),
                "boundary": "device_to_device" if self.case.options.get("io_binding") else "host_to_host",
            },
        )

    def close(self) -> None:
        """Drop the compiled model."""
        self.request = self.compiled = None
