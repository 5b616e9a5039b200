"""Absolute limits: does this percentile of the latency stay below so many milliseconds?

Decided on binomial evidence, not on the sample percentile: that one lies on either side of a limit near it by luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoobench.judge import Decision, Finding
from zoobench.measure.distributions import binomial_cdf
from zoobench.measure.stats import cautious_count, percentile, quantile_interval, vif
from zoobench.outcome import Slot
from zoobench.terms import OptionValue, Precision

ERROR = 0.05
"""One-sided error of a decision."""
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
DEFAULT_PERCENTILE = "p95"
ATTEMPTS = 3
"""Once, and again twice at most."""


@dataclass(frozen=True)
class Limit:
    """What one cell's latency may be.

    Attributes:
        percentile: a key of PERCENTILES.
        limit_ms: milliseconds a call.
        machine: fingerprint of the machine that it holds on; None: every machine.
        threads: intra-op; None: every CPU that the process may use.
        options: runtime options, (name, value).
        note: where the limit comes from, for people.
        where: the file and the entry, for messages.
    """

    model: str
    backend: str
    limit_ms: float
    percentile: str = DEFAULT_PERCENTILE
    precision: Precision = Precision.FP32
    batch: int = 1
    machine: str | None = None
    threads: int | None = None
    options: tuple[tuple[str, OptionValue], ...] = ()
    note: str = ""
    where: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What it limits: of two limits with one key only one can be meant."""
        return (
            *(self.model, self.backend, self.precision, self.batch, self.threads, self.options),
            *(self.percentile, self.machine),
        )

    @property
    def name(self) -> str:
        """How a person names it."""
        cell = f"{self.model} · {self.backend} · {self.precision.value} · batch {self.batch}"
        return f"{cell} · {self.percentile}"


def judge_limit(limit: Limit, attempts: Sequence[Sequence[Slot]], *, last: bool) -> Finding:
    """Decide one limit.

    With k of n calls above the limit T and k_eff = k · n_eff / n: PASS if P(Bin(n_eff, 1 − p) ≤ k_eff) ≤ 5%, so that a
    percentile at T would hardly leave so few above it; FAIL if P(Bin(n_eff, 1 − p) ≥ k_eff) ≤ 5%; otherwise more calls.

    Args:
        attempts: the slots of each time it was measured, in order.
    """
    p = PERCENTILES[limit.percentile]
    runs = [
        np.array([ns for slot in slots for ns in slot.samples_ns], dtype=np.float64) / 1e6
        for slots in attempts
    ]
    samples = np.concatenate([run for run in runs if len(run)] or [np.empty(0)])
    if not len(samples):
        return Finding(limit.name, Decision.INVALID, "no call was timed")
    over = int((samples > limit.limit_ms).sum())
    n_eff = _independent(runs, limit.limit_ms)
    k_eff, beyond = over * n_eff / len(samples), 1 - p
    ordered = np.sort(samples)
    interval = quantile_interval(ordered, p, n_eff)
    low, high = interval or (None, None)
    figures: dict[str, float | int | str | None] = {
        "percentile": limit.percentile,
        "limit_ms": limit.limit_ms,
        "measured_ms": percentile(ordered, p),
        "low_ms": low,
        "high_ms": high,
        "calls": len(samples),
        "calls_over": over,
        "n_eff": n_eff,
        "machine": limit.machine,
    }
    seen = f"{limit.percentile} {percentile(ordered, p):.3g} ms"
    seen += f" [{low:.3g}, {high:.3g}]" if interval else ""
    evidence = f"{over} of {len(samples)} calls took longer than {limit.limit_ms:g} ms"
    if binomial_cdf(k_eff, int(n_eff), beyond) <= ERROR:
        return Finding(
            limit.name, Decision.PASS, f"{seen}, within the limit of {limit.limit_ms:g} ms", figures
        )
    if k_eff > 0 and 1 - binomial_cdf(math.ceil(k_eff) - 1, int(n_eff), beyond) <= ERROR:
        message = f"{seen}, over the limit of {limit.limit_ms:g} ms: {evidence}"
        return Finding(limit.name, Decision.FAIL, message, figures)
    decision = Decision.INCONCLUSIVE if last else Decision.MORE
    if not over and binomial_cdf(0, int(n_eff), beyond) > ERROR:
        message = (
            f"{seen}: {len(samples)} calls are too few for {limit.percentile}, though none took longer than "
            f"{limit.limit_ms:g} ms; use --effort standard"
        )
        return Finding(limit.name, decision, message, figures)
    message = f"{seen}, too near the limit of {limit.limit_ms:g} ms to tell: {evidence}, and {1 - p:.0%} are let through"
    return Finding(limit.name, decision, message, figures)


def _independent(runs: Sequence[np.ndarray], limit_ms: float) -> float:
    """How many independent calls the runs weigh as, by the indicator that is counted: calls above the limit."""
    total = 0.0
    for run in runs:
        share = float((run > limit_ms).mean()) if len(run) else 0.0
        inflation = vif(run, limit_ms, share) if 0 < share < 1 else None
        total += cautious_count(len(run), inflation)
    return total
