"""From samples to statistics, with nothing thrown away. Pure functions over nanoseconds a call.

Calls of one process are correlated, so the evidence in n of them is that of n_eff = n / VIF independent ones.
Percentiles are order statistics without interpolation, as in MLPerf LoadGen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zoobench.measure.distributions import binomial_cdf, normal_quantile, student_quantile
from zoobench.measure.effort import EffortPlan
from zoobench.outcome import Latency, Slot
from zoobench.terms import Interval

Samples = npt.NDArray[np.float64]

CONFIDENCE = 0.95
BLOCK, SHORTEST_BLOCK = 50, 5
MIN_BLOCKS = 10
MIN_FORKS_FOR_T = 3
OUTLIER_MADS = 14.8
"""Ten standard deviations of a normal distribution: its MAD is 0.6745 of them (`1.4826 · MAD` = one)."""
MIN_SAMPLES_FOR_DRIFT = 12
LOADGEN_CONFIDENCE = 0.99


def percentile(sorted_samples: Samples, p: float) -> float:
    """The order statistic x[⌊n·p⌋], counted from 0, as LoadGen takes it. `p` is in (0, 1), n at least 1."""
    return float(sorted_samples[_index(len(sorted_samples), p)])


def _index(n: int, p: float) -> int:
    # 0.57 · 100 is a hair below 57 in binary; the tolerance takes it for what it is meant to be.
    return min(n - 1, math.floor(n * p + 1e-9))


def block_size(n: int) -> int:
    """Calls in a block: 50, and of fewer than 500 calls a tenth of them, at least 5.

    Ten short blocks see the correlation of neighbours, which is most of it, and bring the coverage of the intervals back
    (`tests/measure/test_stats.py`).
    """
    return max(SHORTEST_BLOCK, min(BLOCK, n // MIN_BLOCKS))


def vif(samples: Samples, q: float, p: float) -> float | None:
    """Variance inflation of the share of samples above `q`: how many correlated calls weigh as one.

    max(1, b · Var(block means of I) / (p · (1 − p))) with I_i = 1[x_i > q]: the batch-means estimate of the
    variance of a mean of correlated values (Law, Simulation Modeling and Analysis, chapter 9), over the
    variance that independent ones would have.

    Args:
        samples: in time order.
        q: the p-quantile of `samples`.

    Returns:
        None with fewer than 10 whole blocks of `block_size`: there is nothing to estimate a variance from.
    """
    block = block_size(len(samples))
    blocks = len(samples) // block
    if blocks < MIN_BLOCKS:
        return None
    means = (samples[: blocks * block] > q).reshape(blocks, block).mean(axis=1)
    return max(1.0, block * float(means.var(ddof=1)) / (p * (1 - p)))


def effective_count(n: int, inflation: float | None) -> float:
    """n_eff = n / VIF; an unknown VIF is taken for 1."""
    return n / (inflation or 1.0)


def cautious_count(n: int, inflation: float | None) -> float:
    """n_eff lowered for what a VIF estimated from few blocks may be wrong by: what intervals are made of.

    The interval of a mean of B block means takes Student's t with B − 1 degrees of freedom instead of the
    normal z; an interval made of binomial ranks gets as wide when n_eff is divided by (t/z)².
    """
    if inflation is None or inflation <= 1.0:
        return float(n)
    z = normal_quantile((1 + CONFIDENCE) / 2)
    t = student_quantile(n // block_size(n) - 1, (1 + CONFIDENCE) / 2)
    return effective_count(n, inflation) / (t / z) ** 2


def least_count(p: float, confidence: float = CONFIDENCE) -> int:
    """Independent calls from which the p-quantile has an interval, which then spans them all: 6, 72, 368 for p50, p95, p99."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(p, 1 - p)))


def interval_count(n: int, inflation: float | None, p: float) -> float:
    """`cautious_count`, but where blocks are short not below what an interval needs, if there are so many calls.

    Ten short blocks of a machine in motion can leave less than one call: the widest interval there is says so better
    than none.
    """
    count = cautious_count(n, inflation)
    return max(count, min(n, least_count(p))) if block_size(n) < BLOCK else count


def quantile_interval(
    sorted_samples: Samples, p: float, n_eff: float, confidence: float = CONFIDENCE
) -> Interval | None:
    """Two-sided interval of the p-quantile between two order statistics, free of any assumed distribution.

    With m = ⌊n_eff⌋ independent samples the number below the quantile is Bin(m, p): the r-th and the s-th
    smallest enclose it with at least `confidence`, r being the largest rank with P(Bin ≤ r − 1) ≤ α/2 and s
    the smallest with P(Bin ≤ s − 1) ≥ 1 − α/2 (Hahn and Meeker, Statistical Intervals, 5.2). Each of the m
    stands for n/m neighbours in the sorted sample, and the ends go to the middle of their neighbours.

    Returns:
        None when no such pair exists: (1 − p)^m or p^m is above α/2, which for 95% means m < 6 for p50,
        m < 72 for p95 and m < 368 for p99.
    """
    n = len(sorted_samples)
    m = min(n, math.floor(n_eff + 1e-9))
    tail = (1 - confidence) / 2
    if m < 1 or (1 - p) ** m > tail or p**m > tail:
        return None
    low, high = _binomial_ranks(m, p, tail)
    share = n / m
    first = math.floor((low - 0.5) * share + 0.5)
    last = math.ceil((high - 0.5) * share + 0.5)
    return float(sorted_samples[max(1, first) - 1]), float(sorted_samples[min(n, last) - 1])


def _binomial_ranks(m: int, p: float, tail: float) -> tuple[int, int]:
    below = np.asarray(binomial_cdf(np.arange(m, dtype=np.float64), m, p))
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return low, min(high, m)


def early_stop_bound(sorted_samples: Samples, p: float) -> float | None:
    """LoadGen's early-stopping estimate: with 99% confidence the p-quantile is not above it.

    `sorted[n − t]`, counted from 0, where t is the largest count with P(Bin(n, 1 − p) ≤ t) < 0.01, so t − 1
    samples lie above it (mlcommons/inference, loadgen/early_stopping.cc and results.cc, tolerance 0). As
    there, calls are taken for independent, so that the figure is the one LoadGen would print.

    Returns:
        None where t = 1 does not satisfy it: n < 64 for p90, 130 for p95, 662 for p99.
    """
    n = len(sorted_samples)
    t = early_stop_discard(n, p)
    return None if t is None else float(sorted_samples[n - t])


def early_stop_discard(n: int, p: float) -> int | None:
    """LoadGen's t for n queries, None when n is too small for t = 1."""
    at_most = np.asarray(binomial_cdf(np.arange(n, dtype=np.float64), n, 1 - p))
    t = int(np.searchsorted(at_most, 1 - LOADGEN_CONFIDENCE, side="left")) - 1
    return t if t >= 1 else None


def early_stop_queries(p: float, over: int) -> int:
    """The fewest queries with which LoadGen can call a test VALID when `over` of them miss the limit.

    P(Bin(n, 1 − p) ≤ over) < 0.01: 459 for p99 and none over, 662 for one.
    """
    low, high = over, over + 1
    while binomial_cdf(over, high, 1 - p) >= 1 - LOADGEN_CONFIDENCE:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_cdf(over, middle, 1 - p) >= 1 - LOADGEN_CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def outliers(samples: Samples) -> int:
    """How many samples lie more than 14.8 median absolute deviations from the median; 0 when the MAD is 0."""
    deviation = np.abs(samples - np.median(samples))
    mad = float(np.median(deviation))
    return int((deviation > OUTLIER_MADS * mad).sum()) if mad > 0 else 0


def drift(samples: Samples) -> float | None:
    """Median of the second half / median of the first half − 1; None with fewer than 12 samples.

    Args:
        samples: of one process, in time order. With an odd number the middle one belongs to neither half.
    """
    half = len(samples) // 2
    if len(samples) < MIN_SAMPLES_FOR_DRIFT:
        return None
    return float(np.median(samples[-half:]) / np.median(samples[:half])) - 1


def describe(slots: Sequence[Slot]) -> Latency | None:
    """The statistics of one case's slots; None when they hold no samples.

    Estimates are over all samples, pooled. Intervals come from order statistics, marked `within_process`,
    while there are fewer than 3 forks. From 3 forks on the fork is the replicate: what differs from process
    to process (placement, address layout) does not average out within one, so the interval is Student's t
    over the forks' own percentiles, marked `over_forks`. That interval is centred on the mean of the forks;
    where one odd fork pulls the pooled percentile out of it, the interval is stretched to hold the reported
    value, which costs width and never coverage. VIF is then taken within forks, since the differences
    between them are in the t interval.

    Samples of looped calls (`inner_loops` > 1) are means of several calls: they have a mean, a median and a
    smallest value, but their tail is not the calls' tail, so every other percentile is None.

    Drift is each fork's own, and of three or more the median: a process that slows as it runs shows in all forks,
    while the largest of six noisy ratios would cry wolf, and one odd fork already widens the interval over
    forks.
    """
    forks = _by_fork(slots)
    if not forks:
        return None
    pooled = np.concatenate(forks) / 1e6
    ordered = np.sort(pooled)
    looped = any(slot.inner_loops > 1 for slot in slots)
    over_forks = len(forks) >= MIN_FORKS_FOR_T
    p50, p50_interval, inflation = _percentile_with_interval(forks, pooled, ordered, 0.50, over_forks)
    p95, p95_interval, p99, p99_interval = None, None, None, None
    if not looped:
        p95, p95_interval, _ = _percentile_with_interval(forks, pooled, ordered, 0.95, over_forks)
        p99, p99_interval, _ = _percentile_with_interval(forks, pooled, ordered, 0.99, over_forks)
    drifts = [d for samples in forks if (d := drift(samples)) is not None]
    return Latency(
        n=len(pooled),
        n_eff=effective_count(len(pooled), inflation),
        vif=inflation,
        mean_ms=float(pooled.mean()),
        stdev_ms=float(pooled.std(ddof=1)) if len(pooled) > 1 else 0.0,
        min_ms=float(ordered[0]),
        max_ms=float(ordered[-1]),
        p50_ms=p50,
        p50_interval_ms=p50_interval,
        p95_ms=p95,
        p95_interval_ms=p95_interval,
        p99_ms=p99,
        p99_interval_ms=p99_interval,
        p90_early_stop_ms=None if looped else early_stop_bound(ordered, 0.90),
        p95_early_stop_ms=None if looped else early_stop_bound(ordered, 0.95),
        p99_early_stop_ms=None if looped else early_stop_bound(ordered, 0.99),
        interval_kind="over_forks" if over_forks else "within_process",
        confidence=CONFIDENCE,
        outliers=outliers(pooled),
        drift=_typical_drift(drifts),
    )


def _typical_drift(drifts: Sequence[float]) -> float | None:
    """The median over forks; of fewer than three the largest, since two of opposite sign would cancel."""
    if len(drifts) < MIN_FORKS_FOR_T:
        return max(drifts, key=abs, default=None)
    return float(np.median(drifts))


def _by_fork(slots: Sequence[Slot]) -> list[Samples]:
    """Each fork's samples, nanoseconds, in time order; forks without samples are left out."""
    found: dict[int, list[int]] = {}
    for slot in sorted(slots, key=lambda s: (s.fork, s.round, s.position)):
        found.setdefault(slot.fork, []).extend(slot.samples_ns)
    return [np.asarray(samples, dtype=np.float64) for samples in found.values() if samples]


def _percentile_with_interval(
    forks: list[Samples], pooled: Samples, ordered: Samples, p: float, over_forks: bool
) -> tuple[float | None, Interval | None, float | None]:
    """The pooled percentile, its interval, both None when not supported, and the VIF it was judged by. ms."""
    value = percentile(ordered, p)
    if not over_forks:
        inflation = vif(pooled, value, p)
        interval = quantile_interval(ordered, p, interval_count(len(ordered), inflation, p))
        return (value, interval, inflation) if interval else (None, None, inflation)
    own = np.array([percentile(np.sort(samples), p) for samples in forks]) / 1e6
    centred = np.concatenate([samples / 1e6 - at for samples, at in zip(forks, own, strict=True)])
    inflation = vif(centred, 0.0, p)
    # A fork's percentile that is its largest sample says nothing about a tail.
    is_maximum = p > 0.5 and any(_index(len(samples), p) >= len(samples) - 1 for samples in forks)
    if is_maximum or quantile_interval(ordered, p, interval_count(len(ordered), inflation, p)) is None:
        return None, None, inflation
    low, high = _student_interval(own)
    return value, (min(low, value), max(high, value)), inflation


def _student_interval(values: Samples, confidence: float = CONFIDENCE) -> Interval:
    mean, count = float(values.mean()), len(values)
    reach = student_quantile(count - 1, (1 + confidence) / 2) * float(values.std(ddof=1)) / math.sqrt(count)
    return max(0.0, mean - reach), mean + reach


def half_width(latency: Latency) -> float | None:
    """Half the width of the p50 interval, relative to p50; None where there is no interval."""
    if latency.p50_ms is None or latency.p50_interval_ms is None:
        return None
    return _relative_half_width(latency.p50_ms, latency.p50_interval_ms)


def _relative_half_width(value: float, interval: Interval) -> float:
    return (interval[1] - interval[0]) / 2 / value if value > 0 else math.inf


def throughput_per_s(batch: int, latency: Latency) -> float:
    """Items per second: batch ÷ mean latency."""
    return batch / (latency.mean_ms / 1e3)


def enough(slots: Sequence[Slot], plan: EffortPlan, elapsed_s: float, forks: int) -> bool:
    """The stop rule: may the case rest, as far as the forks that have been started go?

    Every started fork must have its share of the count and of the timed time, and the p50 interval within
    it must be as narrow as the target × √(planned forks), since the mean of F equal forks is √F times as
    sure as one. What differs between forks is left to the verdict: more rounds cannot narrow it, only more
    forks can.

    Args:
        slots: all the case's slots so far, of all forks.
        elapsed_s: wall time that the case has used so far, over all forks.
        forks: how many of `plan.forks` have been started, whether they take turns or follow each other.

    Returns:
        True also when the started forks' share of `max_case_time_s` is used up, but never before every
        started fork has had a slot.
    """
    samples, timed_ns = _by_fork(slots), _timed_ns_by_fork(slots)
    if len(samples) < forks:
        return False
    if elapsed_s >= plan.max_case_time_s * min(1.0, forks / plan.forks):
        return True
    return (
        all(len(fork) >= plan.min_calls / plan.forks for fork in samples)
        and all(ns / 1e9 >= plan.min_time_s / plan.forks for ns in timed_ns)
        and all(_is_narrow(fork, plan.target_half_width * math.sqrt(plan.forks)) for fork in samples)
    )


def _timed_ns_by_fork(slots: Sequence[Slot]) -> list[int]:
    found: dict[int, int] = {}
    for slot in slots:
        if slot.samples_ns:
            found[slot.fork] = found.get(slot.fork, 0) + sum(slot.samples_ns) * slot.inner_loops
    return list(found.values())


def _is_narrow(samples: Samples, target: float) -> bool:
    ordered = np.sort(samples)
    median = percentile(ordered, 0.5)
    interval = quantile_interval(ordered, 0.5, interval_count(len(samples), vif(samples, median, 0.5), 0.5))
    return interval is not None and _relative_half_width(median, interval) <= target
