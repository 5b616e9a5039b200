"""How much evidence is bought: the three efforts, and the budget of one slot."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zoobench.errors import UsageError
from zoobench.terms import Effort


@dataclass(frozen=True)
class EffortPlan:
    """What one effort buys for every case. Counts and times are totals over forks.

    Attributes:
        min_calls: least number of timed calls.
        min_time_s: least sum of timed calls, seconds.
        forks: fresh worker processes.
        target_half_width: of the p50 interval, relative to p50.
        max_case_time_s: a case that has used this much is not given another slot.
        percentiles: those that this effort means to show.
        tests: LoadGen tests, at least one a fork.
        test_s: least duration of a LoadGen test.
        max_test_s: a LoadGen test may go on for this long, to hold the queries that its verdict needs at a low rate.
        requests: of a language model; each gives as many samples of a token's time as it makes tokens.
        tests_forgive: so many queries over the limit a LoadGen test must be able to forgive and still be VALID,
            which takes the more queries the more it forgives.
    """

    min_calls: int
    min_time_s: float
    forks: int
    target_half_width: float
    max_case_time_s: float
    percentiles: tuple[int, ...]
    tests: int = 1
    test_s: float = 5.0
    tests_forgive: int = 2
    max_test_s: float = 60.0
    requests: int = 6


EFFORTS: dict[Effort, EffortPlan] = {
    Effort.QUICK: EffortPlan(72, 1.0, 1, 0.03, 20.0, (50, 95), 1, 5.0, 2, requests=6),
    Effort.STANDARD: EffortPlan(500, 5.0, 2, 0.01, 60.0, (50, 95), 4, 8.0, 2, requests=20),
    Effort.THOROUGH: EffortPlan(1000, 10.0, 6, 0.005, 180.0, (50, 95, 99), 12, 10.0, 5, requests=72),
}

SLOT_MIN_CALLS = 20
"""With 6 calls a slot p95 was seen inflated by up to 1.8×, with 20 it was not."""
SLOT_SLOW_MIN_CALLS = 3
SLOT_MIN_S = 0.25
SLOW_CALL_S = 0.1
"""A call that takes longer is slow: its slots may hold `SLOT_SLOW_MIN_CALLS`."""
MIN_TIMER_STEPS = 1000
"""A timed stretch shorter than this many timer resolutions is looped, and its percentiles are suppressed."""

_ORDER = tuple(EFFORTS)


def at_least(a: Effort, b: Effort) -> bool:
    """True when effort `a` buys as much evidence as `b` or more."""
    return _ORDER.index(a) >= _ORDER.index(b)


def with_max_case_time(plan: EffortPlan, seconds: float) -> EffortPlan:
    """The same plan under another `--max-case-time`.

    Raises:
        UsageError: `seconds` is not a positive, finite number.
    """
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--max-case-time {seconds:g}: a positive number of seconds is needed, such as 60")
    return replace(plan, max_case_time_s=seconds, max_test_s=0.0)


def for_load_tests(plan: EffortPlan) -> EffortPlan:
    """The same plan with the time that LoadGen's tests may take, unless the user has set one."""
    return replace(plan, max_case_time_s=max(plan.max_case_time_s, plan.tests * plan.max_test_s))


def for_tokens(plan: EffortPlan) -> EffortPlan:
    """The same plan for requests that take seconds: their number is bought, and time for them."""
    # Where the user has set a time that stays; `max_test_s` is 0 then.
    patience = plan.max_case_time_s if plan.max_test_s == 0.0 else 6 * plan.max_case_time_s
    return replace(
        plan,
        min_calls=plan.requests,
        min_time_s=0.0,
        target_half_width=0.05,
        max_case_time_s=patience,
        # Of requests; of tokens there are many more, and they have percentiles of their own.
        percentiles=(50,),
    )


def load_test_s(plan: EffortPlan) -> float:
    """How long one LoadGen test of this plan may go on, seconds."""
    return for_load_tests(plan).max_case_time_s / plan.tests
