"""What a report says about the cells of one machine, section by section."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from zoobench.outcome import Status
from zoobench.results.query import Cell
from zoobench.results.record import Record
from zoobench.show.document import Block, Column, Heading, Items, Paragraph, Table
from zoobench.show.numbers import (
    DASH,
    format_bytes,
    format_interval,
    format_ms,
    format_number,
    format_ratio,
    format_share,
)
from zoobench.show.speedup import Pair, Speedup
from zoobench.show.tables import (
    Field,
    Notes,
    by_batch,
    case_fields,
    documented_table,
    in_order,
    is_believable,
    is_measured,
    machine_label,
    make_table,
    notes_table,
    status_label,
)

MOST_ROWS = 1000
"""Of one table in a report; the rest stands in results.csv, and the report says so."""

_BATCH: Field = (Column("Batch", "right"), lambda r: str(r.case.batch))


def results_section(cells: Sequence[Cell], notes: Notes) -> list[Block]:
    """The documented table, one for each batch size."""
    blocks: list[Block] = [Paragraph(_intervals_sentence(cells))]
    for batch, group in by_batch(cells).items():
        shown = [c for c in in_order(group) if c.record.status is not Status.SKIPPED]
        if shown:
            blocks.append(Heading(3, f"Batch size {batch}"))
            blocks.append(documented_table(shown[:MOST_ROWS], notes))
            blocks += _rest(len(shown))
    return blocks


def _intervals_sentence(cells: Iterable[Cell]) -> str:
    kinds = {c.record.latency.interval_kind for c in cells if c.record.latency}
    scope = {"within_process": "within one process", "over_forks": "over fresh processes"}
    where = f" ({' or '.join(scope[kind] for kind in sorted(kinds))})" if kinds else ""
    return f"Latency is p50 with its 95% interval{where}; every cell's verdict says whether to believe it."


def _rest(rows: int) -> list[Block]:
    left = rows - MOST_ROWS
    return [Paragraph(f"{left} more rows are in results.csv.")] if left > 0 else []


def _bounded(table: Table) -> list[Block]:
    return [replace(table, rows=table.rows[:MOST_ROWS]), *_rest(len(table.rows))]


def speedup_section(speedups: Sequence[Speedup]) -> list[Block]:
    """The line by how much ONNX Runtime is faster, and every pair behind it."""
    if not speedups:
        return [
            Paragraph("No cell has a PyTorch counterpart on this machine, so there is no speed-up to tell.")
        ]
    pairs = sorted(
        (pair for s in speedups for pair in s.pairs), key=lambda p: (p.other.case.model, p.other.case.batch)
    )
    by_record = {id(p.other): p for p in pairs}

    def of_pair(show: Callable[[Pair], str]) -> Callable[[Record], str]:
        return lambda record: show(by_record[id(record)])

    fields = [
        *case_fields([p.other for p in pairs[:MOST_ROWS]]),
        _BATCH,
        (Column("PyTorch p50 (ms)", "right"), of_pair(lambda p: _p50(p.base))),
        (Column("p50 (ms)", "right"), _p50),
        (Column("Speed-up", "right"), of_pair(_ratio)),
        (Column("Beyond the interval"), of_pair(lambda p: p.verdict + _pair_caution(p))),
    ]
    sentences = [Paragraph(s.sentence, strong=True) for s in speedups]
    return [*sentences, make_table(fields, [p.other for p in pairs[:MOST_ROWS]]), *_rest(len(pairs))]


def _p50(record: Record) -> str:
    return format_ms(record.latency.p50_ms if record.latency else None)


def _ratio(pair: Pair) -> str:
    beside = format_interval(pair.interval, pair.ratio)
    return f"{format_ratio(pair.ratio)} {beside}".rstrip()


def _pair_caution(pair: Pair) -> str:
    unstable = "" if pair.is_stable else " · ⚠ unstable"
    return unstable + ("" if pair.took_turns else " · different runs")


def throughput_section(cells: Iterable[Cell]) -> list[Block]:
    """Throughput of each model and backend at each batch size."""
    measured = [c.record for c in in_order(cells) if is_believable(c.record)]
    batches = sorted({r.case.batch for r in measured})
    if len(batches) < 2:
        return []
    names = case_fields(measured)
    rows: dict[tuple[str, ...], dict[int, str]] = {}
    for record in measured:
        row = rows.setdefault(tuple(show(record) for _, show in names), {})
        row[record.case.batch] = format_number(record.throughput_per_s)
    columns = (*(c for c, _ in names), *(Column(f"batch {b}", "right") for b in batches))
    table = Table(columns, [(*name, *(row.get(b, DASH) for b in batches)) for name, row in rows.items()])
    return [Heading(3, "Throughput against batch size (items/s)"), *_bounded(table)]


def start_section(cells: Iterable[Cell]) -> list[Block]:
    """What it takes before the first steady call: worker start, load, compilation, first call, warm-up."""
    loaded = [c for c in cells if c.record.load_s is not None]
    records = [c.record for group in by_batch(loaded).values() for c in in_order(group)]
    if not records:
        return []
    fields: list[Field] = [
        *case_fields(records),
        _BATCH,
        (Column("Worker start (s)", "right"), lambda r: format_number(r.worker_start_s)),
        (Column("Load (s)", "right"), lambda r: format_number(r.load_s)),
        (Column("First call (ms)", "right"), lambda r: format_ms(r.first_call_ms)),
        (Column("Warm-up calls", "right"), lambda r: str(r.warm_up.calls) if r.warm_up else DASH),
        (Column("Warm-up (s)", "right"), lambda r: format_number(r.warm_up.seconds if r.warm_up else None)),
        (Column("Steady"), lambda r: DASH if r.warm_up is None else "yes" if r.warm_up.steady else "no"),
    ]
    if any(r.compile_s is not None for r in records):
        compile_time: Field = (Column("Compile (s)", "right"), lambda r: format_number(r.compile_s))
        fields.insert(-4, compile_time)
    return [Heading(3, "Start-up, first call and warm-up"), *_table_of(fields, records)]


def limit_section(cells: Iterable[Cell]) -> list[Block]:
    """How near each cell comes to what the hardware can do."""
    records = [c.record for c in cells if c.record.roofline_fraction is not None and is_believable(c.record)]
    if not records:
        return []
    records.sort(key=lambda r: -(r.roofline_fraction or 0))
    fields: list[Field] = [
        *case_fields(records),
        _BATCH,
        (Column("Share of the limit", "right"), lambda r: format_share(r.roofline_fraction)),
        (Column("Bound by"), lambda r: r.roofline_bound or DASH),
    ]
    return [Heading(3, "How near the hardware's limit"), *_table_of(fields, records)]


def _table_of(fields: Sequence[Field], records: Sequence[Record]) -> list[Block]:
    return [make_table(fields, records[:MOST_ROWS]), *_rest(len(records))]


@dataclass(frozen=True)
class _Stop:
    record: Record
    shown_instead: Record | None


def failure_section(cells: Iterable[Cell]) -> list[Block]:
    """Cells without numbers, and later attempts that failed where older numbers are shown."""
    stops = [_Stop(c.record, None) for c in cells if c.record.status is not Status.OK]
    stops += [_Stop(c.later, c.record) for c in cells if c.later is not None]
    if not stops:
        return []
    stops.sort(key=lambda s: (s.record.status is Status.SKIPPED, s.record.case.model))
    instead = {id(s.record): s.shown_instead for s in stops}

    def reason(record: Record) -> str:
        message = record.error.message if record.error else "no reason was recorded"
        shown = instead[id(record)]
        return f"{message} (the table shows the numbers of run {shown.run_id})" if shown else message

    records = [s.record for s in stops]
    fields: list[Field] = [
        *case_fields(records),
        _BATCH,
        (Column("Status"), status_label),
        (Column("Reason"), reason),
    ]
    return [Heading(3, "Failures and skips"), *_table_of(fields, records)]


def notes_section(notes: Notes) -> list[Block]:
    """The reasons behind the marks, each once, with its advice."""
    return [Heading(3, "Notes on the verdicts"), notes_table(notes)] if notes.notes else []


def machine_section(records: Sequence[Record]) -> list[Block]:
    """Who measured, with what."""
    machine = records[-1].machine
    facts = [
        ("CPU:", machine.cpu_model or DASH),
        ("CPUs usable / of the host:", f"{machine.cpus_usable or DASH} / {machine.cpus_host or DASH}"),
        ("Memory:", format_bytes(machine.memory_bytes)),
        ("GPUs:", ", ".join(machine.gpus) or "none"),
        ("Kernel, Python:", f"{machine.kernel or DASH}, {machine.python or DASH}"),
        ("Fingerprint:", machine.fingerprint),
        ("Threads:", ", ".join(map(str, sorted({r.case.threads for r in records})))),
        ("Effort:", ", ".join(sorted({r.effort for r in records}))),
        ("Versions:", _versions(records) or DASH),
    ]
    return [Heading(3, "The machine"), Items(tuple(facts))]


def _versions(records: Iterable[Record]) -> str:
    found: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.versions.items():
            found.setdefault(package, set()).add(version)
    return "; ".join(f"{package} {' and '.join(sorted(found[package]))}" for package in sorted(found))


def problems_section(problems: Sequence[str]) -> list[Block]:
    """What could not be read."""
    if not problems:
        return []
    listed = tuple(("", problem) for problem in problems[:20])
    more = [Paragraph(f"And {len(problems) - 20} more.")] if len(problems) > 20 else []
    return [Heading(2, "What could not be read"), Items(listed), *more]


def summary_sentence(machines: Sequence[Sequence[Cell]]) -> str:
    """One sentence over everything: the fastest cell on each machine, how much was measured, what to believe."""
    records = [c.record for cells in machines for c in cells]
    measured = [r for r in records if is_measured(r)]
    verdicts = [r.verdict.value.value for r in measured if r.verdict]
    tally = [f"{n} {word}" for word in ("valid", "unstable", "invalid") if (n := verdicts.count(word))]
    statuses = [r.status.value for r in records if r.status is not Status.OK]
    lost = [f"{statuses.count(word)} {word.replace('_', ' ')}" for word in dict.fromkeys(statuses)]
    models, backends = ({r.case.model for r in measured}, {r.case.backend for r in measured})
    text = (
        f"{_count(len(measured), 'cell')} measured ({', '.join(tally) or 'none judged'}) over "
        f"{_count(len(models), 'model')} and {_count(len(backends), 'backend')}"
    )
    text += f", {', '.join(lost)}" if lost else ""
    if len(machines) != 1:
        return f"{text}, on {len(machines)} machines, which are never ranked together."
    best = next((c.record for c in in_order(machines[0]) if is_believable(c.record)), None)
    where = f", on {machine_label(records[-1].machine)}"
    if best is None:
        return f"{text}{where}; no number among them can be believed."
    return f"{text}{where}; fastest: {best.case.label}, {_p50(best)} ms."


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
