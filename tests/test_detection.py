"""A detector that was trained here, on pictures whose objects are known, on every runtime: what is recorded is recomputed by hand."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.real_detectors import EDGE, SHAPES, train_shapes, write_shapes

from zoobench import api
from zoobench.driver import Settings
from zoobench.errors import PrepareError, UsageError
from zoobench.executors.local import LocalExecutor
from zoobench.results.record import Record
from zoobench.show.report import write_report
from zoobench.spec import Artifact
from zoobench.terms import DropDecision, Status

if importlib.util.find_spec("ultralytics") is None:
    pytest.skip("ultralytics is not installed", allow_module_level=True)
pytest.importorskip("pycocotools")
pytestmark = pytest.mark.slow

BACKENDS = ("pytorch", "onnx_cpu", "openvino")


class Place:
    """What one module's tests share, so that nothing is trained or made twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executor = LocalExecutor(cache=folder / "cache")
        # Eight seconds each time, for nothing that is asked here.
        self.executor.ceilings = lambda threads, runtimes: None
        write_shapes(folder / "shapes")
        train_shapes(folder)
        self.model = folder / "model.pt"

    def run(self, *, results: str = "results", **asked: object) -> list[Record]:
        more = {name: asked.pop(name) for name in ("models", "backends", "precisions") if name in asked}
        given = {"split": "val", **asked} if "dataset" not in asked else asked
        return api.run(
            more.pop("models", [str(self.model)]),
            data=api.pictures(**{"dataset": str(self.folder / "shapes"), **given}),
            settings=Settings(
                results_dir=self.folder / results, max_case_time_s=0.3, wait=True, allow_pickle=True
            ),
            executor=self.executor,
            **more,
        )

    def artifact(self, record: Record) -> Artifact:
        from zoobench.prepare.cache import load_artifact

        assert record.artifact is not None
        return load_artifact(self.folder / "cache" / "artifacts" / "by_content" / record.artifact.sha256)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("detection")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOOBENCH_LOCK", str(folder / "lock"))
        yield Place(folder)


@pytest.fixture(scope="module")
def records(place: Place) -> dict[tuple[str, str], Record]:
    calibrated = {"calibration": str(place.folder / "shapes"), "calibration_split": "train"}
    found = place.run(backends=BACKENDS) + place.run(
        backends=["onnx_cpu"], precisions=["fp32", "int8"], **calibrated
    )
    return {(record.case.backend, record.case.precision.value): record for record in found}


def test_every_runtime_finds_what_is_there(records: dict[tuple[str, str], Record]) -> None:
    for (backend, precision), record in records.items():
        assert record.status is Status.OK, record.error
        assert record.accuracy is not None and record.accuracy.boxes is not None, (backend, precision)
        found = record.accuracy.boxes
        assert found.map is not None and found.map > 0.5, (backend, precision, found)
        assert (found.pictures, found.categories) == (80, 3)
        assert set(found.by_class) == set(SHAPES)
        assert record.stages is not None and record.stages.pictures == "8 pictures of shapes val"
        assert 0.5 < record.stages.boxes < 4
        whole = record.stages.end_to_end.p50_ms
        parts = (record.stages.preprocessing, record.stages.model, record.stages.postprocessing)
        assert whole is not None and whole > sum(part.p50_ms or 0.0 for part in parts) * 0.7


def test_fp32_of_every_runtime_sees_pytorchs_boxes(records: dict[tuple[str, str], Record]) -> None:
    torch = records["pytorch", "fp32"]
    assert torch.accuracy is not None and torch.artifact is not None
    assert torch.accuracy.fidelity is None
    for backend in BACKENDS[1:]:
        record = records[backend, "fp32"]
        assert record.check is not None and record.check.passed and record.check.top1_agreement == 1.0
        assert record.accuracy is not None
        close = record.accuracy.fidelity
        if close is None:
            # Held against nothing where the same cell was measured without PyTorch beside it.
            continue
        assert close.reference_sha256 == torch.artifact.sha256 and close.box_drop is None
        assert close.boxes is not None and close.boxes.found is not None
        assert close.boxes.found.value > 0.99 and (close.boxes.iou_min or 0.0) > 0.99
        assert (close.boxes.score_difference_max or 0.0) < 1e-3


def test_ultralytics_own_code_finds_the_same(place: Place, records: dict[tuple[str, str], Record]) -> None:
    """Its letterbox, its suppression and pycocotools, on the file that was measured."""
    import onnxruntime as ort
    import torch

    from zoobench.backends.torch_yolo import import_ultralytics

    import_ultralytics()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import scale_boxes

    record = records["onnx_cpu", "fp32"]
    artifact = place.artifact(record)
    assert artifact.file is not None
    session = ort.InferenceSession(str(artifact.path / artifact.file), providers=["CPUExecutionProvider"])
    truth = COCO(str(place.folder / "shapes/annotations/instances_val.json"))
    found = []
    for number, image in truth.imgs.items():
        pixels = np.asarray(Image.open(place.folder / "shapes/val" / image["file_name"]))
        boxed = LetterBox((EDGE, EDGE), auto=False)(image=pixels)
        inputs = boxed.transpose(2, 0, 1)[None].astype(np.float32) / 255
        outputs = torch.from_numpy(session.run(None, {artifact.input_name: inputs})[0])
        (kept,) = non_max_suppression(outputs, 0.001, 0.7, multi_label=True, max_det=100)
        boxes = scale_boxes((EDGE, EDGE), kept[:, :4].clone(), pixels.shape[:2]).numpy()
        found += [
            {
                "image_id": number,
                "category_id": int(one) + 1,
                "score": float(score),
                "bbox": [float(x), float(y), float(right - x), float(bottom - y)],
            }
            for (x, y, right, bottom), score, one in zip(boxes, kept[:, 4], kept[:, 5], strict=True)
        ]
    judge = COCOeval(truth, truth.loadRes(found), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert record.accuracy is not None and record.accuracy.boxes is not None
    ours = record.accuracy.boxes
    assert (ours.map, ours.map50, ours.map75) == pytest.approx(tuple(judge.stats[:3]), abs=2e-3)


def test_int8_keeps_its_tail_in_fp32_and_is_held_against_fp32(
    place: Place, records: dict[tuple[str, str], Record]
) -> None:
    record = records["onnx_cpu", "int8"]
    assert record.artifact is not None and record.artifact.ladder is not None
    left_out = record.artifact.ladder["left_out"]
    assert {"node_softmax", "node_cat_16", "node_sigmoid"} <= set(left_out)
    assert any("detection tail left in fp32" in note for note in record.artifact.notes)
    assert record.accuracy is not None and record.accuracy.fidelity is not None
    close = record.accuracy.fidelity
    assert close.reference_sha256 == place.artifact(records["onnx_cpu", "fp32"]).sha256
    assert close.boxes is not None and close.boxes.found is not None and close.boxes.found.value > 0.8
    assert close.box_drop is not None and close.box_drop.decision is not DropDecision.FAIL
    assert not close.boxes.finds_nothing


def test_the_report_tells_all_of_it(place: Place, records: dict[tuple[str, str], Record]) -> None:
    text = write_report(place.folder / "results", place.folder / "R.md").report.read_text("utf-8")
    for heading in ("### From pixels to boxes", "### Accuracy of detectors"):
        rows = [line for line in text.split(heading)[1].split("\n### ")[0].splitlines() if "model.pt" in line]
        assert len(rows) == 4, rows
    assert "Top-1" not in text.split("### Batch size 1")[1].split("\n### ")[0]


def test_pictures_must_be_of_the_models_kind(place: Place) -> None:
    (place.folder / "classes/square").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(place.folder / "classes/square/one.png")
    with pytest.raises(UsageError, match=r"its pictures have classes, and model\.pt finds boxes"):
        place.run(results="refused", backends=["onnx_cpu"], dataset=str(place.folder / "classes"))
    for bad in ({"images": []}, {"images": [], "annotations": []}):
        folder = place.folder / f"bad{len(bad)}"
        (folder / "annotations").mkdir(parents=True)
        (folder / "annotations/instances_val.json").write_text(json.dumps(bad))
        with pytest.raises(PrepareError, match="so it is not COCO's"):
            place.run(results="refused", backends=["onnx_cpu"], dataset=str(folder))
