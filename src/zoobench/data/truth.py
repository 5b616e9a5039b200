"""What a detection dataset says of its pictures: as it was written, and as a picture can be judged by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

_ROUNDING = 1.0
"""Pixels by which a box may reach beyond its picture: annotators round, some up."""


@dataclass(frozen=True)
class Truth:
    """The objects on a picture, one entry of each tuple an object; empty where there is none.

    Attributes:
        width, height: of the picture that the boxes lie on, pixels; 0 where neither the dataset nor the picture tells.
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

    def as_dict(self) -> dict[str, Any]:
        """JSON; `of` reads it."""
        return dict(vars(self))

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_dict` wrote.

        Raises:
            TypeError, KeyError, ValueError: it is something else.
        """
        left_top_width_height = (tuple(map(float, box)) for box in stored["boxes"])
        return cls(
            int(stored["width"]),
            int(stored["height"]),
            tuple(map(int, stored["classes"])),
            tuple((x, y, w, h) for x, y, w, h in left_top_width_height),
            tuple(map(float, stored["areas"])),
            tuple(map(bool, stored["crowds"])),
        )

    def misfit(self, height: int, width: int) -> str | None:
        """Why a decoded picture of this size is not the one that the boxes lie on; None: it is."""
        if (height, width) == (self.height, self.width) or not (self.height and self.width):
            return None
        turned = ", turned by a quarter" if (width, height) == (self.height, self.width) else ""
        return f"its boxes lie on a picture of {self.width} × {self.height} pixels{turned}, and it has {width} × {height}"


@dataclass(frozen=True)
class Flaws:
    """How many boxes were not as they should be.

    Attributes:
        cut: they reached beyond their picture by more than a pixel.
        outside: they lay wholly outside, and were left out.
        empty: they had no width or height, or were no numbers, and were left out.
    """

    cut: int = 0
    outside: int = 0
    empty: int = 0

    def __add__(self, other: Flaws) -> Flaws:
        return Flaws(self.cut + other.cut, self.outside + other.outside, self.empty + other.empty)

    def notes(self) -> tuple[str, ...]:
        """One line for each kind there is."""
        said = {
            "boxes that reached beyond their picture, cut off at its edge": self.cut,
            "boxes that lay outside their picture, left out": self.outside,
            "boxes without width or height, left out": self.empty,
        }
        return tuple(f"{what}: {count}" for what, count in said.items() if count)


@dataclass(frozen=True)
class Objects:
    """The objects on consecutive pictures of a block, one picture's after the other's, unchecked.

    Attributes:
        counts: int64, one a picture: how many of the objects are its.
        sizes: int64, (pictures, 2), width and height as the dataset states them; 0 where it does not.
        classes: int64, one an object, indices into the dataset's classes.
        boxes: float64, (objects, 4): left, top, width, height in pixels.
        areas: float64, pixels; NaN where they are not stated.
        crowds: bool.
    """

    counts: np.ndarray
    sizes: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowds: np.ndarray

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.counts)

    def size(self, row: int) -> tuple[int, int] | None:
        """Width and height of a picture where the dataset states them."""
        width, height = self.sizes[row].tolist()
        return (width, height) if width > 0 and height > 0 else None

    def truth(self, row: int, size: tuple[int, int] | None) -> tuple[Truth, Flaws]:
        """What the picture at `row` is judged by, and what had to be mended for that.

        A box that reaches beyond the picture by more than a pixel is cut off at its edge. One that lies outside, is no
        number, or has no width or height is left out; pycocotools would count the latter as an object that nobody can
        find, and so lower every model's recall. An area that is not stated, or not positive, is the box's.

        Args:
            row: of the block.
            size: width and height of the picture; None: not known, and no box is held against it.
        """
        end = int(self._ends[row])
        its = slice(end - int(self.counts[row]), end)
        found: list[tuple[int, tuple[float, float, float, float], float, bool]] = []
        cut = outside = empty = 0
        for label, box, area, crowd in zip(
            self.classes[its].tolist(),
            self.boxes[its].tolist(),
            self.areas[its].tolist(),
            self.crowds[its].tolist(),
            strict=True,
        ):
            if not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
                empty += 1
                continue
            within = _within(box, size) if size else tuple(box)
            if within is None:
                outside += 1
                continue
            covered = within[2] * within[3]
            if list(within) != box:
                cut += 1
                area = min(area, covered)
            found.append((label, within, area if 0 < area < math.inf else covered, crowd))
        width, height = size or (0, 0)
        classes, boxes, areas, crowds = zip(*found, strict=True) if found else ((), (), (), ())
        return Truth(width, height, classes, boxes, areas, crowds), Flaws(cut, outside, empty)


def _within(box: list[float], size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """The part of a box that lies on the picture; None: there is none."""
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    width, height = size
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return None
    if min(left, top) >= -_ROUNDING and right <= width + _ROUNDING and bottom <= height + _ROUNDING:
        return box[0], box[1], box[2], box[3]
    left, top = max(0.0, left), max(0.0, top)
    return left, top, min(right, width) - left, min(bottom, height) - top
