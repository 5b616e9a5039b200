"""ONNX Runtime GenAI on the CPU: its own decode loop, on files that its model builder writes."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.backends.onnxruntime import no_gpu
from zoobench.backends.torch_text import new_tokens_of
from zoobench.errors import UsageError, install_extra, pip_uninstall
from zoobench.outcome import Evidence
from zoobench.spec import Artifact, Case
from zoobench.terms import Precision

if TYPE_CHECKING:
    from zoobench.backends import Tensors

CONFIG_FILE = "genai_config.json"


def silence() -> None:
    """The official packages send telemetry unless they are told not to before they are imported."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class OrtGenai:
    """GenAI's generator, one a request."""

    extra = "genai"

    def unavailable(self) -> str | None:
        """onnxruntime-genai must be installed."""
        if importlib.util.find_spec("onnxruntime_genai"):
            return None
        return f"onnxruntime-genai is not installed; {install_extra(self.extra)}"

    def import_runtime(self, artifact: Artifact) -> None:
        """Import onnxruntime_genai."""
        silence()
        import onnxruntime_genai  # noqa: F401

    def load(self, artifact: Artifact, case: Case) -> GenaiSession:
        """Load the builder's folder with the case's threads."""
        return GenaiSession(artifact, case)


class OrtGenaiCuda(OrtGenai):
    """The same on an NVIDIA GPU."""

    extra = "genai_cuda"

    def unavailable(self) -> str | None:
        """A build with CUDA must be installed, and find a GPU."""
        if missing := super().unavailable():
            return missing
        silence()
        import onnxruntime_genai as genai

        if not genai.is_cuda_available():
            return (
                "this onnxruntime-genai has no CUDA provider; "
                f"{pip_uninstall('onnxruntime-genai')} && {install_extra(self.extra)}"
            )
        return no_gpu()


class GenaiSession:
    """A generator a request, because one that is done cannot begin anew."""

    def __init__(self, artifact: Artifact, case: Case) -> None:
        import onnxruntime_genai as genai

        self.artifact, self.case, self.compile_s = artifact, case, None
        config = genai.Config(str(artifact.path))
        config.overlay(
            json.dumps(
                {
                    "model": {
                        "decoder": {
                            "session_options": {
                                "intra_op_num_threads": case.threads,
                                "inter_op_num_threads": 1,
                                # The one whose turn it is not must be silent.
                                "session.force_spinning_stop": "1",
                            }
                        }
                    }
                }
            )
        )
        if case.device == "cuda" and case.precision is Precision.FP32:
            config.set_provider_option("cuda", "use_tf32", "0")
        self.model: Any = genai.Model(config)
        self._kv_bytes: tuple[int | None, int | None] = (None, None)

    def _generator(self, batch: int, length: int) -> Any:
        import onnxruntime_genai as genai

        params = genai.GeneratorParams(self.model)
        # Both bounds: no end of text ends it, and the cache that it reserves is as long as it must be.
        params.set_search_options(max_length=length, min_length=length, batch_size=batch, do_sample=False)
        return genai.Generator(self.model, params)

    def bind(self, inputs: Tensors) -> Callable[..., Tensors]:
        """The call makes a generator, appends the prompt, which prefills, and decodes.

        `token_ns` are nanoseconds from the submission of the prompt to each step's ids on the host.
        """
        ids = np.ascontiguousarray(next(iter(inputs.values())), dtype=np.int32)
        batch, prompt = ids.shape
        new_tokens = new_tokens_of(self.case)

        def run(first: Callable[[], None] | None = None) -> Tensors:
            clock = time.perf_counter_ns
            token_ns, made = np.empty(new_tokens, np.int64), np.empty((batch, new_tokens), np.int64)
            # Reserving the cache is part of a request.
            begin = clock()
            generator = self._generator(batch, prompt + new_tokens)
            generator.append_tokens(ids)
            for step in range(new_tokens):
                generator.generate_next_token()
                made[:, step] = generator.get_next_tokens()
                token_ns[step] = clock() - begin
                if first is not None and step == 0:
                    first()
            if generator.token_count() != prompt + new_tokens:
                raise UsageError(
                    f"{generator.token_count() - prompt} tokens were made, and {new_tokens} were asked for"
                )
            self._kv_bytes = self._kv_of(generator, batch, prompt + new_tokens)
            return {"token_ids": made, "token_ns": token_ns}

        return run

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Of every position, teacher-forced: float32, (batch, tokens, vocabulary)."""
        generator = self._generator(len(ids), ids.shape[1] + 1)
        generator.append_tokens(np.ascontiguousarray(ids, dtype=np.int32))
        return np.asarray(generator.get_output("logits"), dtype=np.float32)

    def kv_bytes(self) -> tuple[int | None, int | None]:
        """Of the last call's keys and values: used, and reserved."""
        return self._kv_bytes

    def _kv_of(self, generator: Any, batch: int, tokens: int) -> tuple[int | None, int | None]:
        decoder = self.artifact.decoder
        if decoder is None:
            return None, None
        one = np.asarray(generator.get_output("present.0.key"))
        # The last token's keys are never needed.
        used = decoder.kv_bytes(tokens - 1, value_bytes=one.itemsize, batch=batch)
        return used, 2 * decoder.layers * one.nbytes

    def evidence(self) -> Evidence:
        """Runtime, device and threads; GenAI shows no profile of its kernels."""
        import onnxruntime_genai as genai

        device = str(self.model.device_type).lower()
        return Evidence(
            runtime="onnxruntime-genai",
            version=genai.__version__,
            device=device,
            precision=self.artifact.precision.value,
            threads=self.case.threads,
            provider_nodes={device: 1.0},
            provider_time={device: 1.0},
            details={"boundary": "host_to_host", "model_type": str(self.model.type)},
        )

    def close(self) -> None:
        """Drop the model."""
        self.model = None
