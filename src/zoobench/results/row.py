"""The row: what tables show of a record, flat, one attribute a column.

A report over many thousand records reads rows, not records: the dozen nested objects of a record cost several
times what reading its line costs. Every attribute says where in the record its value stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from zoobench.results.columns import At, Columns, Repeated
from zoobench.results.schema import NotARecordError
from zoobench.terms import (
    DETECTION,
    NOISE_CODES,
    UNSTABLE_CODES,
    DropDecision,
    Interval,
    OptionValue,
    Reason,
    Status,
    VerdictValue,
    asked_label,
)

if TYPE_CHECKING:
    from zoobench.results.record import Record


def _at(*path: str, absent: str | int | None = None) -> At:
    """Where the value stands in a record's JSON, and what it is in a record that does not say."""
    *within, key = path
    return At(tuple(within), key, absent)


def _of_drop(key: str) -> At:
    """Of a classifier's drop of top-1, or of a detector's of mAP: a record has one of them."""
    return At(("accuracy", "fidelity", ("drop", "box_drop")), key)


R = TypeVar("R", bound="RankedRow")
# What no counter holds was not measured, and formatting it fails.
Count = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class AskedTask(msgspec.Struct, frozen=True):
    """See `TextTask`."""

    name: str
    limit: int | None = None
    sha256: str | None = None


class Score(msgspec.Struct, frozen=True):
    """One metric of one task; see `TaskScore`."""

    asked: AskedTask
    task: Annotated[str, Repeated]
    metric: str
    lm_eval: str
    filter: str = "none"
    value: float | None = None
    stderr: float | None = None
    samples: int | None = None
    version: str | None = None

    @property
    def question(self) -> tuple[Hashable, ...]:
        """Equal where the same was asked, wherever the task's file lies."""
        content = self.asked.sha256 or self.asked.name
        return content, self.asked.limit, self.task, self.metric, self.filter, self.samples, self.version


# Rows hold no cycles, so Python's collector need not know of them.
class RankedRow(msgspec.Struct, frozen=True, gc=False):
    """Of a record what it is ranked and chosen by. What the record does not know is None.

    Less than a whole `Row`, because a choice looks at each of many thousand again and again.
    """

    schema_version: int
    run_id: Annotated[str, Repeated]
    recorded_at: str
    status: Status
    effort: Annotated[str, Repeated]
    measurement_key: str
    load_s: float | None
    compile_s: float | None
    throughput_per_s: float | None
    joules_per_item: float | None
    model: Annotated[str, _at("case", "model"), Repeated]
    backend: Annotated[str, _at("case", "backend"), Repeated]
    device: Annotated[str, _at("case", "device", absent="cpu"), Repeated]
    precision: Annotated[str, _at("case", "precision", absent="fp32"), Repeated]
    batch: Annotated[Count, _at("case", "batch", absent=1)]
    threads: Annotated[Count, _at("case", "threads")]
    scenario: Annotated[str, _at("case", "scenario", absent="single_stream"), Repeated]
    arm: Annotated[str, _at("case", "arm", absent="base"), Repeated]
    shape: Annotated[tuple[int, ...] | None, _at("case", "shape")]
    options: Annotated[dict[str, OptionValue] | None, _at("case", "options")]
    fingerprint: Annotated[str, _at("machine", "fingerprint"), Repeated]
    cpu_model: Annotated[str | None, _at("machine", "cpu_model"), Repeated]
    cpus_usable: Annotated[int | None, _at("machine", "cpus_usable")]
    gpus: Annotated[tuple[str, ...], _at("machine", "gpus")]
    revision: Annotated[str | None, _at("model", "revision"), Repeated]
    weights: Annotated[str | None, _at("model", "weights"), Repeated]
    task: Annotated[str, _at("model", "task", absent="image_classification")]
    licence: Annotated[str | None, _at("model", "licence"), Repeated]
    calls: Annotated[int | None, _at("latency", "n")]
    mean_ms: Annotated[float | None, _at("latency", "mean_ms")]
    p50_ms: Annotated[float | None, _at("latency", "p50_ms")]
    p50_interval_ms: Annotated[Interval | None, _at("latency", "p50_interval_ms")]
    p95_ms: Annotated[float | None, _at("latency", "p95_ms")]
    p95_interval_ms: Annotated[Interval | None, _at("latency", "p95_interval_ms")]
    p99_ms: Annotated[float | None, _at("latency", "p99_ms")]
    p99_interval_ms: Annotated[Interval | None, _at("latency", "p99_interval_ms")]
    concurrency: Annotated[int | None, _at("generation", "concurrency")]
    tokens_per_s: Annotated[float | None, _at("generation", "tokens_per_s")]
    joules_per_token: Annotated[float | None, _at("generation", "joules_per_token")]
    prompt_tokens: Annotated[int | None, _at("generation", "prompt_tokens")]
    new_tokens: Annotated[int | None, _at("generation", "new_tokens")]
    ttft_p50_ms: Annotated[float | None, _at("generation", "ttft", "p50_ms")]
    ttft_p95_ms: Annotated[float | None, _at("generation", "ttft", "p95_ms")]
    ttft_interval_ms: Annotated[Interval | None, _at("generation", "ttft", "p50_interval_ms")]
    tpot_p50_ms: Annotated[float | None, _at("generation", "tpot", "p50_ms")]
    tpot_p95_ms: Annotated[float | None, _at("generation", "tpot", "p95_ms")]
    quality_passed: Annotated[bool | None, _at("quality", "passed")]
    peak_bytes: Annotated[Bytes | None, _at("memory", "peak_bytes")]
    gpu_bytes: Annotated[Bytes | None, _at("memory", "gpu_bytes")]
    made_s: Annotated[float | None, _at("artifact", "made_s")]
    derived_from: Annotated[str | None, _at("artifact", "derived_from"), Repeated]
    calibrated_on_noise: Annotated[bool, _at("artifact", "calibrated_on_noise", absent=False)]
    size_bytes: Annotated[Bytes | None, _at("artifact", "size_bytes")]
    artifact_sha256: Annotated[str | None, _at("artifact", "sha256"), Repeated]
    pictures: Annotated[int | None, _at("accuracy", "images")]
    unclaimed: Annotated[str | None, _at("accuracy", "unclaimed")]
    data_label: Annotated[str | None, _at("accuracy", "data", "label")]
    data_sha256: Annotated[str | None, _at("accuracy", "data", "content_sha256")]
    top1: Annotated[float | None, _at("accuracy", "top1", "value")]
    top1_interval: Annotated[Interval | None, _at("accuracy", "top1", "interval")]
    drop: Annotated[float | None, _of_drop("value")]
    drop_interval: Annotated[Interval | None, _of_drop("interval")]
    drop_n: Annotated[int | None, _of_drop("n")]
    drop_pictures: Annotated[int | None, _of_drop("pictures")]
    drop_lost: Annotated[int | None, _of_drop("lost")]
    drop_won: Annotated[int | None, _of_drop("won")]
    drop_decision: Annotated[DropDecision | None, _of_drop("decision")]
    max_drop: Annotated[float | None, _of_drop("max_drop")]
    images_needed: Annotated[int | None, _of_drop("images_needed")]
    map: Annotated[float | None, _at("accuracy", "boxes", "map")]
    map_interval: Annotated[Interval | None, _at("accuracy", "boxes", "interval")]
    verdict: Annotated[VerdictValue | None, _at("verdict", "value")]
    reasons: Annotated[tuple[Reason, ...], _at("verdict", "reasons")]

    @property
    def cell(self) -> tuple[Hashable, ...]:
        """Equal exactly where the case and the machine are equal."""
        named = _OF_CELL(self)
        # Local files of one name are different models; of the Hub's the newest commit stands for all.
        if self.weights == "local":
            named += (self.revision,)
        if self.options:
            named += (*sorted((name, type(v).__name__, v) for name, v in self.options.items()),)
        return named

    @property
    def label(self) -> str:
        """How a person names the cell."""
        named = f"{self.model} · {self.backend} · {self.precision} · batch {self.batch}"
        return named + asked_label(self.options or {})

    @property
    def median(self) -> float:
        """p50 in ms; infinity where there is none, so that such rows sort last."""
        return math.inf if self.p50_ms is None else self.p50_ms

    @property
    def is_measured(self) -> bool:
        """It has a median, whatever the verdict says of it."""
        return self.p50_ms is not None and self.status is _OK

    @property
    def is_believable(self) -> bool:
        """Its median may be ranked and compared: valid, or unstable and marked so."""
        p50 = self.p50_ms
        return p50 is not None and p50 > 0 and self.verdict is not _INVALID and self.status is _OK

    @property
    def is_disturbed(self) -> bool:
        """Invalid for what the machine did at that moment, and not for what was run."""
        if self.verdict is not _INVALID or self.status is not _OK:
            return False
        codes = {reason.code for reason in self.reasons}
        return bool(codes & NOISE_CODES) and codes <= NOISE_CODES | UNSTABLE_CODES

    @property
    def is_unstable(self) -> bool:
        """Its number may move when measured again."""
        return self.verdict is VerdictValue.UNSTABLE

    @property
    def is_detector(self) -> bool:
        """It finds boxes."""
        return self.task == DETECTION

    @property
    def is_fake(self) -> bool:
        """Made by the `fake` backend on a virtual clock: never ranked beside real measurements."""
        return self.weights == "fake" or self.backend == "fake"


class Row(RankedRow, frozen=True, gc=False):
    """One record as tables show it."""

    group: int | None
    versions: dict[str, str] | None
    worker_start_s: float | None
    first_call_ms: float | None
    roofline_fraction: float | None
    roofline_bound: str | None
    samples_file: str | None
    cpus_host: Annotated[int | None, _at("machine", "cpus_host")]
    memory_bytes: Annotated[Bytes | None, _at("machine", "memory_bytes")]
    kernel: Annotated[str | None, _at("machine", "kernel"), Repeated]
    python: Annotated[str | None, _at("machine", "python"), Repeated]
    hf_id: Annotated[str | None, _at("model", "hf_id"), Repeated]
    warm_up_calls: Annotated[int | None, _at("warm_up", "calls")]
    warm_up_s: Annotated[float | None, _at("warm_up", "seconds")]
    warm_up_steady: Annotated[bool | None, _at("warm_up", "steady")]
    interval_kind: Annotated[str | None, _at("latency", "interval_kind"), Repeated]
    load_tests: Annotated[int | None, _at("load", "tests")]
    load_valid_tests: Annotated[int | None, _at("load", "valid_tests")]
    load_percentile: Annotated[float | None, _at("load", "latency_percentile")]
    load_percentile_ms: Annotated[float | None, _at("load", "percentile_ms")]
    load_ttft_ms: Annotated[float | None, _at("load", "ttft_percentile_ms")]
    load_tpot_ms: Annotated[float | None, _at("load", "tpot_percentile_ms")]
    load_scheduled_qps: Annotated[float | None, _at("load", "scheduled_qps")]
    load_mean_in_flight: Annotated[float | None, _at("load", "mean_in_flight")]
    prefill_tokens_per_s: Annotated[float | None, _at("generation", "prefill_tokens_per_s")]
    decode_tokens_per_s: Annotated[float | None, _at("generation", "decode_tokens_per_s")]
    requests_per_s: Annotated[float | None, _at("generation", "requests_per_s")]
    mean_in_flight: Annotated[float | None, _at("generation", "mean_in_flight")]
    good: Annotated[int | None, _at("generation", "good")]
    goodput_per_s: Annotated[float | None, _at("generation", "goodput_per_s")]
    chunks: Annotated[float | None, _at("generation", "chunks")]
    itl_by_position_ms: Annotated[tuple[float, ...], _at("generation", "itl_by_position_ms")]
    requests: Annotated[int | None, _at("generation", "requests")]
    itl_p50_ms: Annotated[float | None, _at("generation", "itl", "p50_ms")]
    itl_interval_ms: Annotated[Interval | None, _at("generation", "itl", "p50_interval_ms")]
    itl_p95_ms: Annotated[float | None, _at("generation", "itl", "p95_ms")]
    itl_p99_ms: Annotated[float | None, _at("generation", "itl", "p99_ms")]
    stage_pictures: Annotated[str | None, _at("stages", "pictures")]
    score_threshold: Annotated[float | None, _at("stages", "score_threshold")]
    iou_threshold: Annotated[float | None, _at("stages", "iou_threshold")]
    boxes: Annotated[float | None, _at("stages", "boxes")]
    preprocessing_p50_ms: Annotated[float | None, _at("stages", "preprocessing", "p50_ms")]
    stage_model_p50_ms: Annotated[float | None, _at("stages", "model", "p50_ms")]
    postprocessing_p50_ms: Annotated[float | None, _at("stages", "postprocessing", "p50_ms")]
    postprocessing_p95_ms: Annotated[float | None, _at("stages", "postprocessing", "p95_ms")]
    end_to_end_p50_ms: Annotated[float | None, _at("stages", "end_to_end", "p50_ms")]
    end_to_end_interval_ms: Annotated[Interval | None, _at("stages", "end_to_end", "p50_interval_ms")]
    end_to_end_p95_ms: Annotated[float | None, _at("stages", "end_to_end", "p95_ms")]
    stage_rounds: Annotated[int | None, _at("stages", "end_to_end", "n")]
    perplexity: Annotated[float | None, _at("quality", "perplexity")]
    kl_mean: Annotated[float | None, _at("quality", "kl_mean")]
    kl_p99: Annotated[float | None, _at("quality", "kl_p99")]
    quality_gate: Annotated[str | None, _at("quality", "gate")]
    quality_tokens: Annotated[int | None, _at("quality", "tokens")]
    quality_source: Annotated[str | None, _at("quality", "source")]
    scores: Annotated[tuple[Score, ...], _at("quality", "scores")]
    token_agreement: Annotated[float | None, _at("quality", "agreement", "value")]
    after_import_bytes: Annotated[Bytes | None, _at("memory", "after_import_bytes")]
    after_load_bytes: Annotated[Bytes | None, _at("memory", "after_load_bytes")]
    kv_used_bytes: Annotated[Bytes | None, _at("memory", "kv_used_bytes")]
    kv_reserved_bytes: Annotated[Bytes | None, _at("memory", "kv_reserved_bytes")]
    undecodable: Annotated[int | None, _at("accuracy", "undecodable")]
    outputs: Annotated[int | None, _at("accuracy", "outputs")]
    data_classes: Annotated[int | None, _at("accuracy", "classes")]
    published_top1: Annotated[float | None, _at("accuracy", "published_top1")]
    images_per_s: Annotated[float | None, _at("accuracy", "images_per_s")]
    top5: Annotated[float | None, _at("accuracy", "top5", "value")]
    top1_masked: Annotated[float | None, _at("accuracy", "top1_masked", "value")]
    cosine_min: Annotated[float | None, _at("accuracy", "fidelity", "cosine_min")]
    agreement: Annotated[float | None, _at("accuracy", "fidelity", "agreement", "value")]
    mcnemar_p: Annotated[float | None, _of_drop("mcnemar_p")]
    reference_boxes: Annotated[int | None, _at("accuracy", "fidelity", "boxes", "reference_boxes")]
    same_score: Annotated[float | None, _at("accuracy", "fidelity", "boxes", "score_threshold")]
    same_iou: Annotated[float | None, _at("accuracy", "fidelity", "boxes", "iou_threshold")]
    iou_mean: Annotated[float | None, _at("accuracy", "fidelity", "boxes", "iou_mean")]
    iou_min: Annotated[float | None, _at("accuracy", "fidelity", "boxes", "iou_min")]
    boxes_found: Annotated[float | None, _at("accuracy", "fidelity", "boxes", "found", "value")]
    boxes_extra: Annotated[float | None, _at("accuracy", "fidelity", "boxes", "extra", "value")]
    map50: Annotated[float | None, _at("accuracy", "boxes", "map50")]
    map75: Annotated[float | None, _at("accuracy", "boxes", "map75")]
    map_small: Annotated[float | None, _at("accuracy", "boxes", "small")]
    map_medium: Annotated[float | None, _at("accuracy", "boxes", "medium")]
    map_large: Annotated[float | None, _at("accuracy", "boxes", "large")]
    objects: Annotated[int | None, _at("accuracy", "boxes", "objects")]
    crowds: Annotated[int | None, _at("accuracy", "boxes", "crowds")]
    map_score_threshold: Annotated[float | None, _at("accuracy", "boxes", "score_threshold")]
    map_most: Annotated[int | None, _at("accuracy", "boxes", "max_detections")]
    map_evaluator: Annotated[str | None, _at("accuracy", "boxes", "evaluator")]
    warnings: Annotated[tuple[Reason, ...], _at("verdict", "warnings")]
    error_stage: Annotated[str | None, _at("error", "stage")]
    error_message: Annotated[str | None, _at("error", "message")]


def changed(row: R, **values: Any) -> R:
    """A copy with other values."""
    return msgspec.structs.replace(row, **values)


# Asked of every row, several times.
_OF_CELL = attrgetter(
    "fingerprint", "model", "backend", "device", "precision", "batch", "threads", "shape", "scenario", "arm"
)
_INVALID, _OK = VerdictValue.INVALID, Status.OK

_RANKED, _COLUMNS = Columns(RankedRow), Columns(Row)

row_from_json: Callable[[bytes], Row] = _COLUMNS.from_json
"""A record's line, read. Raises ValueError or RecursionError; `row_from_data` says why."""
ranked_row_from_json: Callable[[bytes], RankedRow] = _RANKED.from_json


def row_from_data(data: Any) -> Row:
    """From a record's JSON, parsed. Raises NotARecordError."""
    return _from_data(_COLUMNS, data)


def ranked_row_from_data(data: Any) -> RankedRow:
    """As `row_from_data`."""
    return _from_data(_RANKED, data)


def _from_data(columns: Columns[R], data: Any) -> R:
    try:
        return columns.from_data(data)
    except msgspec.ValidationError as error:
        raise NotARecordError(f"not a record ({error})") from None


def row_of(record: Record) -> Row:
    """The row of a record that is at hand."""
    return row_from_data(record.model_dump(mode="json", exclude={"evidence", "check", "noise"}))
