"""From what a quality pass counted to what is told of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zoobench.measure.proportions import share
from zoobench.outcome import Quality, TaskScore
from zoobench.spec import Artifact
from zoobench.terms import Precision, Reason

KL_GATES = {Precision.BF16: 0.005, Precision.FP16: 0.005, Precision.INT8: 0.005, Precision.INT4: 0.05}
"""Mean KL divergence from fp32, nats a token, up to which a precision passes."""
AGREEMENT_GATE = 0.995
"""Share of positions with the reference's most likely token, from which another fp32 passes."""


def summarise_quality(raw: Mapping[str, Any], precision: Precision, reference: Artifact | None) -> Quality:
    """Make shares and a decision of what the worker's `quality` verb returned.

    Of seeded ids nothing is decided: SmolLM2's int4 was within its gate with random weights, and eight times beyond it with
    trained ones.
    """
    nll = raw["nll_mean"]
    agreement = None if raw["agree"] is None else share(int(raw["agree"]), int(raw["tokens"]))
    gate = passed = None
    if agreement is not None and raw["source"] == "passage":
        if precision in KL_GATES:
            gate = f"KL ≤ {KL_GATES[precision]:g}"
            passed = raw["kl_mean"] <= KL_GATES[precision]
        else:
            gate = f"same token ≥ {AGREEMENT_GATE:.1%}"
            passed = agreement.value >= AGREEMENT_GATE
    return Quality(
        source=raw["source"],
        tokens=raw["tokens"],
        windows=raw["windows"],
        tokens_sha256=raw["tokens_sha256"],
        perplexity=None if nll is None else math.exp(nll),
        reference_sha256=reference.sha256 if reference and agreement else None,
        kl_mean=raw["kl_mean"],
        kl_median=raw["kl_median"],
        kl_p99=raw["kl_p99"],
        agreement=agreement,
        gate=gate,
        passed=passed,
    )


def with_scores(quality: Quality, raw: Sequence[Mapping[str, Any]]) -> Quality:
    """With what the worker's `lm_eval` verb returned."""
    return quality.model_copy(update={"scores": tuple(TaskScore.model_validate(one) for one in raw)})


def quality_warnings(
    quality: Quality | None, unassessed: str | None, unscored: str | None = None
) -> Iterator[Reason]:
    """What a reader of a language model's speed must know. It never changes whether the speed can be believed."""
    if unassessed is not None:
        yield Reason(code="no_quality", message=f"the quality pass failed: {unassessed}")
    if unscored is not None:
        yield Reason(code="no_quality", message=f"lm-eval failed: {unscored}")
    if quality is not None and quality.passed is False and quality.agreement is not None:
        yield Reason(
            code="quality_gate",
            message=f"against fp32 the mean KL divergence is {quality.kl_mean:.3g} and {quality.agreement.value:.1%} of the most "
            f"likely tokens are the same; {quality.gate} was missed",
        )
