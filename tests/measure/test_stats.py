"""The statistics against exact figures, against LoadGen's own, and against known distributions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr, ndtri

from zoobench.measure import stats
from zoobench.measure.effort import EFFORTS, EffortPlan
from zoobench.outcome import Slot
from zoobench.terms import Effort

SEED = 20261103
TRIALS = 2000
QUICK = EFFORTS[Effort.QUICK]

finite = st.floats(1e3, 1e9, allow_nan=False)
some = st.lists(finite, min_size=1, max_size=300).map(lambda v: np.sort(np.array(v)))


def slot(samples_ms, fork=0, turn=0, position=0, inner_loops=1):
    return Slot(
        fork=fork,
        round=turn,
        position=position,
        inner_loops=inner_loops,
        settling_ns=1,
        samples_ns=tuple(int(ms * 1e6) for ms in samples_ms),
    )


def ar1(rng, trials, n, rho):
    """Standard normal, correlation rho between neighbours."""
    values = rng.standard_normal((trials, n))
    for i in range(1, n):
        values[:, i] = rho * values[:, i - 1] + math.sqrt(1 - rho**2) * values[:, i]
    return values


def coverage(n, rho, p, *, ignore_correlation=False):
    """Share of the trials whose interval exists that hold the true quantile of a lognormal, and how many do."""
    samples = 10 * np.exp(0.1 * ar1(np.random.default_rng(SEED), TRIALS, n, rho))
    truth = 10 * math.exp(0.1 * ndtri(p))
    held = []
    for row in samples:
        ordered = np.sort(row)
        inflation = None if ignore_correlation else stats.vif(row, stats.percentile(ordered, p), p)
        interval = stats.quantile_interval(ordered, p, stats.interval_count(n, inflation, p))
        if interval:
            held.append(interval[0] <= truth <= interval[1])
    return float(np.mean(held)), len(held)


# --- percentiles


@pytest.mark.parametrize(
    ("n", "p", "index"), [(1, 0.5, 0), (2, 0.5, 1), (100, 0.95, 95), (20, 0.95, 19), (100, 0.57, 57)]
)
def test_a_percentile_is_an_order_statistic(n, p, index):
    assert stats.percentile(np.arange(n, dtype=float), p) == index


@settings(deadline=None)
@given(some, st.floats(0.01, 0.99))
def test_a_percentile_is_a_sample_with_its_share_below(samples, p):
    value = stats.percentile(samples, p)
    assert value in samples
    assert (samples < value).mean() <= p + 1e-9
    assert (samples <= value).mean() >= p - 1e-9


# --- intervals


@pytest.mark.parametrize(("p", "least"), [(0.50, 6), (0.90, 36), (0.95, 72), (0.99, 368)])
def test_an_interval_exists_from_a_known_count_on(p, least):
    samples = np.arange(1000, dtype=float)
    assert stats.quantile_interval(samples[:least], p, least) is not None
    assert stats.quantile_interval(samples[: least - 1], p, least - 1) is None
    assert stats.quantile_interval(samples, p, least - 0.01) is None
    assert stats.quantile_interval(samples, p, least) is not None


def test_the_ranks_of_a_known_interval():
    # Conover, Practical Nonparametric Statistics: n = 20, median, 95% lies between the 6th and the 15th.
    assert stats.quantile_interval(np.arange(1.0, 21.0), 0.5, 20) == (6, 15)


@settings(deadline=None)
@given(n=st.integers(1, 800), p=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_ranks_hold_their_confidence_and_are_the_nearest(n, p):
    interval = stats.quantile_interval(np.arange(1.0, n + 1), p, n)
    if interval is None:
        assert min(1 - (1 - p) ** n, 1 - p**n) < 0.975
        return
    low, high = interval
    assert bdtr(low - 1, n, p) <= 0.025 < bdtr(low, n, p)
    assert bdtr(high - 1, n, p) >= 0.975 > bdtr(high - 2, n, p)


@settings(deadline=None)
@given(some, st.sampled_from([0.5, 0.95]), st.floats(1, 20))
def test_an_interval_holds_its_percentile_and_only_widens_with_correlation(samples, p, inflation):
    n = len(samples)
    sure = stats.quantile_interval(samples, p, n)
    unsure = stats.quantile_interval(samples, p, n / inflation)
    if sure:
        assert sure[0] <= stats.percentile(samples, p) <= sure[1]
    if sure and unsure:
        # A rank's width of play: the binomial is coarse where n_eff is small.
        slack = math.ceil(inflation)
        low, high = np.searchsorted(samples, unsure[0]), np.searchsorted(samples, unsure[1], side="right") - 1
        assert samples[max(0, low - slack)] <= sure[0]
        assert samples[min(n - 1, high + slack)] >= sure[1]


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.5, 0.95])
@pytest.mark.parametrize(("n", "rho"), [(72, 0.0), (500, 0.0), (500, 0.5), (1000, 0.5)])
def test_intervals_cover_the_truth(n, rho, p):
    share, intervals = coverage(n, rho, p)
    assert 0.93 <= share <= 0.99
    assert intervals > 0.99 * TRIALS


@pytest.mark.slow
@pytest.mark.parametrize(("p", "most"), [(0.5, 0.85), (0.95, 0.90)])
def test_without_the_inflation_correlated_calls_would_not_be_covered(p, most):
    assert coverage(1000, 0.5, p, ignore_correlation=True)[0] < most


def test_the_inflation_of_known_correlation():
    # For an indicator at the median of a Gaussian AR(1) its autocorrelation at lag k is (2/π)·asin(ρ^k).
    truth = 1 + 2 * sum(2 / math.pi * math.asin(0.5**k) for k in range(1, 50))
    values = ar1(np.random.default_rng(SEED), 1, 100_000, 0.5)[0]
    assert stats.vif(values, 0.0, 0.5) == pytest.approx(truth, rel=0.08)
    independent = np.random.default_rng(SEED).standard_normal(100_000)
    assert stats.vif(independent, 0.0, 0.5) == pytest.approx(1, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "p", "most"), [(72, 0.5, 0.85), (150, 0.95, 0.91), (490, 0.95, 0.91)])
def test_few_correlated_calls_make_do_with_short_blocks(n, p, most):
    share, intervals = coverage(n, 0.5, p)
    assert share >= 0.93 and intervals > 0.99 * TRIALS
    assert coverage(n, 0.5, p, ignore_correlation=True)[0] < most


@pytest.mark.parametrize(("p", "count"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_the_fewest_calls_that_have_an_interval(p, count):
    assert stats.least_count(p) == count
    samples = np.arange(float(count))
    assert stats.quantile_interval(samples, p, count) and not stats.quantile_interval(samples, p, count - 1)


def test_the_inflation_needs_ten_blocks_and_never_helps():
    assert stats.vif(np.arange(499.0), 474, 0.95) > 5
    assert stats.vif(np.arange(49.0), 25, 0.5) is None
    alternating = np.tile([1.0, 2.0], 250)
    assert stats.vif(alternating, 1.5, 0.5) == 1.0
    assert stats.vif(np.arange(500.0), 250, 0.5) > 20


# --- LoadGen


@pytest.mark.parametrize(("p", "queries"), [(0.90, 64), (0.95, 130), (0.99, 662)])
def test_early_stopping_needs_as_many_queries_as_in_loadgen(p, queries):
    samples = np.arange(queries, dtype=float)
    assert stats.early_stop_bound(samples[:-1], p) is None
    assert stats.early_stop_bound(samples, p) == samples[-1]


@pytest.mark.parametrize(
    ("p", "over", "queries"), [(0.99, 0, 459), (0.99, 1, 662), (0.9, 1, 64), (0.95, 1, 130), (0.9, 0, 44)]
)
def test_early_stopping_forgives_as_many_as_loadgen(p, over, queries):
    assert stats.early_stop_queries(p, over) == queries


def test_early_stopping_discards_as_many_as_loadgen():
    assert stats.early_stop_discard(10_000, 0.99) == 77
    assert stats.early_stop_bound(np.arange(10_000.0), 0.99) == 10_000 - 77


@settings(deadline=None)
@given(n=st.integers(64, 3000), p=st.sampled_from([0.9, 0.95, 0.99]))
def test_early_stopping_takes_the_largest_count_that_loadgen_would(n, p):
    t = stats.early_stop_discard(n, p)
    if t is None:
        assert bdtr(1, n, 1 - p) >= 0.01
    else:
        assert bdtr(t, n, 1 - p) < 0.01 <= bdtr(t + 1, n, 1 - p)


# --- outliers and drift


def test_outliers_are_counted_from_the_median_in_mads():
    samples = np.array([9.0, 10.0, 11.0] * 30)
    assert stats.outliers(samples) == 0
    assert stats.outliers(np.append(samples, [10 + 14.7, 10 + 14.9, 10 - 14.9])) == 2
    assert stats.outliers(np.full(50, 3.0)) == 0


def test_drift_is_the_ratio_of_the_half_medians():
    assert stats.drift(np.array([10.0] * 6 + [10.5] * 6)) == pytest.approx(0.05)
    assert stats.drift(np.array([10.0] * 6 + [99.0] + [9.0] * 6)) == pytest.approx(-0.1)
    assert stats.drift(np.full(11, 10.0)) is None


# --- describe


def test_samples_are_pooled_in_milliseconds_whatever_the_order_of_the_slots():
    slots = [slot([4, 5, 6], turn=1), slot([1, 2, 3], turn=0)]
    latency = stats.describe(slots)
    assert latency == stats.describe(slots[::-1])
    assert (latency.n, latency.mean_ms, latency.min_ms, latency.max_ms) == (6, 3.5, 1, 6)
    assert latency.p50_ms == 4
    assert latency.p50_interval_ms == (1, 6)
    assert latency.stdev_ms == pytest.approx(np.std(range(1, 7), ddof=1))
    assert latency.interval_kind == "within_process"
    assert latency.vif is None
    assert latency.n_eff == 6


def test_time_order_is_what_drift_is_made_of():
    rising = [slot([10] * 10, turn=0), slot([11] * 10, turn=1)]
    assert stats.describe(rising[::-1]).drift == pytest.approx(0.1)


def test_nothing_timed_gives_nothing():
    assert stats.describe([]) is None
    assert stats.describe([slot([])]) is None


def test_what_the_count_does_not_support_is_none():
    latency = stats.describe([slot(range(1, 6))])
    assert (latency.p50_ms, latency.p50_interval_ms, latency.p95_ms, latency.p99_ms) == (None,) * 4
    assert stats.half_width(latency) is None
    latency = stats.describe([slot(np.linspace(10, 11, 72))])
    assert latency.p95_ms is not None
    assert latency.p95_interval_ms[0] <= latency.p95_ms <= latency.p95_interval_ms[1]
    assert latency.p99_ms is None
    assert latency.p99_interval_ms is None
    assert latency.p90_early_stop_ms == 11
    assert latency.p95_early_stop_ms is None


def test_looped_calls_have_a_median_and_no_tail():
    latency = stats.describe([slot(np.linspace(10, 11, 700), inner_loops=4)])
    assert latency.p50_ms == pytest.approx(10.5, abs=0.01)
    assert latency.min_ms == 10
    assert (latency.p95_ms, latency.p95_interval_ms, latency.p99_ms) == (None,) * 3
    assert (latency.p90_early_stop_ms, latency.p95_early_stop_ms, latency.p99_early_stop_ms) == (None,) * 3


def forked(levels, n=200, seed=SEED, spread=0.05):
    rng = np.random.default_rng(seed)
    return [slot(level + spread * rng.standard_normal(n), fork=f) for f, level in enumerate(levels)]


def test_from_three_forks_on_the_fork_is_the_replicate():
    two, six = stats.describe(forked([10, 11])), stats.describe(forked([10, 10.1, 10.2, 10.3, 10.4, 10.5]))
    assert two.interval_kind == "within_process"
    assert six.interval_kind == "over_forks"
    # Student's t with 5 degrees of freedom over 10, 10.1, …: 10.25 ± 2.571 · 0.1871 / √6.
    assert six.p50_interval_ms == pytest.approx((10.0537, 10.4463), abs=0.02)


def test_what_differs_between_forks_is_not_taken_for_correlation_within_them():
    latency = stats.describe(forked([10, 11, 12, 13, 14, 15]))
    assert latency.vif < 2
    assert latency.p95_ms is not None


def test_an_odd_fork_stretches_the_interval_to_the_reported_value():
    latency = stats.describe(forked([10, 10, 10, 10, 10, 11]))
    assert latency.p95_ms > 10.9
    assert latency.p95_interval_ms[1] >= latency.p95_ms


def test_a_tail_needs_forks_that_have_one():
    assert stats.describe(forked([10] * 6, n=100)).p99_ms is None
    assert stats.describe(forked([10] * 6, n=102)).p99_ms is not None


def test_drift_is_taken_within_forks():
    steps = [slot([10.0 + fork] * 20, fork=fork) for fork in range(3)]
    assert stats.describe(steps).drift == 0
    one_odd = [slot([10] * 10 + ([20] * 10 if fork == 0 else [10] * 10), fork=fork) for fork in range(3)]
    assert stats.describe(one_odd).drift == 0


def test_two_forks_that_drift_apart_do_not_cancel():
    steps = [slot([10.0] * 10 + [11.0 if fork else 9.0] * 10, fork=fork) for fork in range(2)]
    assert abs(stats.describe(steps).drift) == pytest.approx(0.1)


def test_intervals_over_forks_cover_the_truth_that_one_process_misses():
    rng, held_over, held_within = np.random.default_rng(SEED), 0, 0
    trials = 400
    for _ in range(trials):
        offsets = 10 + 0.2 * rng.standard_normal(6)
        slots = [slot(at + 0.1 * rng.standard_normal(40), fork=f) for f, at in enumerate(offsets)]
        low, high = stats.describe(slots).p50_interval_ms
        held_over += low <= 10 <= high
        alone = [slot(offsets[0] + 0.1 * rng.standard_normal(240))]
        low, high = stats.describe(alone).p50_interval_ms
        held_within += low <= 10 <= high
    assert 0.92 <= held_over / trials <= 0.99
    assert held_within / trials < 0.6


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=60), min_size=1, max_size=7))
def test_what_is_reported_is_consistent(forks):
    latency = stats.describe([slot(samples, fork=f) for f, samples in enumerate(forks)])
    assert latency.min_ms <= latency.mean_ms * (1 + 1e-9) <= latency.max_ms * (1 + 2e-9)
    assert latency.n == sum(map(len, forks))
    assert 0 < latency.n_eff <= latency.n
    for name in ("p50", "p95", "p99"):
        value, interval = getattr(latency, f"{name}_ms"), getattr(latency, f"{name}_interval_ms")
        assert (value is None) == (interval is None)
        if value is not None:
            assert interval[0] <= value <= interval[1]
            assert latency.min_ms <= value <= latency.max_ms


def test_throughput_is_batch_over_mean():
    assert stats.throughput_per_s(8, stats.describe([slot([1, 3] * 10)])) == pytest.approx(4000)


def test_half_width_is_relative():
    latency = stats.describe([slot(np.random.default_rng(SEED).permutation(np.linspace(90, 110, 101)))])
    low, high = latency.p50_interval_ms
    assert stats.half_width(latency) == pytest.approx((high - low) / 2 / latency.p50_ms)
    assert 0.01 < stats.half_width(latency) < 0.03


# --- the stop rule

PLAN = EffortPlan(100, 1.0, 1, 0.03, 20.0, (50, 95))
FORKED = EffortPlan(200, 2.0, 2, 0.03, 40.0, (50, 95))
steady = tuple(10 + 0.01 * (i % 7) for i in range(110))
wild = tuple(np.random.default_rng(SEED).uniform(5, 50, 110))


def test_enough_needs_count_and_time_and_a_narrow_interval():
    assert stats.enough([slot(steady)], PLAN, 2, 1)
    assert not stats.enough([slot(steady[:99])], PLAN, 2, 1)
    assert not stats.enough([slot([ms / 2 for ms in steady])], PLAN, 2, 1)
    assert not stats.enough([slot(wild)], PLAN, 2, 1)


def test_the_time_of_looped_calls_counts_every_call():
    assert stats.enough([slot([ms / 4 for ms in steady], inner_loops=4)], PLAN, 2, 1)


def test_time_that_is_used_up_is_enough_but_not_before_every_fork_had_a_slot():
    assert stats.enough([slot(wild)], PLAN, 20, 1)
    assert not stats.enough([], PLAN, 20, 1)
    assert not stats.enough([slot(wild)], FORKED, 40, 2)


def test_every_fork_gives_its_share():
    assert stats.enough([slot(steady)], FORKED, 2, 1)
    assert not stats.enough([slot(steady)], FORKED, 2, 2)
    assert not stats.enough([slot(steady), slot(steady[:90], fork=1)], FORKED, 3, 2)
    assert stats.enough([slot(steady), slot(steady, fork=1)], FORKED, 3, 2)
    assert not stats.enough([slot(wild)], FORKED, 19, 1)
    assert stats.enough([slot(wild)], FORKED, 20, 1)


def test_what_differs_between_forks_does_not_keep_a_case_going():
    apart = [slot(steady), slot([2 * ms for ms in steady], fork=1)]
    assert stats.enough(apart, FORKED, 3, 2)


def test_few_calls_of_a_machine_in_motion_have_a_median_with_the_widest_interval():
    latency = stats.describe([slot(np.linspace(5, 10, 72))])
    assert latency.p50_ms == pytest.approx(7.5, rel=0.02)
    assert latency.p50_interval_ms[0] < 5.5 and latency.p50_interval_ms[1] > 9.5
