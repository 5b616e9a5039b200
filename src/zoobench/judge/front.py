"""The Pareto front: what nothing else beats in everything that counts."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import le
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Cost = tuple[Any, ...]


@dataclass(frozen=True)
class Aim(Generic[T]):
    """One thing that counts: its name with its unit, the figure of an item (None: not known), and which way is better."""

    name: str
    figure: Callable[[T], float | None]
    more_is_better: bool = False

    @property
    def cost(self) -> Callable[[T], float | None]:
        """The figure with such a sign that less is better."""
        if not self.more_is_better:
            return self.figure
        figure = self.figure
        return lambda item: None if (value := figure(item)) is None else -value


@dataclass(frozen=True)
class Front(Generic[T]):
    """The items that no other dominates, and how many could not be placed because a figure of theirs is not known."""

    items: list[T]
    unplaced: int


def pareto_front(items: Sequence[T], aims: Sequence[Aim[T]]) -> Front[T]:
    """Those that no other dominates: no worse in any aim and better in one. Ordered by the first aim, the best first.

    Equals stay together. An item whose figure of an aim is not known cannot be placed and is left out. Intervals are not
    asked: where those of two items overlap, that one dominates the other is not proved; the caller says so.
    """
    # One item after another: each is large, and looked at once.
    costs: list[Cost] = list(zip(*(map(aim.cost, items) for aim in aims), strict=True))
    placed = sorted((at for at, cost in enumerate(costs) if None not in cost), key=costs.__getitem__)
    front: list[T] = []
    beaten = _Steps() if len(aims) <= 3 else _Several()
    before: Cost | None = None
    dominated = False
    for at in placed:
        cost, item = costs[at], items[at]
        # Equals follow each other, and share what became of the first of them.
        if cost != before:
            before, dominated = cost, beaten.dominates(cost)
        if not dominated:
            front.append(item)
    return Front(front, unplaced=len(costs) - len(placed))


def no_worse(one: T, other: T, aims: Sequence[Aim[T]]) -> bool:
    """Whether it is so in every aim; False where a figure is not known."""
    pairs = [(aim.cost(one), aim.cost(other)) for aim in aims]
    return all(mine is not None and theirs is not None and mine <= theirs for mine, theirs in pairs)


class _Steps:
    """Of up to three costs that come in order of the first: steps down from the second to the third.

    In order of cost only one before can dominate, and its first cost is no higher; so one that comes is dominated where the last
    step at or before its second cost has no higher third.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.thirds: list[float] = []

    def dominates(self, cost: Cost) -> bool:
        """Whether one before is no worse in all; otherwise it is kept."""
        second, third = (*cost[1:], 0.0, 0.0)[:2]
        at = bisect.bisect_right(self.seconds, second)
        if at and self.thirds[at - 1] <= third:
            return True
        if at and self.seconds[at - 1] == second:
            at -= 1
        end = at
        while end < len(self.thirds) and self.thirds[end] >= third:
            end += 1
        self.seconds[at:end], self.thirds[at:end] = [second], [third]
        return False


class _Several:
    """The same of any number, one after another: who dominated last is asked first, because a few dominate most."""

    def __init__(self) -> None:
        self.kept: list[Cost] = []

    def dominates(self, cost: Cost) -> bool:
        """As of `_Steps`."""
        for at, best in enumerate(self.kept):
            if all(map(le, best, cost)):
                self.kept[0], self.kept[at] = best, self.kept[0]
                return True
        self.kept.append(cost)
        return False
