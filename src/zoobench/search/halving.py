"""Successive halving: which configurations go on, and how long each is measured in the next rung. Pure.

A rung has all that are left take turns with the defaults, so each has an interval of how many times as long as the
defaults it takes. Who is clearly slower than the fastest leaves; of the others the better half goes on, by the lower ends: what may
still be the fastest stays. Each rung has the same time in all, so who goes on is measured the longer the fewer there are.
After K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from zoobench.terms import Interval

C = TypeVar("C", bound=Hashable)

LAST = 2
"""So many are left when the search ends."""


@dataclass(frozen=True)
class Standing(Generic[C]):
    """What a rung found out about one configuration.

    Attributes:
        estimate: its time / the defaults' time; None: it has no time that counts.
        interval: of the estimate.
        trouble: why it is out whatever its time: it failed, its outputs are wrong, or it cannot be believed.
        open: the trouble is not its own but the moment's: nothing was found out about it.
    """

    configuration: C
    estimate: float | None = None
    interval: Interval | None = None
    trouble: str | None = None
    open: bool = False


@dataclass(frozen=True)
class Dropped(Generic[C]):
    """A configuration that does not go on, and why, in words."""

    configuration: C
    why: str


def advance(standings: Sequence[Standing[C]]) -> tuple[list[C], list[Dropped[C]]]:
    """Who goes on after a rung, in the order of `standings`, and who does not.

    Args:
        standings: one for each challenger. The defaults are not among them: they are the yardstick of every rung.

    Returns:
        At most the better half, but for those that tie with the last of it; nobody where all are slower than the defaults. Of the last
        two the one with the smaller estimate: nothing follows in which what may be true could show.
    """
    dropped = [Dropped(one.configuration, why) for one in standings if (why := _broken(one)) is not None]
    sound = [one for one in standings if _broken(one) is None]
    if not sound:
        return [], dropped
    surest = min(_high(one) for one in sound)
    # Who may be as fast as the defaults is compared with those that are; slower ones are not needed any more.
    bar = min(surest, 1.0)
    rest = []
    for one in sound:
        if _low(one) > bar:
            than = "the fastest" if surest < 1.0 else "the defaults"
            dropped.append(Dropped(one.configuration, f"slower than {than}: {told(one)}"))
        else:
            rest.append(one)
    kept = rest
    if len(rest) > (room := half(len(standings))):
        rank = _estimate if len(standings) <= LAST else _low
        least = sorted(map(rank, rest))[room - 1]
        kept = [one for one in rest if rank(one) <= least]
        why = "second best" if len(standings) <= LAST else "in the slower half"
        dropped += [Dropped(one.configuration, f"{why}: {told(one)}") for one in rest if rank(one) > least]
    return [one.configuration for one in kept], dropped


def half(count: int) -> int:
    """So many of `count` go on, one at least."""
    return max(1, math.ceil(count / 2))


def rungs(count: int) -> int:
    """The most rungs that `count` challengers get, by when one is left but for ties."""
    return len(course(count))


def course(count: int) -> list[int]:
    """How many take part in each rung where only the better half goes on."""
    found: list[int] = []
    while count and (not found or count > 1):
        found.append(count)
        count = half(count)
    return found


def rung_time(first: int, left: int, first_s: float) -> float:
    """Seconds for each of `left` challengers, of whom there were `first`: the rung's time is shared by those that are left."""
    return first_s * first / left


def most_time(count: int, first_s: float) -> float:
    """An upper bound of what all rungs measure challengers for together, seconds, whoever ties."""
    return rungs(count) * count * first_s


def told(one: Standing[C]) -> str:
    """Its time against the defaults', for a person."""
    assert one.estimate is not None and one.interval is not None
    low, high = one.interval
    return f"{one.estimate:.3f} [{low:.3f}, {high:.3f}] of the defaults' time"


def _broken(one: Standing[C]) -> str | None:
    if one.trouble is not None:
        return one.trouble
    return None if one.interval is not None else "it had no turn to compare"


def _estimate(one: Standing[C]) -> float:
    assert one.estimate is not None
    return one.estimate


def _low(one: Standing[C]) -> float:
    assert one.interval is not None
    return one.interval[0]


def _high(one: Standing[C]) -> float:
    assert one.interval is not None
    return one.interval[1]
