"""The documented table: one row a cell, ranked within a batch size, for every place that prints it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoobench.outcome import Status, VerdictValue
from zoobench.results.query import Cell, by_machine, latest_cells
from zoobench.results.record import MachineInfo, Record
from zoobench.show.document import Column, Table, plain
from zoobench.show.numbers import (
    DASH,
    format_megabytes,
    format_ms,
    format_number,
    traffic_light,
    with_interval,
)
from zoobench.spec import Case, Precision

if TYPE_CHECKING:
    from rich.table import Table as RichTable

MARKS = {VerdictValue.VALID: "valid", VerdictValue.UNSTABLE: "⚠ unstable", VerdictValue.INVALID: "❌ invalid"}


def is_measured(record: Record) -> bool:
    """It has a median, whatever the verdict says of it."""
    return record.status is Status.OK and record.latency is not None and record.latency.p50_ms is not None


def is_believable(record: Record) -> bool:
    """Its median may be ranked and compared: valid, or unstable and marked so."""
    verdict = record.verdict
    if verdict is not None and verdict.value is VerdictValue.INVALID:
        return False
    return is_measured(record) and p50(record) > 0


def has_verdict(record: Record, value: VerdictValue) -> bool:
    """Whether the record's verdict is `value`; a record without a verdict has none."""
    return record.verdict is not None and record.verdict.value is value


def p50(record: Record) -> float:
    """Median in ms; infinity where there is none, so that such cells sort last."""
    latency = record.latency
    return math.inf if latency is None or latency.p50_ms is None else latency.p50_ms


def is_fake(record: Record) -> bool:
    """Made by the `fake` backend on a virtual clock: never ranked beside real measurements."""
    return record.model.weights == "fake" or record.case.backend == "fake"


def model_label(record: Record) -> str:
    """The model's name, and that its weights are random where they are."""
    suffix = " (random weights)" if record.model.weights == "random" else ""
    return f"{record.case.model}{suffix}"


def backend_label(case: Case) -> str:
    """The backend with the options that set it apart; values such as hashes are cut to twelve characters."""
    options = ", ".join(f"{name}={str(value)[:12]}" for name, value in sorted(case.options.items()))
    return f"{case.backend} ({options})" if options else case.backend


def machine_label(machine: MachineInfo) -> str:
    """`Intel Xeon … · 2 CPUs · machine 0f3a9c21`; the last part is the start of the fingerprint."""
    parts = [machine.cpu_model or "unknown CPU"]
    if machine.cpus_usable is not None:
        parts.append(f"{machine.cpus_usable} CPU{'s' if machine.cpus_usable != 1 else ''}")
    return " · ".join([*parts, *machine.gpus, f"machine {machine.fingerprint[:8]}"])


@dataclass
class Note:
    """One reason code of one verdict value, over all the cells that gave it."""

    number: int
    kind: str
    code: str
    message: str
    cell: str
    cells: int = 0
    messages: set[str] = field(default_factory=set)


@dataclass
class Notes:
    """Numbers the reasons behind marks, in the order in which the tables show them."""

    notes: dict[tuple[str, str], Note] = field(default_factory=dict)

    def mark(self, record: Record) -> str:
        """The verdict's word and the numbers of its notes: `⚠️ unstable · notes 1, 3`."""
        if record.verdict is None:
            return DASH
        kind = record.verdict.value.value
        numbers = {self._number(kind, r.code, r.message, record) for r in record.verdict.reasons}
        numbers |= {self._number("warning", r.code, r.message, record) for r in record.verdict.warnings}
        word = MARKS[record.verdict.value]
        if not numbers:
            return word
        return f"{word} · note{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}"

    def _number(self, kind: str, code: str, message: str, record: Record) -> int:
        note = self.notes.get((kind, code))
        if note is None:
            label = f"{record.case.label}, {record.case.threads} threads"
            note = self.notes[kind, code] = Note(len(self.notes) + 1, kind, code, message, label)
        note.cells += 1
        note.messages.add(message)
        return note.number


Field = tuple[Column, Callable[[Record], str]]

_OPTIONAL_COLUMNS: tuple[tuple[Callable[[Case], object], object, Field], ...] = (
    (lambda c: c.precision, Precision.FP32, (Column("Precision"), lambda r: r.case.precision.value)),
    (lambda c: c.shape, None, (Column("Shape"), lambda r: shape_label(r.case))),
    (lambda c: c.scenario, "single_stream", (Column("Scenario"), lambda r: r.case.scenario)),
    (lambda c: c.arm, "base", (Column("Arm"), lambda r: r.case.arm)),
)


def shape_label(case: Case) -> str:
    """`3×224×224`; `—` for the model's own shape."""
    return "×".join(map(str, case.shape)) if case.shape else DASH


def case_fields(records: Sequence[Record]) -> list[Field]:
    """Columns that name a case: model, backend, and whatever else is not everywhere the default."""
    fields: list[Field] = [
        (Column("Model"), model_label),
        (Column("Backend"), lambda r: backend_label(r.case)),
    ]
    for of_case, default, column in _OPTIONAL_COLUMNS:
        if any(of_case(r.case) != default for r in records):
            fields.append(column)
    if len({r.case.threads for r in records}) > 1:
        fields.append((Column("Threads", "right"), lambda r: str(r.case.threads)))
    return fields


def make_table(fields: Sequence[Field], records: Iterable[Record]) -> Table:
    """One row a record, one column a field."""
    return Table(tuple(c for c, _ in fields), [tuple(show(r) for _, show in fields) for r in records])


def in_order(cells: Iterable[Cell]) -> list[Cell]:
    """Models by their fastest believable cell; within a model by p50; what cannot be believed last."""
    fastest: dict[str, float] = {}
    judged = [(cell, cell.record.case, is_believable(cell.record), p50(cell.record)) for cell in cells]
    for _, case, believable, median in judged:
        best = fastest.get(case.model, math.inf)
        fastest[case.model] = min(best, median) if believable else best
    judged.sort(key=lambda x: (fastest[x[1].model], x[1].model, not x[2], x[3], x[1].backend))
    return [cell for cell, *_ in judged]


def documented_table(cells: Iterable[Cell], notes: Notes) -> Table:
    """The documented table of the cells of one machine and one batch size, as ordered; skips are left out."""
    shown = [c for c in cells if c.record.status is not Status.SKIPPED]
    later = {id(c.record): c.later for c in shown if c.later is not None}

    def verdict(record: Record) -> str:
        if record.status is not Status.OK:
            return status_label(record)
        attempt = later.get(id(record))
        beside = f" · a later attempt: {status_label(attempt)}" if attempt else ""
        return notes.mark(record) + beside

    fields = [
        *case_fields([c.record for c in shown]),
        (Column("Latency (ms)", "right"), latency_cell),
        (Column("p95 (ms)", "right"), lambda r: format_ms(r.latency.p95_ms if r.latency else None)),
        (Column("Throughput (items/s)", "right"), lambda r: format_number(r.throughput_per_s)),
        (
            Column("Size (MB)", "right"),
            lambda r: format_megabytes(r.artifact.size_bytes if r.artifact else None),
        ),
        (
            Column("Peak memory (MB)", "right"),
            lambda r: format_megabytes(r.memory.peak_bytes if r.memory else None),
        ),
        (Column("Verdict"), verdict),
    ]
    return make_table(fields, [c.record for c in shown])


def status_label(record: Record) -> str:
    """`failed (load)`, `timeout (slot)`, `skipped`."""
    word = record.status.value.replace("_", " ")
    return f"{word} ({record.error.stage})" if record.error else word


def latency_cell(record: Record) -> str:
    """`9.53 [9.41, 9.70] 🟢`; an invalid number gets no light."""
    latency = record.latency
    if latency is None or latency.p50_ms is None:
        return DASH
    text = with_interval(latency.p50_ms, latency.p50_interval_ms)
    return f"{text} {traffic_light(latency.p50_ms)}" if is_believable(record) else text


def by_batch(cells: Iterable[Cell]) -> dict[int, list[Cell]]:
    """Batch size → its cells in their ranking's order, smallest batch first."""
    batches: dict[int, list[Cell]] = {}
    for cell in cells:
        batches.setdefault(cell.record.case.batch, []).append(cell)
    return {batch: in_order(group) for batch, group in sorted(batches.items())}


def console_table(records: Iterable[Record]) -> list[RichTable]:
    """The documented table for a terminal of 100 columns or more: one for each machine and batch size.

    Args:
        records: oldest first.
    """
    tables = []
    cells = latest_cells(records)
    for machine in by_machine([c.record for c in cells]).values():
        own = [c for c in cells if c.record.machine.fingerprint == machine[0].machine.fingerprint]
        notes = Notes()
        for batch, group in by_batch(own).items():
            table = documented_table(group, notes)
            if table.rows:
                tables.append(_rich_table(f"Batch {batch} · {machine_label(machine[-1].machine)}", table))
        if notes.notes:
            tables.append(_rich_table("Notes", notes_table(notes)))
    return tables


def notes_table(notes: Notes) -> Table:
    """The reasons behind the marks, each once, with its advice and how many cells gave it."""
    columns = (
        Column("Note", "right"),
        Column("Mark"),
        Column("Code"),
        Column("Cells", "right"),
        Column("What"),
    )
    rows = []
    for note in notes.notes.values():
        example = f"{note.message} ({note.cell})" if len(note.messages) > 1 else note.message
        rows.append((str(note.number), note.kind, note.code, str(note.cells), example))
    return Table(columns, rows)


_SHORT_HEADS = {
    "p95 (ms)": "p95",
    "Throughput (items/s)": "items/s",
    "Size (MB)": "MB",
    "Peak memory (MB)": "Peak MB",
}


def _rich_table(title: str, table: Table) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    out = RichTable(
        title=Text(plain(title)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in table.columns:
        head = _SHORT_HEADS.get(column.head, column.head)
        out.add_column(Text(head), justify=column.align, no_wrap=column.align == "right", overflow="fold")
    for row in table.rows:
        out.add_row(*(Text(plain(cell)) for cell in row))
    return out
