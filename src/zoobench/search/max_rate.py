"""Which rate to try next, until the highest that holds is known to within 5%. Pure.

Rates lie on a grid of steps of 5%, and the first ones on its coarse lines, so that the same search on another day
tries the same rates and finds the results of the first. The start comes from what the hardware can do at best;
then the bracket between the highest rate that held and the lowest above it that did not is halved. A rate that met the
limit without proof is asked once more, and so is the answer; none is tried at which a test has no time for its queries.
"""

from __future__ import annotations

import math
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
CONFIRMED = 2
"""So often the rate that is the answer has held."""


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
        tried: every attempt, in any order.
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
    if high - low > 1:
        return _rate((low + high) // 2)
    # The highest of several that held had luck on its side, so it has to hold once more.
    return None if is_confirmed(tried, best) else best


def best_rate(tried: Sequence[Tried]) -> float | None:
    """The highest rate that held more often than not."""
    return max((qps for qps in _rates(tried) if _balance(tried, qps) > 0), default=None)


def lowest_miss(tried: Sequence[Tried]) -> float | None:
    """The lowest rate above the best that did not hold."""
    best = best_rate(tried) or 0.0
    return min((qps for qps in _rates(tried) if qps > best), default=None)


def is_confirmed(tried: Sequence[Tried], qps: float) -> bool:
    """Whether the rate held as often as an answer must."""
    return sum(one.holds for one in tried if one.qps == qps) >= CONFIRMED


def _rates(tried: Sequence[Tried]) -> set[float]:
    return {one.qps for one in tried}


def _balance(tried: Sequence[Tried], qps: float) -> int:
    """How often the rate held, less how often it did not. The first attempt that was no answer does not count."""
    attempts = [one for one in tried if one.qps == qps]
    held, unsure = sum(one.holds for one in attempts), sum(one.again for one in attempts)
    return 2 * held - len(attempts) + min(unsure, ATTEMPTS - 1)


def _unsure(tried: Sequence[Tried]) -> float | None:
    """The rate that is to be asked again, the highest of several: all its attempts were no answer, and they are few."""
    attempts = {qps: [one for one in tried if one.qps == qps] for qps in _rates(tried)}
    return max(
        (qps for qps, ones in attempts.items() if all(one.again for one in ones) and len(ones) < ATTEMPTS),
        default=None,
    )


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
