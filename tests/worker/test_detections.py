"""The accuracy pass of a detector whose answers are known, from a COCO folder to what the record claims."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoobench.data import DataRequest, open_source
from zoobench.data.pack import Pack, collect
from zoobench.measure.accuracy import accuracy_warnings, summarise
from zoobench.measure.verdict import with_accuracy
from zoobench.outcome import Verdict
from zoobench.spec import Artifact, Case, DataInfo, Detector, Evaluation, Preprocessing
from zoobench.terms import DropDecision, Precision, VerdictValue
from zoobench.worker.accuracy import assess

pytest.importorskip("pycocotools")

WIDE, HIGH, EDGE = 40, 24, 80
NAMES = ("cup", "dog", "car")
# Twice as large, 16 grey rows above and below.
LETTERBOX = Preprocessing(
    resize=(EDGE, EDGE), fit="longest", interpolation="nearest", crop=(EDGE, EDGE), scale=1.0, mean=(0, 0, 0), std=(1, 1, 1)
)  # fmt: skip
YOLO = Detector(
    boxes="found", scores="found", axes="columns", box_unit="pixels", activation="none", suppress=True
)
CASE = Case(model="m", backend="onnx_cpu", threads=2, batch=3)
INT8 = CASE.model_copy(update={"precision": Precision.INT8})


class Seeing:
    """Sees the one object where it is: red where there is one, green its class. `blind` pictures, by blue, it does not see."""

    def __init__(self, blind: set[int] | None = None, moved: float = 0.0, broken: bool = False) -> None:
        self.blind, self.moved, self.broken = blind or set(), moved, broken

    def bind(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        (tensors,) = inputs.values()
        out = np.zeros((len(tensors), 4 + len(NAMES), 5), np.float32)
        for row, picture in zip(out, tensors, strict=True):
            seen = np.argwhere(picture[0] > 200)
            if not len(seen) or int(picture[2].max()) in self.blind:
                continue
            (top, left), (bottom, right) = seen.min(axis=0), seen.max(axis=0) + 1
            row[:4, 2] = (left + right) / 2 + self.moved, (top + bottom) / 2, right - left, bottom - top
            row[4 + int(picture[1][picture[0] > 200].max()), 2] = 0.9
        if self.broken:
            out[:, 4:] = np.nan
        return lambda: {"found": out}

    def close(self) -> None:
        pass


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """12 pictures: an object on all but the last, twelve pixels to the right of the one before it, and a crowd on the first."""
    (tmp_path / "set/annotations").mkdir(parents=True)
    (tmp_path / "set/val").mkdir()
    images, objects = [], []
    for number in range(12):
        pixels = np.zeros((HIGH, WIDE, 3), np.uint8)
        pixels[..., 2] = number
        left, top = 2 * number, number
        if number < 11:
            pixels[top : top + 10, left : left + 14, :2] = (255, number % 3)
            objects.append([number, left, top, 14, 10, 0])
        if number == 0:
            objects.append([number, 30, 2, 8, 8, 1])
        Image.fromarray(pixels).save(tmp_path / f"set/val/{number:02}.png")
        images.append({"id": number, "file_name": f"{number:02}.png", "width": WIDE, "height": HIGH})
    annotations = [
        {"id": place, "image_id": n, "category_id": 10 + n % 3, "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd}
        for place, (n, x, y, w, h, crowd) in enumerate(objects)
    ]  # fmt: skip
    categories = [{"id": 10 + place, "name": name} for place, name in enumerate(NAMES)]
    body = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "set/annotations/instances_val.json").write_text(json.dumps(body))
    asked = DataRequest(str(tmp_path / "set"))
    return collect(open_source(asked), asked, tmp_path / "cache")


def artifact(name: str = "a", **fields: Any) -> Artifact:
    return Artifact(
        path=Path("/nowhere"), format="onnx", sha256=name * 64, size_bytes=1, model="m", input_shape=(3, EDGE, EDGE),
        task="object_detection", outputs=("found",), detector=YOLO, preprocessing=LETTERBOX,
        **{"labels": NAMES, "weights": "local", **fields},
    )  # fmt: skip


def judge(pack: Pack, folder: Path, session: Seeing, case: Case = CASE, **more: Any) -> dict[str, Any]:
    return assess(
        case, more.pop("artifact", artifact()), pack=pack.folder, outputs=folder / "outputs",
        reference=more.pop("reference", None), open_session=lambda *_: session, progress=lambda _: None, workers=2, **more,
    )  # fmt: skip


def claimed(pack: Pack, raw: dict[str, Any], what: Artifact | None = None, **due: Any) -> Any:
    data = DataInfo(
        label="set val", identity={}, samples=12, seed=0, ids_sha256=pack.ids_sha256,
        content_sha256=pack.content_sha256, labels_sha256=pack.labels_sha256, boxes=True,
    )  # fmt: skip
    evaluation = Evaluation(pack="", data=data, outputs="", **due)
    return summarise(json.loads(json.dumps(raw)), evaluation, what or artifact())


def test_what_is_seen_where_it_is_counts_as_right(pack, tmp_path):
    found = claimed(pack, judge(pack, tmp_path, Seeing()))
    assert (found.images, found.outputs, found.classes, found.unclaimed) == (12, 3, 3, None)
    assert (found.boxes.map, found.boxes.objects, found.boxes.crowds) == (pytest.approx(1.0), 11, 1)
    assert found.top1 is None and found.fidelity is None
    # Off by four pixels of fourteen, which are eight of the input: an IoU of 20 / 36, right at two of COCO's ten thresholds.
    moved = claimed(pack, judge(pack, tmp_path, Seeing(moved=8.0)))
    assert (moved.boxes.map50, moved.boxes.map75, moved.boxes.map) == pytest.approx((1.0, 0.0, 0.2))


def test_the_published_figure_is_held_against_fp32_alone(pack, tmp_path):
    raw = judge(pack, tmp_path, Seeing())
    far = accuracy_warnings(claimed(pack, raw, published=37.3), None)
    assert [reason.code for reason in far] == ["not_as_published"]
    assert not list(accuracy_warnings(claimed(pack, raw, published=99.0), None))
    fewer = judge(pack, tmp_path, Seeing(), INT8, artifact=artifact("b"), reference=artifact())
    told = accuracy_warnings(claimed(pack, fewer, artifact("b"), published=37.3, max_drop=0.9), None)
    assert not list(told)


def test_classes_are_matched_by_name_and_foreign_ones_left_out(pack, tmp_path):
    other = artifact(labels=("cup", "tree", "car"))
    assert "'dog'" in claimed(pack, judge(pack, tmp_path, Seeing(), artifact=other), other).unclaimed
    mixed = artifact(labels=("car", "cup", "dog"))
    wrong = claimed(pack, judge(pack, tmp_path, Seeing(), artifact=mixed), mixed)
    assert wrong.unclaimed is None and wrong.boxes.map == 0.0


def test_fewer_bits_are_held_against_fp32s_boxes_on_the_same_pictures(pack, tmp_path):
    judge(pack, tmp_path, Seeing())
    raw = judge(pack, tmp_path, Seeing(blind={3, 4}), INT8, artifact=artifact("b"), reference=artifact())
    found = claimed(pack, raw, artifact("b")).fidelity
    assert (found.reference_sha256, found.boxes.reference_boxes, found.boxes.boxes) == ("a" * 64, 11, 9)
    assert (found.boxes.found.k, found.boxes.extra.k) == (9, 0)
    assert found.box_drop.value > 0.1 and found.box_drop.decision is not DropDecision.PASS
    lenient = claimed(pack, raw, artifact("b"), max_drop=0.9)
    assert lenient.fidelity.box_drop.decision is DropDecision.PASS
    assert [w.code for w in accuracy_warnings(claimed(pack, raw, artifact("b")), None)] == [
        "accuracy_undecided"
    ]


def test_fp32_is_held_against_pytorchs_where_that_ran(pack, tmp_path):
    torch = artifact("t")
    origin = (CASE.model_copy(update={"backend": "pytorch"}), torch)
    alone = claimed(pack, judge(pack, tmp_path, Seeing(blind={5}), origin=origin))
    assert alone.fidelity is None
    judge(pack, tmp_path, Seeing(), origin[0], artifact=torch)
    beside = claimed(pack, judge(pack, tmp_path, Seeing(blind={5}), origin=origin))
    assert beside.fidelity.reference_sha256 == "t" * 64
    assert (beside.fidelity.boxes.found.k, beside.fidelity.boxes.found.n) == (10, 11)


def test_one_that_sees_nothing_on_any_picture_is_told(pack, tmp_path):
    judge(pack, tmp_path, Seeing())
    blind = Seeing(blind=set(range(12)))
    found = claimed(pack, judge(pack, tmp_path, blind, INT8, artifact=artifact("b"), reference=artifact()))
    boxes = found.fidelity.boxes
    assert (boxes.finds_nothing, boxes.surest, boxes.boxes) == (True, 0.0, 0)
    assert boxes.reference_surest == pytest.approx(0.9)
    good = Verdict(value=VerdictValue.VALID)
    verdict = with_accuracy(good, INT8, None, found)
    assert verdict.value is VerdictValue.INVALID
    assert [reason.code for reason in verdict.reasons] == ["finds_nothing"]
    seeing = claimed(
        pack, judge(pack, tmp_path, Seeing(), INT8, artifact=artifact("b"), reference=artifact())
    )
    assert with_accuracy(good, INT8, None, seeing).value is VerdictValue.VALID


def test_outputs_that_are_not_finite_find_nothing_and_are_counted(pack, tmp_path):
    raw = judge(pack, tmp_path, Seeing(broken=True))
    found = claimed(pack, raw)
    assert raw["not_finite"] == 12 and raw["boxes"]["map"] == 0.0
    assert found.boxes is None and "NaN" in found.unclaimed


def test_random_weights_claim_nothing_and_yet_can_be_compared(pack, tmp_path):
    judge(pack, tmp_path, Seeing())
    lost = artifact("b", weights="random")
    raw = judge(pack, tmp_path, Seeing(), INT8, artifact=lost, reference=artifact())
    found = claimed(pack, raw, lost)
    assert found.boxes is None and found.unclaimed
    assert found.fidelity.box_drop is None and found.fidelity.boxes.found.value == 1.0
