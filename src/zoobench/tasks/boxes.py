"""Boxes: from a detector's numbers to corners, which of them overlap, and which are kept. Pure, vectorised, numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoobench.spec import Frozen

if TYPE_CHECKING:
    import numpy as np


class Thresholds(Frozen):
    """Which boxes are kept."""

    score: float = 0.25
    iou: float = 0.7
    most: int = 300


USUAL = Thresholds()
"""What an application keeps: ultralytics' defaults."""
EVALUATION = Thresholds(score=0.001, most=100)
"""What COCO's metric is computed of: nearly everything, a hundred boxes a picture."""


@dataclass(frozen=True)
class Detections:
    """What was found on one picture, the best first.

    Attributes:
        boxes: float32, (n, 4): left, top, right, bottom.
        scores: float32, (n,), from 0 to 1.
        classes: int64, (n,), indices of the model's classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
