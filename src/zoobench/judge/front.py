"""The Pareto front: what nothing else beats in everything that counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Aim(Generic[T]):
    """One thing that counts: its name with its unit, the figure of an item (None: not known), and which way is better."""

    name: str
    figure: Callable[[T], float | None]
    more_is_better: bool = False

    def cost(self, item: T) -> float | None:
        """The figure with its sign such that less is better."""
        figure = self.figure(item)
        return None if figure is None else (-figure if self.more_is_better else figure)


def pareto_front(items: Sequence[T], aims: Sequence[Aim[T]]) -> list[T]:
    """Those that no other dominates: no worse in any aim and better in one. Ordered by the first aim, the best first.

    Equals stay together. An item whose figure of an aim is not known cannot be placed and is left out. Intervals are not
    asked: where those of two items overlap, that one dominates the other is not proved; the caller says so.
    """
    costs = [(tuple(aim.cost(item) for aim in aims), item) for item in items]
    placed = sorted(
        ((tuple(c for c in cost if c is not None), item) for cost, item in costs if None not in cost),
        key=lambda pair: pair[0],
    )
    front: list[T] = []
    kept: list[tuple[float, ...]] = []
    dominated: tuple[float, ...] | None = None
    for cost, item in placed:
        # Equals follow each other, and share what became of the first of them.
        if cost == dominated:
            continue
        if not kept or kept[-1] != cost:
            # In order of cost only one before can dominate.
            if any(all(a <= b for a, b in zip(best, cost, strict=True)) for best in kept):
                dominated = cost
                continue
            kept.append(cost)
        front.append(item)
    return front
