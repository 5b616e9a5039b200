"""Shares and their differences: how sure a count of right answers makes one. Pure.

Wilson's interval for one share; for two classifiers on the same images the exact McNemar test and the interval of the
difference of their shares (A. Agresti, Y. Min, Statistics in Medicine 24, 2005), which look at the images on which the
two disagree and at nothing else.
"""

from __future__ import annotations

import math

from zoobench.measure.distributions import binomial_cdf
from zoobench.outcome import Drop, Share
from zoobench.terms import DropDecision

Z95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95%."""


def share(k: int, n: int) -> Share:
    """`k` of `n` with Wilson's 95% interval.

    Raises:
        ValueError: n is 0, or k lies outside 0 to n.
    """
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is no share")
    p, z2 = k / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # At the ends the formula is exact in theory and off by a rounding in practice.
    low = 0.0 if k == 0 else max(0.0, centre - half)
    high = 1.0 if k == n else min(1.0, centre + half)
    return Share(k=k, n=n, value=p, interval=(low, high))


def mcnemar(lost: int, won: int) -> float:
    """Two-sided exact p-value of `lost` against `won` disagreements, were both equally likely; 1 without any."""
    n, smaller = lost + won, min(lost, won)
    return min(1.0, 2 * float(binomial_cdf(smaller, n, 0.5))) if n else 1.0


def drop(lost: int, won: int, n: int, max_drop: float) -> Drop:
    """How much of top-1 was lost between a reference and a candidate on the same `n` images, and whether that is too much.

    The plain interval, z·√(b + c − (b − c)²/n)/n, has no width where nothing differed, so three equal images would prove
    everything; half a disagreement more on either side mends that and hardly moves it elsewhere.

    Args:
        lost: images that only the reference has right.
        won: images that only the candidate has right.
        n: images in all, 1 or more.
        max_drop: the margin, a share: 0.01 is one point.

    Raises:
        ValueError: the counts do not fit.
    """
    if min(lost, won) < 0 or lost + won > n or n == 0:
        raise ValueError(f"{lost} lost and {won} won of {n} images cannot be")
    low, high = _interval(lost, won, n)
    decision, needed = decided(low, high, max_drop), None
    if decision is DropDecision.INCONCLUSIVE:
        needed = _images_needed(lost / n, won / n, n, max_drop)
    return Drop(
        lost=lost,
        won=won,
        n=n,
        value=(lost - won) / n,
        interval=(low, high),
        mcnemar_p=mcnemar(lost, won),
        max_drop=max_drop,
        decision=decision,
        images_needed=needed,
    )


def _interval(lost: float, won: float, n: float) -> tuple[float, float]:
    padded = n + 2
    middle = (lost - won) / padded
    half = Z95 * math.sqrt(max(0.0, (lost + won + 1) / padded - middle**2) / padded)
    return middle - half, middle + half


def decided(low: float, high: float, max_drop: float) -> DropDecision:
    """Whether an interval of a drop lies below the margin, above it, or on both sides."""
    if high < max_drop:
        return DropDecision.PASS
    return DropDecision.FAIL if low > max_drop else DropDecision.INCONCLUSIVE


def _images_needed(lost: float, won: float, n: int, max_drop: float) -> int | None:
    """The fewest images at which these shares would decide; None where a million times as many would not."""

    def decides(images: float) -> bool:
        return (
            decided(*_interval(lost * images, won * images, images), max_drop)
            is not DropDecision.INCONCLUSIVE
        )

    low, high = float(n), 2.0 * n
    while not decides(high):
        low, high = high, 2 * high
        if high > 1e6 * n:
            return None
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return math.ceil(high)
