"""What a report says of detectors."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.show.records import make_record, write_results

from zoobench.measure.stages import summarise_stages
from zoobench.results.record import Record
from zoobench.show.report import write_report
from zoobench.show.tables import console_table


def looked(backend: str, model_ms: float, *, batch: int = 1) -> Record:
    """Thirty rounds: 8 ms before the model and 2 after it."""
    times = {"preprocessing": 8, "model": model_ms, "postprocessing": 2, "end_to_end": 10 + model_ms}
    raw = {
        "samples_ns": {name: [int(ms * 1e6)] * 30 for name, ms in times.items()},
        "pictures": "8 pictures of street val2017",
        "boxes": 5.5,
        "score_threshold": 0.25,
        "iou_threshold": 0.7,
    }
    return make_record("yolov8n", backend, model_ms, batch=batch, stages=summarise_stages(raw))


def test_the_report_tells_what_a_picture_takes_beside_the_model(tmp_path: Path) -> None:
    write_results(tmp_path / "results", [looked("pytorch", 90), looked("onnx_cpu", 60), make_record()])
    files = write_report(tmp_path / "results", tmp_path / "R.md")
    text = files.report.read_text("utf-8")
    section = text.split("### From pixels to boxes")[1].split("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| yolov8n")]
    assert rows == [
        "| yolov8n | onnx_cpu | 1 | 8.00 | 60.0 | 2.00 | 70.0 [70.0, 70.0] | 70.0 | 14.3 | 5.50 |",
        "| yolov8n | pytorch | 1 | 8.00 | 90.0 | 2.00 | 100 [100, 100] | 100 | 10.0 | 5.50 |",
    ]
    assert "On 8 pictures of street val2017; boxes with a score of at least 0.25 are kept" in section
    assert files.table is not None
    with files.table.open(encoding="utf-8") as table:
        told = {row["backend"]: row for row in csv.DictReader(table) if row["model"] == "yolov8n"}
    assert (told["pytorch"]["postprocessing_p50_ms"], told["pytorch"]["stage_rounds"]) == ("2.0", "30")


def test_every_sample_of_a_stage_is_kept() -> None:
    stages = looked("onnx_cpu", 60).stages
    assert stages is not None
    assert stages.samples_ns["model"] == (60_000_000,) * 30
    assert (stages.end_to_end.p95_ms, stages.end_to_end.p99_ms) == (70.0, None)


def test_the_terminal_has_a_column_for_it_only_where_there_is_a_detector() -> None:
    heads = [
        [str(column.header) for column in console_table(records)[0].columns]
        for records in ([looked("pytorch", 50)], [make_record()])
    ]
    assert "end to end" in heads[0] and "end to end" not in heads[1]
