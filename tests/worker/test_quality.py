"""Quality of language models, on distributions that are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoobench.errors import UsageError
from zoobench.measure.quality import quality_warnings, summarise_quality
from zoobench.spec import Artifact, Case, Decoder
from zoobench.tasks.text_generation import passage
from zoobench.terms import Precision
from zoobench.worker import session as worker_session
from zoobench.worker.quality import WINDOW, WINDOWS, assess_text

VOCABULARY = 80


class Knowing:
    """Gives every id but one the logit 0, and that one `sure`; always the same one, or (`flips`) sometimes another."""

    def __init__(self, sure: float, flips: int = 0) -> None:
        self.sure, self.flips = sure, flips

    def logits(self, ids: np.ndarray) -> np.ndarray:
        found = np.zeros((*ids.shape, VOCABULARY), np.float32)
        chosen = np.full(ids.shape, 3)
        if self.flips:
            chosen[:, :: self.flips] = 4
        np.put_along_axis(found, chosen[..., None], self.sure, axis=-1)
        return found


def artifact(**fields: Any) -> Artifact:
    decoder = Decoder(
        layers=1, hidden_size=8, heads=1, kv_heads=1, head_dim=8, vocab_size=VOCABULARY, context_length=1024
    )
    told = {"path": Path("/nowhere"), "weights": "random", "sha256": "a" * 64, **fields}
    return Artifact(format="genai", size_bytes=1, model="m", task="text_generation", decoder=decoder, **told)


def assessed(mine: Knowing, theirs: Knowing | None = None) -> dict[str, Any]:
    return assess_text(mine, theirs, artifact())  # type: ignore[arg-type]


def test_a_model_is_like_itself() -> None:
    found = assessed(Knowing(2.0), Knowing(2.0))
    assert (
        found["kl_mean"] == 0
        and found["kl_p99"] == 0
        and found["agree"] == found["tokens"] == WINDOW * WINDOWS
    )
    assert found["source"] == "seeded ids" and found["nll_mean"] is None, (
        "a text means nothing to random weights"
    )


def test_the_divergence_is_that_of_the_formula() -> None:
    found = assessed(Knowing(1.0), Knowing(2.0))
    p, q = (np.array([math.exp(s), *[1.0] * (VOCABULARY - 1)]) for s in (2.0, 1.0))
    p, q = p / p.sum(), q / q.sum()
    expected = float((p * np.log(p / q)).sum())
    assert found["kl_mean"] == pytest.approx(expected, rel=1e-6) and found["kl_median"] == pytest.approx(
        expected
    )
    assert found["agree"] == found["tokens"]


def test_positions_that_flip_are_counted() -> None:
    found = assessed(Knowing(2.0, flips=64), Knowing(2.0))
    assert found["agree"] == found["tokens"] - WINDOW * WINDOWS // 64
    assert found["kl_p99"] > found["kl_median"] == 0


def test_without_a_reference_nothing_is_compared() -> None:
    found = assessed(Knowing(2.0))
    assert found["kl_mean"] is None and found["agree"] is None
    quality = summarise_quality(found, Precision.FP32, None)
    assert quality.passed is None and quality.gate is None and list(quality_warnings(quality, None)) == []


def test_perplexity_of_who_knows_nothing_is_the_size_of_the_vocabulary(tmp_path: Path) -> None:
    found = assess_text(Knowing(0.0), None, artifact(path=reading(tmp_path, letters=True), weights="local"))  # type: ignore[arg-type]
    assert found["source"] == "passage" and found["tokens"] == WINDOW * found["windows"]
    assert math.exp(found["nll_mean"]) == pytest.approx(VOCABULARY)


def test_a_tokenizer_that_knows_no_word_is_not_asked(tmp_path: Path) -> None:
    found = assess_text(Knowing(0.0), None, artifact(path=reading(tmp_path, letters=False), weights="local"))  # type: ignore[arg-type]
    assert found["source"] == "seeded ids" and found["nll_mean"] is None


def reading(folder: Path, *, letters: bool) -> Path:
    """A tokenizer that gives each letter of the passage an id, or all the same."""
    from tokenizers import Tokenizer, models

    known = sorted(set(passage())) if letters else ["?"]
    Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(known)}, merges=[], unk_token=known[0])).save(
        str(folder / "tokenizer.json")
    )
    return folder


@pytest.mark.parametrize(
    ("precision", "kl", "agree", "passed"),
    [
        (Precision.INT8, 0.004, 900, True),
        (Precision.INT8, 0.006, 1000, False),
        (Precision.INT4, 0.04, 800, True),
        (Precision.INT4, 0.06, 990, False),
        (Precision.BF16, 0.001, 972, True),
        (Precision.BF16, 0.02, 999, False),
        (Precision.TF32, 0.5, 996, True),
        (Precision.TF32, 0.0, 994, False),
    ],
)
def test_each_precision_has_its_gate(precision: Precision, kl: float, agree: int, passed: bool) -> None:
    raw = {
        "tokens": 1000, "windows": 2, "source": "passage", "tokens_sha256": "c" * 64, "nll_mean": 3.0, "kl_mean": kl,
        "kl_median": kl, "kl_p99": kl, "agree": agree,
    }  # fmt: skip
    quality = summarise_quality(raw, precision, artifact())
    assert quality.passed is passed and quality.reference_sha256 == "a" * 64
    assert quality.perplexity == pytest.approx(math.exp(3))
    told = [reason.code for reason in quality_warnings(quality, None)]
    assert told == ([] if passed else ["quality_gate"])
    assert [r.code for r in quality_warnings(None, "it broke")] == ["no_quality"]


def test_of_random_weights_nothing_is_decided() -> None:
    raw = {
        "tokens": 1000, "windows": 2, "source": "seeded ids", "tokens_sha256": "c" * 64, "nll_mean": None, "kl_mean": 9.0,
        "kl_median": 9.0, "kl_p99": 9.0, "agree": 1,
    }  # fmt: skip
    quality = summarise_quality(raw, Precision.INT4, artifact())
    assert quality.kl_mean == 9.0 and quality.passed is None and quality.gate is None
    assert list(quality_warnings(quality, None)) == []


@pytest.mark.parametrize(
    ("kind", "precision", "weights_gb"),
    [("torch", "fp32", 8.0), ("torch", "bf16", 4.0), ("genai", "int4", 1.2)],
)
def test_what_the_memory_does_not_hold_is_refused_before_it_is_loaded(
    kind: str, precision: str, weights_gb: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_session, "free_memory_bytes", lambda: 10**9)
    role = worker_session.SessionRole()
    role._artifact = artifact().model_copy(
        update={"format": kind, "parameters": 2 * 10**9, "size_bytes": 12 * 10**8}
    )
    options = {"prompt_tokens": 500, "new_tokens": 100}
    role._case = Case(model="m", backend="b", threads=1, precision=precision, options=options)
    with pytest.raises(
        UsageError, match=f"weights take about {weights_gb} GB and its keys .* and 1.0 GB of memory are free"
    ):
        role._check_fits()
    monkeypatch.setattr(worker_session, "free_memory_bytes", lambda: 10**11)
    role._check_fits()
    role._case = role._case.model_copy(update={"options": {"prompt_tokens": 1000, "new_tokens": 100}})
    with pytest.raises(UsageError, match="1000 prompt and 100 new tokens are 1100, its context holds 1024"):
        role._check_fits()
