"""Outputs against a reference's, part by part."""

from __future__ import annotations

import numpy as np
import pytest

from zoobench.tasks import open_task
from zoobench.tasks.comparison import are_comparable, compare, shapes

RNG = np.random.Generator(np.random.PCG64(1))
BOXES = RNG.uniform(0, 640, (4, 10, 4)).astype(np.float32)
SCORES = RNG.uniform(0, 1e-3, (4, 10, 3)).astype(np.float32)


class Parts:
    """A task that compares what it is given."""

    def aligned(self, reference, outputs):
        return outputs

    def agreement(self, reference, outputs):
        return None


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
