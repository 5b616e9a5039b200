"""The documented table as CSV: raw numbers, one row a cell, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from functools import lru_cache

from zoobench.outcome import Interval
from zoobench.results.query import Cell
from zoobench.results.row import Row
from zoobench.show.document import plain

Value = str | int | float | None

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

TOKEN_COLUMNS = (
    "prompt_tokens", "new_tokens", "requests", "ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms",
    "itl_p95_ms", "itl_p99_ms", "tpot_p50_ms", "prefill_tokens_per_s", "decode_tokens_per_s", "concurrency",
    "requests_per_s", "tokens_per_s", "goodput_per_s", "joules_per_token", "kv_used_bytes", "kv_reserved_bytes",
    "perplexity", "kl_mean", "token_agreement", "quality_passed",
)  # fmt: skip
"""Of language models; each is called as in a row."""

DETECTOR_COLUMNS = (
    "preprocessing_p50_ms", "stage_model_p50_ms", "postprocessing_p50_ms", "postprocessing_p95_ms", "end_to_end_p50_ms",
    "end_to_end_p95_ms", "stage_rounds", "stage_pictures", "score_threshold", "iou_threshold", "boxes", "map", "map_low", "map_high",
    "map50", "map75", "map_small", "map_medium", "map_large", "objects", "crowds", "map_evaluator", "boxes_found", "boxes_extra",
    "reference_boxes", "iou_mean", "iou_min",
)  # fmt: skip
"""Of detectors; likewise, but for the ends of mAP's interval."""

COLUMNS = (
    "machine", "model", "hf_id", "weights", "backend", "options", "device", "precision", "batch", "threads",
    "scenario", "arm", "status", "verdict", "reasons", "p50_ms", "p50_low_ms", "p50_high_ms", "p95_ms", "p95_low_ms",
    "p95_high_ms", "p99_ms", "mean_ms", "calls", "throughput_per_s", "size_bytes", "peak_bytes", "gpu_bytes", "load_s",
    "first_call_ms", "load_tests", "load_valid_tests", "load_percentile", "load_percentile_ms", "scheduled_qps",
    "mean_in_flight", "roofline_fraction", "roofline_bound", "artifact_sha256", "data", "data_sha256", "pictures",
    "undecodable", "outputs", "data_classes", "top1", "top1_low", "top1_high", "top5", "top1_masked", "published_top1",
    "unclaimed", "agreement", "cosine_min", "drop", "drop_low", "drop_high", "mcnemar_p", "drop_decision",
    "images_needed", "max_drop", "effort", "run_id", "recorded_at", "measurement_key",
    "later_attempt", "error_stage", "error_message", *TOKEN_COLUMNS,
    *DETECTOR_COLUMNS,
)  # fmt: skip


def csv_text(cells: Iterable[Cell]) -> str:
    """A header and one row a cell, numbers in full precision, empty where not known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_guard(v) if type(v) is str else v for v in _values(cell)] for cell in cells)
    return out.getvalue()


@lru_cache(maxsize=65536)
def _guard(text: str) -> str:
    """A spreadsheet runs text that starts like a formula: a quote in front makes it text (OWASP, CSV injection)."""
    return f"'{plain(text)}" if text.startswith(_FORMULA_STARTS) else plain(text)


def _values(cell: Cell) -> tuple[Value, ...]:
    r = cell.row
    return (
        r.fingerprint, r.model, r.hf_id, r.weights, r.backend,
        " ".join(f"{name}={value}" for name, value in sorted((r.options or {}).items())),
        r.device, r.precision, r.batch, r.threads, r.scenario, r.arm, r.status.value,
        r.verdict.value if r.verdict else None, "; ".join(f"{x.code}: {x.message}" for x in r.reasons),
        r.p50_ms, *_ends(r.p50_interval_ms), r.p95_ms, *_ends(r.p95_interval_ms), r.p99_ms, r.mean_ms, r.calls,
        r.throughput_per_s, r.size_bytes, r.peak_bytes, r.gpu_bytes, r.load_s, r.first_call_ms,
        r.load_tests, r.load_valid_tests, r.load_percentile, r.load_percentile_ms, r.load_scheduled_qps,
        r.load_mean_in_flight, r.roofline_fraction,
        r.roofline_bound, r.artifact_sha256, r.data_label, r.data_sha256, r.pictures, r.undecodable, r.outputs,
        r.data_classes, r.top1, *_ends(r.top1_interval), r.top5, r.top1_masked, r.published_top1, r.unclaimed, r.agreement,
        r.cosine_min, r.drop, *_ends(r.drop_interval), r.mcnemar_p, r.drop_decision.value if r.drop_decision else None,
        r.images_needed, r.max_drop, r.effort, r.run_id, r.recorded_at, r.measurement_key,
        cell.later.status.value if cell.later else None, r.error_stage, r.error_message,
        *(getattr(r, name) for name in TOKEN_COLUMNS), *_of_detector(r),
    )  # fmt: skip


def _of_detector(row: Row) -> Iterator[Value]:
    ends = dict(zip(("map_low", "map_high"), _ends(row.map_interval), strict=True))
    return (ends[name] if name in ends else getattr(row, name) for name in DETECTOR_COLUMNS)


def _ends(interval: Interval | None) -> tuple[Value, Value]:
    return interval or (None, None)
