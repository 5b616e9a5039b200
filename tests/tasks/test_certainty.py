"""How sure a task is of what it looks for."""

from __future__ import annotations

import numpy as np
import pytest

from zoobench.spec import Detector
from zoobench.tasks import open_task

SCORES = np.array([[[0.2, -1.0, 3.0], [-800.0, 0.0, 800.0]]], dtype=np.float32)


@pytest.mark.parametrize(
    ("activation", "sure"),
    [
        ("none", [[3.0, 800.0]]),
        ("sigmoid", [[1 / (1 + np.exp(-3.0)), 1.0]]),
        # The last class means that there is nothing.
        ("softmax", [[np.exp(0.2) / np.exp(SCORES[0, 0]).sum(), 0.0]]),
    ],
)
def test_a_detector_is_as_sure_as_its_best_class(activation: str, sure: list[list[float]]) -> None:
    task = open_task("object_detection", Detector(boxes="b", scores="s", activation=activation))
    found = task.certainty({"boxes": np.zeros((1, 2, 4)), "scores": SCORES})
    np.testing.assert_allclose(found, sure, rtol=1e-6)


@pytest.mark.parametrize("name", ["image_classification", "text_generation"])
def test_who_looks_for_nothing_is_sure_of_nothing(name: str) -> None:
    assert open_task(name).certainty({"outputs": SCORES[0]}) is None
