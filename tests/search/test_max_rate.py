"""The search for the highest rate: it ends, it is near, and a repeat asks for the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zoobench.search.max_rate import MOST_TRIES, Tried, best_rate, lowest_miss, next_rate


def search(holds: Callable[[float], bool], capacity: float, floor: float = 0.0) -> list[Tried]:
    tried: list[Tried] = []
    while (rate := next_rate(tried, capacity, floor)) is not None:
        tried.append(Tried(rate, holds(rate)))
        assert len(tried) <= MOST_TRIES
    return tried


@pytest.mark.parametrize("limit", [0.31, 3.3, 17.0, 61.9, 84.0, 99.0, 140.0])
@pytest.mark.parametrize("capacity", [90.0, 110.0])
def test_it_finds_the_limit_to_within_5_percent(limit, capacity):
    tried = search(lambda rate: rate <= limit, capacity)
    best, miss = best_rate(tried), lowest_miss(tried)
    assert best <= limit < miss
    # Three digits round a step of 5% by at most half a percent each.
    assert miss / best < 1.061
    assert len(tried) <= 16


def test_near_the_capacity_it_takes_few_tests():
    assert len(search(lambda rate: rate <= 80, 100.0)) <= 6


def test_a_capacity_that_was_measured_a_little_differently_leads_to_the_same_rates():
    one, other = (search(lambda rate: rate <= 61.9, capacity) for capacity in (97.0, 103.0))
    assert {t.qps for t in one} == {t.qps for t in other}


def test_the_next_rate_depends_on_nothing_but_what_was_tried():
    tried = search(lambda rate: rate <= 61.9, 100.0)
    for count in range(1, len(tried)):
        assert next_rate(tried[:count], 100.0) == next_rate(tried[count - 1 :: -1], 100.0) == tried[count].qps


def test_nothing_is_looked_for_below_what_can_never_hold():
    assert next_rate([Tried(70.0, holds=False, final=True)], 100.0) is None
    assert best_rate(search(lambda rate: False, 100.0)) is None


def test_a_rate_that_failed_below_one_that_held_is_no_limit():
    tried = [Tried(50.0, True), Tried(40.0, False), Tried(80.0, False)]
    assert (best_rate(tried), lowest_miss(tried)) == (50.0, 80.0)
    assert 50 < next_rate(tried, 100.0) < 80


def test_no_rate_but_the_answer_is_tried_twice():
    tried = search(lambda rate: rate <= 33, 1000.0)
    rates = [t.qps for t in tried]
    assert [rate for rate in rates if rates.count(rate) > 1] == [best_rate(tried)] * 2


@pytest.mark.parametrize("floor", [7.65, 13.0, 69.0, 90.0])
def test_no_rate_is_tried_at_which_a_test_has_no_time_for_its_queries(floor):
    rates = [t.qps for t in search(lambda rate: False, 100.0, floor)]
    assert floor <= min(rates) < 1.06 * floor
    assert search(lambda rate: True, 100.0, floor)[0].qps >= floor
    assert next_rate([], 100.0, floor=101.0) is None


def test_a_rate_that_met_the_limit_without_proof_is_asked_once_more():
    once = [Tried(70.0, holds=False, again=True)]
    assert next_rate(once, 100.0) == 70.0
    assert next_rate([*once, Tried(70.0, holds=True)], 100.0) > 70
    assert best_rate([*once, Tried(70.0, holds=True), *once]) is None
    # Twice unproven it counts as a miss, and the next one is near.
    assert 70 / 1.3 < next_rate(once * 2, 100.0) < 70
    assert best_rate([*once, Tried(70.0, holds=True)]) == 70 and lowest_miss(once * 2) == 70


def test_the_answer_has_held_twice():
    bracket = [Tried(70.0, holds=True), Tried(73.5, holds=False)]
    assert next_rate(bracket, 100.0) == 70.0
    assert next_rate([*bracket, Tried(70.0, holds=True)], 100.0) is None
    # One that held by luck is none, and the search goes on below it.
    lucky = [*bracket, Tried(70.0, holds=False)]
    assert best_rate(lucky) is None and next_rate(lucky, 100.0) < 70
    assert best_rate([*lucky, Tried(50.0, holds=True)]) == 50


def test_an_answer_that_only_lacked_the_proof_when_asked_again_is_asked_a_third_time():
    tried = [Tried(70.0, True), Tried(73.5, False), Tried(70.0, False, again=True)]
    assert next_rate(tried, 100.0) == 70.0
    assert next_rate([*tried, Tried(70.0, True)], 100.0) is None


def test_a_rate_that_missed_the_limit_is_not_asked_again():
    assert next_rate([Tried(70.0, holds=False)], 100.0) < 70


def test_far_above_the_answer_the_steps_down_grow():
    rates = [t.qps for t in search(lambda rate: rate < 3, 100.0)][:3]
    assert rates[1] / rates[2] > rates[0] / rates[1] > 1.2
