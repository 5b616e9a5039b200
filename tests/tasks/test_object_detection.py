"""Outputs become boxes as their makers' own code makes them, and two runtimes agree when the same things are found."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from zoobench.backends.torch_yolo import import_ultralytics
from zoobench.spec import Detector, Preprocessing
from zoobench.tasks import open_task
from zoobench.tasks.boxes import EVALUATION, USUAL, Detections, Thresholds
from zoobench.tasks.comparison import compare
from zoobench.tasks.object_detection import ObjectDetection

INPUT = (3, 640, 640)
YOLO = Detector(
    boxes="output0", scores="output0", axes="columns", box_unit="pixels", activation="none", suppress=True
)
DETR = Detector(boxes="pred_boxes", scores="logits", activation="softmax")
RT_DETR = Detector(boxes="pred_boxes", scores="logits", activation="sigmoid", ordered=False)
LETTERBOX = Preprocessing(
    resize=(640, 640), fit="longest", interpolation="linear", crop=(640, 640), border=(114, 114, 114)
)


def yolo_outputs(seed: int, *, candidates: int = 800, classes: int = 80, hot: int = 250) -> np.ndarray:
    """(1, 4 + classes, candidates): clusters of boxes that overlap, each of a class of its own, on faint noise."""
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.uniform(0, 640, (candidates, 2)), rng.uniform(5, 200, (candidates, 2))], 1)
    centres = np.concatenate([rng.uniform(50, 590, (60, 2)), rng.uniform(30, 250, (60, 2))], 1)
    chosen, cluster = rng.choice(candidates, hot, replace=False), rng.integers(0, 60, hot)
    boxes[chosen] = centres[cluster] + rng.normal(0, 6, (hot, 4))
    scores = 0.2 * rng.uniform(0, 1, (candidates, classes)) ** 60
    scores[chosen, rng.integers(0, classes, 60)[cluster]] = rng.uniform(0.2, 0.95, hot)
    return np.concatenate([boxes, scores], 1).T[None].astype(np.float32)


def detr_outputs(seed: int, *, classes: int, items: int = 2, queries: int = 100) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    boxes = np.concatenate(
        [rng.uniform(0.1, 0.9, (items, queries, 2)), rng.uniform(0.01, 0.3, (items, queries, 2))], -1
    )
    logits = rng.normal(-2, 2, (items, queries, classes))
    return {"logits": logits.astype(np.float32), "pred_boxes": boxes.astype(np.float32)}


def assert_same(found: Detections, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> None:
    """The same in the same order, but for equal scores, whose order is anybody's."""
    assert (np.diff(found.scores) <= 0).all()
    ours, order = (np.lexsort((*b.T, c, -s)) for b, c, s in (
        (found.boxes, found.classes, found.scores), (boxes, classes, scores)
    ))  # fmt: skip
    found = found.taken(ours)
    assert len(found) == len(scores) > 0
    assert np.abs(found.boxes - boxes[order]).max() < 1e-3
    assert np.allclose(found.scores, scores[order], atol=1e-6)
    assert (found.classes == classes[order]).all()


@pytest.fixture(scope="module")
def ultralytics():
    if importlib.util.find_spec("ultralytics") is None:
        pytest.skip("ultralytics is not installed")
    return import_ultralytics()


def assert_as_ultralytics(outputs: np.ndarray, thresholds: Thresholds) -> None:
    import torch
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import scale_boxes

    theirs = non_max_suppression(
        torch.from_numpy(outputs.copy()),
        conf_thres=thresholds.score,
        iou_thres=thresholds.iou,
        max_det=thresholds.most,
        multi_label=thresholds.several_classes,
        max_time_img=60,
    )
    task = ObjectDetection(YOLO)
    for found, expected in zip(task.detections({"output0": outputs}, INPUT, thresholds), theirs, strict=True):
        assert_same(found, *(expected[:, i].numpy() for i in (slice(4), 4, 5)))
        for size in ((1080, 810), (333, 500), (641, 640)):
            boxes = scale_boxes(INPUT[1:], expected[:, :4].clone(), size).numpy()
            there = (boxes[:, 2:] > boxes[:, :2]).all(1)
            scores, classes = expected[there, 4].numpy(), expected[there, 5].numpy()
            assert_same(task.placed(found, size, INPUT, LETTERBOX), boxes[there], scores, classes)


@pytest.mark.slow
@pytest.mark.parametrize("thresholds", [USUAL, EVALUATION, EVALUATION.model_copy(update={"most": 300})])
def test_it_is_ultralytics_suppression(ultralytics, thresholds):
    for seed in range(3):
        assert_as_ultralytics(yolo_outputs(seed), thresholds)
    assert_as_ultralytics(yolo_outputs(9, classes=1), thresholds)


@pytest.mark.slow
def test_it_is_ultralytics_suppression_of_what_a_yolo_gives(ultralytics):
    import torch
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import ASSETS

    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", ch=3, nc=80, verbose=False).eval()
    item = ObjectDetection(YOLO).item(
        Image.open(ASSETS / "bus.jpg").convert("RGB"),
        LETTERBOX.model_copy(update={"mean": (0, 0, 0), "std": (1, 1, 1)}),
    )
    head = model.model[-1]
    with torch.no_grad():
        # In untrained layers the picture dies out, and all scores are alike: wake them up, and spread the scores.
        for layer in model.modules():
            if isinstance(layer, torch.nn.Conv2d) and layer is not head.dfl.conv:
                torch.nn.init.kaiming_normal_(layer.weight)
        scores = model(torch.from_numpy(item[None]))[0][0, 4:].logit()
        for level, found in zip(head.cv3, scores.split((6400, 1600, 400), dim=1), strict=True):
            level[-1].weight.mul_(1.5 / found.std())
            level[-1].bias.fill_(-4.0)
        outputs = model(torch.from_numpy(item[None]))[0].numpy()
    assert 200 < (outputs[0, 4:].max(0) > USUAL.score).sum() < 8000
    assert_as_ultralytics(outputs, USUAL)
    assert_as_ultralytics(outputs, EVALUATION)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "detector", "classes"),
    [
        ("YolosImageProcessor", DETR, 92),
        ("DetrImageProcessor", DETR, 92),
        ("ConditionalDetrImageProcessor", RT_DETR, 91),
        ("RTDetrImageProcessor", RT_DETR, 80),
    ],
)
@pytest.mark.parametrize("score", [0.001, 0.25])
def test_it_is_transformers_own(processor, detector, classes, score):
    transformers = pytest.importorskip("transformers")
    import torch

    outputs = detr_outputs(1, classes=classes)
    sizes = [(480, 640), (1080, 810)]
    theirs = getattr(transformers, processor)().post_process_object_detection(
        SimpleNamespace(**{name: torch.from_numpy(values) for name, values in outputs.items()}),
        threshold=score,
        target_sizes=sizes,
    )
    task = ObjectDetection(detector)
    found = task.detections(outputs, INPUT, Thresholds(score=score, most=100))
    how = Preprocessing(resize=(640, 640), fit="squash")
    for ours, expected, size in zip(found, theirs, sizes, strict=True):
        boxes = expected["boxes"].numpy().clip(0, np.array([size[1], size[0]] * 2))
        there = (boxes[:, 2:] > boxes[:, :2]).all(1)
        assert_same(
            task.placed(ours, size, INPUT, how),
            boxes[there],
            expected["scores"].numpy()[there],
            expected["labels"].numpy()[there],
        )


def test_yolov5_multiplies_by_its_objectness() -> None:
    row = [[320, 320, 64, 32, 0.5, 0.8, 0.1], [100, 100, 20, 20, 0.2, 0.9, 0.9]]
    task = ObjectDetection(YOLO.model_copy(update={"axes": "rows", "objectness": True}))
    (found,) = task.detections({"output0": np.array([row], np.float32)}, INPUT, USUAL)
    assert found.boxes.tolist() == [[288, 304, 352, 336]]
    assert (found.scores.tolist(), found.classes.tolist()) == (pytest.approx([0.4]), [0])


def test_what_the_graph_has_suppressed_is_taken_as_it_is() -> None:
    rows = [[0.1, 0.1, 0.5, 0.5, 0.6, 7], [0.1, 0.1, 0.5, 0.5, 0.9, 7], [0, 0, 0, 0, 0, 0]]
    one = Detector(boxes="o", scores="o", classes="o", box_format="xyxy", activation="none", ordered=False)
    (found,) = ObjectDetection(one).detections({"o": np.array([rows], np.float32)}, (3, 100, 200), USUAL)
    assert found.boxes[0].tolist() == pytest.approx([20, 10, 100, 50])
    assert (found.scores.tolist(), found.classes.tolist()) == (pytest.approx([0.9, 0.6]), [7, 7])
    apart = Detector(
        boxes="b", scores="s", classes="c", box_format="xyxy", box_unit="pixels", activation="none"
    )
    outputs = {
        "b": np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]], np.float32),
        "s": np.array([[0.3, 0.1]], np.float32),
        "c": np.array([[2, 5]], np.int64),
    }
    (found,) = ObjectDetection(apart).detections(outputs, INPUT, USUAL)
    assert (found.boxes.tolist(), found.classes.tolist()) == ([[1, 2, 3, 4]], [2])


def test_the_class_that_means_nothing_is_never_found() -> None:
    scores = np.array([[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]], np.float32)
    outputs = {"b": np.full((1, 2, 4), 0.5, np.float32), "s": scores}
    for no_object, classes in (("first", [1, 1]), ("last", [0, 1]), (None, [0, 1, 1, 2])):
        detector = Detector(boxes="b", scores="s", activation="none", no_object=no_object)
        (found,) = ObjectDetection(detector).detections(outputs, INPUT, Thresholds(score=0.15))
        assert sorted(found.classes.tolist()) == classes


def test_a_box_of_several_classes_only_where_it_is_asked_for() -> None:
    outputs = {"output0": np.array([[[50, 50, 20, 20, 0.9, 0.8, 0.1]]], np.float32).transpose(0, 2, 1)}
    task = ObjectDetection(YOLO)
    (found,) = task.detections(outputs, INPUT, USUAL)
    assert found.classes.tolist() == [0]
    (found,) = task.detections(outputs, INPUT, USUAL.model_copy(update={"several_classes": True}))
    assert found.classes.tolist() == [0, 1]


def test_broken_numbers_are_no_detections() -> None:
    outputs = yolo_outputs(1)
    outputs[0, 0, :200] = np.nan
    outputs[0, 3, 200:400] = np.inf
    outputs[0, 10, 400:600] = np.nan
    (found,) = ObjectDetection(YOLO).detections({"output0": outputs}, INPUT, USUAL)
    assert np.isfinite(found.boxes).all() and np.isfinite(found.scores).all() and len(found) > 5


@pytest.mark.parametrize(
    ("how", "box", "expected"),
    [
        # 200 × 100 on 64 × 64: 64 × 32, sixteen rows of border above.
        ({"resize": (64, 64), "fit": "longest", "crop": (64, 64)}, (0, 16, 32, 32), (0, 0, 100, 50)),
        ({"resize": (64, 64), "fit": "squash"}, (0, 16, 32, 32), (0, 25, 100, 50)),
        # The shorter edge to 50, so 100 × 50, and the middle 40 × 40 of it begins at 30, 5.
        ({"resize": (50, 50), "crop": (40, 40)}, (0, 0, 20, 20), (60, 10, 100, 50)),
        ({}, (1, 2, 3, 4), (1, 2, 3, 4)),
    ],
)
def test_boxes_go_back_to_the_picture(how, box, expected):
    found = Detections(np.array([box], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    placed = ObjectDetection(YOLO).placed(found, (100, 200), (3, 64, 64), Preprocessing(**how))
    assert placed.boxes[0].tolist() == pytest.approx(expected)


def test_what_lies_on_the_border_is_no_part_of_the_picture() -> None:
    boxes = np.array([[0, 0, 64, 10], [-5, 10, 70, 60], [10, 20, 20, 30]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.arange(3))
    how = Preprocessing(resize=(64, 64), fit="longest", crop=(64, 64))
    placed = ObjectDetection(YOLO).placed(found, (100, 200), (3, 64, 64), how)
    assert placed.classes.tolist() == [1, 2]
    assert placed.boxes[0].tolist() == [0, 0, 200, 100]


@pytest.mark.parametrize(
    "detector",
    [YOLO, YOLO.model_copy(update={"boxes": "other"}), YOLO.model_copy(update={"classes": "other"})],
)
def test_outputs_of_another_shape_are_refused(detector):
    with pytest.raises(ValueError, match=r"there is no output 'other'; there are output0|do not hold four"):
        ObjectDetection(detector).parts({"output0": np.zeros((1, 3, 20), np.float32)})


def test_parts_are_what_the_model_says() -> None:
    outputs = yolo_outputs(1, classes=3)
    parts = ObjectDetection(YOLO).parts({"output0": outputs})
    assert {name: part.shape for name, part in parts.items()} == {
        "boxes": (1, 800, 4),
        "scores": (1, 800, 3),
    }
    rows = YOLO.model_copy(update={"axes": "rows", "objectness": True, "classes": "output0"})
    parts = ObjectDetection(rows).parts({"output0": np.ones((2, 5, 7))})
    assert {name: part.shape[-1] for name, part in parts.items()} == {
        "boxes": 4,
        "objectness": 1,
        "classes": 1,
        "scores": 1,
    }
    assert parts["classes"].dtype == np.int64 and parts["scores"].dtype == np.float32


CHOSEN = ObjectDetection(RT_DETR)


def shuffled(parts: dict[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """Each item's candidates in another order, with the noise of another runtime."""
    rng = np.random.default_rng(seed)
    order = np.stack([rng.permutation(part) for part in np.tile(np.arange(100), (2, 1))])
    return {
        name: np.take_along_axis(part, order[..., None], axis=1) * (1 + rng.uniform(-1e-5, 1e-5, part.shape))
        for name, part in parts.items()
    }


def reference() -> dict[str, np.ndarray]:
    """Of weights that have learnt something: 5 of 100 candidates are found, and the others score next to nothing."""
    parts = CHOSEN.parts(detr_outputs(5, classes=80))
    scores = parts["scores"] / 4 - 6
    scores[:, np.arange(0, 100, 20), np.arange(5)] = 2
    return {"boxes": parts["boxes"], "scores": scores}


def with_others(parts: dict[str, np.ndarray], which: np.ndarray) -> dict[str, np.ndarray]:
    """Other candidates in the place of `which` of the first item, as sure of themselves."""
    changed = {name: part.copy() for name, part in parts.items()}
    changed["boxes"][0, which] = detr_outputs(6, classes=80)["pred_boxes"][0, : len(which)]
    changed["scores"][0, which] = changed["scores"][0, which, ::-1]
    return changed


def by_score(parts: dict[str, np.ndarray]) -> np.ndarray:
    return np.argsort(-parts["scores"][0].max(1))


def test_another_order_of_candidates_is_no_difference() -> None:
    parts = reference()
    found = compare(parts, shuffled(parts), CHOSEN)
    assert found.max_rel < 1e-4 and found.agreement == 1.0
    ordered = ObjectDetection(RT_DETR.model_copy(update={"ordered": True}))
    assert compare(parts, shuffled(parts), ordered).max_rel > 0.1


def test_another_candidate_at_the_edge_is_no_error_and_three_are() -> None:
    parts = reference()
    last = by_score(parts)[::-1]
    assert compare(parts, shuffled(with_others(parts, last[:2])), CHOSEN).max_rel < 1e-4
    assert compare(parts, shuffled(with_others(parts, last[:3])), CHOSEN).max_rel > 0.1


def test_of_random_weights_any_candidate_may_be_at_the_edge() -> None:
    parts = CHOSEN.parts(detr_outputs(5, classes=80))
    assert compare(parts, shuffled(with_others(parts, by_score(parts)[:2])), CHOSEN).max_rel < 1e-4
    assert compare(parts, shuffled(with_others(parts, by_score(parts)[:3])), CHOSEN).max_rel > 0.1


def test_what_is_found_must_be_there() -> None:
    parts = reference()
    assert compare(parts, shuffled(with_others(parts, by_score(parts)[:1])), CHOSEN).max_rel > 0.1
    # Nor may the runtime be sure of what the reference is not.
    invented = {name: part.copy() for name, part in parts.items()}
    invented["scores"][0, by_score(parts)[-1], 0] = 9.0
    assert compare(parts, shuffled(invented), CHOSEN).max_rel > 0.1


def test_what_is_off_everywhere_is_not_matched_away() -> None:
    parts = reference()
    shifted = {"boxes": parts["boxes"] + 0.01, "scores": parts["scores"]}
    assert compare(parts, shuffled(shifted), CHOSEN).max_rel == pytest.approx(0.01, rel=0.2)
    halved = {"boxes": parts["boxes"], "scores": parts["scores"] / 2}
    assert compare(parts, shuffled(halved), CHOSEN).max_rel > 0.1


def test_rows_that_fill_up_an_output_spare_nobody() -> None:
    # 3 of 100 rows are detections: of so few none may be another one.
    one = Detector(
        boxes="o",
        scores="o",
        classes="o",
        box_format="xyxy",
        box_unit="pixels",
        activation="none",
        ordered=False,
    )
    rows = np.zeros((1, 100, 6), np.float32)
    rows[0, :3] = [[10, 10, 50, 50, 0.9, 1], [60, 10, 90, 50, 0.8, 2], [10, 60, 50, 90, 0.3, 3]]
    task = ObjectDetection(one)
    lost = rows.copy()
    lost[0, 2] = 0
    parts = task.parts({"o": rows})
    assert compare(parts, task.parts({"o": rows[:, ::-1]}), task).max_rel == 0
    assert compare(parts, task.parts({"o": lost}), task).max_rel > 0.1


def test_agreement_is_the_share_of_boxes_that_are_found_again() -> None:
    task = ObjectDetection(YOLO)
    parts = task.parts({"output0": yolo_outputs(2)})
    assert task.agreement(parts, {name: part * 0.9999 for name, part in parts.items()}) == 1.0
    # Boxes that overlap by nearly the threshold may be suppressed or not.
    moved = task.agreement(parts, {"boxes": parts["boxes"] + 1, "scores": parts["scores"] * 0.97})
    assert moved is not None and moved > 0.97
    low = task.parts({"output0": np.array([[[50, 50, 20, 20, 0.26]]]).transpose(0, 2, 1)})
    assert task.agreement(low, {**low, "scores": low["scores"] - 0.02}) == 1.0
    assert task.agreement(low, {**low, "scores": low["scores"] - 0.2}) == 0.0
    other = {"boxes": parts["boxes"], "scores": np.roll(parts["scores"], 1, axis=-1)}
    assert task.agreement(parts, other) < 0.1
    found = len(task.detections({"output0": yolo_outputs(2)}, INPUT, USUAL)[0])
    fewer = {name: part.copy() for name, part in parts.items()}
    sure = int(fewer["scores"].max(-1).argmax())
    fewer["scores"][0, np.abs(fewer["boxes"] - fewer["boxes"][:, [sure]]).max(-1)[0] < 60] = 0
    share = task.agreement(parts, fewer)
    assert share is not None and 0.5 < share <= (found - 1) / found


def test_where_nothing_is_found_the_best_candidates_decide() -> None:
    task = ObjectDetection(YOLO)
    parts = task.parts({"output0": yolo_outputs(2)})
    faint = {"boxes": parts["boxes"], "scores": parts["scores"] / 100}
    assert task.agreement(faint, {**faint, "scores": faint["scores"] * 1.01}) == 1.0
    assert task.agreement(faint, {**faint, "boxes": faint["boxes"] + 400}) == 0.0
    assert task.agreement(faint, {**faint, "scores": np.roll(faint["scores"], 1, axis=-1)}) == 0.0
    dead = {**faint, "scores": np.full_like(faint["scores"], 1e-4)}
    assert task.agreement(dead, {**dead, "scores": dead["scores"] + 1e-9}) is None
    none = {**faint, "scores": np.zeros_like(faint["scores"])}
    assert task.agreement(none, none) is None


def test_nobody_reads_outputs_that_nobody_described() -> None:
    with pytest.raises(ValueError, match="not known"):
        open_task("object_detection").parts({"output0": np.zeros((1, 84, 10))})
