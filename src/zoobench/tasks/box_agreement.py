"""Whether two detectors see the same boxes, whatever is really there. Pure, numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zoobench.tasks.boxes import USUAL, Detections, matches

SAME = 0.5
"""IoU from which on two boxes of a class are one."""


@dataclass(frozen=True)
class Agreed:
    """What a comparison counted, over all pictures.

    Attributes:
        score_threshold, iou_threshold: what counted as a box, and as the same one.
        reference_boxes, boxes: of the reference, and of the candidate.
        found: boxes that both have.
        iou_mean, iou_min, score_difference_max: of those; None: there is none.
    """

    score_threshold: float
    iou_threshold: float
    reference_boxes: int
    boxes: int
    found: int
    iou_mean: float | None
    iou_min: float | None
    score_difference_max: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)


def agreed(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    *,
    score: float = USUAL.score,
    iou: float = SAME,
) -> Agreed:
    """Look for the reference's boxes among the candidate's, one to one.

    Boxes below `score` are left out of both, since an application would not see them: one that moves across the threshold is
    lost, or is extra. So are those that are not finite. The reference's best box comes first, and takes the free box of its
    class that overlaps it most.

    Args:
        reference, candidate: one for each picture, in the same order.

    Raises:
        ValueError: they are not of equally many pictures.
    """
    before, after = ([found.at_least(score) for found in side] for side in (reference, candidate))
    shares: list[np.ndarray] = []
    differences: list[np.ndarray] = []
    for one, other in zip(before, after, strict=True):
        rows, columns, overlap = matches(one, other, iou)
        shares.append(overlap)
        differences.append(np.abs(one.scores[rows].astype(np.float64) - other.scores[columns]))
    overlap, difference = (np.concatenate(each) if each else np.zeros(0) for each in (shares, differences))
    return Agreed(
        score_threshold=score,
        iou_threshold=iou,
        reference_boxes=sum(map(len, before)),
        boxes=sum(map(len, after)),
        found=len(overlap),
        iou_mean=float(overlap.mean()) if len(overlap) else None,
        iou_min=float(overlap.min()) if len(overlap) else None,
        score_difference_max=float(difference.max()) if len(overlap) else None,
    )
