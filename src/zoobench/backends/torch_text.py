"""Language models in eager PyTorch: from an artifact back to a module, and a greedy decode loop of our own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.errors import PrepareError, first_line
from zoobench.outcome import Evidence
from zoobench.spec import Artifact, Case
from zoobench.terms import TOKEN_OPTIONS

if TYPE_CHECKING:
    import torch

    from zoobench.backends import Tensors


def load_causal_lm(artifact: Artifact, dtype: torch.dtype) -> Any:
    """The language model in evaluation mode, on the CPU.

    Raises:
        PrepareError: the artifact's files do not fit together; the cache was damaged.
    """
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            artifact.path, local_files_only=True, trust_remote_code=False, dtype=dtype
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise PrepareError(
            f"{artifact.model}: the artifact in {artifact.path} cannot be loaded ({first_line(error)}); "
            "zoobench cache prune --everything, then run again"
        ) from error
    return model.eval().requires_grad_(False)


class TorchTextSession:
    """A token a step, with the keys and values of what came before; ids are on the host after each step."""

    def __init__(self, module: Any, artifact: Artifact, case: Case, device: str) -> None:
        self.module, self.artifact, self.case, self.device = module.to(device), artifact, case, device
        self.compile_s: float | None = None
        self._kv_bytes: int | None = None

    def bind(self, inputs: Tensors) -> Callable[..., Tensors]:
        """The call prefills and decodes; `token_ns` are nanoseconds from its begin to each step's ids on the host."""
        import torch

        ids = torch.from_numpy(np.ascontiguousarray(next(iter(inputs.values())))).to(self.device)
        module, new_tokens = self.module, new_tokens_of(self.case)
        said = module.config.eos_token_id
        ends = [] if said is None else said if isinstance(said, list) else [said]

        def run(first: Callable[[], None] | None = None) -> Tensors:
            clock = time.perf_counter_ns
            token_ns, made = np.empty(new_tokens, np.int64), np.empty((len(ids), new_tokens), np.int64)
            with torch.inference_mode():
                begin = clock()
                # Only the last position's logits are of use; all of them would be gigabytes of a long prompt.
                out = module(input_ids=ids, use_cache=True, logits_to_keep=1)
                for step in range(new_tokens):
                    logits = out.logits[:, -1]
                    # As other runtimes do where a length is demanded: the text may not end before.
                    logits[:, ends] = -math.inf
                    chosen = logits.argmax(-1)
                    made[:, step] = chosen.cpu().numpy()
                    token_ns[step] = clock() - begin
                    if first is not None and step == 0:
                        first()
                    if step + 1 < new_tokens:
                        out = module(
                            input_ids=chosen[:, None], past_key_values=out.past_key_values, use_cache=True
                        )
            self._kv_bytes = _bytes_of(out.past_key_values)
            return {"token_ids": made, "token_ns": token_ns}

        return run

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Of every position, teacher-forced: float32, (batch, tokens, vocabulary)."""
        import torch

        with torch.inference_mode():
            out = self.module(input_ids=torch.from_numpy(ids).to(self.device), use_cache=False).logits
        found: np.ndarray = out.float().cpu().numpy()
        return found

    def kv_bytes(self) -> tuple[int | None, int | None]:
        """Of the last call's keys and values: used, and reserved, which here is the same."""
        return self._kv_bytes, self._kv_bytes

    def evidence(self) -> Evidence:
        """Device, dtype and threads, read from the module."""
        import torch

        parameter = next(self.module.parameters())
        name = str(parameter.dtype).removeprefix("torch.")
        device = parameter.device.type
        return Evidence(
            runtime="pytorch",
            version=torch.__version__,
            device=device,
            precision={"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}.get(name, name),
            threads=torch.get_num_threads(),
            provider_nodes={device: 1.0},
            provider_time={device: 1.0},
            details={
                "boundary": "host_to_host",
                "attention": str(self.module.config._attn_implementation),
                "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            },
        )

    def close(self) -> None:
        """Drop the module."""
        self.module = None


def new_tokens_of(case: Case) -> int:
    """How many tokens are made of each prompt."""
    return int(case.options.get("new_tokens", TOKEN_OPTIONS["new_tokens"]))


def _bytes_of(cache: Any) -> int:
    return sum(
        tensor.numel() * tensor.element_size()
        for layer in cache.layers
        for tensor in (layer.keys, layer.values)
    )
