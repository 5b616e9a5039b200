"""llama.cpp on the CPU, by its C interface: no sampler and no Python between a token's logits and its id but an argmax."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.backends.torch_text import new_tokens_of
from zoobench.errors import UsageError, install_extra
from zoobench.outcome import Evidence
from zoobench.spec import Artifact, Case
from zoobench.terms import Precision

if TYPE_CHECKING:
    from zoobench.backends import Tensors

GGUF_FILE = "model.gguf"
CONFIG_FILE = "config.json"
_PACKAGES = {"llama_cpp": "llama-cpp-python", "gguf": "gguf"}
_ERROR = 4
"""GGML_LOG_LEVEL_ERROR."""
_complaints: deque[str] = deque(maxlen=1)
_listeners: list[Any] = []


class LlamaCpp:
    """One context, which answers one batch of prompts after another."""

    def unavailable(self) -> str | None:
        """llama-cpp-python runs the files, and gguf writes them."""
        missing = [name for module, name in _PACKAGES.items() if not importlib.util.find_spec(module)]
        if not missing:
            return None
        return f"{' and '.join(missing)} is not installed; {install_extra('llama_cpp')}, which compiles for minutes"

    def import_runtime(self, artifact: Artifact) -> None:
        """Import llama_cpp."""
        library()

    def load(self, artifact: Artifact, case: Case) -> LlamaCppSession:
        """Map the file; the context follows when the length of the prompts is known."""
        return LlamaCppSession(artifact, case)


class LlamaCppSession:
    """A model, and the context for the batch and length that were bound last."""

    def __init__(self, artifact: Artifact, case: Case) -> None:
        assert artifact.file is not None
        self.artifact, self.case, self.compile_s = artifact, case, None
        self.model: _Model | None = _Model(artifact.path / artifact.file)
        said = json.loads((artifact.path / CONFIG_FILE).read_text(encoding="utf-8")).get("eos_token_id")
        self._ends = [] if said is None else said if isinstance(said, list) else [said]
        self._context: _Context | None = None
        self._kv_bytes: tuple[int | None, int | None] = (None, None)

    def bind(self, inputs: Tensors) -> Callable[..., Tensors]:
        """The call empties the cache, prefills all prompts at once and decodes a token of each at a time.

        `token_ns` are nanoseconds from the submission of the prompts to each step's ids on the host.
        """
        ids = np.ascontiguousarray(next(iter(inputs.values())), dtype=np.int32)
        batch, prompt = ids.shape
        new_tokens = new_tokens_of(self.case)
        # The last token is never given back.
        context = self._context_for(batch, prompt + new_tokens - 1)
        prefill, step = _Batch(batch, prompt), _Batch(batch, 1)
        prefill.tokens[:] = ids
        prefill.wanted[:, -1] = 1
        step.wanted[:] = 1
        ends = self._ends

        def run(first: Callable[[], None] | None = None) -> Tensors:
            clock = time.perf_counter_ns
            token_ns, made = np.empty(new_tokens, np.int64), np.empty((batch, new_tokens), np.int64)
            begin = clock()
            context.clear()
            logits = context.decode(prefill, rows=batch)
            for number in range(new_tokens):
                # As other runtimes do where a length is demanded: the text may not end before.
                logits[:, ends] = -np.inf
                chosen = logits.argmax(-1)
                made[:, number] = chosen
                token_ns[number] = clock() - begin
                if first is not None and number == 0:
                    first()
                if number + 1 < new_tokens:
                    step.tokens[:, 0] = chosen
                    step.positions[:] = prompt + number
                    logits = context.decode(step, rows=batch)
            self._kv_bytes = self._kv_of(context, prompt + new_tokens - 1)
            return {"token_ids": made, "token_ns": token_ns}

        return run

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Of every position, teacher-forced: float32, (batch, tokens, vocabulary)."""
        batch, tokens = ids.shape
        # Of its own: room for all positions' logits is no part of what is timed.
        context = self._new_context(batch, tokens, outputs=batch * tokens)
        whole = _Batch(batch, tokens)
        whole.tokens[:] = ids
        whole.wanted[:] = 1
        found = context.decode(whole, rows=batch * tokens)
        return found.reshape(batch, tokens, -1).copy()

    def _context_for(self, batch: int, length: int) -> _Context:
        """The one that is there where it is as it must be: two would count twice in memory."""
        context = self._context
        if context is None or (context.batch, context.length) != (batch, length):
            self._context = None
            context = self._context = self._new_context(batch, length, outputs=batch)
        return context

    def _new_context(self, batch: int, length: int, *, outputs: int) -> _Context:
        assert self.model is not None
        wide = self.case.precision is Precision.FP32
        return _Context(
            self.model,
            batch,
            length,
            outputs=outputs,
            threads=self.case.threads,
            value_bytes=4 if wide else 2,
        )

    def kv_bytes(self) -> tuple[int | None, int | None]:
        """Of the last call's keys and values: used, and reserved."""
        return self._kv_bytes

    def _kv_of(self, context: _Context, tokens: int) -> tuple[int | None, int | None]:
        decoder = self.artifact.decoder
        if decoder is None:
            return None, None
        used, reserved = (
            decoder.kv_bytes(n, value_bytes=context.value_bytes, batch=context.batch)
            for n in (tokens, context.reserved)
        )
        return used, reserved

    def evidence(self) -> Evidence:
        """Versions, threads and cache as the context has them, and what llama.cpp says of the CPU that it was built for."""
        lib = library()
        context = self._context
        cache = {} if context is None else {
            "kv_type": {4: "f32", 2: "f16"}[context.value_bytes],
            "n_ctx": lib.llama_n_ctx(context.pointer),
        }  # fmt: skip
        return Evidence(
            runtime="llama.cpp",
            version=lib.__version__,
            device="cpu",
            precision=self.artifact.precision.value,
            threads=self.case.threads if context is None else lib.llama_n_threads(context.pointer),
            provider_nodes={"cpu": 1.0},
            provider_time={"cpu": 1.0},
            details={
                "boundary": "host_to_host",
                "build": lib.llama_version().decode(),
                "system_info": lib.llama_print_system_info().decode().strip(" |"),
                **cache,
            },
        )

    def close(self) -> None:
        """Drop context and model; they go when no bound call holds them."""
        self._context = self.model = None


class _Model:
    """A model in llama.cpp's memory, freed when nothing holds it."""

    def __init__(self, file: Path) -> None:
        lib = library()
        params = lib.llama_model_default_params()
        # A build for a GPU would take it.
        params.n_gpu_layers = 0
        self.pointer = lib.llama_model_load_from_file(os.fsencode(file), params)
        if not self.pointer:
            raise UsageError(f"{file}: llama.cpp does not load it: {complaint()}")
        weakref.finalize(self, lib.llama_model_free, self.pointer)
        self.vocab_size = int(lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.pointer)))


class _Context:
    """Keys and values for `batch` sequences of `length` tokens, and the threads that work on them.

    Attributes:
        reserved: tokens of a sequence that there is room for; llama.cpp rounds up.
        value_bytes: of one number of a key or a value.
    """

    def __init__(
        self, model: _Model, batch: int, length: int, *, outputs: int, threads: int, value_bytes: int
    ) -> None:
        lib = library()
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = batch * length
        params.n_seq_max = batch
        # Room for the logits of that many positions.
        params.n_outputs_max = outputs
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = {4: lib.GGML_TYPE_F32, 2: lib.GGML_TYPE_F16}[value_bytes]
        params.offload_kqv = params.op_offload = False
        if value_bytes == 4:
            # It would round fp32's keys and values to 16 bits.
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.pointer = lib.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise UsageError(f"llama.cpp has no context for {batch} × {length} tokens: {complaint()}")
        weakref.finalize(self, lib.llama_free, self.pointer)
        # The model must outlive it.
        self.model, self.batch, self.length, self.value_bytes = model, batch, length, value_bytes
        self.reserved = int(lib.llama_n_ctx_seq(self.pointer))
        self._lib, self._memory = lib, lib.llama_get_memory(self.pointer)

    def clear(self) -> None:
        """Forget all that was decoded."""
        self._lib.llama_memory_clear(self._memory, False)

    def decode(self, batch: _Batch, *, rows: int) -> np.ndarray:
        """Logits of the positions that are wanted, float32, (rows, vocabulary): llama.cpp's own, until it decodes again."""
        if self._lib.llama_decode(self.pointer, batch.raw):
            raise UsageError(f"llama.cpp did not decode {batch.raw.n_tokens} tokens: {complaint()}")
        found = self._lib.llama_get_logits(self.pointer)
        return np.ctypeslib.as_array(found, shape=(rows, self.model.vocab_size))


class _Batch:
    """Tokens that are decoded together, so many of each sequence: views of llama.cpp's memory.

    Attributes:
        tokens: ids, int32, (sequences, tokens).
        positions: int32, the same shape; from 0.
        wanted: int8, the same shape: 1 where logits are.
    """

    def __init__(self, sequences: int, tokens: int) -> None:
        lib, count = library(), sequences * tokens
        self.raw = lib.llama_batch_init(count, 0, 1)
        weakref.finalize(self, lib.llama_batch_free, self.raw)
        self.raw.n_tokens = count
        shape = (sequences, tokens)
        self.tokens, self.positions, self.wanted = (
            np.ctypeslib.as_array(pointer, shape=shape)
            for pointer in (self.raw.token, self.raw.pos, self.raw.logits)
        )
        self.positions[:] = np.arange(tokens)
        self.wanted[:] = 0
        for number in range(count):
            self.raw.n_seq_id[number] = 1
            self.raw.seq_id[number][0] = number // tokens


@functools.cache
def library() -> Any:
    """llama_cpp, which is silent; what it calls an error is kept for `complaint`."""
    import llama_cpp

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def listen(level: int, text: bytes, _: Any) -> None:
        if level == _ERROR:
            _complaints.append(text.decode(errors="replace").strip())

    llama_cpp.llama_log_set(listen, None)
    # It is called as long as the process lives.
    _listeners.append(listen)
    return llama_cpp


def complaint() -> str:
    """The last that llama.cpp called an error."""
    return _complaints[-1] if _complaints else "it does not say why"
