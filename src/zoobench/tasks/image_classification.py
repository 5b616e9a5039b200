"""Image classification: one image in, one row of logits out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobench.tasks import CHECK_ITEMS, top1_where_decided
from zoobench.tasks.pictures import check_pictures, prepared

if TYPE_CHECKING:
    from PIL import Image

    from zoobench.spec import Preprocessing
    from zoobench.tasks import Outputs, Parts


class ImageClassification:
    """Inputs are (batch, channels, height, width), float32, normalised; outputs are logits (batch, classes)."""

    def check_inputs(self, input_shape: tuple[int, ...], items: int = CHECK_ITEMS) -> np.ndarray:
        """See `zoobench.tasks.pictures.check_pictures`."""
        return check_pictures(input_shape, items)

    def item(self, picture: Image.Image, how: Preprocessing) -> np.ndarray:
        """See `zoobench.tasks.pictures.prepared`."""
        return prepared(picture, how)

    def parts(self, outputs: Outputs) -> Parts:
        """The first output, (items, values)."""
        first = np.asarray(next(iter(outputs.values())))
        return {"outputs": first.reshape(len(first), -1).astype(np.float32, copy=False)}

    def aligned(self, reference: Parts, outputs: Parts) -> Parts:
        """As they are."""
        return outputs

    def agreement(self, reference: Parts, outputs: Parts) -> float | None:
        """Share of pictures of the same class, see `top1_where_decided`."""
        return top1_where_decided(reference["outputs"], outputs["outputs"])

    def certainty(self, parts: Parts) -> np.ndarray | None:
        """None: nothing is looked for, see `Task.certainty`."""
        return None
