"""How far a language model's answers are those of fp32, and how well it foresees a fixed text. All of it teacher-forced.

It comes last in a worker's life, because a second model and all positions' logits would spoil the memory figure.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.spec import Artifact
from zoobench.tasks.text_generation import passage, prompt_ids

if TYPE_CHECKING:
    from zoobench.backends import TokenSession

WINDOW, WINDOWS = 512, 2
_AT_ONCE = 64
"""Positions whose distributions are looked at together: float64 of 150,000 words each."""
_TOKENIZER = "tokenizer.json"


def assess_text(session: TokenSession, reference: TokenSession | None, artifact: Artifact) -> dict[str, Any]:
    """Compare a model with fp32's on the same tokens.

    Args:
        session: what was measured.
        reference: fp32 on the same runtime; None: nothing to compare with, or it is the reference itself.
        artifact: what was measured; its tokenizer makes tokens of the text, except where weights are random.

    Returns:
        tokens, windows; source and tokens_sha256 of what was read; nll_sum over predicted tokens and their number
        (None where the text means nothing to it); with a reference kl_mean, kl_median and kl_p99 of KL(P_ref ‖ P) in nats,
        and agree, the number of positions with the same most likely token.
    """
    ids, source = _tokens(artifact)
    divergences: list[np.ndarray] = []
    agree = predicted = positions = 0
    nll = 0.0
    for window in ids:
        logits = session.logits(window[None])[0]
        theirs = None if reference is None else reference.logits(window[None])[0]
        for start in range(0, len(window), _AT_ONCE):
            mine = _log_softmax(logits[start : start + _AT_ONCE])
            following = window[start + 1 : start + 1 + len(mine)]
            nll -= float(mine[np.arange(len(following)), following].sum())
            predicted += len(following)
            positions += len(mine)
            if theirs is not None:
                wanted = _log_softmax(theirs[start : start + _AT_ONCE])
                divergences.append((np.exp(wanted) * (wanted - mine)).sum(axis=1))
                agree += int((wanted.argmax(axis=1) == mine.argmax(axis=1)).sum())
    found: dict[str, Any] = {
        "tokens": positions,
        "windows": len(ids),
        "source": source,
        "tokens_sha256": hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8").tobytes()).hexdigest(),
        "nll_mean": nll / predicted if source == "passage" else None,
        "kl_mean": None,
        "kl_median": None,
        "kl_p99": None,
        "agree": None,
    }
    if divergences:
        # Rounding may leave a hair below zero.
        values = np.maximum(np.concatenate(divergences), 0.0)
        found |= {
            "kl_mean": float(values.mean()),
            "kl_median": float(np.median(values)),
            "kl_p99": float(np.quantile(values, 0.99)),
            "agree": agree,
        }
    return found


def _tokens(artifact: Artifact) -> tuple[np.ndarray, str]:
    """Disjoint windows, int64, (windows, tokens): of the passage where the model can read it, else seeded ids."""
    assert artifact.decoder is not None
    length = min(WINDOW, artifact.decoder.context_length - 1)
    file = artifact.path / _TOKENIZER
    if artifact.weights != "random" and file.is_file():
        from tokenizers import Tokenizer

        ids = Tokenizer.from_file(str(file)).encode(passage(), add_special_tokens=False).ids
        count = min(WINDOWS, len(ids) // length)
        # One that was written for want of any knows no word of it.
        if count and len(set(ids)) > 50:
            return np.array(ids[: count * length], np.int64).reshape(count, length), "passage"
    return prompt_ids(WINDOWS, length, artifact.decoder.vocab_size), "seeded ids"


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    shifted: np.ndarray = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return shifted
