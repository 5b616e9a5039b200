"""What to ship: of the rows that hold every limit the best, what is as good, and what was left out. Pure.

Invalid rows never come; how the others are ordered, and what is not told apart, `ranking` says.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from zoobench.judge.asks import Carried, Gap
from zoobench.judge.cautions import cautions
from zoobench.judge.front import Aim, no_worse, pareto_front
from zoobench.judge.gaps import Lacking, SortedOut, find_gaps
from zoobench.judge.holes import Offer
from zoobench.judge.measures import Measure, accuracy_of, latency_of, memory_bytes, throughput_of
from zoobench.judge.payback import Payback, eager_rows, made_by, payback
from zoobench.judge.pictures import Judged
from zoobench.judge.ranking import Name, Ranking, better_if_steady, choose, name, rank
from zoobench.judge.scope import Question, Scope, ranked_together
from zoobench.judge.shipping import file_words
from zoobench.judge.wanted import (
    Goal,
    Limit,
    Standing,
    Unstable,
    Wanted,
    goal_of,
    judged_at,
    limits_of,
)
from zoobench.results.query import latest_rows
from zoobench.results.row import RankedRow
from zoobench.terms import VerdictValue

MOST_RUNNERS_UP, MOST_NEAR = 5, 3


@dataclass(frozen=True)
class Exclusion:
    """What one limit left out, of the rows that can be believed.

    Attributes:
        excluded: rows that do not hold it, for whatever reason.
        alone: of those, the ones that hold every other limit.
        open: rows that hold it by the figure and not by its interval; unknown: of which it was not measured.
        nearest: those that missed it by least, of the ones that hold every other limit where there are any.
    """

    limit: Limit
    excluded: int
    alone: int
    open: tuple[RankedRow, ...]
    unknown: int
    nearest: tuple[RankedRow, ...]


@dataclass(frozen=True)
class Relaxation:
    """Other values of limits, and what would be recommended with them."""

    row: RankedRow
    changes: tuple[Limit, ...]


@dataclass(frozen=True)
class Recommendation:
    """The answer.

    Attributes:
        goal: what was minimized.
        limits: what had to hold.
        asides: results that answer another question, in words.
        judged: rows that can be believed; invalid, missing: cells that are invalid, and that have no median, because they failed or were too few calls.
        best: what to ship; None: nothing holds every limit, or nothing has the figure that is minimized.
        best_valid: what would be shipped of the valid ones, where `best` is unstable and goes before them.
        leader: the one whose figure is lowest among its equals in verdict; another than `best` where they are ties.
        ties: not told apart from the leader, `best` left out, in order.
        decided_by: which tie-breaker told `best` from the ties; None without ties.
        runners_up: the next ones that hold every limit.
        cautions: what to know before shipping `best`.
        better_if_steady: unstable rows that hold every limit, read better than `best`, and come after the valid ones.
        unranked: rows that hold every limit and lack the figure that is minimized.
        relax: what would be recommended if a limit were another, where there is no `best`; for valid rows first, the least change first.
        front: the Pareto front of `front_aims`, of all that can be believed; `front_unplaced` lack one of its figures.
        beats_best: one of the front that is no worse than `best` in any of its aims, where `best` is not on it.
        paybacks: for each row of `best`, ties and runners-up that has one, by the id of the row.
        file_words: the command that makes the file of `best`; None: it has none.
        gaps: what was not measured and could matter, with the runs that would.
    """

    wanted: Wanted
    question: Question
    newest: RankedRow
    goal: Measure
    limits: tuple[Limit, ...]
    asides: tuple[str, ...]
    judged: int
    invalid: tuple[RankedRow, ...]
    missing: tuple[RankedRow, ...]
    best: RankedRow | None
    best_valid: RankedRow | None
    leader: RankedRow | None
    ties: tuple[RankedRow, ...]
    decided_by: str | None
    runners_up: tuple[RankedRow, ...]
    cautions: tuple[str, ...]
    better_if_steady: tuple[RankedRow, ...]
    unranked: tuple[RankedRow, ...]
    exclusions: tuple[Exclusion, ...]
    relax: tuple[Relaxation, ...]
    front: tuple[RankedRow, ...]
    front_aims: tuple[str, ...]
    beats_best: RankedRow | None
    front_unplaced: int
    paybacks: Mapping[int, Payback]
    file_words: tuple[str, ...] | None
    gaps: tuple[Gap, ...]

    @property
    def shown(self) -> tuple[RankedRow, ...]:
        """The best, its ties and the runners-up."""
        return (*((self.best,) if self.best else ()), *self.ties, *self.runners_up)


def recommend(
    rows: Sequence[RankedRow],
    wanted: Wanted,
    scope: Scope | None = None,
    *,
    offers: Mapping[str, Offer] | None = None,
    carried: Mapping[str, Carried] | None = None,
) -> Recommendation:
    """What to ship, of `rows` in any order.

    Args:
        offers: backends that could be run, whether or not they were.
        carried: run id → what a run needs to measure the same models again.

    Raises:
        UsageError: the wish cannot be meant, or there are no results that go together.
    """
    wanted.check()
    together, question, asides = ranked_together(rows, scope or Scope())
    wanted.check(question.task)
    found, later, judged = _cells(together, wanted.max_drop)
    asides = (*asides, *_elsewhere(judged, found))
    goal, limits = goal_of(wanted, question.task), limits_of(wanted, question.task)
    sorted_out = SortedOut.of(found)
    believable = sorted_out.believable
    if wanted.unstable is Unstable.NEVER:
        believable = [row for row in believable if row.verdict is VerdictValue.VALID]
        asides = (*asides, *_left_out(sorted_out.unstable))
    holding, lacking = _by_limits(limits, believable)
    ranking = rank(goal, limits, holding, wanted.unstable)
    best, leader, ties, decided_by = choose(ranking, goal)
    best_valid = choose(Ranking(valid=ranking.valid), goal).best if ranking.ahead else None
    steadier = better_if_steady(best, ranking, goal)
    named = [row for row in (best_valid, *steadier[:1]) if row is not None]
    rest = _runners_up(ranking, {id(best), *map(id, ties)}, named)
    front, aims, unplaced = _front(believable, wanted, question.task)
    on_it = best is None or any(row is best for row in front)
    shown = [*((best,) if best else ()), *ties[:MOST_RUNNERS_UP], *rest]
    eager = eager_rows(found, {row.model for row in shown})
    made = made_by(together, shown)
    return Recommendation(
        wanted=wanted,
        question=question,
        newest=together[-1],
        goal=goal,
        limits=tuple(limits),
        asides=asides,
        judged=len(believable),
        invalid=tuple(sorted_out.invalid),
        missing=tuple(sorted_out.missing),
        best=best,
        best_valid=best_valid,
        leader=leader,
        ties=ties,
        decided_by=decided_by,
        runners_up=rest,
        cautions=()
        if best is None
        else tuple(
            cautions(
                best,
                wanted,
                best_valid,
                {row.model for row in ranking},
                later,
                (*sorted_out.invalid, *sorted_out.missing),
            )
        ),
        better_if_steady=steadier,
        unranked=()
        if len(ranking) == len(holding)
        else tuple(row for row in holding if goal.value(row) is None),
        exclusions=_exclusions(limits, lacking),
        relax=() if best else _relaxations(limits, lacking, goal, wanted.unstable),
        front=front,
        front_aims=tuple(aim.name for aim in aims),
        beats_best=None if on_it or best is None else _first_no_worse(front, best, aims),
        front_unplaced=unplaced,
        paybacks={id(row): pays for row in shown if (pays := payback(row, eager, made)) is not None},
        file_words=file_words(best, carried or {}) if best else None,
        gaps=find_gaps(
            found,
            sorted_out,
            believable,
            lacking,
            best,
            wanted,
            goal,
            limits,
            offers or {},
            carried or {},
            judged,
        ),
    )


def _cells(together: Sequence[RankedRow], max_drop: float | None) -> tuple[list[RankedRow], set[str], Judged]:
    """What stands for each cell, with what its file got right on the pictures that count, by this margin.

    Returns:
        The rows; the measurement keys of those that a later attempt did not replace; and what accuracy passes found.
    """
    cells = latest_rows(together)
    found = [row for row, _ in cells]
    judged = Judged.of(together, found)
    if judged.passes:
        found = [judged.applied(row, max_drop) for row in found]
    if max_drop is not None:
        found = [row if row.drop is None else judged_at(row, max_drop) for row in found]
    return found, {row.measurement_key for row, newer in cells if newer is not None}, judged


def _left_out(unstable: Sequence[RankedRow]) -> Iterator[str]:
    if left := len(unstable):
        yield f"{left:,} unstable configuration{'' if left == 1 else 's'} (--unstable never)"


def _by_limits(limits: Sequence[Limit], rows: Sequence[RankedRow]) -> tuple[list[RankedRow], list[Lacking]]:
    """Those that hold every limit, and the others with how each stands to each limit."""
    stands = list(zip(*(limit.standings(rows) for limit in limits), strict=True))
    everything = (Standing.HOLDS,) * len(limits)
    holding = [row for row, mine in zip(rows, stands, strict=True) if mine == everything]
    if len(holding) == len(rows):
        return holding, []
    return holding, [(row, mine) for row, mine in zip(rows, stands, strict=True) if mine != everything]


def _runners_up(ranking: Ranking, shown: Set[int], named: Sequence[RankedRow]) -> tuple[RankedRow, ...]:
    """The next ones; in any case those that the answer speaks of."""
    rest = list(islice((row for row in ranking if id(row) not in shown), MOST_RUNNERS_UP))
    there = set(map(id, rest))
    left = [row for row in named if id(row) not in there]
    return (*rest[: MOST_RUNNERS_UP - len(left)], *left)


def _exclusions(limits: Sequence[Limit], lacking: Sequence[Lacking]) -> tuple[Exclusion, ...]:
    found = []
    holds = Standing.HOLDS
    for at, limit in enumerate(limits):
        out = [(row, mine) for row, mine in lacking if mine[at] is not holds]
        if not out:
            continue
        alone = [(row, mine) for row, mine in out if mine.count(holds) == len(limits) - 1]
        found.append(
            Exclusion(
                limit,
                excluded=len(out),
                alone=len(alone),
                open=tuple(row for row, mine in out if mine[at] is Standing.OPEN),
                unknown=sum(mine[at] is Standing.UNKNOWN for _, mine in out),
                nearest=_nearest(limit, at, alone or out),
            )
        )
    return tuple(found)


def _nearest(limit: Limit, at: int, rows: Sequence[Lacking]) -> tuple[RankedRow, ...]:
    """Those that missed it by least, where that is known; first those that hold it by their figure."""
    missed = [((mine[at] is not Standing.OPEN, limit.beyond(row)), row) for row, mine in rows]
    # Names are asked only of those that may be among them.
    bar = max(heapq.nsmallest(MOST_NEAR, (far for far, _ in missed)), default=(True, math.inf))
    near = [one for one in missed if one[0] <= bar and limit.needed(one[1]) is not None]
    near.sort(key=lambda one: (one[0], name(one[1])))
    return tuple(row for _, row in near[:MOST_NEAR])


def _relaxations(
    limits: Sequence[Limit], lacking: Sequence[Lacking], goal: Measure, unstable: Unstable
) -> tuple[Relaxation, ...]:
    """For each limit the least change of it alone that would do; if none would, the least change of several together.

    Those for a valid row come first; one for an unstable row only where it is the lesser change.
    """
    single: dict[tuple[int, bool], _Miss] = {}
    several: list[_Miss] = []
    for row, mine in lacking:
        missed = [at for at, standing in enumerate(mine) if standing is not Standing.HOLDS]
        changes = {at: limit for at in missed if (limit := limits[at].relaxed(row)) is not None}
        if goal.value(row) is None or len(changes) < len(missed):
            continue
        doubtful = row.verdict is not VerdictValue.VALID
        miss = _Miss(doubtful, sum(max(0.0, limits[at].beyond(row)) for at in missed), name(row), changes)
        place = missed[0], doubtful
        if len(missed) > 1:
            several.append(miss)
        elif place not in single or miss[:3] < single[place][:3]:
            single[place] = miss
    lesser = [
        miss
        for (at, doubtful), miss in single.items()
        if not doubtful or (at, False) not in single or miss.far < single[at, False].far
    ]
    least = sorted(lesser, key=itemgetter(0, 1, 2)) or sorted(several, key=itemgetter(0, 1, 2))[:1]
    brought = (_brought(miss.changes, limits, lacking, goal, unstable) for miss in least)
    return tuple(one for one in brought if one is not None)


class _Miss(NamedTuple):
    """A row that would hold all, were some limits others: by how much it misses them, its name, and those limits by their place."""

    doubtful: bool
    far: float
    name: Name
    changes: Mapping[int, Limit]


def _brought(
    changes: Mapping[int, Limit],
    limits: Sequence[Limit],
    lacking: Sequence[Lacking],
    goal: Measure,
    unstable: Unstable,
) -> Relaxation | None:
    """What is best among all that the changed limits let in: they are rounded, and may let in more than the row that needs them.

    None: the row that needs them is not let in either, because its counts contradict each other.
    """
    holding = [
        row
        for row, mine in lacking
        if all(
            (changes[at].standing(row) if at in changes else standing) is Standing.HOLDS
            for at, standing in enumerate(mine)
        )
    ]
    changed = [changes.get(at, limit) for at, limit in enumerate(limits)]
    best, *_ = choose(rank(goal, changed, holding, unstable), goal)
    return None if best is None else Relaxation(best, tuple(changes.values()))


def _elsewhere(judged: Judged, rows: Iterable[RankedRow]) -> Iterator[str]:
    """What is not compared because it was judged on other pictures."""
    others = sum(map(judged.is_elsewhere, rows)) if judged.passes else 0
    if others:
        yield (
            f"the accuracy of {others:,} configuration{'' if others == 1 else 's'}, judged on other pictures than those that count "
            f"({judged.label}, which most files were judged on): accuracies are compared on the same pictures"
        )


def _front(
    rows: Sequence[RankedRow], wanted: Wanted, task: str
) -> tuple[tuple[RankedRow, ...], list[Aim[RankedRow]], int]:
    """Of latency, memory and, where any is known, accuracy; of throughput too where it was asked about."""
    latency = goal_of(wanted, task) if wanted.minimize is Goal.LATENCY else latency_of(50)
    accuracy = accuracy_of(task)
    aims = [_aim(latency), Aim[RankedRow]("peak memory", memory_bytes)]
    if any(accuracy.value(row) is not None for row in rows):
        aims.append(_aim(accuracy, more=True))
    if wanted.min_throughput is not None or wanted.minimize is Goal.COST:
        aims.append(_aim(throughput_of(task), more=True))
    front = pareto_front(rows, aims)
    in_order = sorted(front.items, key=lambda row: (latency.value(row), name(row)))
    return tuple(in_order), aims, front.unplaced


def _first_no_worse(
    front: Sequence[RankedRow], best: RankedRow, aims: Sequence[Aim[RankedRow]]
) -> RankedRow | None:
    return next((row for row in front if no_worse(row, best, aims)), None)


def _aim(measure: Measure, *, more: bool = False) -> Aim[RankedRow]:
    return Aim[RankedRow](measure.name, measure.value, more_is_better=more)
