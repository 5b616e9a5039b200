"""How near two files' outputs are: by the class of each item, or by what a detector finds."""

from __future__ import annotations

import numpy as np
import pytest
from tests.prepare.small_nets import DETECTOR

from zoobench.errors import PrepareError
from zoobench.prepare.fidelity import Boxes, Top1
from zoobench.tasks import open_task

RNG = np.random.Generator(np.random.PCG64(4))
LOGITS = RNG.standard_normal((8, 5)).astype(np.float32)
FOUND = np.concatenate(
    [RNG.uniform(100, 640, (4, 4, 30)), RNG.uniform(0, 0.2, (4, 3, 30))], axis=1, dtype=np.float32
)
FOUND[1, 5, 9] = 0.9
DETECTS = Boxes(open_task("object_detection", DETECTOR))


def test_every_item_counts_and_only_the_first_output() -> None:
    other = LOGITS.copy()
    other[0] = -other[0]
    agreement, cosine = Top1().figures({"logits": LOGITS, "more": FOUND}, {"logits": other, "more": FOUND})
    assert agreement == 7 / 8 and cosine == pytest.approx(-1.0)


def test_what_is_not_finite_agrees_with_nothing() -> None:
    broken = LOGITS.copy()
    broken[:2, LOGITS[0].argmax()] = np.nan
    agreement, cosine = Top1().figures({"logits": LOGITS}, {"logits": broken})
    assert agreement == 0.75
    assert cosine == 0.0


def test_scores_are_compared_apart_from_boxes() -> None:
    bent = FOUND.copy()
    bent[:, 4:] = np.roll(bent[:, 4:], 1, axis=2)
    assert DETECTS.figures({"output0": FOUND}, {"output0": FOUND})[1] == pytest.approx(1.0)
    assert DETECTS.figures({"output0": FOUND}, {"output0": bent})[1] < 0.9


def test_a_detector_that_finds_nothing_is_of_no_use() -> None:
    blind = FOUND.copy()
    blind[:, 4:] = 0.0
    with pytest.raises(
        PrepareError, match=r"finds nothing: its surest box has a score of 0, fp32's has 0\.9"
    ):
        DETECTS.figures({"output0": FOUND}, {"output0": blind})
    blind[0, 0, 0] = np.inf
    with pytest.raises(PrepareError, match="1 of its outputs are not finite"):
        DETECTS.figures({"output0": FOUND}, {"output0": blind})
