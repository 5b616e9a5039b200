"""Which rate to try next, until the highest that holds is known to within 5%. Pure.

Rates lie on a grid of steps of 5%, and the first ones on its coarse lines, so that the same search on another day
tries the same rates and finds the results of the first. The start comes from what the hardware can do at best;
then the bracket between the highest rate that held and the lowest above it that did not is halved.
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


@dataclass(frozen=True)
class Tried:
    """One rate, in queries a second, and whether LoadGen called every test of it VALID.

    Attributes:
        final: no lower rate can hold either, so there is nothing below to look for.
    """

    qps: float
    holds: bool
    final: bool = False


def next_rate(tried: Sequence[Tried], capacity: float) -> float | None:
    """The next rate to try, of three significant digits; None when the answer is known, or cannot be.

    Args:
        tried: in any order.
        capacity: queries a second that the hardware does at best, above 0; only the start depends on it.
    """
    best, miss = best_rate(tried), lowest_miss(tried)
    if best is None and miss is None:
        return _rate(COARSE * round(_place(FIRST_SHARE * capacity) / COARSE))
    if len(tried) >= MOST_TRIES:
        return None
    if best is None:
        # Twice as far with every miss: 22% lower, then 1.8, 3.2, … times.
        down = COARSE * 2 ** (len(tried) - 1)
        hopeless = any(one.final for one in tried) or (miss or 0.0) < capacity / 1000
        return None if hopeless else _rate(_place(miss or 0.0) - down)
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


def _place(qps: float) -> int:
    """The nearest line of the grid."""
    return round(math.log(qps) / math.log(STEP))


def _rate(place: int) -> float:
    return float(f"{STEP**place:.3g}")
