"""What a detection dataset says of one picture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Truth:
    """The objects on a picture, one entry of each tuple an object; empty where there is none.

    Attributes:
        width, height: of the picture that the boxes lie on, pixels.
        classes: indices into the dataset's classes.
        boxes: left, top, width, height in pixels, as COCO writes them.
        areas: pixels; of the object's outline where the dataset knows it, else of the box.
        crowds: whether the box holds a crowd that nobody counted (`iscrowd`): what is found there is neither right nor wrong.
    """

    width: int
    height: int
    classes: tuple[int, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    areas: tuple[float, ...] = ()
    crowds: tuple[bool, ...] = ()
