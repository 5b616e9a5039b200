"""OpenVINO GenAI on the CPU: LLMPipeline with paged attention, as it is built where nothing is said."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.backends.openvino_paged import PagedGraph
from zoobench.backends.torch_text import new_tokens_of
from zoobench.errors import UsageError, install_extra
from zoobench.outcome import Evidence
from zoobench.spec import Artifact, Case
from zoobench.terms import Precision

if TYPE_CHECKING:
    from zoobench.backends import Tensors

MODEL_FILE = "openvino_model.xml"
_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OpenVinoGenai:
    """One pipeline, one request at a time."""

    def unavailable(self) -> str | None:
        """openvino-genai must be installed."""
        if importlib.util.find_spec("openvino_genai"):
            return None
        return f"openvino-genai is not installed; {install_extra('openvino_genai')}"

    def import_runtime(self, artifact: Artifact) -> None:
        """Import openvino_genai."""
        import openvino_genai  # noqa: F401

    def load(self, artifact: Artifact, case: Case) -> OpenVinoGenaiSession:
        """Build the pipeline with the case's threads and precision."""
        return OpenVinoGenaiSession(artifact, case)


class OpenVinoGenaiSession:
    """A pipeline, and beside it the graph that it runs, where more than tokens is asked for."""

    def __init__(self, artifact: Artifact, case: Case) -> None:
        import openvino_genai

        assert artifact.file is not None
        if case.precision is Precision.BF16 and case.threads == 1:
            # github.com/openvinotoolkit/openvino/issues/33300, seen with 2026.4.1: SIGFPE in compile_model.
            raise UsageError(
                f"{case.model}: OpenVINO's CPU plugin crashes when it compiles such a model in bf16 for one thread; give it two "
                "(--threads 2), or take fp32"
            )
        self.artifact, self.case, self.compile_s = artifact, case, None
        properties = properties_of(case)
        scheduler = openvino_genai.SchedulerConfig()
        # Left out, GenAI turns a cache of prefixes on, and a prompt that was there before would not be prefilled.
        scheduler.enable_prefix_caching = False
        # As GenAI's own default for one request: no prompt is cut.
        scheduler.max_num_batched_tokens = np.iinfo(np.uintp).max
        self.pipeline: Any = openvino_genai.LLMPipeline(
            str(artifact.path), "CPU", scheduler_config=scheduler, **properties
        )
        self.graph = PagedGraph(artifact.path / artifact.file, properties)
        self._kv_used: int | None = None

    def bind(self, inputs: Tensors) -> Callable[..., Tensors]:
        """The call sends the ids, and a streamer takes the time at which each token is there.

        `token_ns` are nanoseconds from the submission of the prompt to each id on the host.
        """
        import openvino

        # What is timed has the machine for itself.
        self.graph.close()
        ids = np.ascontiguousarray(next(iter(inputs.values())), dtype=np.int64)
        new_tokens, pipeline = new_tokens_of(self.case), self.pipeline
        prompt, config = openvino.Tensor(ids), self._greedy(new_tokens)

        def run(first: Callable[[], None] | None = None) -> Tensors:
            streamer = _streamer(first)
            begin = time.perf_counter_ns()
            pipeline.generate(prompt, config, streamer)
            if len(streamer.ids) != new_tokens:
                raise UsageError(f"{len(streamer.ids)} tokens were made, and {new_tokens} were asked for")
            self._kv_used = self._kv_of(ids.shape[1] + new_tokens)
            return {
                "token_ids": np.array([streamer.ids], np.int64),
                "token_ns": np.array(streamer.at_ns, np.int64) - begin,
            }

        return run

    def _greedy(self, new_tokens: int) -> Any:
        """Ids that end a text are masked until then, as on every runtime."""
        import openvino_genai

        said = json.loads((self.artifact.path / "config.json").read_text(encoding="utf-8")).get(
            "eos_token_id"
        )
        ends = [] if said is None else said if isinstance(said, list) else [said]
        config = openvino_genai.GenerationConfig(max_new_tokens=new_tokens, ignore_eos=True, do_sample=False)
        config.min_new_tokens = new_tokens if ends else 0
        # It refuses a request without any; where the model has none, one that it cannot say stands for it.
        config.set_eos_token_id(ends[0] if ends else self.artifact.input_shape[1])
        config.stop_token_ids = set(ends) or {config.eos_token_id}
        return config

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Of every position, teacher-forced: float32, (batch, tokens, vocabulary)."""
        return self.graph.logits(ids)

    def kv_bytes(self) -> tuple[int | None, int | None]:
        """Of the last request's keys and values: used; the blocks that the pipeline reserves it does not tell."""
        return self._kv_used, None

    def _kv_of(self, tokens: int) -> int | None:
        decoder = self.artifact.decoder
        if decoder is None:
            return None
        # The last token's keys are never needed.
        return decoder.kv_bytes(tokens - 1, value_bytes=2 if self.case.precision is Precision.BF16 else 4)

    def evidence(self) -> Evidence:
        """Precision, threads and the cache's type, as the compiled graph has them; no profile of its kernels is shown."""
        import openvino_genai

        found = self.graph.described()
        weights = found.pop("weights")
        four, eight = (sum(weights.get(name, 0) for name in kinds) for kinds in (("u4", "i4"), ("u8", "i8")))
        hint = found.pop("inference_precision_hint")
        return Evidence(
            runtime="openvino-genai",
            version=openvino_genai.__version__,
            device="cpu",
            # The hint is about what is computed, not about how weights are kept.
            precision="int4" if four else "int8" if eight else _NAMES.get(hint, hint),
            threads=int(found.pop("inference_num_threads")),
            provider_nodes={"cpu": 1.0},
            provider_time={"cpu": 1.0},
            details={
                "boundary": "host_to_host",
                "attention": "paged, no cache of prefixes",
                "computes_in": _NAMES.get(hint, hint),
                "weights_bytes": weights,
                **found,
            },
        )

    def close(self) -> None:
        """Drop the pipeline, and the process beside it."""
        self.graph.close()
        self.pipeline = None


def properties_of(case: Case) -> dict[str, Any]:
    """Of the CPU plugin; precisions are pinned, never left to its choice, which may be bf16 with a cache of u8.

    The cache too: one of u8 was seen to move logits by 4e-3 of their scale. What is left to it is that activations meeting
    weights of 8 or 4 bits are rounded to 8 in groups of 32; the evidence tells the group's size, and quality sees it.
    """
    precision = "bf16" if case.precision is Precision.BF16 else "f32"
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "KV_CACHE_PRECISION": precision,
        "INFERENCE_NUM_THREADS": case.threads,
        "ENABLE_CPU_PINNING": False,
    }


def _streamer(first: Callable[[], None] | None) -> Any:
    import openvino_genai

    running, clock = openvino_genai.StreamingStatus.RUNNING, time.perf_counter_ns

    # The base class is only there once the runtime is.
    class Streamer(openvino_genai.StreamerBase):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.ids: list[int] = []
            self.at_ns: list[int] = []

        def write(self, token: int | list[int]) -> Any:
            now = clock()
            fresh = token if isinstance(token, list) else [token]
            if first is not None and not self.ids:
                first()
            self.ids += fresh
            self.at_ns += [now] * len(fresh)
            return running

        def end(self) -> None:
            pass

    return Streamer()
