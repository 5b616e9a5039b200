"""How many times as long one case takes as another, from slots in which they took turns.

Pairs are made within a round, where both saw the same moment of the machine; the process is the replicate, because
what differs from process to process (placement, address layout) does not average out within one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Literal

from zoobench.measure.distributions import student_quantile
from zoobench.outcome import Slot
from zoobench.terms import Interval

MIN_FORKS = 3
"""With two, Student's t has a factor of 12.7: such an interval says nothing."""
MIN_ROUNDS = 3


@dataclass(frozen=True)
class Ratio:
    """time(other) / time(base), above 1 where the other is slower.

    Attributes:
        estimate: exp of the mean over forks of the median over rounds of ln(slot-min other / slot-min base).
        interval: Student's t over the forks, two-sided at 1 − 2α; over the rounds of one process
            (`within_process`) where there are fewer than three forks.
        median_estimate: the same from slot medians: a change that leaves the smallest call alone shows here.
        by_fork: each fork's own ratio.
        rounds: pairs of slots behind it.
    """

    estimate: float
    interval: Interval
    median_estimate: float
    by_fork: tuple[float, ...]
    rounds: int
    kind: Literal["over_forks", "within_process"]


def paired_ratio(base: Sequence[Slot], other: Sequence[Slot], alpha: float = 0.025) -> Ratio | None:
    """The ratio of two cases that took turns.

    Args:
        alpha: one-sided error of either end of the interval.

    Returns:
        None where there are neither three forks nor three rounds of one fork in which both had a slot.
    """
    smallest = _by_fork(base, other, lambda slot: float(min(slot.samples_ns)))
    middle = _by_fork(base, other, lambda slot: float(median(slot.samples_ns)))
    own = [median(rounds) for rounds in smallest]
    kind: Literal["over_forks", "within_process"] = "over_forks"
    replicates = own
    if len(own) < MIN_FORKS:
        kind, replicates = "within_process", [each for rounds in smallest for each in rounds]
        if len(replicates) < MIN_ROUNDS:
            return None
    reach = student_reach(replicates, alpha)
    centre = fmean(own) if kind == "over_forks" else median(replicates)
    return Ratio(
        estimate=math.exp(centre),
        interval=(math.exp(centre - reach), math.exp(centre + reach)),
        median_estimate=math.exp(fmean(map(median, middle))),
        by_fork=tuple(map(math.exp, own)),
        rounds=sum(map(len, smallest)),
        kind=kind,
    )


def student_reach(values: Sequence[float], alpha: float) -> float:
    """Half the width of Student's t interval of the mean of `values` (at least two), one-sided error `alpha`."""
    count = len(values)
    return student_quantile(count - 1, 1 - alpha) * stdev(values) / math.sqrt(count)


def _by_fork(base: Sequence[Slot], other: Sequence[Slot], of: Callable[[Slot], float]) -> list[list[float]]:
    """ln of the two cases' ratio in each round, fork after fork; rounds that only one of them has are left out."""
    first = {(slot.fork, slot.round): of(slot) for slot in base if slot.samples_ns}
    second = {(slot.fork, slot.round): of(slot) for slot in other if slot.samples_ns}
    found: dict[int, list[float]] = {}
    for fork, number in sorted(first.keys() & second.keys()):
        if first[fork, number] > 0 and second[fork, number] > 0:
            found.setdefault(fork, []).append(math.log(second[fork, number] / first[fork, number]))
    return list(found.values())
