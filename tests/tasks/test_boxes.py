"""Which boxes overlap, and which are kept."""

from __future__ import annotations

import numpy as np
import pytest

from zoobench.tasks.boxes import USUAL, Detections, best, corners, matches, overlaps, suppressed


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """Rows of left, top, right, bottom, score, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_every_format_becomes_the_same_corners() -> None:
    expected = [[10, 20, 40, 60]]
    for box_format, box in (
        ("xyxy", (10, 20, 40, 60)),
        ("xywh", (10, 20, 30, 40)),
        ("cxcywh", (25, 40, 30, 40)),
    ):
        assert corners(np.array([box], np.float32), box_format).tolist() == expected


def test_overlap_is_intersection_over_union() -> None:
    one = np.array([[0, 0, 10, 10]], np.float32)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [10, 0, 20, 10]], np.float32)
    assert overlaps(one, others)[0].tolist() == pytest.approx([1.0, 50 / 150, 0.0, 0.0])
    assert overlaps(one[:0], others).shape == (0, 4)


def test_the_best_of_a_class_stays_and_what_it_covers_goes() -> None:
    found = detections(
        (0, 0, 100, 100, 0.8, 3),
        (5, 0, 105, 100, 0.9, 3),
        (5, 0, 105, 100, 0.7, 4),
        (300, 0, 400, 100, 0.6, 3),
    )
    kept = suppressed(found, USUAL)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert kept.classes.tolist() == [3, 4, 3]


def test_a_box_that_is_gone_suppresses_nothing() -> None:
    # The second is covered by the first and covers the third, which the first does not.
    row = [(0, 0, 100, 100, 0.9, 0), (14, 0, 114, 100, 0.8, 0), (28, 0, 128, 100, 0.7, 0)]
    assert suppressed(detections(*row), USUAL).scores.tolist() == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize("together", [1, 2, 256])
def test_an_empty_box_does_no_harm(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoobench.tasks.boxes._CHUNK", together)
    found = detections((5, 5, 5, 5, 0.9, 0), (5, 5, 5, 5, 0.8, 0), (0, 0, 9, 9, 0.7, 0))
    assert len(suppressed(found, USUAL)) == 3
    assert len(suppressed(detections(), USUAL)) == 0


@pytest.mark.parametrize("most", [1, 7, 300])
def test_thousands_are_suppressed_as_one_by_one(most: int) -> None:
    rng = np.random.default_rng(3)
    count = 3000
    place, size = rng.uniform(0, 300, (count, 2)), rng.uniform(20, 120, (count, 2))
    boxes = np.concatenate([place, place + size], axis=1).astype(np.float32)
    found = Detections(boxes, rng.random(count, np.float32), rng.integers(0, 3, count))
    thresholds = USUAL.model_copy(update={"most": most, "iou": 0.5})
    expected: list[int] = []
    for index in np.argsort(-found.scores):
        rivals = [i for i in expected if found.classes[i] == found.classes[index]]
        if not (overlaps(boxes[[index]], boxes[rivals]) > 0.5).any():
            expected.append(int(index))
    kept = suppressed(found, thresholds)
    assert kept.scores.tolist() == found.scores[expected[:most]].tolist()
    assert np.array_equal(kept.boxes, boxes[expected[:most]])


def test_the_best_come_first() -> None:
    found = detections((0, 0, 1, 1, 0.2, 0), (0, 0, 1, 1, 0.9, 1), (0, 0, 1, 1, 0.5, 2))
    assert best(found, 2).classes.tolist() == [1, 2]


def test_each_is_found_once_by_class_and_place() -> None:
    wanted = detections((0, 0, 10, 10, 0.9, 1), (1, 0, 11, 10, 0.8, 1), (50, 50, 60, 60, 0.7, 2))
    assert len(matches(wanted, wanted)[0]) == 3
    assert len(matches(wanted, wanted.taken(np.array([0, 2])))[0]) == 2
    assert len(matches(wanted, Detections(wanted.boxes, wanted.scores, wanted.classes + 1))[0]) == 0
    assert len(matches(wanted, Detections(wanted.boxes + 5, wanted.scores, wanted.classes))[0]) == 0
    assert len(matches(wanted, detections())[0]) == 0


def test_only_so_many_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoobench.tasks.boxes._MOST_SUPPRESSED", 2)
    found = detections(
        (0, 0, 9, 9, 0.7, 0), (0, 0, 9, 9, 0.9, 0), (0, 0, 9, 9, 0.8, 0), (50, 50, 60, 60, 0.6, 0)
    )
    assert suppressed(found, USUAL).scores.tolist() == pytest.approx([0.9])
