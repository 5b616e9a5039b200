"""Absolute limits, decided on binomial evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoobench.judge import Decision
from zoobench.judge.limits import Limit, judge_limit
from zoobench.outcome import Slot

LIMIT = Limit(model="m", backend="fake", limit_ms=10.0)


def slots(samples_ms: Any) -> list[Slot]:
    return [
        Slot(fork=0, round=0, position=0, settling_ns=1, samples_ns=tuple(round(x * 1e6) for x in samples_ms))
    ]


def calls(n: int, over: int) -> list[Slot]:
    """n calls of which so many, well mixed, take longer than the limit."""
    times = np.full(n, 9.0)
    times[np.random.default_rng(0).permutation(n)[:over]] = 11.0
    return slots(times)


def decide(*attempts: list[Slot], limit: Limit = LIMIT, last: bool = True) -> Decision:
    return judge_limit(limit, attempts, last=last).decision


@pytest.mark.parametrize(
    ("n", "over", "decision"),
    # 0.95^58 = 5.1%, 0.95^59 = 4.8%: 59 calls below are the least that prove a p95.
    [
        (58, 0, "inconclusive"),
        (59, 0, "pass"),
        (200, 3, "pass"),
        (200, 10, "inconclusive"),
        # 17 would do if the calls were known to be independent.
        (200, 24, "fail"),
    ],
)
def test_decided_by_binomial_evidence(n: int, over: int, decision: str) -> None:
    assert decide(calls(n, over)) == decision


def test_a_sample_percentile_just_below_the_limit_proves_nothing() -> None:
    assert decide(calls(200, 9)) is Decision.INCONCLUSIVE
    assert decide(calls(200, 9), last=False) is Decision.MORE


def test_attempts_add_up() -> None:
    assert decide(calls(58, 0), calls(58, 0)) is Decision.PASS


def test_calls_that_come_in_bursts_weigh_less() -> None:
    """40 of 1000 in one stretch are one event; spread out they are forty."""
    burst = np.full(1000, 9.0)
    burst[300:420] = 11.0
    spread = np.full(1000, 9.0)
    spread[::8] = 11.0
    assert decide(slots(spread)) is Decision.FAIL
    assert decide(slots(burst)) is Decision.INCONCLUSIVE


def test_a_median_can_be_limited_too() -> None:
    median = Limit(model="m", backend="fake", limit_ms=10.0, percentile="p50")
    assert decide(calls(100, 30), limit=median) is Decision.PASS
    assert decide(calls(100, 70), limit=median) is Decision.FAIL


def test_the_message_holds_the_interval_and_the_limit() -> None:
    finding = judge_limit(LIMIT, [slots(np.linspace(20, 21, 200))], last=True)
    assert finding.decision is Decision.FAIL
    assert "20.9" in finding.message and "[" in finding.message and "10 ms" in finding.message
    assert finding.figures["calls_over"] == 200 and finding.figures["limit_ms"] == 10.0


def test_no_call_is_no_pass() -> None:
    assert decide([]) is Decision.INVALID


def test_error_rates_at_the_limit_itself() -> None:
    """A p95 exactly at the limit is passed and failed in about 5% of trials each."""
    rng = np.random.default_rng(7)
    found = [decide(slots(np.where(rng.random(400) < 0.05, 11.0, 9.0))) for _ in range(600)]
    assert found.count(Decision.PASS) / 600 < 0.08
    assert found.count(Decision.FAIL) / 600 < 0.08
