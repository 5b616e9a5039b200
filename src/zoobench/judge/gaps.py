"""What was not measured and could change the answer, and the runs that would measure it. Pure.

A row could change the answer when it holds, or may hold, every limit, and its figure may be as low as the best one's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from zoobench.judge.asks import Gap, Wish, gap_of, wish_of
from zoobench.judge.holes import Offer, Runs, absent_cells, never_tried
from zoobench.judge.measures import DOUBT, Measure, slowed
from zoobench.judge.pictures import Judged, enough_pictures, file_on_runtime, with_pictures
from zoobench.judge.wanted import Goal, Limit, Standing, Wanted
from zoobench.measure.effort import EFFORTS
from zoobench.results.row import RankedRow
from zoobench.terms import TEXT, Effort, Precision

Lacking = tuple[RankedRow, tuple[Standing, ...]]
"""A row that does not hold every limit, and how it stands to each."""
ACCURACY_FLAGS = ("--max-drop", "--min-accuracy")


@dataclass(frozen=True)
class SortedOut:
    """Rows by what they are good for, each in their order: those that may be ranked, of which some are unstable; those that are
    invalid, and those that have no number."""

    believable: list[RankedRow]
    unstable: list[RankedRow]
    invalid: list[RankedRow]
    missing: list[RankedRow]

    @classmethod
    def of(cls, rows: Iterable[RankedRow]) -> SortedOut:
        """One look at each."""
        found = cls([], [], [], [])
        for row in rows:
            if row.is_believable:
                found.believable.append(row)
            elif row.is_measured:
                found.invalid.append(row)
            else:
                found.missing.append(row)
        found.unstable.extend(row for row in found.believable if row.is_unstable)
        return found


def find_gaps(
    rows: Sequence[RankedRow],
    sorted_out: SortedOut,
    believable: Sequence[RankedRow],
    lacking: Sequence[Lacking],
    best: RankedRow | None,
    wanted: Wanted,
    goal: Measure,
    limits: Sequence[Limit],
    offers: Mapping[str, Offer],
    carried: Runs,
    judged: Judged,
) -> tuple[Gap, ...]:
    """In the order in which they are worth closing.

    Args:
        rows: the latest of each cell, those without a number too; `sorted_out` by what they are good for.
        believable: the ones that may be ranked; `lacking` those of them that do not hold every limit.
    """
    could = _Could(best, goal, limits)
    found: list[Gap | None] = [
        _of_best(best, wanted, carried, judged),
        *_of_limits(believable, lacking, limits, could, carried, judged),
        _of_goal(believable, wanted, goal, could, carried),
        _unstable(sorted_out.unstable, could, carried),
        _disturbed((*sorted_out.invalid, *sorted_out.missing), could, carried),
        absent_cells(rows, believable, goal, wanted, carried),
        never_tried(rows, believable, best, goal, wanted, offers, carried, judged),
    ]
    return tuple(gap for gap in found if gap is not None)


@dataclass(frozen=True)
class _Could:
    """Which rows could be the answer if one thing were known."""

    best: RankedRow | None
    goal: Measure
    limits: Sequence[Limit]

    def win(self, row: RankedRow, *, but: Limit | None = None) -> bool:
        """It holds every limit but one, or may, and nothing shows that its figure is higher than the best one's."""
        if self.best is not None and row is not self.best and self._low(row) > self.reach:
            return False
        return not any(limit is not but and limit.standing(row) is Standing.FAILS for limit in self.limits)

    @cached_property
    def reach(self) -> float:
        """Up to where a figure is not told apart from the best one's."""
        return self.goal.reach(self.best) if self.best else math.inf

    def _low(self, row: RankedRow) -> float:
        figure = self.goal.figure(row)
        if figure.value is not None:
            return figure.low
        return self.goal.floor(row) or 0.0


def _of_limits(
    rows: Sequence[RankedRow],
    lacking: Sequence[Lacking],
    limits: Sequence[Limit],
    could: _Could,
    carried: Runs,
    judged: Judged,
) -> Iterator[Gap | None]:
    holds, fails = Standing.HOLDS, Standing.FAILS
    for at, limit in enumerate(limits):
        missed = [
            (row, mine[at])
            for row, mine in lacking
            if mine[at] is not holds and mine[at] is not fails and could.win(row, but=limit)
        ]
        unknown = [row for row, standing in missed if standing is Standing.UNKNOWN]
        wide = [row for row, standing in missed if standing is Standing.OPEN]
        if limit.measure.kind == "ms":
            near = [row for row in unknown if (row.p50_ms or 0.0) <= limit.bound]
            yield gap_of(
                "percentile",
                near,
                f"{limit.measure.name} of {{n}} is not known: {{its}} calls are too few for it",
                (_more_effort(row, carried) for row in near),
            )
            yield gap_of(
                "interval",
                wide,
                f"{{n}} hold{{s}} {limit.said} by the figure and not by its interval",
                (_more_effort(row, carried) for row in wide),
            )
        elif limit.flag in ACCURACY_FLAGS:
            yield from _of_pictures(limit, unknown, wide, rows, carried, judged)
        elif limit.flag == "--max-memory":
            yield gap_of(
                "memory",
                unknown,
                "peak memory of {n} is not known",
                (wish_of(row, carried, again=True) for row in unknown),
            )


def _of_pictures(
    limit: Limit,
    unknown: Sequence[RankedRow],
    wide: Sequence[RankedRow],
    rows: Sequence[RankedRow],
    carried: Runs,
    judged: Judged,
) -> Iterator[Gap | None]:
    """What pictures would tell, and what more of them would not."""
    name = limit.measure.name
    asked = [(row, with_pictures(row, carried, judged)) for row in unknown]
    other = f" on the pictures that count ({judged.label})" if any(map(judged.is_elsewhere, unknown)) else ""
    yield gap_of(
        "drop" if limit.flag == "--max-drop" else "accuracy",
        [row for row, wish in asked if wish],
        f"{name} of {{n}} is not known{other}",
        (wish for _, wish in asked if wish),
    )
    yield gap_of(
        "pictures",
        [row for row, wish in asked if wish is None],
        f"{name} of {{n}} is not known on the pictures that count ({judged.label}), and their --dataset is not written down; run again "
        "with it",
        (),
    )
    counts = {id(row): enough_pictures(row, carried, judged, limit) for row in wide}
    most = max((count for count in counts.values() if count), default=None)
    told = [row for row in wide if counts[id(row)]]
    # Accuracies are compared on the same pictures, so more of them are for every file that is compared.
    every = told if limit.flag == "--max-drop" else [*told, *_one_a_file(rows, told, judged)]
    wishes = [with_pictures(row, carried, judged, most) for row in every] if told else []
    yield gap_of(
        "open",
        told,
        f"{name} of {{n}} is open with so few pictures",
        filter(None, wishes),
    )
    yield gap_of(
        "undecided",
        [row for row in wide if not counts[id(row)]],
        f"{{n}} hold{{s}} {limit.said} by the figure and not by its interval, and more pictures would not decide: all that there are "
        "were judged, or the figure lies on the limit",
        (),
    )


def _one_a_file(rows: Iterable[RankedRow], told: Sequence[RankedRow], judged: Judged) -> Iterable[RankedRow]:
    """Of every other file that was judged one row: what it gets right does not depend on the batch."""
    files = {file_on_runtime(row): row for row in rows if file_on_runtime(row) in judged.passes}
    for row in told:
        files.pop(file_on_runtime(row), None)
    return files.values()


def _of_goal(
    rows: Sequence[RankedRow], wanted: Wanted, goal: Measure, could: _Could, carried: Runs
) -> Gap | None:
    lacking = [row for row in rows if goal.value(row) is None and could.win(row)]
    if wanted.minimize is Goal.ENERGY:
        if not lacking:
            return None
        told = (
            f"{goal.name} of {{n}} is not known: it is counted by RAPL, which most systems let only root read "
            "(/sys/class/powercap/intel-rapl:0/energy_uj) and most virtual machines lack, or by an NVIDIA GPU; run again where "
            "it can be read"
        )
        return gap_of("energy", lacking, told, (wish_of(row, carried, again=True) for row in lacking))
    if goal.kind == "ms" and not any(limit.measure.name == goal.name for limit in could.limits):
        told = f"{goal.name} of {{n}} is not known: {{its}} calls are too few for it"
        return gap_of("percentile", lacking, told, (_more_effort(row, carried) for row in lacking))
    return None


def _unstable(rows: Sequence[RankedRow], could: _Could, carried: Runs) -> Gap | None:
    found = [row for row in rows if could.win(row) and all(_may_hold(limit, row) for limit in could.limits)]
    return gap_of(
        "unstable",
        found,
        "{n} {is_} unstable and may be as good as the best, or no good",
        (wish_of(row, carried, again=True) for row in (*found, *_beside(could.best, found))),
    )


def _beside(best: RankedRow | None, rows: Iterable[RankedRow]) -> Iterator[RankedRow]:
    """The best one, where a run of one of `rows` can hold it too: then the two take turns."""
    for row in rows:
        if best is None or row is best or (row.model, row.batch) != (best.model, best.batch):
            continue
        if row.backend == best.backend or row.precision == best.precision:
            yield best
            return


def _may_hold(limit: Limit, row: RankedRow) -> bool:
    return limit.standing(row) in (Standing.HOLDS, Standing.OPEN)


def _disturbed(rows: Sequence[RankedRow], could: _Could, carried: Runs) -> Gap | None:
    """Invalid for the machine's moment alone, and able to win at half the time that it took then."""
    found = [row for row in rows if row.is_disturbed and could.win(slowed(row, 1 / DOUBT))]
    return gap_of(
        "disturbed",
        found,
        "{n} {is_} invalid because the machine was disturbed while {it_} {was}",
        (wish_of(row, carried, again=True) for row in found),
    )


def _of_best(best: RankedRow | None, wanted: Wanted, carried: Runs, judged: Judged) -> Gap | None:
    """What the best one loses, where nobody asked: the one thing to know before it is shipped."""
    if best is None or wanted.max_drop is not None or best.task == TEXT or best.is_fake:
        return None
    if best.precision == Precision.FP32 or best.drop_decision is not None:
        return None
    wish = with_pictures(best, carried, judged)
    return gap_of("drop", [best], "what the best one loses against fp32 is not known", filter(None, [wish]))


def _more_effort(row: RankedRow, carried: Runs) -> Wish:
    """As much evidence as a tail needs: the next effort, and where the calls are slow the time for its calls."""
    known = list(EFFORTS)
    at = known.index(Effort(row.effort)) if row.effort in known else 0
    effort = known[min(at + 1, len(known) - 1)]
    plan = EFFORTS[effort]
    needed_s = math.ceil(1.25 * plan.min_calls * (row.mean_ms or 0.0) / 1e3)
    more = known[at] is known[-1]
    # The longest effort was not enough: it is given the time for twice its calls.
    seconds = max(2 * needed_s, 2 * int(plan.max_case_time_s)) if more else needed_s
    words = ("--max-case-time", str(seconds)) if more or seconds > plan.max_case_time_s else ()
    return wish_of(row, carried, effort=effort.value, again=more, words=words)
