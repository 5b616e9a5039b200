"""The tables of `zoobench recommend`, with the words that stand below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from zoobench.judge.asks import Gap
from zoobench.judge.measures import (
    Measure,
    accuracy_of,
    cost_of,
    latency_of,
    memory_bytes,
    throughput_of,
    unit_of,
)
from zoobench.judge.payback import Payback
from zoobench.judge.recommend import Exclusion, Recommendation
from zoobench.judge.wanted import Limit, Standing
from zoobench.results.row import RankedRow
from zoobench.shell import command_line
from zoobench.show.document import Block, Column, Command, Heading, Paragraph, Table
from zoobench.show.measures import capital, cell_of, clients_of, doubted, short_name, told
from zoobench.show.numbers import DASH, counted, format_megabytes, format_number
from zoobench.show.tables import MARKS, RankedField, case_fields, drop_word, make_table
from zoobench.terms import TEXT

MOST_TIES, MOST_FRONT, MOST_COMMANDS = 5, 12, 3
"""Ties in the table, rows of the front, and commands of one gap; the rest is counted."""

_BATCH: RankedField = (Column("Batch", "right"), lambda r: str(r.batch))


def ranking_blocks(found: Recommendation) -> Iterator[Block]:
    """The best, its ties and the runners-up."""
    if found.best is None:
        return
    ties = found.ties[:MOST_TIES]
    rows = [found.best, *ties, *found.runners_up]
    words = {id(found.best): "ship"} | {id(row): "tie" for row in ties}
    task = found.question.task
    yield Heading(2, "The best, its ties and the runners-up")
    yield make_table(
        [
            (Column(""), lambda r: words.get(id(r), "")),
            *_identity(rows),
            *_figures(found, rows),
            (Column("Pays after", "right"), lambda r: _pays_cell(found.paybacks.get(id(r)))),
            (Column("Verdict"), lambda r: MARKS[r.verdict] if r.verdict else DASH),
        ],
        rows,
    )
    more = len(found.ties) - len(ties)
    if more > 0:
        yield Paragraph(f"And {counted(more, 'more tie')}.")
    if found.wanted.price_per_hour is not None:
        yield Paragraph(
            f"Cost, of a million {unit_of(task)}s, is {found.wanted.price_per_hour:g} an hour / ({unit_of(task)}s a second · 3,600) · 10⁶, of one machine that is "
            "busy all the time."
        )


def _identity(rows: Sequence[RankedRow]) -> list[RankedField]:
    """What sets them apart; the load is the same of all, and stands above."""
    fields = [(column, show) for column, show in case_fields(rows) if column.head != "Scenario"]
    if len({clients_of(row) for row in rows}) > 1:
        fields.append((Column("Clients", "right"), lambda r: str(clients_of(r))))
    return [*fields, _BATCH]


def _figures(found: Recommendation, rows: Sequence[RankedRow]) -> list[RankedField]:
    """What was asked about, and what everybody wants to know; columns of which nothing is known are left out."""
    task = found.question.task
    measures = [latency_of(50), *(limit.measure for limit in found.limits), found.goal]
    timed = {measure.name: measure for measure in measures if measure.kind == "ms"}
    price = found.wanted.price_per_hour
    accuracy = accuracy_of(task)
    asked: list[tuple[str, Measure]] = [
        *((f"{name.removesuffix(' latency')} (ms)", measure) for name, measure in timed.items()),
        (f"{unit_of(task)}s/s", throughput_of(task)),
        (f"{accuracy.name} (%)", accuracy),
        *([("Cost (per 10⁶)", cost_of(task, price))] if price is not None else []),
        *([("Energy (J)", found.goal)] if found.goal.kind == "joules" else []),
    ]
    fields: list[RankedField] = [
        (Column(capital(head), "right"), cell_of(measure))
        for head, measure in asked
        if any(measure.value(row) is not None for row in rows)
    ]
    if any(row.drop_decision for row in rows):
        fields.append((Column("Drop"), drop_word))
    if task == TEXT:
        fields.append((Column("Quality"), _quality))
    return [
        *fields,
        (Column("Peak memory (MB)", "right"), lambda r: format_megabytes(memory_bytes(r))),
        (Column("Size (MB)", "right"), lambda r: format_megabytes(r.size_bytes or None)),
    ]


def _quality(row: RankedRow) -> str:
    return DASH if row.quality_passed is None else "pass" if row.quality_passed else "❌ fail"


def _pays_cell(pays: Payback | None) -> str:
    if pays is None:
        return DASH
    return f"{pays.calls:,}" if pays.calls is not None else pays.pays.value.replace("_", " ")


def exclusion_blocks(found: Recommendation) -> Iterator[Block]:
    """What each limit left out, and what came nearest to it."""
    if not found.exclusions:
        return
    yield Heading(2, f"What the limits left out, of {counted(found.judged, 'configuration')}")
    columns = (
        Column("Limit"),
        Column("Left out", "right"),
        Column("By it alone", "right"),
        Column("Not known", "right"),
        Column("Open", "right"),
        Column("Nearest"),
    )
    yield Table(columns, [_exclusion(one) for one in found.exclusions])
    if any(one.open for one in found.exclusions):
        yield Paragraph("Open: the figure holds the limit and the end of its interval does not.")


def _exclusion(one: Exclusion) -> tuple[str, ...]:
    near = "; ".join(_near(one.limit, row) for row in one.nearest)
    counts = (one.excluded, one.alone, one.unknown, len(one.open))
    return (one.limit.said, *(f"{count:,}" for count in counts), near or DASH)


def _near(limit: Limit, row: RankedRow) -> str:
    """A near miss, and how far off it is."""
    if limit.measure.value(row) is None:
        return f"{short_name(row)}: its quality gate failed"
    by = " by its interval" if limit.standing(row) is Standing.OPEN else ""
    return f"{short_name(row)}: {told(limit.measure, row)}, {_far(limit, row)}{by}"


def _far(limit: Limit, row: RankedRow) -> str:
    """`38% above`, `3.83 × the limit`, `36% below`."""
    needed = limit.needed(row)
    if needed is None or limit.measure.kind == "share":
        return "off"
    share = abs(needed / limit.bound - 1)
    if not limit.at_least and share >= 1:
        return f"{format_number(needed / limit.bound)} × the limit"
    size = f"{100 * share:.0f}%" if share >= 0.1 else f"{format_number(100 * share)}%"
    return f"{size} {'below' if limit.at_least else 'above'}"


def front_blocks(found: Recommendation) -> Iterator[Block]:
    """What nothing else beats in everything, and why the answer is not among it where it is not."""
    best = found.best
    beaten = best is not None and not any(row is best for row in found.front)
    if len(found.front) < 2 and not (beaten and found.front):
        return
    rows = found.front[:MOST_FRONT]
    yield Heading(2, f"The Pareto front of {', '.join(found.front_aims)}")
    holds = {id(row): all(limit.standing(row) is Standing.HOLDS for limit in found.limits) for row in rows}
    fields: list[RankedField] = [
        (Column(""), lambda r: "ship" if r is best else ""),
        *_identity(rows),
        *_figures(found, rows),
        (Column("Limits"), lambda r: "held" if holds[id(r)] else "not held"),
        (Column("Verdict"), lambda r: MARKS[r.verdict] if r.verdict else DASH),
    ]
    yield make_table(fields, rows)
    more = len(found.front) - len(rows)
    said = "None is beaten: what is better in one of these is worse in another. Equals stay, and intervals are not asked."
    if more > 0:
        said += f" {more} more are on it."
    if found.front_unplaced:
        said += f" {counted(found.front_unplaced, 'more configuration')} cannot be placed: one of these figures is not known."
    if best is not None and beaten:
        other = found.beats_best
        why = (
            "one of these figures of it is not known"
            if other is None
            else f"{doubted(other)} is no worse in any of these"
        )
        said += f" The recommended {short_name(best)} is not on it: {why}."
    yield Paragraph(said)


def gap_blocks(gaps: Sequence[Gap], results_dir: Path) -> Iterator[Block]:
    """What was not measured, and the runs that would."""
    if not gaps:
        return
    yield Heading(2, "What was not measured")
    for gap in gaps:
        yield Paragraph(capital(gap.what) + (":" if gap.asks else "."))
        if gap.asks:
            # One more takes no more room than the line that counts it.
            shown = len(gap.asks) if len(gap.asks) == MOST_COMMANDS + 1 else MOST_COMMANDS
            yield Command(commands(gap, results_dir, shown))
            more = len(gap.asks) - shown
            if more > 0:
                yield Paragraph(f"And {more:,} more commands; --json has them.")


def commands(gap: Gap, results_dir: Path, most: int | None = None) -> tuple[str, ...]:
    """The gap's runs as they are typed into a shell."""
    return tuple(command_line(ask.words(str(results_dir))) for ask in gap.asks[:most])
