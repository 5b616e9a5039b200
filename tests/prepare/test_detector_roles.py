"""What the outputs of somebody's own detector mean is told where it is plain, and refused where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoobench.prepare.detector_roles import Told, UnclearError, inferred, is_yolo, labels, told_by
from zoobench.tasks import open_task
from zoobench.terms import DETECTION

INPUT = (3, 320, 320)
CELLS = 2100
RNG = np.random.Generator(np.random.PCG64(1))
NOTHING = Told()


def pixels(candidates: int, items: int = 2) -> np.ndarray:
    return RNG.uniform(1, 320, (items, candidates, 4)).astype(np.float32)


def shares(candidates: int) -> np.ndarray:
    return pixels(candidates) / 320


def scores(candidates: int, classes: int) -> np.ndarray:
    return RNG.uniform(0, 0.9, (2, candidates, classes)).astype(np.float32)


def logits(candidates: int, classes: int) -> np.ndarray:
    return RNG.normal(-4, 2, (2, candidates, classes)).astype(np.float32)


def indices(candidates: int, classes: int) -> np.ndarray:
    return RNG.integers(0, classes, (2, candidates, 1)).astype(np.float32)


def corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:] + 0.01], -1)


def joined(*columns: np.ndarray) -> dict[str, np.ndarray]:
    return {"output0": np.concatenate(columns, axis=-1)}


def told(outputs: dict[str, np.ndarray], about: Told = NOTHING, **more: Any) -> dict[str, Any]:
    """What was inferred, beside the defaults and the outputs' names."""
    found = inferred(outputs, INPUT, about, **more)
    open_task(DETECTION, found).parts(outputs)
    return found.model_dump(exclude_defaults=True, exclude={"source", "boxes", "scores"})


def named(count: int, task: str | None = "detect") -> Told:
    return Told(task=task, names=tuple(f"class {i}" for i in range(count)))


YOLO8 = {"axes": "columns", "box_unit": "pixels", "activation": "none", "suppress": True}
YOLO5 = {"box_unit": "pixels", "activation": "none", "objectness": True, "suppress": True}


def test_yolov8() -> None:
    outputs = {"output0": joined(pixels(CELLS), scores(CELLS, 7))["output0"].transpose(0, 2, 1)}
    assert told(outputs) == YOLO8
    assert told(outputs, named(7)) == YOLO8
    # Its scores as they come, without the sigmoid.
    raw = {"output0": joined(pixels(CELLS), logits(CELLS, 7))["output0"].transpose(0, 2, 1)}
    assert told(raw) == {k: v for k, v in YOLO8.items() if k != "activation"}


def test_yolov5() -> None:
    outputs = joined(pixels(3 * CELLS), scores(3 * CELLS, 8))
    assert told(outputs) == YOLO5
    assert told(outputs, named(7)) == YOLO5
    assert told(joined(pixels(3 * CELLS), scores(3 * CELLS, 2))) == YOLO5, "one class: 6 numbers"
    assert told(joined(pixels(5000), scores(5000, 81))) == YOLO5, "COCO's 80 and objectness"


def test_suppressed_in_the_graph() -> None:
    outputs = joined(corners(pixels(300)), scores(300, 1), indices(300, 80))
    expected = {
        "classes": "output0", "box_format": "xyxy", "box_unit": "pixels", "activation": "none", "ordered": False
    }  # fmt: skip
    assert told(outputs) == expected
    assert told(outputs, named(80)) == expected
    # A class index that the model has no name for is none.
    with pytest.raises(UnclearError, match="6 numbers"):
        told(outputs, named(20))


def test_rows_of_a_detr_by_ultralytics() -> None:
    outputs = joined(shares(300), scores(300, 20))
    assert told(outputs, named(20), chooses=True) == {"activation": "none", "ordered": False}


@pytest.mark.parametrize(
    ("classes", "known", "activation"),
    [(92, 0, "softmax"), (91, 0, "sigmoid"), (80, 0, "sigmoid"), (81, 0, "softmax"), (5, 5, "sigmoid"), (6, 5, "softmax")],
)  # fmt: skip
def test_logits_and_boxes(classes: int, known: int, activation: str) -> None:
    outputs = {"logits": logits(100, classes), "pred_boxes": shares(100)}
    for about, more in ((named(known), {}), (NOTHING, {"names": known})):
        found = inferred(outputs, INPUT, about, **more)
        assert (found.boxes, found.scores, found.activation) == ("pred_boxes", "logits", activation)
        assert (found.box_format, found.box_unit, found.suppress, found.ordered) == (
            "cxcywh",
            "share",
            False,
            True,
        )
    assert not inferred(outputs, INPUT, named(known), chooses=True).ordered


def test_boxes_and_scores_of_a_heads_own() -> None:
    outputs = {"boxes": corners(pixels(CELLS)), "scores": scores(CELLS, 80)}
    assert told(outputs) == {
        "box_format": "xyxy",
        "box_unit": "pixels",
        "activation": "none",
        "suppress": True,
    }
    outputs = {"dets": pixels(CELLS), "conf": scores(CELLS, 1)[..., 0]}
    assert told(outputs) == {"box_unit": "pixels", "activation": "none", "suppress": True}


def test_boxes_scores_and_classes() -> None:
    outputs = {
        "num": np.ones((2, 1), np.int32),
        "boxes": corners(pixels(50)),
        "scores": scores(50, 1)[..., 0],
        "labels": indices(50, 9)[..., 0].astype(np.int64),
    }
    assert told(outputs) == {
        "classes": "labels", "box_format": "xyxy", "box_unit": "pixels", "activation": "none", "ordered": False
    }  # fmt: skip


@pytest.mark.parametrize(
    ("outputs", "about", "why"),
    [
        (joined(pixels(5000), scores(5000, 30)), NOTHING, "with or without objectness"),
        (joined(pixels(CELLS), scores(CELLS, 20)), named(7), "24 numbers, which is neither 4 nor 5 more than its 7"),
        (joined(pixels(CELLS), scores(CELLS, 20)), named(20, "segment"), "task 'segment'"),
        (joined(pixels(3 * CELLS) / 50, scores(3 * CELLS, 20)), NOTHING, "pixels or shares"),
        ({"logits": logits(100, 33), "pred_boxes": shares(100)}, NOTHING, "a sigmoid or a softmax"),
        ({"a": scores(CELLS, 4), "b": scores(CELLS, 4)}, NOTHING, "boxes and scores cannot be told"),
        ({"boxes": shares(CELLS), "scores": scores(CELLS, 80), "more": scores(CELLS, 80)}, NOTHING, "cannot be told"),
        ({"logits": scores(10, 5)[:, 0]}, NOTHING, "boxes and scores cannot be told"),
        ({"boxes": shares(CELLS), "scores": logits(CELLS, 81)}, NOTHING, 'no_object = "first" or "last"'),
        ({"boxes": shares(50), "scores": np.full((2, 50, 4), 0.25)}, NOTHING, 'no_object = "first" or "last"'),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_refused(outputs: dict[str, np.ndarray], about: Told, why: str) -> None:
    with pytest.raises(UnclearError, match=why):
        inferred(outputs, INPUT, about)


def test_what_ultralytics_writes_beside_the_graph() -> None:
    told = told_by(
        {"task": "detect", "names": "{0: 'a cat', 1: 'dog'}", "imgsz": "[320, 640]", "stride": "32"}
    )
    assert told == Told("detect", ("a cat", "dog"), (320, 640))
    assert told_by({"imgsz": "640"}).edges == (640, 640)


@pytest.mark.parametrize(
    "names",
    [
        "",
        "{",
        "{0: 1}",
        "{1: 'a'}",
        "__import__('os').system('true')",
        "[" * 10_000,
        "'text'",
        "{0: ' '}",
        "7",
    ],
)
def test_metadata_that_says_nothing(names: str) -> None:
    assert told_by({"names": names, "imgsz": "[1, 2, 3]"}) == Told()


def test_the_classes_names() -> None:
    outputs = {"output0": joined(pixels(CELLS), scores(CELLS, 80))["output0"].transpose(0, 2, 1)}
    detector = inferred(outputs, INPUT, NOTHING)
    parts = open_task(DETECTION, detector).parts(outputs)
    assert labels(detector, parts, NOTHING) == "coco-80"
    assert labels(detector, parts, named(80)) == named(80).names
    detr = {"logits": logits(100, 92), "pred_boxes": shares(100)}
    detector = inferred(detr, INPUT, NOTHING)
    assert labels(detector, open_task(DETECTION, detector).parts(detr), NOTHING) == "coco-91"


def test_which_detectors_want_a_grey_border() -> None:
    for outputs, expected in (
        (joined(pixels(3 * CELLS), scores(3 * CELLS, 8)), True),
        (joined(pixels(CELLS), scores(CELLS, 81)), False),
        ({"logits": logits(100, 92), "pred_boxes": shares(100)}, False),
    ):
        detector = inferred(outputs, INPUT, NOTHING)
        assert is_yolo(detector, INPUT, open_task(DETECTION, detector).parts(outputs)) is expected


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("AGPL-3.0 License (https://ultralytics.com/license)", "AGPL-3.0"),
        ("Apache-2.0", "Apache-2.0"),
        ("", None),
        ("<img src=x>", None),
    ],
)
def test_a_files_licence_is_what_its_exporter_wrote(said: str, licence: str | None) -> None:
    assert told_by({"license": said}).licence == licence


def test_a_name_too_few_makes_no_objectness_of_the_first_class() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(0, 640, (1, 4, 8400)), rng.uniform(0, 1, (1, 3, 8400))], axis=1)
    with pytest.raises(UnclearError, match="would have 3 classes, and 2 are named"):
        inferred({"output0": values.astype(np.float32)}, (3, 640, 640), Told(), names=2)


def test_corners_in_one_output_are_told_by_their_order() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 500, (1, 2, 8400))
    boxes = np.concatenate([first, first + rng.uniform(1, 100, (1, 2, 8400))], axis=1)
    values = np.concatenate([boxes, rng.uniform(0, 1, (1, 3, 8400))], axis=1).astype(np.float32)
    assert inferred({"output0": values}, (3, 640, 640), Told(), names=3).box_format == "xyxy"
