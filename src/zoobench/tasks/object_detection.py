"""Object detection: one picture in, boxes with a class and a score out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobench.spec import Detector
from zoobench.tasks import CHECK_ITEMS
from zoobench.tasks.boxes import Detections, Thresholds
from zoobench.tasks.pictures import check_pictures, prepared

if TYPE_CHECKING:
    from PIL import Image

    from zoobench.spec import Preprocessing
    from zoobench.tasks import Outputs, Parts

_MIDDLE, _CONTRAST = 0.5, 0.25


class ObjectDetection:
    """Inputs are (batch, channels, height, width), float32; what the outputs hold is the detector's own, see `Detector`."""

    def __init__(self, detector: Detector | None = None) -> None:
        self.detector = detector

    def check_inputs(self, input_shape: tuple[int, ...], items: int = CHECK_ITEMS) -> np.ndarray:
        """`check_pictures` as grey levels from 0 to 1, which is what YOLO takes and within what the others do."""
        pictures = _MIDDLE + _CONTRAST * check_pictures(input_shape, items)
        return pictures.clip(0.0, 1.0).astype(np.float32)

    def item(self, picture: Image.Image, how: Preprocessing) -> np.ndarray:
        """See `zoobench.tasks.pictures.prepared`."""
        return prepared(picture, how)

    def detections(
        self, outputs: Outputs, input_shape: tuple[int, ...], thresholds: Thresholds
    ) -> list[Detections]:
        """What each item's outputs mean, in pixels of the input; one for each item of the batch."""
        raise NotImplementedError

    def placed(
        self, found: Detections, size: tuple[int, int], input_shape: tuple[int, ...], how: Preprocessing
    ) -> Detections:
        """The same in pixels of the picture, cut off at its edges.

        Args:
            size: the picture's height and width, before `how` changed it.
        """
        raise NotImplementedError

    def parts(self, outputs: Outputs) -> Parts:
        """`boxes` (items, candidates, 4), `scores` (items, candidates, classes), as the model says them."""
        raise NotImplementedError

    def aligned(self, reference: Parts, outputs: Parts) -> Parts:
        """Candidates matched with the reference's where the graph itself chooses and orders them."""
        raise NotImplementedError

    def agreement(self, reference: Parts, outputs: Parts) -> float | None:
        """Share of the reference's boxes that are found again."""
        raise NotImplementedError
