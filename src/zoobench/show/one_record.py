"""Everything about one record, for somebody who doubts its number: verdict, command, environment, evidence, noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoobench.results.query import Cell, Run
from zoobench.results.record import Record
from zoobench.results.row import Row
from zoobench.show.document import Block, Column, Command, Heading, Items, Paragraph, Table
from zoobench.show.numbers import (
    DASH,
    counted,
    format_bytes,
    format_ms,
    format_number,
    format_share,
    with_interval,
)
from zoobench.show.report import typed
from zoobench.show.sections import machine_section
from zoobench.show.tables import MARKS, Notes, documented_table, machine_title, status_label
from zoobench.show.view import View


def headline(row: Row) -> list[Block]:
    """The numbers as the report has them, and in words what is wrong with them."""
    table = documented_table([Cell(row)], Notes())
    return [
        Paragraph(f"{row.label} · {counted(row.threads, 'thread')}", strong=True),
        Paragraph(machine_title(row)),
        *([table] if table.rows else []),
        *verdict_blocks(row),
    ]


def verdict_blocks(row: Row) -> list[Block]:
    """The verdict with each reason and warning in full; of a cell without numbers why there are none."""
    if row.verdict is None:
        why = row.error_message or "no reason was recorded"
        return [Heading(3, "Verdict"), Items(((f"{status_label(row)}:", why),))]
    reasons = [(f"{reason.code}:", reason.message) for reason in row.reasons]
    warnings = [(f"{warning.code} (a warning):", warning.message) for warning in row.warnings]
    said = reasons + warnings or [("", "nothing was wrong while it was measured")]
    return [Heading(3, f"Verdict: {MARKS[row.verdict]}"), Items(tuple(said))]


def latency_blocks(record: Record) -> list[Block]:
    """Every percentile that the calls support."""
    latency = record.latency
    if latency is None:
        return []
    rows = [
        ("p50 (ms)", with_interval(latency.p50_ms, latency.p50_interval_ms)),
        ("p95 (ms)", with_interval(latency.p95_ms, latency.p95_interval_ms)),
        ("p99 (ms)", with_interval(latency.p99_ms, latency.p99_interval_ms)),
        ("mean (ms)", format_ms(latency.mean_ms)),
        ("standard deviation (ms)", format_ms(latency.stdev_ms)),
        ("least and most (ms)", f"{format_ms(latency.min_ms)} to {format_ms(latency.max_ms)}"),
        ("timed calls", f"{latency.n} (worth {format_number(latency.n_eff)} independent ones)"),
        ("outliers", f"{latency.outliers}; counted, never removed"),
        ("drift between the halves", format_share(latency.drift)),
    ]
    return [Heading(3, "Latency"), Table((Column("Figure"), Column("Value", "right")), rows)]


def environment_blocks(row: Row, record: Record, run: Run) -> list[Block]:
    """Where, how and with what it was measured."""
    blocks: list[Block] = [Heading(3, "How it was measured")]
    if run.argv:
        blocks.append(Command((typed(run.argv),)))
    facts = [
        ("Run:", run.run_id),
        ("Recorded at:", record.recorded_at),
        ("Commit of the work tree:", run.git_commit or DASH),
        ("Model's commit or content:", record.model.revision or DASH),
        ("Weights:", record.model.weights or DASH),
        ("Artifact:", _artifact(record)),
        ("Options:", _pairs(record.case.options)),
        ("Effort, processes:", f"{record.effort}, {record.forks}"),
        ("Measurement key:", record.measurement_key),
    ]
    blocks.append(Items(tuple(facts)))
    blocks += machine_section(View([Cell(row)], row.is_fake))
    return [*blocks, *_evidence(record), *_noise(record)]


def _artifact(record: Record) -> str:
    made = record.artifact
    if made is None:
        return DASH
    opset = f", opset {made.opset}" if made.opset else ""
    return f"{made.format}{opset}, {format_bytes(made.size_bytes)}, sha256 {made.sha256[:16]}"


def _evidence(record: Record) -> list[Block]:
    seen = record.evidence
    if seen is None:
        return []
    facts = [
        ("Runtime:", f"{seen.runtime} {seen.version or ''}".rstrip()),
        ("Device, precision, threads:", f"{seen.device}, {seen.precision}, {seen.threads}"),
        ("Where its nodes ran:", _shares(seen.provider_nodes or {})),
        ("Told by the runtime:", _pairs(seen.details)),
    ]
    return [Heading(3, "What really ran"), Items(tuple(facts))]


def _noise(record: Record) -> list[Block]:
    seen = record.noise
    if seen is None:
        return []
    facts = [
        ("Slots:", f"{seen.slots}, of which {seen.slots_contended} contended"),
        (
            "Used by others, middle and worst slot:",
            f"{format_share(seen.foreign_cpu_median)}, {format_share(seen.foreign_cpu_max)}",
        ),
        ("Taken by the hypervisor, worst slot:", format_share(seen.steal_max)),
        ("Used by zoobench's parent, worst slot:", format_share(seen.parent_cpu_max)),
        ("Slots with the CPUs apart:", str(seen.slots_apart)),
    ]
    return [Heading(3, "Noise"), Items(tuple(facts))]


def _shares(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {format_share(share)}" for name, share in parts.items()) or DASH


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {_short(value)}" for name, value in sorted(values.items())) or DASH


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def history_table(rows: Sequence[Row], runs: dict[str, Run]) -> Table:
    """Records of one cell, the newest first, with what changed beside the number.

    Args:
        rows: oldest first.
        runs: run id → what is known of it.
    """
    lines = []
    before: Row | None = None
    for row in rows:
        run = runs.get(row.run_id) or Run(row.run_id)
        verdict = status_label(row) if row.verdict is None else MARKS[row.verdict]
        lines.append(
            (
                row.recorded_at[:19].replace("T", " "),
                with_interval(row.p50_ms, row.p50_interval_ms),
                format_ms(row.p95_ms),
                verdict,
                row.effort,
                _changes(before, row),
                (run.git_commit or DASH)[:12],
                (row.revision or DASH)[:12],
                row.run_id,
            )
        )
        before = row
    columns = (
        Column("Recorded (UTC)"),
        Column("Latency (ms)", "right"),
        Column("p95 (ms)", "right"),
        Column("Verdict"),
        Column("Effort"),
        Column("Changed"),
        Column("Work tree"),
        Column("Model's commit"),
        Column("Run"),
    )
    return Table(columns, lines[::-1])


def _changes(before: Row | None, row: Row) -> str:
    """Which versions, and whether the artifact, differ from the record before."""
    if before is None:
        return "first record"
    old, new = before.versions or {}, row.versions or {}
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    told = [f"{name} {old.get(name, DASH)} → {new.get(name, DASH)}" for name in names]
    if before.artifact_sha256 != row.artifact_sha256 and before.artifact_sha256 and row.artifact_sha256:
        told.append("another artifact")
    return ", ".join(told) or "nothing"
