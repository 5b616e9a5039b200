"""The documented table as CSV: raw numbers, one row a cell, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import get_args

from msgspec.structs import astuple

from zoobench.results.columns import column_types
from zoobench.results.query import Cell
from zoobench.results.row import Row
from zoobench.show.document import plain

Value = str | int | float | None

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

_SOURCES = {
    "machine": "fingerprint", "p50_low_ms": "p50_interval_ms", "p50_high_ms": "p50_interval_ms", "p95_low_ms": "p95_interval_ms",
    "p95_high_ms": "p95_interval_ms", "scheduled_qps": "load_scheduled_qps", "mean_in_flight": "load_mean_in_flight",
    "data": "data_label", "top1_low": "top1_interval", "top1_high": "top1_interval", "drop_low": "drop_interval",
    "drop_high": "drop_interval", "map_low": "map_interval", "map_high": "map_interval", "later_attempt": "status",
}  # fmt: skip
"""Which of a row's columns it is made of, where that has another name."""

COLUMNS = (
    "machine", "model", "hf_id", "weights", "backend", "options", "device", "precision", "batch", "threads",
    "scenario", "arm", "status", "verdict", "reasons", "p50_ms", "p50_low_ms", "p50_high_ms", "p95_ms", "p95_low_ms",
    "p95_high_ms", "p99_ms", "mean_ms", "calls", "throughput_per_s", "size_bytes", "peak_bytes", "gpu_bytes", "load_s",
    "first_call_ms", "load_tests", "load_valid_tests", "load_percentile", "load_percentile_ms", "scheduled_qps",
    "mean_in_flight", "roofline_fraction", "roofline_bound", "artifact_sha256", "data", "data_sha256", "pictures",
    "undecodable", "outputs", "data_classes", "top1", "top1_low", "top1_high", "top5", "top1_masked", "published_top1",
    "unclaimed", "agreement", "cosine_min", "drop", "drop_low", "drop_high", "mcnemar_p", "drop_decision",
    "images_needed", "max_drop", "effort", "run_id", "recorded_at", "measurement_key",
    "later_attempt", "error_stage", "error_message",
    # Of language models.
    "prompt_tokens", "new_tokens", "requests", "ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms",
    "itl_p95_ms", "itl_p99_ms", "tpot_p50_ms", "prefill_tokens_per_s", "decode_tokens_per_s", "concurrency",
    "requests_per_s", "tokens_per_s", "goodput_per_s", "joules_per_token", "kv_used_bytes", "kv_reserved_bytes",
    "perplexity", "kl_mean", "token_agreement", "quality_passed",
    # Of detectors.
    "preprocessing_p50_ms", "stage_model_p50_ms", "postprocessing_p50_ms", "postprocessing_p95_ms", "end_to_end_p50_ms",
    "end_to_end_p95_ms", "stage_rounds", "stage_pictures", "score_threshold", "iou_threshold", "boxes", "map", "map_low", "map_high",
    "map50", "map75", "map_small", "map_medium", "map_large", "objects", "crowds", "map_evaluator", "boxes_found", "boxes_extra",
    "reference_boxes", "iou_mean", "iou_min",
)  # fmt: skip

_IN_ROW = {name: at for at, name in enumerate(Row.__struct_fields__)}
_sources = itemgetter(*(_IN_ROW[_SOURCES.get(column, column)] for column in COLUMNS))
_LOW = [at for at, column in enumerate(COLUMNS) if re.search(r"_low(_ms)?$", column)]
_HIGH = [at for at, column in enumerate(COLUMNS) if re.search(r"_high(_ms)?$", column)]
_OPTIONS, _REASONS, _LATER = map(COLUMNS.index, ("options", "reasons", "later_attempt"))
_KINDS = column_types(Row)
_TEXTS = [
    at
    for at, column in enumerate(COLUMNS)
    if at in (_OPTIONS, _REASONS) or str in (kind := _KINDS[_SOURCES.get(column, column)], *get_args(kind))
]
"""What a stranger may have written. The rest are numbers, and words of our own."""


def csv_text(cells: Iterable[Cell]) -> str:
    """A header and one row a cell, numbers in full precision, empty where not known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_values, cells))
    return out.getvalue()


@lru_cache(maxsize=65536)
def _guard(text: str) -> str:
    """A spreadsheet runs text that starts like a formula: a quote in front makes it text (OWASP, CSV injection)."""
    said = plain(text)
    # What is left out of the text may have stood before the formula; spaces before one change nothing.
    runs = text.startswith(_FORMULA_STARTS) or said.lstrip().startswith(_FORMULA_STARTS)
    return f"'{said}" if runs else said


def _values(cell: Cell) -> list[Value]:
    values = list(_sources(astuple(cell.row)))
    for at in _LOW:
        values[at] = values[at] and values[at][0]
    for at in _HIGH:
        values[at] = values[at] and values[at][1]
    values[_OPTIONS] = " ".join(f"{name}={value}" for name, value in sorted((values[_OPTIONS] or {}).items()))
    values[_REASONS] = "; ".join(f"{each.code}: {each.message}" for each in values[_REASONS])
    values[_LATER] = cell.later and ("disturbed" if cell.later.is_disturbed else cell.later.status)
    for at in _TEXTS:
        if values[at]:
            values[at] = _guard(values[at])
    return values
