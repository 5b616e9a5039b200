"""Which rate to try next, until the highest that holds is known to within 5%. Pure.

What the hardware can do at best (`ceiling`) comes from an offline test; no queue holds more than that for long.
Below it the search halves the ratio between the highest rate that held and the lowest above it that did not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WITHIN = 0.05
FIRST_SHARE = 0.7
"""Of the ceiling: where latency begins to rise steeply, so the answer is near for most limits."""
MOST_TRIES = 30


@dataclass(frozen=True)
class Tried:
    """One rate, in queries a second, and whether LoadGen called every test of it VALID.

    Attributes:
        final: no lower rate can hold either, so there is nothing below to look for.
    """

    qps: float
    holds: bool
    final: bool = False


def next_rate(tried: Sequence[Tried], ceiling: float, within: float = WITHIN) -> float | None:
    """The next rate to try, of three significant digits; None when the answer is known, or cannot be.

    Args:
        tried: in any order.
        ceiling: queries a second that the hardware can do at best.
    """
    best, miss = best_rate(tried), lowest_miss(tried)
    if not tried:
        wanted = FIRST_SHARE * ceiling
    elif len(tried) >= MOST_TRIES:
        return None
    elif best is None:
        assert miss is not None
        if any(one.final for one in tried) or miss < ceiling / 1000:
            return None
        wanted = miss / 2
    elif miss is not None:
        if miss / best <= 1 + within:
            return None
        wanted = math.sqrt(best * miss)
    elif best * (1 + within) < ceiling:
        wanted = math.sqrt(best * ceiling)
    else:
        # The ceiling was measured in a worse moment than this.
        wanted = best * 1.25
    rate = float(f"{wanted:.3g}")
    return None if any(one.qps == rate for one in tried) else rate


def best_rate(tried: Sequence[Tried]) -> float | None:
    """The highest rate that held."""
    return max((one.qps for one in tried if one.holds), default=None)


def lowest_miss(tried: Sequence[Tried]) -> float | None:
    """The lowest rate above the best that did not hold."""
    best = best_rate(tried) or 0.0
    return min((one.qps for one in tried if not one.holds and one.qps > best), default=None)
