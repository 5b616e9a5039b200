import pytest

from zoobench.errors import UsageError
from zoobench.measure.effort import EFFORTS, at_least, with_max_case_time
from zoobench.terms import Effort


def test_every_effort_has_a_plan_and_more_effort_buys_more():
    assert set(EFFORTS) == set(Effort)
    for less, more in ((Effort.QUICK, Effort.STANDARD), (Effort.STANDARD, Effort.THOROUGH)):
        a, b = EFFORTS[less], EFFORTS[more]
        assert b.min_calls > a.min_calls
        assert b.min_time_s > a.min_time_s
        assert b.forks > a.forks
        assert b.target_half_width < a.target_half_width
        assert b.max_case_time_s > a.max_case_time_s
        assert set(a.percentiles) <= set(b.percentiles)


def test_efforts_are_ordered():
    order = [Effort.QUICK, Effort.STANDARD, Effort.THOROUGH]
    for i, a in enumerate(order):
        for j, b in enumerate(order):
            assert at_least(a, b) == (i >= j)


def test_the_time_of_a_case_can_be_limited():
    plan = with_max_case_time(EFFORTS[Effort.QUICK], 5)
    assert plan.max_case_time_s == 5
    assert plan.min_calls == EFFORTS[Effort.QUICK].min_calls


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_an_impossible_limit_is_refused(seconds):
    with pytest.raises(UsageError, match="--max-case-time"):
        with_max_case_time(EFFORTS[Effort.QUICK], seconds)
