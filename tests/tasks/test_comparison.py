"""Outputs against a reference's, part by part."""

from __future__ import annotations

import numpy as np
import pytest

from zoobench.tasks import open_task
from zoobench.tasks.comparison import are_comparable, compare, finds_nothing, shapes

RNG = np.random.Generator(np.random.PCG64(1))
BOXES = RNG.uniform(0, 640, (4, 10, 4)).astype(np.float32)
SCORES = RNG.uniform(0, 1e-3, (4, 10, 3)).astype(np.float32)


class Parts:
    """A task that compares what it is given."""

    def aligned(self, reference, outputs):
        return outputs

    def agreement(self, reference, outputs):
        return None

    def certainty(self, parts):
        return parts["scores"].max(-1)


def test_each_part_has_a_scale_of_its_own() -> None:
    # Beside boxes of hundreds of pixels, scores that are all wrong would not be seen.
    reference = {"boxes": BOXES, "scores": SCORES}
    found = compare(reference, {"boxes": BOXES, "scores": SCORES * 2}, Parts())
    assert found.max_rel == pytest.approx(1.0)
    assert found.max_abs == pytest.approx(float(SCORES.max()))
    assert compare(reference, {"boxes": BOXES * 1.01, "scores": SCORES}, Parts()).max_rel == pytest.approx(
        0.01, rel=1e-3
    )
    assert compare(reference, {"boxes": BOXES, "scores": -SCORES}, Parts()).cosine == pytest.approx(-1.0)


def test_what_is_not_finite_is_counted_in_every_part() -> None:
    broken = SCORES.copy()
    broken[0, 0] = (np.nan, np.inf, 0)
    found = compare({"boxes": BOXES, "scores": SCORES}, {"boxes": BOXES, "scores": broken}, Parts())
    assert found.broken == 2
    assert np.isfinite([found.max_abs, found.max_rel, found.cosine]).all()


def test_parts_and_shapes_must_be_the_same() -> None:
    reference = {"boxes": BOXES, "scores": SCORES}
    assert are_comparable(reference, {"scores": SCORES, "boxes": BOXES})
    assert not are_comparable(reference, {"boxes": BOXES})
    assert not are_comparable(reference, {"boxes": BOXES, "scores": SCORES[:, :9]})
    assert shapes(reference) == "(4, 10, 4) and (4, 10, 3)"


def test_a_classifier_is_compared_by_its_first_output() -> None:
    task = open_task("image_classification")
    logits = RNG.normal(size=(8, 5)).astype(np.float32)
    parts = task.parts({"logits": logits[:, :, None, None], "features": SCORES})
    assert parts.keys() == {"outputs"}
    assert compare(parts, parts, task).agreement == 1.0


SURE = RNG.uniform(0, 0.3, (4, 50)).astype(np.float32)
SURE[2, 7] = 0.8


@pytest.mark.parametrize(
    ("sure", "nothing"),
    [
        (SURE, False),
        (SURE / 3, False),
        (SURE * 0.2, True),
        (SURE * 0.009, True),
        (np.zeros_like(SURE), True),
        (np.full_like(SURE, 0.5), True),
        (np.full(3, 0.5), False),
        (np.zeros((4, 0)), True),
    ],
    ids=["same", "less_sure", "below_the_threshold", "a_hundredth", "zero", "even", "three_alike", "empty"],
)
def test_a_detector_that_sees_nothing_any_more(sure: np.ndarray, nothing: bool) -> None:
    assert finds_nothing(SURE, sure) is nothing


def test_where_the_reference_sees_nothing_nothing_is_lost() -> None:
    assert not finds_nothing(np.zeros((4, 50)), np.zeros((4, 50)))
    assert not finds_nothing(np.zeros((4, 0)), np.full((4, 50), 0.5))
    # A box that was hardly one may cease to be one.
    assert not finds_nothing(SURE * 0.35, SURE * 0.25)
    # Random weights are not sure of anything, and their int8 need not be sure of it either.
    assert not finds_nothing(SURE * 0.1, SURE * 0.01)
    assert not finds_nothing(np.full((4, 50), 0.5), np.full((4, 50), 0.4))


def test_a_comparison_tells_how_sure_both_are() -> None:
    reference = {"boxes": BOXES, "scores": SCORES}
    found = compare(reference, {"boxes": BOXES, "scores": 0 * SCORES}, Parts())
    assert (found.surest, found.finds_nothing) == (0.0, True)
    assert found.reference_surest == pytest.approx(float(SCORES.max()))
    task = open_task("image_classification")
    logits = task.parts({"logits": SCORES[:, 0]})
    classified = compare(logits, {"outputs": 0 * logits["outputs"]}, task)
    assert (classified.surest, classified.finds_nothing) == (None, False)
