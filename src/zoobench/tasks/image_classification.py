"""Image classification: one image in, one row of logits out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobench.tasks import CHECK_ITEMS
from zoobench.tasks.first_output import FirstOutput
from zoobench.tasks.pictures import check_pictures, prepared

if TYPE_CHECKING:
    from PIL import Image

    from zoobench.spec import Preprocessing


class ImageClassification(FirstOutput):
    """Inputs are (batch, channels, height, width), float32, normalised; outputs are logits (batch, classes)."""

    def check_inputs(self, input_shape: tuple[int, ...], items: int = CHECK_ITEMS) -> np.ndarray:
        """See `zoobench.tasks.pictures.check_pictures`."""
        return check_pictures(input_shape, items)

    def item(self, picture: Image.Image, how: Preprocessing) -> np.ndarray:
        """See `zoobench.tasks.pictures.prepared`."""
        return prepared(picture, how)
