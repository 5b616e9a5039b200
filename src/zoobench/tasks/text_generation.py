"""Text generation: ids of a prompt in, one id after another out, always the most likely one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoobench.tasks import CHECK_ITEMS
from zoobench.tasks.first_output import FirstOutput

CHECK_TOKENS = 24
"""Of a check prompt: long enough for positions to matter, short enough to be asked of a slow model."""
_SEED = 20_261_126


def prompt_ids(count: int, tokens: int, vocab_size: int, *, seed: int = _SEED) -> np.ndarray:
    """Seeded prompts, int64, (count, tokens): any id but the first few, which many vocabularies keep for control.

    Random ids say nothing, and cost what any others cost: a dense decoder looks at every weight for each.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    least = min(16, vocab_size - 1)
    return rng.integers(least, vocab_size, (count, tokens), dtype=np.int64)


def passage() -> str:
    """A fixed text, whose tokens' hash stands in the record: the beginning of Alice's Adventures in Wonderland (1865).

    Every language model has read it, so its perplexity compares precisions and says little of models.
    """
    return Path(__file__).with_name("passage.txt").read_text(encoding="utf-8")


class TextGeneration(FirstOutput):
    """Inputs are ids (batch, tokens), int64; outputs the ids that follow, and the logits of the last of the prompt."""

    def check_inputs(self, input_shape: tuple[int, ...], items: int = CHECK_ITEMS) -> np.ndarray:
        """Prompts, int64, (items, tokens).

        Args:
            input_shape: (tokens, size of the vocabulary).
        """
        tokens, vocab_size = input_shape
        return prompt_ids(items, tokens, vocab_size)
