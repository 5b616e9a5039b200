"""Two detectors agree when each has the other's boxes, one to one."""

from __future__ import annotations

import numpy as np
import pytest

from zoobench.tasks.box_agreement import agreed
from zoobench.tasks.boxes import Detections

A, B = (0.0, 0.0, 100.0, 100.0), (300.0, 0.0, 400.0, 100.0)
NEAR = (0.0, 0.0, 100.0, 80.0)
"""IoU with A: 0.8."""
HALF = (0.0, 0.0, 100.0, 50.0)
LESS = (0.0, 0.0, 100.0, 49.0)


def seen(*boxes: tuple[int, tuple[float, float, float, float], float]) -> Detections:
    return Detections(
        np.array([box for _, box, _ in boxes], dtype=np.float32).reshape(-1, 4),
        np.array([score for *_, score in boxes], dtype=np.float32),
        np.array([one for one, *_ in boxes], dtype=np.int64),
    )


def counts(reference: Detections, candidate: Detections) -> tuple[int, int, int]:
    found = agreed([reference], [candidate])
    return found.reference_boxes, found.boxes, found.found


def test_the_same_boxes_agree_in_any_order():
    found = agreed([seen((0, A, 0.9), (1, B, 0.5)), seen()], [seen((1, B, 0.5), (0, A, 0.9)), seen()])
    assert (found.reference_boxes, found.boxes, found.found) == (2, 2, 2)
    assert (found.iou_mean, found.iou_min, found.score_difference_max) == (1.0, 1.0, 0.0)


def test_figures_of_what_both_have():
    found = agreed([seen((0, A, 0.9)), seen((1, B, 0.5))], [seen((0, NEAR, 0.6)), seen((1, B, 0.55))])
    assert found.as_dict() == pytest.approx(
        {
            "score_threshold": 0.25, "iou_threshold": 0.5, "reference_boxes": 2, "boxes": 2, "found": 2,
            "iou_mean": 0.9, "iou_min": 0.8, "score_difference_max": 0.3,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "candidate", "found"),
    [
        (seen((0, A, 0.9)), seen((0, HALF, 0.9)), (1, 1, 1)),
        (seen((0, A, 0.9)), seen((0, LESS, 0.9)), (1, 1, 0)),
        (seen((0, A, 0.9)), seen((1, A, 0.9)), (1, 1, 0)),
        (seen((0, A, 0.9)), seen(), (1, 0, 0)),
        (seen(), seen((0, A, 0.9)), (0, 1, 0)),
        (seen((0, A, 0.9)), seen((0, A, 0.9), (0, NEAR, 0.8)), (1, 2, 1)),
        (seen((0, A, 0.9), (0, NEAR, 0.8)), seen((0, A, 0.9)), (2, 1, 1)),
        (seen((0, A, 0.24), (0, B, 0.25)), seen((0, A, 0.9), (0, B, 0.9)), (1, 2, 1)),
        (seen((0, A, 0.9)), seen((0, A, 0.2)), (1, 0, 0)),
    ],
    ids=[
        "at the threshold", "below it", "another class", "none found", "none there", "one twice", "one of two",
        "weak in the reference", "weak in the candidate",
    ],
)  # fmt: skip
def test_one_to_one_of_a_class_and_where_they_overlap(reference, candidate, found):
    assert counts(reference, candidate) == found


def test_the_best_box_chooses_first_and_takes_the_nearest():
    reference = seen((0, NEAR, 0.6), (0, A, 0.9))
    candidate = seen((0, HALF, 0.7), (0, A, 0.8))
    found = agreed([reference], [candidate])
    assert (found.found, found.iou_min) == (2, pytest.approx(50 / 80))
    # The better box takes the only one that is there, though it suits the other one better.
    only = agreed([reference], [seen((0, NEAR, 0.9))])
    assert (only.found, only.iou_min, only.score_difference_max) == (
        1,
        pytest.approx(0.8),
        pytest.approx(0.0),
    )


def test_boxes_are_looked_for_on_their_own_picture():
    assert agreed([seen((0, A, 0.9)), seen()], [seen(), seen((0, A, 0.9))]).found == 0
    with pytest.raises(ValueError, match="zip"):
        agreed([seen()], [seen(), seen()])


def test_nothing_at_all_has_no_figures():
    found = agreed([seen()], [seen()])
    assert (found.reference_boxes, found.boxes, found.iou_mean, found.iou_min) == (0, 0, None, None)
    assert found.score_difference_max is None


def test_what_is_not_finite_is_no_box_and_what_has_no_area_is_like_itself():
    nan = float("nan")
    assert counts(seen((0, A, 0.9), (0, (nan, 0.0, 1.0, 1.0), 0.9)), seen((0, A, 0.9), (0, B, nan))) == (
        1,
        1,
        1,
    )
    point = seen((0, (5.0, 5.0, 5.0, 9.0), 0.9))
    assert counts(point, point) == (1, 1, 1)
    assert counts(point, seen((0, (5.0, 5.0, 5.0, 8.0), 0.9))) == (1, 1, 0)
