"""Shares: against figures from the literature, against brute force, and how often the intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoobench.measure.proportions import drop, mcnemar, share
from zoobench.terms import DropDecision


def test_wilson_is_newcombes_worked_example():
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for k, n, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)]:  # fmt: skip
        assert share(k, n).interval == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_lies_in_its_interval(pair):
    found = share(*pair)
    low, high = found.interval
    assert 0 <= low <= found.value <= high <= 1


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_is_refused(k, n):
    with pytest.raises(ValueError, match="is no share"):
        share(k, n)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (5, 15), (15, 5), (30, 30)])
def test_mcnemar_is_the_two_sided_binomial_test(lost, won):
    n, k = lost + won, min(lost, won)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert mcnemar(lost, won) == pytest.approx(min(1.0, 2 * tail))


def test_the_drop_decides_by_its_interval():
    assert drop(10, 12, 5000, 0.01).decision is DropDecision.PASS
    assert drop(150, 20, 5000, 0.01).decision is DropDecision.FAIL
    unsure = drop(30, 12, 1000, 0.01)
    assert unsure.decision is DropDecision.INCONCLUSIVE

    def with_images(n: float) -> DropDecision:
        return drop(round(0.030 * n), round(0.012 * n), round(n), 0.01).decision

    # With a few more of the same kind it is decided, and with a few fewer it is not.
    assert with_images(1.05 * unsure.images_needed) is DropDecision.FAIL
    assert with_images(0.95 * unsure.images_needed) is DropDecision.INCONCLUSIVE


def test_no_difference_on_few_images_proves_nothing():
    few, many = drop(0, 0, 10, 0.01), drop(0, 0, 5000, 0.01)
    assert few.decision is DropDecision.INCONCLUSIVE
    assert drop(0, 0, few.images_needed, 0.01).decision is DropDecision.PASS
    assert drop(0, 0, few.images_needed - 2, 0.01).decision is DropDecision.INCONCLUSIVE
    assert drop(0, 0, 10, 1e-9).images_needed is None
    assert many.decision is DropDecision.PASS and many.value == 0


def test_where_many_disagree_it_is_the_plain_interval():
    found = drop(300, 200, 5000, 0.01)
    half = 1.96 * math.sqrt(500 - 100**2 / 5000) / 5000
    assert found.interval == pytest.approx((0.02 - half, 0.02 + half), abs=2e-5)


def test_the_interval_of_a_drop_holds_the_truth():
    rng = np.random.Generator(np.random.PCG64(7))
    trials, n, lost, won = 2000, 500, 0.02, 0.008
    counts = rng.multinomial(n, [lost, won, 1 - lost - won], size=trials)
    held = [
        low <= lost - won <= high
        for low, high in (drop(int(b), int(c), n, 0.01).interval for b, c, _ in counts)
    ]
    assert 0.935 <= np.mean(held) <= 0.985


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="cannot be"):
        drop(6, 5, 10, 0.01)
