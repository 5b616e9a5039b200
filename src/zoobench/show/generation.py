"""What a report says of language models: what a user waits for, how fast tokens come, and what memory goes where."""

from __future__ import annotations

from collections.abc import Sequence

from zoobench.results.row import Row, Score
from zoobench.show.document import Block, Column, Heading, Items, Paragraph, Table
from zoobench.show.numbers import DASH, format_megabytes, format_ms, format_number, with_interval
from zoobench.show.tables import Field, case_fields, good_cell, make_table

FORMULAS = (
    ("TTFT", "t₁ − t₀: from submitting a request's ids until its first token is on the host."),
    ("ITL", "tᵢ₊₁ − tᵢ between neighbouring tokens, of all requests together."),
    ("TPOT", "(tₙ − t₁) / (n − 1) of each request; the first token is not in it, as it is elsewhere."),
    ("Prefill", "B · L / TTFT, tokens a second, of a batch of B prompts of L tokens."),
    ("Decode", "B · (n − 1) / (tₙ − t₁), tokens a second, from the median TPOT."),
    (
        "Energy",
        "Δ of the machine's counters / tokens made; of all that ran on the package or the GPU meanwhile.",
    ),
    (
        "KV",
        "2 · layers · kv heads · head dim · bytes of a value · tokens · B; reserved is what the runtime set aside.",
    ),
)
_MOST_ROWS = 200
_BATCH: Field = (Column("Batch", "right"), lambda r: str(r.batch))


def generation_section(rows: Sequence[Row]) -> list[Block]:
    """TTFT, ITL and rates.

    Args:
        rows: of one machine, in the order in which they are shown.
    """
    shown = _shown(rows)
    if not shown:
        return []
    energy: Field = (Column("Energy (J/token)", "right"), lambda r: format_number(r.joules_per_token))
    fields: list[Field] = [
        *case_fields(shown),
        _BATCH,
        (Column("TTFT p50 (ms)", "right"), lambda r: _with(r.ttft_p50_ms, r.ttft_interval_ms)),
        (Column("TTFT p95", "right"), lambda r: format_ms(r.ttft_p95_ms)),
        (Column("ITL p50 (ms)", "right"), lambda r: _with(r.itl_p50_ms, r.itl_interval_ms)),
        (Column("ITL p95", "right"), lambda r: format_ms(r.itl_p95_ms)),
        (Column("ITL p99", "right"), lambda r: format_ms(r.itl_p99_ms)),
        (Column("TPOT p50 (ms)", "right"), lambda r: format_ms(r.tpot_p50_ms)),
        (Column("Prefill (tokens/s)", "right"), lambda r: format_number(r.prefill_tokens_per_s)),
        (Column("Decode (tokens/s)", "right"), lambda r: format_number(r.decode_tokens_per_s)),
        *([energy] if any(r.joules_per_token is not None for r in shown) else []),
        (Column("Requests", "right"), lambda r: str(r.requests)),
    ]
    return [
        Heading(3, "Language models"),
        Paragraph(
            "Prompts are seeded random ids, answers are the most likely tokens, and an end of text ends nothing: every "
            "request makes as many tokens as was asked for."
        ),
        make_table(fields, shown),
        Items(tuple((f"{name}:", text) for name, text in FORMULAS)),
    ]


def memory_section(rows: Sequence[Row]) -> list[Block]:
    """What memory goes where, on which a language model's answer depends as much as on speed."""
    shown = [r for r in _shown(rows) if r.weights != "served"]
    if not shown:
        return []
    fields: list[Field] = [
        *case_fields(shown),
        _BATCH,
        (Column("Size (MB)", "right"), lambda r: format_megabytes(r.size_bytes)),
        (Column("After import (MB)", "right"), lambda r: format_megabytes(r.after_import_bytes)),
        (Column("After load (MB)", "right"), lambda r: format_megabytes(r.after_load_bytes)),
        (Column("Peak (MB)", "right"), lambda r: format_megabytes(r.peak_bytes)),
        (Column("KV used (MB)", "right"), lambda r: format_megabytes(r.kv_used_bytes)),
        (Column("KV reserved (MB)", "right"), lambda r: format_megabytes(r.kv_reserved_bytes)),
    ]
    return [Heading(3, "Memory of language models"), make_table(fields, shown)]


def quality_section(rows: Sequence[Row]) -> list[Block]:
    """What fewer bits cost: one line an artifact."""
    shown = _by_artifact([r for r in _shown(rows) if r.quality_tokens])
    if not shown:
        return []
    fields: list[Field] = [
        *case_fields(shown),
        (Column("Perplexity", "right"), lambda r: format_number(r.perplexity)),
        (Column("KL mean (nats)", "right"), lambda r: _small(r.kl_mean)),
        (Column("KL p99", "right"), lambda r: _small(r.kl_p99)),
        (Column("Same token (%)", "right"), lambda r: _percent(r.token_agreement)),
        (Column("Gate"), lambda r: r.quality_gate or DASH),
        (Column("Passes"), _passes),
        (Column("Read", "right"), lambda r: f"{r.quality_tokens} tokens of {r.quality_source}"),
    ]
    scored = [(row, score) for row in shown for score in row.scores]
    return [
        Heading(3, "Quality of language models"),
        Paragraph(
            "Teacher-forced on the same tokens, against fp32 of the same runtime: KL(P_ref ‖ P), and how often the most likely "
            "token is the same. Perplexity is exp(mean negative log-likelihood) of a fixed passage; it compares precisions of "
            "one model only. Where weights are random, or no tokenizer is there, seeded ids are read: that says nothing of trained "
            "weights, and nothing is decided by it."
        ),
        make_table(fields, shown),
        *(_scores(scored) if scored else []),
    ]


def clients_section(rows: Sequence[Row]) -> list[Block]:
    """What several clients, or arrivals that nobody waits for, get together."""
    asked = [r for r in _shown(rows) if (r.concurrency or 1) > 1 or r.good is not None or r.load_tests]
    if not asked:
        return []
    fields: list[Field] = [
        *case_fields(asked),
        (Column("Clients", "right"), lambda r: str(r.concurrency or 1)),
        (Column("In flight", "right"), lambda r: format_number(r.mean_in_flight)),
        (Column("Requests/s", "right"), lambda r: format_number(r.requests_per_s)),
        (Column("Together (tokens/s)", "right"), lambda r: format_number(r.tokens_per_s)),
        (Column("Good (requests/s)", "right"), good_cell),
    ]
    return [
        Heading(3, "Requests at once"),
        Paragraph(
            "Rates are of all clients together, from the first request's begin to the last one's end, prefill and all. Good are "
            "requests that held every limit which the scenario names."
        ),
        make_table(fields, asked),
    ]


def _scores(scored: Sequence[tuple[Row, Score]]) -> list[Block]:
    """A line a metric of a task, with what fp32 of the same runtime got of the same questions."""
    whole = {
        (row.model, row.backend, *score.question): score for row, score in scored if row.precision == "fp32"
    }
    columns = (
        *(column for column, _ in case_fields([row for row, _ in scored])),
        Column("Task"),
        Column("Metric"),
        Column("Value ± 95%", "right"),
        Column("fp32 ± 95%", "right"),
        Column("Questions", "right"),
        Column("Version"),
    )
    lines = []
    for row, score in scored:
        beside = None if row.precision == "fp32" else whole.get((row.model, row.backend, *score.question))
        lines.append(
            (
                *(show(row) for _, show in case_fields([row for row, _ in scored])),
                score.task,
                score.metric if score.filter == "none" else f"{score.metric} ({score.filter})",
                _with_error(score),
                _with_error(beside) if beside else DASH,
                str(score.samples or DASH),
                f"{score.version or DASH}, lm-eval {score.lm_eval}",
            )
        )
    return [
        Paragraph(
            "Tasks of lm-evaluation-harness, on the files that were measured, without a chat template; ± is 1.96 times the standard "
            "error that it tells, and missing where every question went the same way. fp32 is of the same runtime, on the same questions: both err together, so their difference is "
            "surer than the two."
        ),
        Table(columns, lines),
    ]


def _with_error(score: Score) -> str:
    if score.value is None:
        return DASH
    half = "" if not score.stderr else f" ± {format_number(1.96 * score.stderr)}"
    return f"{format_number(score.value)}{half}"


def _shown(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r.requests][:_MOST_ROWS]


def _by_artifact(rows: Sequence[Row]) -> list[Row]:
    """The batch and the length of an answer change nothing of what a model says."""
    first: dict[tuple[str | None, ...], Row] = {}
    # A cell that was measured without fp32 beside it may be of a file that another one judged.
    for row in sorted(rows, key=lambda r: r.kl_mean is None and r.precision != "fp32"):
        first.setdefault((row.model, row.backend, row.precision, row.artifact_sha256), row)
    return list(first.values())


def _passes(row: Row) -> str:
    return DASH if row.quality_passed is None else "pass" if row.quality_passed else "❌ fail"


def _small(value: float | None) -> str:
    return DASH if value is None else f"{value:.2g}"


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.1f}"


def _with(value: float | None, interval: tuple[float, float] | None) -> str:
    return DASH if value is None else with_interval(value, interval)
