"""A drop of mAP is decided by its interval, and counts of boxes become shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.show.records import make_accuracy, make_record

from zoobench.measure.accuracy import accuracy_warnings
from zoobench.measure.detection import box_agreement, box_drop
from zoobench.outcome import Accuracy, BoxDrop, Fidelity, MeanAP
from zoobench.results.query import row_of
from zoobench.tasks.box_agreement import agreed
from zoobench.tasks.boxes import Detections
from zoobench.terms import DropDecision


def drop(value: float, low: float, high: float, max_drop: float = 0.01) -> BoxDrop:
    raw: dict[str, Any] = {
        "value": value, "interval": [low, high], "pictures": 400, "resamples": 1000, "seed": 0,
    }  # fmt: skip
    return box_drop(raw, max_drop)


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (-0.002, 0.009, DropDecision.PASS),
        (-0.002, 0.01, DropDecision.INCONCLUSIVE),
        (0.01, 0.03, DropDecision.INCONCLUSIVE),
        (0.011, 0.03, DropDecision.FAIL),
        (-0.02, -0.01, DropDecision.PASS),
    ],
)
def test_the_whole_interval_decides(low, high, decision):
    assert drop((low + high) / 2, low, high).decision is decision


def test_pictures_that_would_decide_go_by_the_width():
    # From 0.012 beyond the value to the 0.006 that are left: a half, so four times the pictures; above the margin likewise.
    assert drop(0.004, -0.001, 0.016).images_needed == 1600
    assert drop(0.016, 0.004, 0.018).images_needed == 1600
    assert drop(0.004, -0.006, 0.01).images_needed == 401
    assert drop(0.004, -0.006, 0.009).images_needed is None
    assert drop(0.01, 0.0, 0.02).images_needed is None
    assert drop(0.01 + 1e-9, 0.0, 0.02).images_needed is None


def test_another_margin_needs_nothing_but_what_is_stored():
    before = drop(0.004, -0.006, 0.016)
    after = box_drop(before.model_dump(), 0.02)
    assert (after.decision, after.max_drop, after.images_needed) == (DropDecision.PASS, 0.02, None)
    assert box_drop(after.model_dump(mode="json"), 0.01) == before


def test_shares_of_both_sides():
    box = np.array([[0, 0, 10, 10]], dtype=np.float32)
    one = Detections(box, np.array([0.9]), np.array([0]))
    two = Detections(
        np.concatenate([box, box + 50, box + 90]), np.array([0.8, 0.7, 0.6]), np.zeros(3, dtype=int)
    )
    found = box_agreement(agreed([one], [two]).as_dict())
    assert found.found and (found.found.k, found.found.n) == (1, 1)
    assert found.extra and (found.extra.k, found.extra.n) == (2, 3)
    assert (found.reference_boxes, found.boxes, found.iou_min) == (1, 3, 1.0)
    none = Detections(box[:0], np.zeros(0), np.zeros(0, dtype=int))
    assert box_agreement(agreed([none], [two]).as_dict()).found is None
    assert box_agreement(agreed([one], [none]).as_dict()).extra is None


def test_a_detectors_accuracy_is_stored_without_classes_and_cosines():
    box = Detections(np.array([[0, 0, 10, 10]], dtype=np.float32), np.array([0.9]), np.array([0]))
    figures = MeanAP(
        map=0.5, map50=0.7, map75=0.5, small=None, medium=0.5, large=None, interval=(0.4, 0.6), by_class={"cat": 0.5},
        pictures=400, objects=9, categories=1, boxes=12, evaluator="pycocotools 2", resamples=1000, seed=0,
    )  # fmt: skip
    fidelity = Fidelity(
        reference_sha256="b" * 64,
        boxes=box_agreement(agreed([box], [box]).as_dict()),
        box_drop=drop(0.001, 0, 0.002),
    )
    accuracy = make_accuracy(None).model_copy(
        update={"boxes": figures, "fidelity": fidelity, "unclaimed": None}
    )
    assert Accuracy.model_validate_json(accuracy.model_dump_json()) == accuracy
    assert list(accuracy_warnings(accuracy, None)) == []
    row = row_of(make_record(accuracy=accuracy))
    assert (row.agreement, row.cosine_min, row.drop) == (None, None, 0.001)
