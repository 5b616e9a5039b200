"""`zoobench explain` as blocks, on a terminal, and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

from zoobench.judge.explain import Difference, Explanation, Versus, explain, find_counterpart
from zoobench.judge.margin import judged_record
from zoobench.results.query import Loaded, load_run
from zoobench.results.record import Record
from zoobench.results.row import Row
from zoobench.results.select import Selection
from zoobench.shell import command_line, flag_words
from zoobench.show.document import Block, Column, Command, Heading, Items, Paragraph, Table
from zoobench.show.numbers import (
    DASH,
    counted,
    format_interval,
    format_ms,
    format_number,
    format_ratio,
    format_share,
)
from zoobench.show.tables import MARKED, Field, case_fields, doubt_mark, drop_word, make_table
from zoobench.show.view import View
from zoobench.show.why import paragraph, sentences
from zoobench.terms import Precision

MOST_OPERATORS, MOST_NODES = 12, 8
MOST_CELLS, MOST_BESIDE = 12, 100
"""Cells that a report explains, and that its table of precisions holds."""
_KINDS = {
    "int8": "on bytes",
    "conversion": "converting",
    "layout": "changing the layout",
    "float": "on floats",
}


def explanation_blocks(found: Explanation) -> list[Block]:
    """Heading, the words, then the tables behind them."""
    return [
        Heading(1, f"Why {found.name} is as fast as it is"),
        Paragraph(_facts(found)),
        Items(sentences(found)),
        *_kinds(found),
        *_against_fp32(found),
        *_operators(found),
        *_nodes(found),
        *_rungs(found),
    ]


def explanation_data(found: Explanation) -> dict[str, Any]:
    """For programs: every number, and the words."""
    data: dict[str, Any] = json.loads(json.dumps(asdict(found), default=dict))
    if found.versus:
        data["versus"]["pays"] = found.versus.pays
    return {**data, "words": dict(sentences(found))}


def _facts(found: Explanation) -> str:
    beside = format_interval(found.p50_interval_ms, found.p50_ms)
    parts = [
        f"p50 {format_number(found.p50_ms)} {beside}".rstrip() + " ms",
        f"verdict {found.verdict or DASH}",
        counted(found.threads, "thread"),
        found.scenario,
        f"run {found.run_id}",
        f"case {found.case_id}",
    ]
    if found.versus:
        where = "the same run" if found.versus.same_run else f"run {found.versus.run_id}"
        parts.append(f"fp32 {format_number(found.versus.p50_ms)} ms in {where}")
    return " · ".join(parts)


def _kinds(found: Explanation) -> Iterator[Block]:
    if not found.kinds:
        return
    yield Heading(2, "Time by kind of kernel")
    columns = (Column("Kernels"), *_right("Nodes", "µs a call", "Share"))
    rows = [(_KINDS[k.kind], str(k.nodes), format_number(k.us), format_share(k.share)) for k in found.kinds]
    yield Table(columns, rows)


def _against_fp32(found: Explanation) -> Iterator[Block]:
    versus = found.versus
    if versus is None or not versus.differences:
        return
    yield Heading(2, f"Against fp32, µs a call in {found.precision}")
    columns = (
        Column("Work"),
        *_right("fp32", found.precision, "Difference", "Nodes"),
        Column(f"Kernels in fp32 → {found.precision}"),
    )
    rows = [_difference(one) for one in versus.differences]
    if versus.outside_us is not None and found.outside_us is not None:
        outside = (versus.outside_us, found.outside_us)
        rows.append(("outside of kernels: p50 − profile", *_signed(*outside), DASH, DASH))
        if versus.p50_ms and found.p50_ms:
            rows.append(("p50", *_signed(versus.p50_ms * 1000, found.p50_ms * 1000), DASH, DASH))
    yield Table(columns, rows)


def _difference(one: Difference) -> tuple[str, ...]:
    kernels = f"{', '.join(one.fp32_ops) or DASH} → {', '.join(one.ops) or DASH}"
    return (
        one.group,
        *_signed(one.fp32_us, one.us),
        f"{one.fp32_nodes} → {one.nodes}",
        kernels,
    )


def _signed(before: float, after: float) -> tuple[str, str, str]:
    return f"{before:.0f}", f"{after:.0f}", f"{after - before:+.0f}"


def _operators(found: Explanation) -> Iterator[Block]:
    if not found.operators:
        return
    yield Heading(2, "Time by operator")
    places = {o.provider for o in found.operators}
    columns = (
        Column("Operator"),
        Column("Kernels"),
        *((Column("Provider"),) if len(places) > 1 else ()),
        *_right("Nodes", "µs a call", "Share"),
    )
    rows = [
        (
            o.name,
            _KINDS[o.kind],
            *((o.provider or DASH,) if len(places) > 1 else ()),
            str(o.nodes),
            format_number(o.us),
            format_share(o.share),
        )
        for o in found.operators[:MOST_OPERATORS]
    ]
    yield Table(columns, rows)


def _nodes(found: Explanation) -> Iterator[Block]:
    if not found.slowest:
        return
    yield Heading(2, "Slowest nodes")
    columns = (Column("Node"), Column("Operator"), Column("Kernel"), *_right("µs a call", "Share"))
    yield Table(
        columns,
        [
            (n.name, n.op, _KINDS[n.kind], format_number(n.us), format_share(n.share))
            for n in found.slowest[:MOST_NODES]
        ],
    )


def _rungs(found: Explanation) -> Iterator[Block]:
    if found.ladder is None:
        return
    yield Heading(2, "Recipes that were tried")
    columns = (
        Column("Recipe"),
        *_right(
            "Speed against fp32", f"Same {'boxes' if found.ladder.alike == 'boxes' else 'class'} as fp32"
        ),
        Column("What came of it"),
    )
    yield Table(
        columns,
        [
            (
                rung.name,
                DASH if rung.speed is None else format_ratio(rung.speed),
                format_share(rung.agreement),
                "chosen"
                if rung.chosen
                else rung.error or (f"the file of {rung.same_as}" if rung.same_as else ""),
            )
            for rung in found.ladder.rungs
        ],
    )


def _right(*heads: str) -> tuple[Column, ...]:
    return tuple(Column(head, "right") for head in heads)


def _beside_fp32(beside: Sequence[tuple[Row, Explanation]]) -> Table:
    """One line a precision of a cell: both medians, the speed-up with its interval, and what is lost."""
    by_row = {id(row): told.versus for row, told in beside}

    def of(show: Callable[[Versus], str]) -> Callable[[Row], str]:
        return lambda row: DASH if (versus := by_row[id(row)]) is None else show(versus)

    rows = [row for row, _ in beside]
    fields: list[Field] = [
        *case_fields(rows),
        (Column("Batch", "right"), lambda r: str(r.batch)),
        (Column("fp32 p50 (ms)", "right"), of(lambda v: format_ms(v.p50_ms))),
        (Column("p50 (ms)", "right"), lambda r: format_ms(r.p50_ms) + doubt_mark(r)),
        (Column("Speed-up", "right"), of(_speed_up)),
        (Column("Pays"), of(lambda v: {"pays": "yes", "costs": "❌ no"}.get(v.pays or "", v.pays or DASH))),
        (Column("Drop"), drop_word),
    ]
    return make_table(fields, rows)


def _speed_up(versus: Versus) -> str:
    if versus.ratio is None or versus.interval is None:
        return DASH
    low, high = versus.interval
    return (
        f"{format_ratio(1 / versus.ratio)} {format_interval((1 / high, 1 / low), 1 / versus.ratio)}".rstrip()
    )


def why_section(view: View, results_dir: Path, loaded: Loaded[Row]) -> list[Block]:
    """Every precision beside fp32; for those that do not pay a paragraph why, and the command that tells more.

    Args:
        loaded: the results, whose problems get what could not be read on the way.
    """
    if view.fake:
        return []
    every = [row for row in view.believable if row.precision != Precision.FP32.value]
    if not every:
        return []
    # Some may have no fp32 beside them.
    asked = every[: 2 * MOST_BESIDE]
    beside: list[tuple[Row, Explanation]] = []
    found: list[tuple[Explanation, Record]] = []
    side = _records_of(asked, loaded, results_dir)
    at = {(r.run_id, r.measurement_key, r.recorded_at): r for r in side.records}
    whole: dict[Hashable, list[Record]] = {}
    for other in side.records:
        if other.case.precision is Precision.FP32:
            whole.setdefault(_near(other), []).append(other)
    left = len(every)
    for number, row in enumerate(asked):
        if len(beside) == MOST_BESIDE:
            left -= number
            break
        record = at.get((row.run_id, row.measurement_key, row.recorded_at))
        counterpart = record and find_counterpart(record, whole.get(_near(record), ()))
        if record is None or counterpart is None:
            continue
        if row.max_drop is not None:
            # The report may judge by another margin than the record's run.
            record = judged_record(record, row.max_drop)
        told = explain(record, side.slots(record), (counterpart, side.slots(counterpart)))
        if told.versus and told.versus.pays in ("costs", "undecided"):
            found.append((told, record))
        beside.append((row, told))
    else:
        left -= len(asked)
    loaded.problems += [problem for problem in side.problems if problem not in loaded.problems]
    if not beside:
        return []
    blocks: list[Block] = [Heading(3, "Precisions against fp32"), _beside_fp32(beside)]
    if any(row.is_unstable for row, _ in beside):
        blocks.append(Paragraph(MARKED))
    if left:
        blocks.append(
            Paragraph(f"{left} more rows are in results.csv; `zoobench explain` holds each against fp32.")
        )
    if all(told.versus and told.versus.pays == "pays" for _, told in beside):
        blocks.append(Paragraph("All of them pay; `zoobench explain` tells by what."))
    if not found:
        return blocks
    found.sort(key=lambda pair: pair[0].versus is not None and pair[0].versus.pays != "costs")
    more = len(found) - MOST_CELLS
    return [
        *blocks,
        *(Paragraph(paragraph(one)) for one, _ in found[:MOST_CELLS]),
        *([Paragraph(f"{more} more precisions do not pay.")] if more > 0 else []),
        Paragraph("Every cell's operators and nodes, beside those of fp32:"),
        Command((_command(found[0][1], side.records, results_dir, loaded.folders()),)),
    ]


def _near(record: Record) -> Hashable:
    """Equal for a record and whatever it may be held against, so that few are looked at."""
    return record.case.model, record.case.backend, record.case.batch, record.machine.fingerprint


_near_row = attrgetter("model", "backend", "batch", "fingerprint")
"""The same of a row."""


def _records_of(asked: Sequence[Row], loaded: Loaded[Row], results_dir: Path) -> Selection:
    """The whole records of `asked` and of what they may be held against: rows have no kernels."""
    places = set(map(_near_row, asked))
    near = [row for row in loaded.records if _near_row(row) in places]
    runs, keys = {row.run_id for row in near}, {row.measurement_key for row in near}
    selection = Selection("", Loaded(runs=loaded.runs), results_dir, None)
    for folder in sorted(run.folder for run in loaded.runs if run.folder and run.run_id in runs):
        selection.records += load_run(folder, keys).records
    return selection


def _command(
    record: Record, records: Sequence[Record], results_dir: Path, folders: Mapping[str, Path]
) -> str:
    """What to type to see more of `record`: by its words, or by its id where they would fit others too."""
    case = record.case
    words = [case.model, case.backend, case.precision.value, f"batch={case.batch}"]
    alike = {
        r.case.id
        for r in records
        if r.run_id == record.run_id
        and (r.case.model, r.case.backend, r.case.precision, r.case.batch)
        == (case.model, case.backend, case.precision, case.batch)
    }
    said = words if len(alike) == 1 else [case.id]
    run = folders[record.run_id].name
    return command_line(["zoobench", "explain", run, *said, *flag_words("--results-dir", str(results_dir))])
