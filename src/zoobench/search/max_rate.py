"""Which rate to try next, until the highest that holds is known to within 5%. Pure.

Rates lie on a grid of steps of 5%, and the first ones on its coarse lines, so that the same search on another day
tries the same rates and finds the results of the first. The start comes from what the hardware can do at best;
then the bracket between the highest rate that held and the lowest above it that did not is halved. A rate that met the
limit without proof is asked once more, and never is one tried at which a test has no time for its queries.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

STEP = 1.05
COARSE = 4
"""Grid steps between the rates that look for the bracket: 22%."""
FIRST_SHARE = 0.7
"""Of the best: where latency begins to rise steeply, so the answer is near for most limits."""
MOST_TRIES = 40
ATTEMPTS = 2
"""At a rate whose first attempt was no answer."""


@dataclass(frozen=True)
class Tried:
    """One attempt at a rate, in queries a second, and whether LoadGen called every test of it VALID.

    Attributes:
        again: that it did not hold is no answer yet: the limit was met, or the machine was disturbed.
        final: no lower rate can hold either, so there is nothing below to look for.
    """

    qps: float
    holds: bool
    again: bool = False
    final: bool = False


def next_rate(tried: Sequence[Tried], capacity: float, floor: float = 0.0) -> float | None:
    """The next rate to try, of three significant digits; None when the answer is known, or cannot be.

    Args:
        tried: in any order.
        capacity: queries a second that the hardware does at best, above 0; only the start depends on it.
        floor: the least rate at which a test has time for the queries of a verdict.
    """
    best, miss = best_rate(tried), lowest_miss(tried)
    if best is None and miss is None:
        first = max(_rate(COARSE * round(_place(FIRST_SHARE * capacity) / COARSE)), _lowest(floor))
        return first if first <= capacity else None
    if len(tried) >= MOST_TRIES:
        return None
    if (unsure := _unsure(tried)) is not None:
        return unsure
    if best is None:
        hopeless = any(one.final for one in tried) or (miss or 0.0) < capacity / 1000
        if hopeless or (miss or 0.0) <= _lowest(floor):
            return None
        return max(_rate(_place(miss or 0.0) - _stride(tried, miss)), _lowest(floor))
    if miss is None:
        return _rate(_place(best) + COARSE)
    low, high = _place(best), _place(miss)
    return _rate((low + high) // 2) if high - low > 1 else None


def best_rate(tried: Sequence[Tried]) -> float | None:
    """The highest rate that held."""
    return max((one.qps for one in tried if one.holds), default=None)


def lowest_miss(tried: Sequence[Tried]) -> float | None:
    """The lowest rate above the best that did not hold."""
    best = best_rate(tried) or 0.0
    return min((one.qps for one in tried if not one.holds and one.qps > best), default=None)


def _unsure(tried: Sequence[Tried]) -> float | None:
    """The rate that is to be asked again, the highest of several."""
    attempts = Counter(one.qps for one in tried)
    held = {one.qps for one in tried if one.holds}
    rates = {one.qps for one in tried if one.again} - held
    return max((qps for qps in rates if attempts[qps] < ATTEMPTS), default=None)


def _stride(tried: Sequence[Tried], miss: float | None) -> int:
    """How far below the lowest miss the next rate lies, in grid steps.

    Twice as far with every rate that missed the limit: 22% lower, then 1.5, 2.2, … times. What lacked only the proof is
    near the answer.
    """
    missed = {one.qps for one in tried if not one.again}
    return COARSE * 2 ** (len(missed) - 1) if miss in missed else COARSE


def _lowest(floor: float) -> float:
    """The lowest rate of the grid that is not below `floor`."""
    if floor <= 0:
        return 0.0
    place = math.floor(math.log(floor) / math.log(STEP))
    while _rate(place) < floor:
        place += 1
    return _rate(place)


def _place(qps: float) -> int:
    """The nearest line of the grid."""
    return round(math.log(qps) / math.log(STEP))


def _rate(place: int) -> float:
    return float(f"{STEP**place:.3g}")
