"""The Pareto front: what nothing else beats in everything that counts."""

from __future__ import annotations

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
    kept: list[Cost] = []
    before: Cost | None = None
    dominated = False
    for at in placed:
        cost, item = costs[at], items[at]
        # Equals follow each other, and share what became of the first of them.
        if cost != before:
            before, dominated = cost, _is_dominated(cost, kept)
            if not dominated:
                kept.append(cost)
        if not dominated:
            front.append(item)
    return Front(front, unplaced=len(costs) - len(placed))


def _is_dominated(cost: Cost, kept: list[Cost]) -> bool:
    """In order of cost only one before can dominate. Who did so last is asked first: a few dominate most."""
    for at, best in enumerate(kept):
        if all(map(le, best, cost)):
            kept[0], kept[at] = best, kept[0]
            return True
    return False
