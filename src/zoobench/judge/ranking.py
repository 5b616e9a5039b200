"""The order of rows that hold every limit, which of them is to be shipped, and what is not told apart from it. Pure.

Valid rows come before unstable ones. But what reads ten times as fast is not the slower one because it drifted by a tenth: an
unstable row goes ahead where it would hold every limit and lead at twice the times that were measured, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import NamedTuple

from zoobench.judge.cautions import is_known_faithful
from zoobench.judge.measures import (
    DOUBT,
    MEMORY_SLACK,
    TIMED_KINDS,
    Measure,
    Slack,
    memory_bytes,
    slowed,
)
from zoobench.judge.wanted import Limit, Standing, Unstable
from zoobench.results.row import RankedRow
from zoobench.terms import VerdictValue


@dataclass(frozen=True)
class Ranking:
    """Rows whose figure is known, each list with the lowest first.

    Attributes:
        ahead: unstable ones, or without a verdict, that lead in spite of it.
        behind: the other ones of them.
    """

    ahead: list[RankedRow] = field(default_factory=list)
    valid: list[RankedRow] = field(default_factory=list)
    behind: list[RankedRow] = field(default_factory=list)

    def __iter__(self) -> Iterator[RankedRow]:
        """In the order in which they are recommended."""
        yield from self.ahead
        yield from self.valid
        yield from self.behind

    def __len__(self) -> int:
        """How many there are."""
        return len(self.ahead) + len(self.valid) + len(self.behind)


def rank(goal: Measure, limits: Sequence[Limit], rows: Sequence[RankedRow], unstable: Unstable) -> Ranking:
    """Rows that hold all `limits`, in order."""
    placed = [
        (value, row) for value, row in zip(map(goal.value, rows), rows, strict=True) if value is not None
    ]
    if len({value for value, _ in placed}) < len(placed):
        placed.sort(key=lambda one: name(one[1]))
    placed.sort(key=itemgetter(0))
    valid = [row for _, row in placed if row.verdict is VerdictValue.VALID]
    if len(valid) == len(placed):
        return Ranking(valid=valid)
    shaky = [row for _, row in placed if row.verdict is not VerdictValue.VALID]
    if not valid or unstable is not Unstable.TWICE:
        return Ranking(valid=valid, behind=shaky)
    timed = [limit for limit in limits if limit.measure.kind in TIMED_KINDS]
    bar = min(_low(goal, row) for row in _tied(valid, goal))
    ahead = {id(row) for row in shaky if _leads(goal, timed, row, bar)}
    return Ranking(
        [row for row in shaky if id(row) in ahead], valid, [row for row in shaky if id(row) not in ahead]
    )


def _leads(goal: Measure, limits: Sequence[Limit], row: RankedRow, bar: float) -> bool:
    """Whether it is below `bar`, and told apart from it, and holds the limits, even if it takes longer than was measured."""
    # Thousands are asked, and most are answered by what was measured.
    if goal.reach(row) >= bar:
        return False
    doubted = slowed(row, DOUBT)
    return goal.reach(doubted) < bar and all(limit.standing(doubted) is Standing.HOLDS for limit in limits)


class Choice(NamedTuple):
    """What is to be shipped.

    Attributes:
        leader: the one whose figure is lowest; another than `best` where they are ties.
        ties: not told apart from the leader, `best` left out, in order.
        decided_by: which tie-breaker told `best` from the ties; None without ties.
    """

    best: RankedRow | None
    leader: RankedRow | None
    ties: tuple[RankedRow, ...]
    decided_by: str | None


def choose(ranking: Ranking, goal: Measure) -> Choice:
    """The best of a ranking; ties are of the same verdict."""
    group = ranking.ahead or ranking.valid or ranking.behind
    if not group:
        return Choice(None, None, (), None)
    tied = _tied(group, goal)
    best, why = _told_apart(tied, goal)
    return Choice(best, group[0], tuple(row for row in tied if row is not best), why)


def _tied(group: Sequence[RankedRow], goal: Measure) -> list[RankedRow]:
    """Those of the first one's verdict that are not told apart from it."""
    leader = group[0]
    reach = goal.reach(leader)
    return [row for row in group if row.verdict is leader.verdict and _low(goal, row) <= reach]


def better_if_steady(best: RankedRow | None, ranking: Ranking, goal: Measure) -> tuple[RankedRow, ...]:
    """Those that were put behind others for their verdict, and read better than the best one."""
    if best is None or not (ranking.ahead or ranking.valid):
        return ()
    mine = goal.value(best)
    assert mine is not None
    return tuple(row for row in ranking.behind if (goal.value(row) or 0.0) < mine)


Name = tuple[str, str, str, int, int, str]


name: Callable[[RankedRow], Name] = attrgetter(
    "model", "backend", "precision", "batch", "threads", "measurement_key"
)
"""Sets every row apart, so that no order of the records shows through."""


@dataclass(frozen=True)
class TieBreaker:
    """What decides between rows that are not told apart: the least figure, and what lies within `slack` of it goes on."""

    name: str
    figure: Callable[[RankedRow], float]
    slack: Slack | None = None

    def least(self, rows: Sequence[RankedRow]) -> list[RankedRow]:
        """Those that it does not put behind."""
        figures = [self.figure(row) for row in rows]
        best = min(figures)
        bar = best + self.slack.of(best) if self.slack and best < math.inf else best
        return [row for row, figure in zip(rows, figures, strict=True) if figure <= bar]


TIE_BREAKERS = (
    TieBreaker(
        "is known to lose no more than it may against fp32", lambda r: 0.0 if is_known_faithful(r) else 1.0
    ),
    TieBreaker("needs less memory", lambda r: memory_bytes(r) or math.inf, MEMORY_SLACK),
    TieBreaker("is the smaller file", lambda r: _as_written(r.size_bytes)),
    TieBreaker("has the lower median", lambda r: r.median),
)
"""The first that leaves one; sizes as they are written, to three digits."""


def _as_written(value: float | None) -> float:
    return math.inf if not value else float(f"{value:.3g}")


def _told_apart(tied: Sequence[RankedRow], goal: Measure) -> tuple[RankedRow, str | None]:
    left = list(tied)
    if len(left) == 1:
        return left[0], None
    for breaker in (*TIE_BREAKERS, TieBreaker(f"has the lower {goal.name}", lambda r: goal.value(r) or 0.0)):
        left = breaker.least(left)
        if len(left) == 1:
            return left[0], breaker.name
    return min(left, key=name), "comes first by its name"


def _low(goal: Measure, row: RankedRow) -> float:
    interval = goal.interval(row)
    return interval[0] if interval else goal.value(row) or 0.0
