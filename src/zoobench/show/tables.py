"""The documented table: one row a cell, ranked within a batch size, for every place that prints it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zoobench.results.query import Cell
from zoobench.results.row import R, RankedRow, Row
from zoobench.show.document import Column, Table
from zoobench.show.numbers import (
    DASH,
    Keyed,
    format_megabytes,
    format_ms,
    format_number,
    traffic_light,
    with_interval,
)
from zoobench.terms import (
    CLIENT_OPTIONS,
    LOAD_OPTIONS,
    TOKEN_OPTIONS,
    TOKENS,
    UNSTABLE_CODES,
    DropDecision,
    Interval,
    OptionValue,
    Precision,
    Reason,
    Status,
    VerdictValue,
)

_DROPS = {
    DropDecision.PASS: "pass",
    DropDecision.FAIL: "❌ fail",
    DropDecision.INCONCLUSIVE: "⚠ inconclusive",
}
_HASH = re.compile(r"[0-9a-f]{32,}")
_LONGEST_OPTION = 40
"""Characters of an option's value that are shown."""
MARKS = {VerdictValue.VALID: "valid", VerdictValue.UNSTABLE: "⚠ unstable", VerdictValue.INVALID: "❌ invalid"}


def model_label(row: RankedRow) -> str:
    """The model's name, that its weights are random where they are, and of local files which content."""
    if row.weights == "local" and row.revision:
        return f"{row.model} ({row.revision[:8]})"
    if row.weights == "served":
        # Some servers name a model by its file's path.
        return row.model.rpartition("/")[2] if row.model.startswith("/") else row.model
    return f"{row.model} (random weights)" if row.weights == "random" else row.model


def backend_label(row: RankedRow) -> str:
    """The backend with the options that set it apart; hashes, and what is as long, are cut to twelve characters.

    What says the load stands with the scenario. Of a server its address is what sets it apart.
    """
    if not row.options:
        return row.backend
    from urllib.parse import urlsplit

    told = dict(sorted(row.options.items()))
    where = [urlsplit(str(told.pop("endpoint"))).netloc] if "endpoint" in told else []
    loads = (*LOAD_OPTIONS, *TOKEN_OPTIONS, *CLIENT_OPTIONS)
    options = [f"{name}={_as_typed(value)}" for name, value in told.items() if name not in loads]
    return f"{row.backend} ({', '.join(where + options)})" if where or options else row.backend


def _as_typed(value: OptionValue) -> str:
    """A hash is known by its beginning. Other words stay whole: `max-autotune` is not `max-autotune-no-cudagraphs`."""
    told = str(value).lower() if isinstance(value, bool) else str(value)
    return told[:12] if _HASH.fullmatch(told) or len(told) > _LONGEST_OPTION else told


def scenario_label(row: RankedRow) -> str:
    """The scenario with its load: `server 50/s, p99 ≤ 50 ms, up to 8 joined within 2 ms`."""
    return load_label(row.scenario, row.options) if row.options else row.scenario


def load_label(scenario: str, told: Mapping[str, OptionValue]) -> str:
    """As `scenario_label`, of the options that say the load."""
    parts = [] if scenario == TOKENS and "prompt_tokens" in told else [scenario]
    if "target_qps" in told:
        parts[0] += f" {_told(told['target_qps'])}/s"
    if "prompt_tokens" in told:
        parts.append(f"{told['prompt_tokens']} + {told.get('new_tokens', '?')} tokens")
    if "concurrency" in told:
        parts.append(f"{told['concurrency']} clients")
    percentile = f"p{_told(told['latency_percentile'])} " if "latency_percentile" in told else ""
    for name, word in (("ttft_limit_ms", "TTFT"), ("tpot_limit_ms", "TPOT")):
        if name in told:
            parts.append(f"{percentile}{word} ≤ {_limit(told[name])}")
    if "latency_limit_ms" in told:
        parts.append(f"{percentile or 'p99 '}≤ {_told(told['latency_limit_ms'])} ms")
    if "max_batch" in told:
        parts.append(f"up to {_told(told['max_batch'])} joined")
    if "batch_timeout_ms" in told:
        parts[-1] += f" within {_told(told['batch_timeout_ms'])} ms"
    return ", ".join(parts)


def _limit(ms: OptionValue) -> str:
    return f"{float(ms) / 1e3:g} s" if float(ms) >= 1e3 else f"{float(ms):g} ms"


def _told(value: OptionValue) -> str:
    return str(value)[:12] if isinstance(value, bool | str) else f"{value:g}"


def loadgen_label(row: Row) -> str:
    """LoadGen's word on the cell's tests, with the latency that it went by: `VALID, p99 24.3`."""
    if row.load_tests is None or row.load_valid_tests is None:
        return DASH
    word = "VALID" if row.load_valid_tests else "INVALID"
    if 0 < row.load_valid_tests < row.load_tests:
        word = f"{row.load_valid_tests} of {row.load_tests} VALID"
    seen = (("", row.load_percentile_ms), (" TTFT", row.load_ttft_ms), (" TPOT", row.load_tpot_ms))
    told = [f"p{row.load_percentile:g}{name} {format_ms(ms)}" for name, ms in seen if ms is not None]
    return ", ".join([word, *told])


def machine_label(row: RankedRow) -> str:
    """`Intel Xeon … · 2 CPUs · machine 0f3a9c21`; the last part is the start of the fingerprint."""
    parts = [row.cpu_model or "unknown CPU"]
    if row.cpus_usable is not None:
        parts.append(f"{row.cpus_usable} CPU{'s' if row.cpus_usable != 1 else ''}")
    return " · ".join([*parts, *row.gpus, f"machine {row.fingerprint[:8]}"])


def machine_title(row: Row) -> str:
    """The machine, and that nothing was measured where the numbers are fake."""
    label = machine_label(row)
    return f"Fake backend (virtual clock, nothing was measured) · {label}" if row.is_fake else label


@dataclass
class Note:
    """One reason code of one verdict value, over all the cells that gave it; `messages` in the order in which they came."""

    number: int
    kind: str
    code: str
    cells: int = 0
    messages: dict[str, None] = field(default_factory=dict)


@dataclass
class Notes:
    """Numbers the reasons behind marks, in the order in which the tables show them."""

    notes: dict[tuple[str, str], Note] = field(default_factory=dict)

    def mark(self, row: Row) -> str:
        """The verdict's word and the numbers of its notes: `⚠ unstable · notes 1, 3`."""
        if row.verdict is None:
            return DASH
        numbers = {
            self._number("unstable" if reason.code in UNSTABLE_CODES else "invalid", reason, row)
            for reason in row.reasons
        }
        numbers |= {self._number("warning", reason, row) for reason in row.warnings}
        word = MARKS[row.verdict]
        if not numbers:
            return word
        return f"{word} · note{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}"

    def _number(self, kind: str, reason: Reason, row: Row) -> int:
        note = self.notes.get((kind, reason.code))
        if note is None:
            note = Note(len(self.notes) + 1, kind, reason.code)
            self.notes[kind, reason.code] = note
        note.cells += 1
        note.messages[reason.message] = None
        return note.number


Field = tuple[Column, Callable[[Row], str]]
RankedField = tuple[Column, Callable[[RankedRow], str]]

_OPTIONAL_COLUMNS: tuple[tuple[str, object, RankedField], ...] = (
    ("precision", Precision.FP32.value, (Column("Precision"), lambda r: r.precision)),
    ("scenario", "single_stream", (Column("Scenario"), scenario_label)),
    ("arm", "base", (Column("Arm"), lambda r: r.arm)),
)


def case_fields(rows: Sequence[RankedRow]) -> list[RankedField]:
    """Columns that name a case: model, backend, and whatever else differs or is not the default."""
    fields: list[RankedField] = [(Column("Model"), model_label), (Column("Backend"), backend_label)]
    for name, default, column in _OPTIONAL_COLUMNS:
        if any(getattr(r, name) != default for r in rows):
            fields.append(column)
    if len({r.shape for r in rows if r.shape}) > 1:
        fields.append((Column("Shape"), lambda r: "×".join(map(str, r.shape or ())) or DASH))
    if len({r.threads for r in rows}) > 1:
        fields.append((Column("Threads", "right"), lambda r: str(r.threads)))
    return fields


def make_table(fields: Sequence[tuple[Column, Callable[[R], str]]], rows: Iterable[R]) -> Table:
    """One line a row, one column a field."""
    return Table(tuple(c for c, _ in fields), [tuple(show(r) for _, show in fields) for r in rows])


def in_order(cells: Iterable[Cell]) -> list[Cell]:
    """Models by their fastest believable cell; within a model by p50; what cannot be believed last."""
    fastest: dict[str, float] = {}
    judged = [(cell, cell.row, cell.row.is_believable) for cell in cells]
    for _, row, believable in judged:
        best = fastest.get(row.model, math.inf)
        fastest[row.model] = min(best, row.median) if believable else best
    judged.sort(key=lambda x: (fastest[x[1].model], x[1].model, not x[2], x[1].median, x[1].backend))
    return [cell for cell, *_ in judged]


_CALL_FIELDS: list[Field] = [
    (Column("p95 (ms)", "right"), lambda r: format_ms(r.p95_ms)),
    (Column("Throughput (items/s)", "right"), lambda r: format_number(r.throughput_per_s)),
]
_STAGE_FIELDS: list[Field] = [
    (Column("End to end (ms)", "right"), lambda r: format_ms(r.end_to_end_p50_ms)),
]
_TOKEN_FIELDS: list[Field] = [
    (Column("TTFT (ms)", "right"), lambda r: format_ms(r.ttft_p50_ms)),
    (Column("ITL (ms)", "right"), lambda r: format_ms(r.itl_p50_ms)),
    (Column("Decode (tokens/s)", "right"), lambda r: format_number(r.decode_tokens_per_s)),
]
_CLIENT_FIELDS: list[Field] = [
    (Column("Together (tokens/s)", "right"), lambda r: format_number(r.tokens_per_s)),
]
_GOOD_FIELDS: list[Field] = [
    (Column("Good (requests/s)", "right"), lambda r: good_cell(r)),
]


def good_cell(row: Row) -> str:
    """Requests a second that held every limit, and their share: `1.84 (92%)`."""
    if row.good is None or not row.requests:
        return DASH
    text = f"{format_number(row.goodput_per_s)} ({100 * row.good / row.requests:.0f}%)"
    return Keyed(text, row.goodput_per_s or 0.0)


def documented_table(
    cells: Iterable[Cell],
    notes: Notes,
    *,
    narrow: bool = False,
    batches: bool = False,
    among: Sequence[Row] = (),
) -> Table:
    """The documented table of the cells of one machine and one batch size, as ordered; skips are left out.

    Args:
        among: what the cells were chosen from: what differs there has a column, though it be the same of all that are shown.
        batches: the cells are of several batch sizes, and a column tells which.
        narrow: as on a terminal, where no section on accuracy follows: no column for it where none was measured, and whether
            the drop against fp32 passes beside it.
    """
    shown = [c for c in cells if c.row.status is not Status.SKIPPED]
    later = {id(c.row): c.later for c in shown if c.later is not None}

    def verdict(row: Row) -> str:
        if row.status is not Status.OK:
            return Keyed(status_label(row), row.status.value.replace("_", " "))
        attempt = later.get(id(row))
        beside = f" · a later attempt: {status_label(attempt)}" if attempt else ""
        return Keyed(notes.mark(row) + beside, row.verdict.value if row.verdict else DASH)

    spoken = [c.row.requests is not None for c in shown]
    fields = [
        *case_fields([*(c.row for c in shown), *among]),
        *([(Column("Batch", "right"), lambda r: str(r.batch))] if batches else []),
        (Column("Latency (ms)", "right"), latency_cell),
        *([] if spoken and all(spoken) else _CALL_FIELDS),
        *(_STAGE_FIELDS if any(c.row.end_to_end_p50_ms is not None for c in shown) else []),
        *(_TOKEN_FIELDS if any(spoken) else []),
        *(_CLIENT_FIELDS if any((c.row.concurrency or 1) > 1 for c in shown) else []),
        *(_GOOD_FIELDS if any(c.row.good is not None for c in shown) else []),
        *([(Column("LoadGen (ms)"), loadgen_label)] if any(c.row.load_tests for c in shown) else []),
        *(
            [(Column("Top-1 (%)", "right"), top1_cell)]
            if _has_accuracy([c.row for c in shown if not c.row.is_detector], narrow=narrow)
            else []
        ),
        *(
            [(Column("mAP (%)", "right"), map_cell)]
            if _has_accuracy([c.row for c in shown if c.row.is_detector], narrow=narrow)
            else []
        ),
        # A report tells the drop in a section of its own.
        *([(Column("Drop"), drop_word)] if narrow and any(c.row.drop_decision for c in shown) else []),
        (Column("Size (MB)", "right"), lambda r: format_megabytes(r.size_bytes or None)),
        (Column("Peak memory (MB)", "right"), lambda r: format_megabytes(r.peak_bytes)),
        *(
            [(Column("GPU memory (MB)", "right"), gpu_memory_cell)]
            if any(c.row.gpu_bytes for c in shown)
            else []
        ),
        (Column("Verdict"), verdict),
    ]
    return make_table(fields, [c.row for c in shown])


def _has_accuracy(rows: Sequence[Row], *, narrow: bool) -> bool:
    """Whether these have a column for what they get right: a place for it in a report, on a terminal only where it is known."""
    return any(row.pictures for row in rows) if narrow else any(row.requests is None for row in rows)


def status_label(row: Row) -> str:
    """`failed (load)`, `timeout (slot)`, `skipped`; `disturbed` where only the moment was bad."""
    word = "disturbed" if row.is_disturbed else row.status.value.replace("_", " ")
    return f"{word} ({row.error_stage})" if row.error_stage else word


def doubt_mark(row: Row) -> str:
    """What stands behind a figure of a cell whose verdict has no column."""
    return " ⚠" if row.is_unstable else ""


MARKED = "⚠: the cell is unstable; measure again before you decide."


def latency_cell(row: Row) -> str:
    """`9.53 [9.41, 9.70] 🟢`; an invalid number gets no light, nor does a request that is as long as it was asked to be."""
    if row.p50_ms is None:
        return DASH
    text = with_interval(row.p50_ms, row.p50_interval_ms)
    lit = row.is_believable and not row.requests
    return Keyed(f"{text} {traffic_light(row.p50_ms)}", row.p50_ms) if lit else text


def top1_cell(row: Row) -> str:
    """`71.5 [68.6, 74.2]`, percent; `—` where no accuracy was measured or none is claimed."""
    if row.top1 is None or row.top1_interval is None:
        return DASH
    return _share_cell(row.top1, row.top1_interval)


def gpu_memory_cell(row: Row) -> str:
    """`617`; `—` for what runs on no GPU, or where the driver does not tell."""
    return format_megabytes(row.gpu_bytes)


def map_cell(row: Row) -> str:
    """`37.3 [36.1, 38.4]`, percent; `—` where none was measured or none is claimed."""
    if row.map is None or row.map_interval is None:
        return DASH
    return _share_cell(row.map, row.map_interval)


def _share_cell(value: float, interval: Interval) -> str:
    return Keyed(f"{100 * value:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]", value)


def drop_word(row: RankedRow) -> str:
    """Whether top-1, or mAP, drops by less than was allowed against fp32: `pass`, `❌ fail`, `⚠ inconclusive`."""
    return DASH if row.drop_decision is None else _DROPS[row.drop_decision]


def by_batch(cells: Iterable[Cell]) -> dict[int, list[Cell]]:
    """Batch size → its cells in their ranking's order, smallest batch first."""
    batches: dict[int, list[Cell]] = {}
    for cell in cells:
        batches.setdefault(cell.row.batch, []).append(cell)
    return {batch: in_order(group) for batch, group in sorted(batches.items())}
