"""Object detection: one picture in, boxes with a class and a score out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobench.spec import Detector
from zoobench.tasks import CHECK_ITEMS
from zoobench.tasks.boxes import (
    USUAL,
    Detections,
    Thresholds,
    best,
    corners,
    matches,
    overlaps,
    suppressed,
)
from zoobench.tasks.pictures import check_pictures, placement, prepared

if TYPE_CHECKING:
    from PIL import Image

    from zoobench.spec import Preprocessing
    from zoobench.tasks import Outputs, Parts

_MIDDLE, _CONTRAST = 0.5, 0.25
_ANY_EDGE = 640
"""Pixels, where only overlaps count, which are the same at every scale."""
_SAME_IOU = 0.5
_BEST = 10
"""Candidates of each item that are looked at where no score is high enough for a detection."""
_STANDS_OUT = 0.01
_SPARE, _LEARNT = 0.02, 0.1
"""Shares of an item's candidates: that a runtime may choose otherwise, and that are found at most where weights have learnt
something; see `ObjectDetection.aligned`."""


class ObjectDetection:
    """Inputs are (batch, channels, height, width), float32; what the outputs hold is the detector's own, see `Detector`."""

    def __init__(self, detector: Detector | None = None) -> None:
        self._stated = detector

    @property
    def detector(self) -> Detector:
        """How the outputs are read.

        Raises:
            ValueError: nobody said.
        """
        if self._stated is None:
            raise ValueError("how this detector's outputs are read is not known")
        return self._stated

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
        """What each item's outputs mean, in pixels of the input; one for each item of the batch.

        Boxes that must be suppressed are, as ultralytics does it. Of others a candidate stands for every class that it
        scores in, as RT-DETR's do, unless one of the classes means that there is nothing: then for its best one, as DETR's.

        Args:
            input_shape: of one item, (channels, height, width).
        """
        parts = self.parts(outputs)
        size = (int(input_shape[-2]), int(input_shape[-1]))
        return [self._found(_item(parts, index), size, thresholds) for index in range(len(parts["boxes"]))]

    def placed(
        self, found: Detections, size: tuple[int, int], input_shape: tuple[int, ...], how: Preprocessing
    ) -> Detections:
        """The same in pixels of the picture, cut off at its edges; what lies beside it is left out.

        Args:
            size: the picture's height and width, before `how` changed it.
        """
        height, width = size
        spot = placement(height, width, how)
        boxes = found.boxes - np.array([spot.left, spot.top] * 2, np.float32)
        boxes = boxes / np.array([spot.width / width, spot.height / height] * 2, np.float32)
        boxes = boxes.clip(0, np.array([width, height] * 2, np.float32))
        there = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        return Detections(boxes, found.scores, found.classes).taken(there)

    def parts(self, outputs: Outputs) -> Parts:
        """`boxes` (items, candidates, 4), `scores` (items, candidates, classes), as the model says them, float32.

        Where the detector has them: `objectness`, float32, and `classes`, int64, the indices; both (items, candidates, 1).

        Raises:
            ValueError: the outputs are not of the shapes that the detector is said to have.
        """
        how = self.detector
        boxes = self._rows(outputs, how.boxes)
        held = boxes[..., 4:] if how.scores == how.boxes else self._rows(outputs, how.scores)
        parts = {"boxes": _floats(boxes[..., :4])}
        if how.objectness:
            parts["objectness"], held = _floats(held[..., :1]), held[..., 1:]
        if how.classes is not None:
            alone = how.classes not in (how.boxes, how.scores)
            indices = self._rows(outputs, how.classes) if alone else held[..., 1:]
            parts["classes"] = np.rint(np.nan_to_num(indices[..., :1])).astype(np.int64)
            held = held[..., :1]
        parts["scores"] = _floats(held)
        shapes = [part.shape for part in parts.values()]
        if len({shape[:2] for shape in shapes}) > 1 or boxes.shape[-1] < 4 or 0 in [s[-1] for s in shapes]:
            told = ", ".join(f"{name} {np.shape(outputs[name])}" for name in how.outputs)
            raise ValueError(
                f"the outputs ({told}) do not hold four numbers of a box and its scores, with axes = {how.axes!r}"
            )
        return parts

    def aligned(self, reference: Parts, outputs: Parts) -> Parts:
        """Candidates in the reference's order, where the graph itself chooses and orders them.

        A graph that keeps its best 300 candidates may order near ties otherwise on another runtime, and take another one for
        the last of them: that is no error. So each item's candidates are matched one to one (the assignment of least total
        distance), and of every hundred that score at all the two farthest off pass for the reference's. What is found at the
        usual threshold, on either side, must be there though, unless so much is found that the scores can mean nothing, as
        with random weights. A runtime that computes something else is off in more.
        """
        if self.detector.ordered:
            return outputs
        moved = {name: np.empty_like(reference[name]) for name in reference}
        for index in range(len(reference["boxes"])):
            ours, theirs = _item(reference, index), _item(outputs, index)
            order = _assignment(ours, theirs)
            theirs = {name: part[order] for name, part in theirs.items()}
            spare = self._spare(ours, theirs)
            for name in reference:
                moved[name][index] = np.where(spare[:, None], ours[name], theirs[name])
        return moved

    def agreement(self, reference: Parts, outputs: Parts) -> float | None:
        """Share of the reference's usual detections that are found again: of the same class, overlapping by half or more.

        They are looked for down to half the usual score, because one at the threshold may honestly fall below it. A reference
        that finds nothing at all is asked for the ten best candidates of each item: of those whose class stands out by a
        hundredth of its score, how many lie where they lay and have the same class. None: no score stands out.
        """
        size = (_ANY_EDGE, _ANY_EDGE)
        lower = USUAL.model_copy(update={"score": USUAL.score / 2, "most": 2 * USUAL.most})
        wanted = again = 0
        for index in range(len(reference["boxes"])):
            ours = self._found(_item(reference, index), size, USUAL)
            theirs = self._found(_item(outputs, index), size, lower)
            wanted, again = wanted + len(ours), again + len(matches(ours, theirs, _SAME_IOU)[0])
        if wanted:
            return again / wanted
        return self._candidates_agree(reference, outputs)

    def certainty(self, parts: Parts) -> np.ndarray:
        """See `Task.certainty`."""
        items = (_item(parts, index) for index in range(len(parts["boxes"])))
        return np.stack([self._probabilities(item).max(axis=1) for item in items])

    def _candidates_agree(self, reference: Parts, outputs: Parts) -> float | None:
        same: list[np.ndarray] = []
        for index in range(len(reference["boxes"])):
            ours, theirs = _item(reference, index), _item(outputs, index)
            scores = [self._probabilities(item) for item in (ours, theirs)]
            chosen = np.argsort(-scores[0].max(axis=1), kind="stable")[:_BEST]
            before, after = (one[chosen] for one in scores)
            boxes = [self._pixels(item["boxes"][chosen], (_ANY_EDGE, _ANY_EDGE)) for item in (ours, theirs)]
            alike = np.diagonal(overlaps(*boxes)) >= _SAME_IOU
            decided = np.ones(len(chosen), dtype=bool)
            if "classes" in ours:
                alike = alike & (ours["classes"] == theirs["classes"])[chosen, 0]
            elif before.shape[1] > 1:
                second, first = np.sort(before, axis=1)[:, -2:].T
                decided = first - second > _STANDS_OUT * first
                alike = alike & (before.argmax(axis=1) == after.argmax(axis=1))
            # Candidates that nothing speaks for, such as the rows that fill up an output, decide nothing.
            same.append(alike[decided & (before.max(axis=1) > 0)])
        told = np.concatenate(same)
        return float(told.mean()) if len(told) else None

    def _rows(self, outputs: Outputs, name: str) -> np.ndarray:
        """An output as (items, candidates, numbers)."""
        if name not in outputs:
            raise ValueError(f"there is no output {name!r}; there are {', '.join(outputs)}")
        values = np.asarray(outputs[name])
        if values.ndim == 2:
            return values[..., None]
        if values.ndim != 3:
            raise ValueError(
                f"output {name!r} is {values.shape}, not (items, candidates, numbers) in some order"
            )
        return values.transpose(0, 2, 1) if self.detector.axes == "columns" else values

    def _found(self, item: Parts, size: tuple[int, int], thresholds: Thresholds) -> Detections:
        """What one item's parts mean, in pixels of an input of this height and width."""
        how = self.detector
        likely = _likely(item, how, thresholds.score)
        item = {name: part[likely] for name, part in item.items()}
        scores = self._probabilities(item)
        several = thresholds.several_classes if how.suppress else how.nothing is None
        if several:
            rows, classes = np.nonzero(scores > thresholds.score)
        else:
            classes = scores.argmax(axis=1)
            rows = np.flatnonzero(scores[np.arange(len(scores)), classes] > thresholds.score)
            classes = classes[rows]
        found = Detections(
            self._pixels(item["boxes"][rows], size),
            scores[rows, classes],
            item["classes"][rows, 0].astype(np.int64) if "classes" in item else classes,
        )
        found = found.taken(np.isfinite(found.boxes).all(axis=1))
        return suppressed(found, thresholds) if how.suppress else best(found, thresholds.most)

    def _probabilities(self, item: Parts) -> np.ndarray:
        """Of each class, float32, (candidates, classes); of the class that means nothing 0."""
        how = self.detector
        scores: np.ndarray = item["scores"].astype(np.float32, copy=False)
        if how.activation == "sigmoid":
            # What overflows is 0, as it should be.
            with np.errstate(over="ignore"):
                scores = 1 / (1 + np.exp(-scores))
        elif how.activation == "softmax":
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = scores / scores.sum(axis=1, keepdims=True)
        if how.objectness:
            scores = scores * item["objectness"].astype(np.float32, copy=False)
        if how.nothing is not None:
            scores = scores.copy()
            scores[:, 0 if how.nothing == "first" else -1] = 0
        return scores

    def _pixels(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        how = self.detector
        placed = corners(boxes.astype(np.float32, copy=False), how.box_format)
        if how.box_unit == "share":
            placed = placed * np.array([size[1], size[0]] * 2, np.float32)
        return placed

    def _spare(self, reference: Parts, outputs: Parts) -> np.ndarray:
        """Which candidates of one item may be others; bool, (candidates,)."""
        before, after = (self._probabilities(item).max(axis=1) for item in (reference, outputs))
        spare = np.zeros(len(before), dtype=bool)
        scored, found = np.count_nonzero(before), np.maximum(before, after) > USUAL.score
        count = int(_SPARE * scored)
        if count:
            off = _distances(reference, outputs)
            if found.sum() <= _LEARNT * scored:
                off[found] = 0
            farthest = np.argsort(-off, kind="stable")[:count]
            spare[farthest[off[farthest] > 0]] = True
        return spare


def _item(parts: Parts, index: int) -> Parts:
    return {name: part[index] for name, part in parts.items()}


def _floats(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32, copy=False)


def _likely(item: Parts, how: Detector, score: float) -> np.ndarray:
    """Indices of the candidates that can reach `score`: of thousands that are left over few need more arithmetic."""
    if how.objectness:
        return np.flatnonzero(item["objectness"][:, 0] > score)
    if how.activation == "none":
        return np.flatnonzero(item["scores"].max(axis=1) > score)
    return np.arange(len(item["scores"]))


def _scales(reference: Parts) -> dict[str, float]:
    return {name: float(np.abs(part).max(initial=0.0)) or 1.0 for name, part in reference.items()}


def _assignment(reference: Parts, outputs: Parts) -> np.ndarray:
    """For each candidate of the reference the one of `outputs` that it is taken for; each is taken once."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    scales = _scales(reference)
    costs = sum(
        cdist(reference[name], outputs[name], "cityblock") / (scale * reference[name].shape[1])
        for name, scale in scales.items()
    )
    order: np.ndarray = linear_sum_assignment(costs)[1]
    return order


def _distances(reference: Parts, outputs: Parts) -> np.ndarray:
    """How far off each candidate is: the largest difference of any part, by that part's scale."""
    found = [
        np.abs(outputs[name] - part).max(axis=1) / scale
        for (name, part), scale in zip(reference.items(), _scales(reference).values(), strict=True)
    ]
    distances: np.ndarray = np.max(found, axis=0).astype(np.float64)
    return distances
