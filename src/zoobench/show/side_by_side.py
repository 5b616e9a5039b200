"""Some cells beside each other: their figures, and what each takes against the first, by the judge's word."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from zoobench.judge.compare import Comparison
from zoobench.results.row import Row
from zoobench.show.document import Block, Column, Heading, Items, Paragraph, Table
from zoobench.show.gates import change_word
from zoobench.show.numbers import (
    DASH,
    format_interval,
    format_megabytes,
    format_ms,
    format_number,
    format_share,
    with_interval,
)
from zoobench.show.tables import (
    MARKS,
    backend_label,
    latency_cell,
    map_cell,
    model_label,
    scenario_label,
    status_label,
    top1_cell,
)

_HOW = {
    "turns": "they took turns in one run: slots that saw the same moment of the machine are held against each other",
    "forks": "measured apart, over fresh processes of each",
    "intervals": "measured apart: from the two medians and their intervals (at least 90%), so what the machine did between "
    "them is in it",
}
_FIGURES: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("Model", model_label),
    ("Backend", backend_label),
    ("Precision", lambda r: r.precision),
    ("Batch", lambda r: str(r.batch)),
    ("Scenario", scenario_label),
    ("Threads", lambda r: str(r.threads)),
    ("Latency, p50 (ms)", latency_cell),
    ("p95 (ms)", lambda r: with_interval(r.p95_ms, r.p95_interval_ms)),
    ("p99 (ms)", lambda r: format_ms(r.p99_ms)),
    ("Throughput (items/s)", lambda r: format_number(r.throughput_per_s)),
    ("End to end (ms)", lambda r: with_interval(r.end_to_end_p50_ms, r.end_to_end_interval_ms)),
    ("TTFT (ms)", lambda r: with_interval(r.ttft_p50_ms, r.ttft_interval_ms)),
    ("ITL (ms)", lambda r: with_interval(r.itl_p50_ms, r.itl_interval_ms)),
    ("Decode (tokens/s)", lambda r: format_number(r.decode_tokens_per_s)),
    ("Top-1 (%)", top1_cell),
    ("mAP (%)", map_cell),
    ("Size (MB)", lambda r: format_megabytes(r.size_bytes or None)),
    ("Peak memory (MB)", lambda r: format_megabytes(r.peak_bytes)),
    ("GPU memory (MB)", lambda r: format_megabytes(r.gpu_bytes)),
    ("Load (s)", lambda r: format_number(r.load_s)),
    ("First call (ms)", lambda r: format_ms(r.first_call_ms)),
    ("Share of the hardware's limit", lambda r: format_share(r.roofline_fraction)),
    ("Verdict", lambda r: status_label(r) if r.verdict is None else MARKS[r.verdict]),
    ("Why", lambda r: ", ".join(reason.code for reason in (*r.reasons, *r.warnings)) or DASH),
    ("Run", lambda r: r.run_id),
)
_ALWAYS = 4
_SECOND = re.compile(r"\bB(?= (?:takes|has|is unstable))")
"""How the judge calls the second of two."""


def letters(count: int) -> list[str]:
    """A, B, C, …: how cells are called in a table that is too narrow for their names."""
    return [chr(ord("A") + at % 26) for at in range(count)]


def figures_table(rows: Sequence[Row]) -> Table:
    """One column a cell, one line a figure; figures that none of them has are left out."""
    lines = []
    for number, (name, show) in enumerate(_FIGURES):
        cells = [show(row) for row in rows]
        if number < _ALWAYS or any(cell != DASH for cell in cells):
            lines.append((name, *cells))
    heads = [Column(letter, "right") for letter in letters(len(rows))]
    return Table((Column("Figure"), *heads), lines)


def comparison_blocks(rows: Sequence[Row], found: Sequence[Comparison]) -> list[Block]:
    """What each of the others takes against the first.

    Args:
        rows: the first is A.
        found: of each of the others against it, in the same order.
    """
    names = letters(len(rows))
    lines, said = [], []
    for letter, one in zip(names[1:], found, strict=True):
        lines.append(
            (
                f"{letter} ÷ A",
                change_word(one.change, letter),
                DASH if one.ratio is None else format_number(one.ratio),
                format_interval(one.interval, one.ratio) or DASH,
                _HOW[one.kind] if one.kind else DASH,
            )
        )
        told = [] if one.ratio is not None and not one.message.endswith("decided") else [one.message]
        told += one.differences
        if told:
            said.append((f"{letter}:", "; ".join(_SECOND.sub(letter, text) for text in told)))
    columns = (
        Column("Time"),
        Column("Outcome"),
        Column("Ratio", "right"),
        Column("Interval", "right"),
        Column("How it was found"),
    )
    blocks: list[Block] = [Heading(3, "Against A"), Table(columns, lines)]
    blocks.append(
        Paragraph("Below 1 a cell takes less time than A, an item where batches differ; same is within 5%.")
    )
    return [*blocks, Items(tuple(said))] if said else blocks
