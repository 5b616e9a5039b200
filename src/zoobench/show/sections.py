"""What a report says about the cells of one machine, section by section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from zoobench.results.row import Row
from zoobench.show.document import Block, Column, Heading, Items, Paragraph, Table
from zoobench.show.notes import notes_table
from zoobench.show.numbers import (
    DASH,
    Keyed,
    counted,
    format_bytes,
    format_interval,
    format_ms,
    format_number,
    format_ratio,
    format_share,
)
from zoobench.show.speedup import MOST_JUDGED, Pair
from zoobench.show.tables import (
    MARKED,
    Field,
    Notes,
    backend_label,
    case_fields,
    documented_table,
    doubt_mark,
    drop_word,
    make_table,
    scenario_label,
    status_label,
)
from zoobench.show.view import View
from zoobench.terms import DropDecision, Status, VerdictValue

MOST_ROWS, MOST_BATCHES, MOST_EXPLORED = 300, 12, 2000
"""Rows of one table, batch sizes that a report shows, and rows of a table that can be filtered; the rest stands in results.csv,
and the report says so."""

_CHOICES = ("Batch", "Backend", "Precision", "Scenario", "Verdict")

_BY_TURNS = (
    "Cells that took turns are held against each other slot by slot, as zoobench compare does it: that is not the quotient of "
    "their medians, and its interval is wider where they moved from slot to slot."
)

_BATCH: Field = (Column("Batch", "right"), lambda r: str(r.batch))


def results_section(view: View, notes: Notes) -> list[Block]:
    """The documented table, one for each batch size."""
    blocks: list[Block] = [Paragraph(_intervals_sentence(view))]
    for batch, group in list(view.batches.items())[:MOST_BATCHES]:
        shown = [c for c in group if c.row.status is not Status.SKIPPED]
        if shown:
            blocks.append(Heading(3, f"Batch size {batch}"))
            blocks.append(documented_table(shown[:MOST_ROWS], notes))
            blocks += _rest(len(shown))
    return blocks + _more_batches(len(view.batches))


def explorer_section(view: View, notes: Notes) -> list[Block]:
    """The documented table of every batch size in one, for a page that sorts and filters."""
    shown = [c for c in view.cells if c.row.status is not Status.SKIPPED]
    if not shown:
        return [Paragraph(_intervals_sentence(view))]
    table = documented_table(shown[:MOST_EXPLORED], notes, batches=True)
    unranked = frozenset(i for i, c in enumerate(shown[:MOST_EXPLORED]) if not c.row.is_believable)
    left = len(shown) - MOST_EXPLORED
    return [
        Paragraph(_intervals_sentence(view)),
        replace(table, choices=_CHOICES, unranked=unranked),
        *([Paragraph(f"{left} more rows are in results.csv.")] if left > 0 else []),
    ]


def _more_batches(count: int) -> list[Block]:
    more = count - MOST_BATCHES
    return [Paragraph(f"{more} more batch sizes are in results.csv.")] if more > 0 else []


def _intervals_sentence(view: View) -> str:
    kinds = {r.interval_kind for r in view.rows if r.interval_kind}
    scope = {"within_process": "within one process", "over_forks": "over fresh processes"}
    where = f" ({' or '.join(scope[kind] for kind in sorted(kinds))})" if kinds else ""
    told = "; its light tells speed (🟢 below 10 ms, 🟡 10 to 50, 🔴 above 50)"
    light = told if any(r.p50_ms and not r.requests for r in view.rows) else ""
    return f"Latency is p50 with its 95% interval{where}{light}. Every cell's verdict tells whether to believe it."


def _rest(rows: int, shown: int = MOST_ROWS) -> list[Block]:
    left = rows - shown
    return [Paragraph(f"{left} more rows are in results.csv.")] if left > 0 else []


def speedup_section(view: View) -> list[Block]:
    """The line by how much ONNX Runtime is faster, and every pair behind it."""
    if not view.speedups:
        return [
            Paragraph("No cell has a PyTorch counterpart on this machine, so there is no speed-up to tell.")
        ]
    pairs = view.pairs
    by_row = {id(p.other): p for p in pairs}

    def of_pair(show: Callable[[Pair], str]) -> Callable[[Row], str]:
        return lambda row: show(by_row[id(row)])

    fields = [
        *case_fields([p.other for p in pairs[:MOST_JUDGED]]),
        _BATCH,
        (Column("PyTorch p50 (ms)", "right"), of_pair(lambda p: _p50(p.base))),
        (Column("p50 (ms)", "right"), _p50),
        (Column("Speed-up", "right"), of_pair(_ratio)),
        (Column("Beyond the interval"), of_pair(lambda p: p.verdict + _pair_caution(p))),
    ]
    sentences = [Paragraph(s.sentence, strong=True) for s in view.speedups]
    table = make_table(fields, [p.other for p in pairs[:MOST_JUDGED]])
    told = [Paragraph(_BY_TURNS)] if any(p.kind == "turns" for p in pairs) else []
    return [*sentences, table, *told, *_rest(len(pairs), MOST_JUDGED)]


def _p50(row: Row) -> str:
    return format_ms(row.p50_ms)


def _ratio(pair: Pair) -> str:
    beside = format_interval(pair.interval, pair.ratio)
    return Keyed(f"{format_ratio(pair.ratio)} {beside}".rstrip(), pair.ratio)


def _pair_caution(pair: Pair) -> str:
    unstable = "" if pair.is_stable else " · ⚠ unstable"
    if pair.kind == "turns":
        return unstable
    return unstable + (" · by the medians alone" if pair.took_turns else " · took no turns")


def throughput_section(view: View) -> list[Block]:
    """Throughput of each model and backend at each batch size."""
    batches = sorted({r.batch for r in view.believable})
    if len(batches) < 2:
        return []
    shown = batches[:MOST_BATCHES]
    groups: dict[Hashable, list[Row]] = {}
    for row in view.believable:
        key = (*_of_curve(row), backend_label(row), scenario_label(row))
        if key in groups:
            groups[key].append(row)
        else:
            groups[key] = [row]
    names = case_fields([group[0] for group in groups.values()])
    rows = []
    for group in list(groups.values())[:MOST_ROWS]:
        at = {r.batch: r for r in group}
        figures = (
            format_number(at[b].throughput_per_s) + doubt_mark(at[b]) if b in at else DASH for b in shown
        )
        rows.append((*(show(group[0]) for _, show in names), *figures))
    table = Table((*(c for c, _ in names), *(Column(f"batch {b}", "right") for b in shown)), rows)
    heading = Heading(3, "Throughput against batch size (items/s)")
    return [heading, table, *_marked(view.believable), *_rest(len(groups)), *_more_batches(len(batches))]


def _marked(rows: Iterable[Row]) -> list[Block]:
    return [Paragraph(MARKED)] if any(row.is_unstable for row in rows) else []


_of_curve = attrgetter("model", "precision", "threads", "shape", "arm")


def start_section(view: View) -> list[Block]:
    """What it takes before the first steady call: making the file, worker start, load, compilation, first call, warm-up."""
    rows = [r for r in view.rows if r.load_s is not None]
    if not rows:
        return []
    shown = rows[:MOST_ROWS]
    made: Field = (Column("File made in (s)", "right"), lambda r: format_number(r.made_s))
    fields: list[Field] = [
        *case_fields(shown),
        _BATCH,
        *([made] if any(r.made_s is not None for r in shown) else []),
        (Column("Worker start (s)", "right"), lambda r: format_number(r.worker_start_s)),
        (Column("Load (s)", "right"), lambda r: format_number(r.load_s)),
        (Column("First call (ms)", "right"), lambda r: format_ms(r.first_call_ms)),
        (
            Column("Warm-up calls", "right"),
            lambda r: DASH if r.warm_up_calls is None else str(r.warm_up_calls),
        ),
        (Column("Warm-up (s)", "right"), lambda r: format_number(r.warm_up_s)),
        (Column("Steady"), _steady),
    ]
    if any(r.compile_s is not None for r in shown):
        compile_time: Field = (Column("Compile (s)", "right"), lambda r: format_number(r.compile_s))
        fields.insert(-4, compile_time)
    return [Heading(3, "Start-up, first call and warm-up"), make_table(fields, shown), *_rest(len(rows))]


def _steady(row: Row) -> str:
    return DASH if row.warm_up_steady is None else "yes" if row.warm_up_steady else "no"


def limit_section(view: View) -> list[Block]:
    """How near each cell comes to what the hardware can do."""
    rows = [r for r in view.believable if r.roofline_fraction is not None]
    if not rows:
        return []
    rows.sort(key=lambda r: -(r.roofline_fraction or 0))
    shown = rows[:MOST_ROWS]
    fields: list[Field] = [
        *case_fields(shown),
        _BATCH,
        (Column("Share of the limit", "right"), lambda r: format_share(r.roofline_fraction) + doubt_mark(r)),
        (Column("Bound by"), lambda r: r.roofline_bound or DASH),
    ]
    table = make_table(fields, shown)
    return [Heading(3, "How near the hardware's limit"), table, *_marked(shown), *_rest(len(rows))]


@dataclass(frozen=True)
class _Stop:
    row: Row
    shown_instead: Row | None


def failure_section(view: View) -> list[Block]:
    """Cells without numbers, and later attempts that failed or were disturbed where older numbers are shown."""
    stops = [_Stop(c.row, None) for c in view.cells if c.row.status is not Status.OK]
    stops += [_Stop(c.later, c.row) for c in view.cells if c.later is not None]
    if not stops:
        return []
    stops.sort(key=lambda s: (s.row.status is Status.SKIPPED, s.row.model))
    instead = {id(s.row): s.shown_instead for s in stops}

    def reason(row: Row) -> str:
        told = "; ".join(each.message for each in row.reasons) if row.is_disturbed else row.error_message
        message = told or "no reason was recorded"
        shown = instead[id(row)]
        return f"{message} (the table shows the numbers of run {shown.run_id})" if shown else message

    rows = [s.row for s in stops]
    shown = rows[:MOST_ROWS]
    fields: list[Field] = [
        *case_fields(shown),
        _BATCH,
        (Column("Status"), status_label),
        (Column("Reason"), reason),
    ]
    return [Heading(3, "Failures and skips"), make_table(fields, shown), *_rest(len(rows))]


def notes_section(notes: Notes) -> list[Block]:
    """The reasons behind the marks, each once, with its advice."""
    return [Heading(3, "Notes on the verdicts"), notes_table(notes)] if notes.notes else []


def licence_section(rows: Iterable[Row]) -> list[Block]:
    """Which models are under a licence that binds more than who changes them."""
    found = sorted({f"{r.model} ({r.licence})" for r in rows if r.licence and "gpl" in r.licence.casefold()})
    if not found:
        return []
    return [
        Paragraph(
            f"Under a copyleft licence, which binds who passes on or serves what is built on them: {', '.join(found)}."
        )
    ]


def machine_section(view: View) -> list[Block]:
    """Who measured, with what."""
    machine, rows = view.newest, view.rows
    facts = [
        ("CPU:", machine.cpu_model or DASH),
        ("CPUs usable / of the host:", f"{machine.cpus_usable or DASH} / {machine.cpus_host or DASH}"),
        ("Memory:", format_bytes(machine.memory_bytes)),
        ("GPUs:", ", ".join(machine.gpus) or "none"),
        ("Kernel, Python:", f"{machine.kernel or DASH}, {machine.python or DASH}"),
        ("Fingerprint:", machine.fingerprint),
        ("Threads:", ", ".join(map(str, sorted({r.threads for r in rows})))),
        ("Effort:", ", ".join(sorted({r.effort for r in rows}))),
        ("Versions:", _versions(rows) or DASH),
    ]
    return [Heading(3, "The machine"), Items(tuple(facts))]


def _versions(rows: Iterable[Row]) -> str:
    found: dict[str, set[str]] = {}
    for versions in {tuple(r.versions.items()) for r in rows if r.versions}:
        for package, version in versions:
            found.setdefault(package, set()).add(version)
    return "; ".join(f"{package} {' and '.join(sorted(found[package]))}" for package in sorted(found))


def problems_section(problems: Sequence[str]) -> list[Block]:
    """What could not be read."""
    if not problems:
        return []
    listed = tuple(("", problem) for problem in problems[:20])
    more = [Paragraph(f"And {len(problems) - 20} more.")] if len(problems) > 20 else []
    return [Heading(2, "What could not be read"), Items(listed), *more]


def summary_sentence(views: Sequence[View]) -> str:
    """One sentence over everything real: how much was measured, what to believe, the fastest cell."""
    views = [v for v in views if not v.fake] or views
    rows = [r for view in views for r in view.rows]
    measured = [r for r in rows if r.status is Status.OK]
    verdicts = Counter(r.verdict for r in measured if r.verdict)
    tally = [f"{verdicts[value]:,} {value.value}" for value in VerdictValue if verdicts[value]]
    lost = Counter(r.status for r in rows if r.status is not Status.OK)
    models, backends = ({r.model for r in measured}, {r.backend for r in measured})
    text = (
        f"{counted(len(measured), 'cell')} measured ({', '.join(tally) or 'none judged'}) over "
        f"{counted(len(models), 'model')} and {counted(len(backends), 'backend')}"
    )
    text += "".join(f", {n:,} {status.value.replace('_', ' ')}" for status, n in lost.items())
    if len(views) != 1:
        return f"{text}, on {len(views)} machines, which are never ranked together."
    if not views[0].believable:
        return f"{text}, on {views[0].title}; no latency among them can be believed."
    # What loses too much against fp32 is nobody's choice, however fast.
    rows = views[0].believable
    best = min(rows, key=lambda r: (r.drop_decision is DropDecision.FAIL, r.is_unstable, r.median))
    lowest = min(rows, key=lambda r: (r.drop_decision is DropDecision.FAIL, r.median))
    told = f"{text}, on {views[0].title}; fastest: {_fastest(best)}"
    if lowest is not best:
        told += f"; {_fastest(lowest)} reads faster"
    return told + "."


def _fastest(row: Row) -> str:
    what = "mAP" if row.is_detector else "top-1"
    drop = "" if row.drop_decision is None else f" (drop of {what} against fp32: {drop_word(row)})"
    weights = " (random weights)" if row.weights == "random" else ""
    return f"{row.label}{weights}, {_p50(row)} ms{drop}{', which is ⚠ unstable' * row.is_unstable}"
