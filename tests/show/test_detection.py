"""What a report says of detectors."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.show.records import make_record, write_results

from zoobench.judge.compare import _in_accuracy
from zoobench.measure.detection import box_agreement, box_drop
from zoobench.measure.stages import summarise_stages
from zoobench.outcome import Accuracy, Fidelity, MeanAP
from zoobench.results.record import ModelInfo, Record
from zoobench.show.console import run_blocks, short_head
from zoobench.show.report import write_report
from zoobench.spec import DataInfo


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
        "| yolov8n | onnx_cpu | 1 | 8.00 | 60.0 | 2.00 | 70.0 [70.0, 70.0] | 70.0 | 14.3 | 5.50 | 30 |",
        "| yolov8n | pytorch | 1 | 8.00 | 90.0 | 2.00 | 100 [100, 100] | 100 | 10.0 | 5.50 | 30 |",
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
        [short_head(column) for column in run_blocks(records)[1].columns]
        for records in ([looked("pytorch", 50)], [make_record()])
    ]
    assert "end to end" in heads[0] and "end to end" not in heads[1]


def right(precision: str, found: float, low: float, high: float, fidelity: Fidelity | None = None) -> Record:
    """A hundred pictures with 700 objects."""
    boxes = MeanAP(
        map=found, map50=0.5, map75=0.4, small=0.2, medium=None, large=0.6, interval=(low, high), pictures=100, objects=700,
        crowds=9, categories=80, boxes=9000, evaluator="pycocotools 2.0.11", resamples=1000, seed=0,
    )  # fmt: skip
    data = DataInfo(
        label="street val2017", identity={}, samples=100, seed=0, ids_sha256="0" * 64, content_sha256="1" * 64,
        labels_sha256="2" * 64, boxes=True,
    )  # fmt: skip
    accuracy = Accuracy(
        data=data, artifact_sha256="d" * 64, meaning_sha256="3" * 64, images=100, outputs=80, classes=80, boxes=boxes,
        fidelity=fidelity, batch=8, images_per_s=9.0, seconds=11.0, preprocessing={},
    )  # fmt: skip
    model = ModelInfo(name="yolov8n", weights="pretrained", task="object_detection")
    ms = {"fp32": 60.0, "int8": 30.0}[precision]
    return make_record("yolov8n", "onnx_cpu", ms, precision=precision, accuracy=accuracy).model_copy(
        update={"model": model}
    )


def lost(max_drop: float = 0.01) -> Fidelity:
    raw = {"value": 0.021, "interval": (0.012, 0.03), "pictures": 100, "resamples": 1000, "seed": 0}
    agreed = {
        "score_threshold": 0.25, "iou_threshold": 0.5, "reference_boxes": 400, "boxes": 390, "found": 380, "iou_mean": 0.97,
        "iou_min": 0.51, "score_difference_max": 0.1,
    }  # fmt: skip
    return Fidelity(reference_sha256="d" * 64, boxes=box_agreement(agreed), box_drop=box_drop(raw, max_drop))


def test_what_a_detector_gets_right_and_what_its_precision_costs(tmp_path: Path) -> None:
    records = [right("fp32", 0.373, 0.36, 0.385), right("int8", 0.352, 0.34, 0.364, lost())]
    write_results(tmp_path / "results", records)
    files = write_report(tmp_path / "results", tmp_path / "R.md")
    text = files.report.read_text("utf-8")
    section = text.split("### Accuracy of detectors")[1].split("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| yolov8n")]
    assert rows[0].startswith(
        "| yolov8n | onnx_cpu | fp32 | 37.3 [36.0, 38.5] | 50.0 | 40.0 | 20.0 | — | 60.0 | — | — | — | — | — |"
    )
    assert "| 35.2 [34.0, 36.4] |" in rows[1]
    assert "| 2.10 [1.20, 3.00] | ❌ fail | 95.0 | 2.6 | 0.9700 |" in rows[1]
    assert "100 pictures of street val2017 with 700 objects and 9 crowds." in section
    assert "by pycocotools 2.0.11: boxes with a score of at least 0.001, at most 100 a picture" in section
    assert "### Accuracy\n" not in text and "| mAP (%) |" in text and "Top-1" not in text.split("###")[1]
    # The faster one loses too much.
    assert "fastest: yolov8n · onnx_cpu · fp32" in text
    assert any(chart.name == "detection.svg" for chart in files.charts)
    assert files.table is not None
    with files.table.open(encoding="utf-8") as table:
        told = {row["precision"]: row for row in csv.DictReader(table)}
    assert (told["int8"]["map"], told["int8"]["map_low"], told["int8"]["drop"]) == ("0.352", "0.34", "0.021")
    assert (told["int8"]["boxes_found"], told["int8"]["drop_decision"]) == ("0.95", "fail")


def test_another_margin_judges_the_stored_drop_anew(tmp_path: Path) -> None:
    write_results(tmp_path / "results", [right("int8", 0.352, 0.34, 0.364, lost())])
    files = write_report(tmp_path / "results", tmp_path / "R.md", max_drop=0.05)
    assert "| 2.10 [1.20, 3.00] | pass |" in files.report.read_text("utf-8")


def test_two_detectors_are_compared_by_map_and_not_by_top1() -> None:
    whole, fewer = right("fp32", 0.373, 0.36, 0.385), right("int8", 0.352, 0.34, 0.364, lost())
    told = list(_in_accuracy(whole, fewer))
    assert told == [
        "mAP 37.3% [36.0, 38.5] → 35.2% [34.0, 36.4] of 100 pictures of street val2017",
        "mAP drops by 2.10 points [1.20, 3.00] with 1 allowed: fail",
    ]
