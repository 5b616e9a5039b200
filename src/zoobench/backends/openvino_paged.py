"""The graph that OpenVINO GenAI's pipeline runs, compiled once more for what the pipeline does not tell: logits and properties.

In a process of its own, so that the measured one's peak memory is the pipeline's.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import zoobench.backends.openvino  # noqa: F401 - it keeps openvino from calling home
from zoobench.errors import first_line

_PROPERTIES = (
    "INFERENCE_PRECISION_HINT",
    "KV_CACHE_PRECISION",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    "INFERENCE_NUM_THREADS",
    "NUM_STREAMS",
    "PERFORMANCE_HINT",
)


class PagedGraph:
    """The asking side; the process is started by the first question."""

    def __init__(self, file: Path, properties: dict[str, Any]) -> None:
        self.file, self.properties = file, properties
        self._process: Any = None
        self._pipe: Connection | None = None

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Of every position, teacher-forced: float32, (batch, tokens, vocabulary)."""
        found: np.ndarray = self._ask(np.ascontiguousarray(ids, dtype=np.int64))
        return found

    def described(self) -> dict[str, Any]:
        """Its properties, `kv` (type of the cache) and `weights` (type → constants of so many bytes)."""
        found: dict[str, Any] = self._ask(None)
        return found

    def _ask(self, question: np.ndarray | None) -> Any:
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            # It ends when this side is closed, so also with this process.
            self._process = context.Process(
                target=_answer, args=(theirs, self.file, self.properties), daemon=True
            )
            self._process.start()
            theirs.close()
        try:
            self._pipe.send(question)
            failed, answer = self._pipe.recv()
        except (EOFError, BrokenPipeError) as error:
            self.close()
            raise RuntimeError(f"the process that compiles {self.file.name} for its logits died") from error
        if failed:
            raise RuntimeError(answer)
        return answer

    def close(self) -> None:
        """End the process."""
        if self._pipe is None:
            return
        self._pipe.close()
        self._process.join()
        self._pipe = self._process = None


def _answer(pipe: Connection, file: Path, properties: dict[str, Any]) -> None:
    """Answer ids with logits and None with the description, until the other side is closed."""
    compiled: Any = None
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        try:
            compiled = compiled or _Compiled(file, properties)
            answer = compiled.described() if question is None else compiled.logits(question)
            pipe.send((False, answer))
        except Exception as error:  # noqa: BLE001 - whatever the runtime raises is the answer
            pipe.send((True, first_line(error)))


class _Compiled:
    def __init__(self, file: Path, properties: dict[str, Any]) -> None:
        import openvino
        from openvino._offline_transformations import paged_attention_transformation

        core = openvino.Core()
        model = core.read_model(file)
        self.weights: Counter[str] = Counter()
        for constant in model.get_ops():
            if constant.get_type_name() == "Constant":
                self.weights[constant.get_element_type().get_type_name()] += constant.get_byte_size()
        paged_attention_transformation(model)
        self.compiled: Any = core.compile_model(model, "CPU", properties)
        self.request: Any = self.compiled.create_infer_request()
        self.caches = {
            port.get_any_name(): port
            for port in self.compiled.inputs
            if port.get_any_name().startswith(("key_cache.", "value_cache."))
        }

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """A sequence after another, each as one prefill into an empty cache."""
        return np.stack([self._prefilled(row) for row in ids])

    def _prefilled(self, ids: np.ndarray) -> np.ndarray:
        import openvino

        tokens, block = len(ids), self.caches["value_cache.0"].get_partial_shape()[2].get_length()
        blocks = -(-tokens // block)
        feed: dict[str, Any] = {
            "input_ids": ids,
            "position_ids": np.arange(tokens, dtype=np.int64),
            "past_lens": np.zeros(1, np.int32),
            "subsequence_begins": np.array([0, tokens], np.int32),
            "block_indices": np.arange(blocks, dtype=np.int32),
            "block_indices_begins": np.array([0, blocks], np.int32),
            "max_context_len": np.array(tokens, np.int32),
        }
        for name, port in self.caches.items():
            shape = [blocks, *(size.get_length() for size in list(port.get_partial_shape())[1:])]
            feed[name] = openvino.Tensor(port.get_element_type(), shape)
        out = self.request.infer(feed)[0]
        return np.array(out, dtype=np.float32).reshape(tokens, -1)

    def described(self) -> dict[str, Any]:
        read = {name: self.compiled.get_property(name) for name in _PROPERTIES}
        return {
            **{name.lower(): _plain(value) for name, value in read.items()},
            "kv": _plain(self.caches["key_cache.0"].get_element_type()),
            "weights": dict(self.weights.most_common()),
        }


def _plain(value: Any) -> Any:
    """An element type by its name, for it does not travel."""
    return value.get_type_name() if hasattr(value, "get_type_name") else value
