"""Boxes: from a detector's numbers to corners, which of them overlap, and which are kept. Pure, vectorised, numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoobench.spec import Frozen

if TYPE_CHECKING:
    from typing import Literal

_APART = np.float32(7680)
"""Pixels by which each class is moved away from the one before, so that boxes of two classes never overlap."""
_MOST_SUPPRESSED = 30_000
"""Of the best boxes of an item; the others are not looked at, which is ultralytics' number too."""
_CHUNK = 256
"""Boxes that are compared with each other at once: few enough for their overlaps to stay in the CPU's cache."""


class Thresholds(Frozen):
    """Which boxes are kept."""

    score: float = 0.25
    iou: float = 0.7
    most: int = 300
    several_classes: bool = False
    """Whether a box that is to be suppressed may stand for every class above `score`, or only for its best one."""


USUAL = Thresholds()
"""What an application keeps: ultralytics' defaults."""
EVALUATION = Thresholds(score=0.001, most=100, several_classes=True)
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

    def __len__(self) -> int:
        return len(self.scores)

    def taken(self, which: np.ndarray) -> Detections:
        """Those that `which` indexes, in its order."""
        return Detections(self.boxes[which], self.scores[which], self.classes[which])

    @property
    def finite(self) -> np.ndarray:
        """bool, (n,): neither a coordinate nor the score is NaN or infinite."""
        whole: np.ndarray = np.isfinite(self.boxes).all(axis=1) & np.isfinite(self.scores)
        return whole

    def at_least(self, score: float) -> Detections:
        """Those that are finite and have that score or more, in the same order."""
        kept = self.finite & (self.scores >= score)
        return self.taken(kept)


def corners(boxes: np.ndarray, box_format: Literal["cxcywh", "xyxy", "xywh"]) -> np.ndarray:
    """(…, 4) in `box_format` as left, top, right, bottom."""
    if box_format == "xyxy":
        return boxes
    place, size = boxes[..., :2], boxes[..., 2:]
    if box_format == "xywh":
        return np.concatenate([place, place + size], axis=-1)
    return np.concatenate([place - size / 2, place + size / 2], axis=-1)


def overlaps(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of every two boxes: (n, 4) and (m, 4) as corners → (n, m); of two empty ones NaN."""
    left, top, right, bottom = (some[:, i, None] for i in range(4))
    width = np.minimum(right, others[:, 2]) - np.maximum(left, others[:, 0])
    height = np.minimum(bottom, others[:, 3]) - np.maximum(top, others[:, 1])
    shared = np.maximum(width, 0, out=width) * np.maximum(height, 0, out=height)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (some, others)]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: np.ndarray = shared / (areas[0][:, None] + areas[1] - shared)
    return shares


def suppressed(found: Detections, thresholds: Thresholds) -> Detections:
    """Greedy non-maximum suppression, class by class: from the best on, whatever overlaps a kept one more than `iou` goes.

    It is ultralytics' and torchvision's arithmetic: classes are set apart by 7680 pixels in float32, whose rounding decides
    about pairs that lie at the threshold. Boxes come in chunks, the best first, and it ends once there are `most`: nothing
    that comes later could change them.
    """
    order = np.argsort(-found.scores, kind="stable")[:_MOST_SUPPRESSED]
    boxes = found.boxes + found.classes[:, None].astype(np.float32) * _APART
    kept = order[:0]
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        chunk = chunk[~(overlaps(boxes[chunk], boxes[kept]) > thresholds.iou).any(axis=1)]
        chunk = chunk[_first_of_each(overlaps(boxes[chunk], boxes[chunk]) > thresholds.iou)]
        kept = np.concatenate([kept, chunk])[: thresholds.most]
        if len(kept) == thresholds.most:
            break
    return found.taken(kept)


def _first_of_each(alike: np.ndarray) -> np.ndarray:
    """Which rows stay when each one that stays removes the later ones that are `alike` it; (n, n) → (n,), bool."""
    stays = np.ones(len(alike), dtype=bool)
    later = np.triu(alike, 1)
    for row in np.flatnonzero(later.any(axis=1)):
        if stays[row]:
            stays &= ~later[row]
    return stays


def best(found: Detections, most: int) -> Detections:
    """The `most` of the highest scores, the best first."""
    return found.taken(np.argsort(-found.scores, kind="stable")[:most])


def matches(
    wanted: Detections, found: Detections, iou: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of `wanted` have one of `found` for themselves: of the same class, overlapping by `iou` or more.

    As in COCO's metric each takes, the best first, the one that overlaps it most of those that are left.

    Returns:
        indices into `wanted` and into `found`, and how far each pair overlaps.
    """
    shares = overlaps(wanted.boxes.astype(np.float64), found.boxes.astype(np.float64))
    # A box without an area overlaps itself alone.
    same = (wanted.boxes[:, None] == found.boxes).all(axis=2)
    shares = np.where(np.isnan(shares), same.astype(np.float64), shares)
    shares[wanted.classes[:, None] != found.classes] = -1.0
    pairs: list[tuple[int, int, float]] = []
    for row in np.argsort(-wanted.scores, kind="stable") if len(found) else ():
        nearest = int(shares[row].argmax())
        if shares[row, nearest] >= iou:
            pairs.append((int(row), nearest, float(shares[row, nearest])))
            shares[:, nearest] = -1.0
    table = np.array(pairs, dtype=np.float64).reshape(-1, 3)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]
