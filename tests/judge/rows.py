"""Rows as `recommend` gets them, with what a record cannot easily be given."""

from __future__ import annotations

from typing import Any

from tests.show.records import make_record

from zoobench.results.row import Row, changed, row_of


def cell(model: str = "resnet18", backend: str = "onnx_cpu", p50: float = 10.0, **more: Any) -> Row:
    """A believable row; what a record is not asked for here can be set on the row itself."""
    of_row = {name: more.pop(name) for name in list(more) if name in _OF_ROW}
    row = row_of(make_record(model, backend, p50, **more))
    return changed(row, **of_row) if of_row else row


_OF_ROW = (
    "p99_ms", "p99_interval_ms", "p95_interval_ms", "peak_bytes", "size_bytes", "gpu_bytes", "licence", "mean_ms",
    "throughput_per_s", "made_s", "load_s", "compile_s", "artifact_sha256", "joules_per_item", "drop_decision", "gpus",
    "measurement_key", "p50_ms", "derived_from", "calibrated_on_noise",
)  # fmt: skip


def speaker(p50: float = 500.0, **more: Any) -> Row:
    """A language model's row: 128 + 64 tokens."""
    values: dict[str, Any] = {
        "task": "text_generation", "requests": 20, "new_tokens": 64, "prompt_tokens": 128, "ttft_p50_ms": 80.0,
        "ttft_p95_ms": 120.0, "tpot_p50_ms": 6.0, "quality_passed": None, "tokens_per_s": 64 / p50 * 1e3,
    }  # fmt: skip
    of_row = {name: more.pop(name) for name in list(more) if name in (*values, *_OF_ROW, "joules_per_token")}
    tokens = {"prompt_tokens": 128, "new_tokens": 64, **more.pop("options", {})}
    row = row_of(
        make_record("smol", more.pop("backend", "pytorch"), p50, scenario="tokens", options=tokens, **more)
    )
    return changed(row, **(values | of_row))
