"""What a detector finds on the pictures of a pack: COCO's mAP, and how far its boxes are those of the fp32 reference."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from zoobench.data.labels import ClassMap, class_map, coco_names
from zoobench.errors import UsageError
from zoobench.tasks.box_agreement import agreed
from zoobench.tasks.boxes import EVALUATION, Detections
from zoobench.tasks.comparison import finds_nothing
from zoobench.tasks.object_detection import ObjectDetection
from zoobench.worker.mean_ap import evaluate, paired, summarised

if TYPE_CHECKING:
    from zoobench.data.loader import Batch
    from zoobench.data.pack import Pack
    from zoobench.data.truth import Truth
    from zoobench.spec import Artifact
    from zoobench.worker.kept import Kept, Writer

_WIDTH = 6
"""Numbers of a box as it is kept: left, top, right, bottom, score, and the model's class."""


class Boxes:
    """Gathers every box of a pass, up to a hundred a picture, and judges them together at the end.

    A picture's boxes are some kilobytes, so that ten thousand pictures fit where a single model does.
    """

    def __init__(
        self, artifact: Artifact, pictures: Pack, keep: Writer | None, against: Kept | None, *, decide: bool
    ) -> None:
        assert artifact.preprocessing is not None
        self.artifact, self.pictures = artifact, pictures
        self.keep, self.against, self.decide = keep, against, decide
        self.how = artifact.preprocessing
        self.task = ObjectDetection(artifact.detector)
        self.found: dict[int, Detections] = {}
        self.classes = self.not_finite = 0

    @property
    def images(self) -> int:
        """So many were judged."""
        return len(self.found)

    def add(self, batch: Batch, outputs: dict[str, np.ndarray]) -> None:
        """One batch."""
        if not self.classes:
            self.classes = self._count_classes(outputs)
        finite = np.ones(len(batch.indices), bool)
        for name in self.task.detector.outputs:
            finite &= np.isfinite(outputs[name]).reshape(len(finite), -1).all(axis=1)
        self.not_finite += int((~finite).sum())
        shape = self.artifact.input_shape
        for index, size, one in zip(
            batch.indices, batch.sizes, self.task.detections(outputs, shape, EVALUATION), strict=True
        ):
            placed = self.task.placed(one, (int(size[0]), int(size[1])), shape, self.how)
            self.found[int(index)] = placed
            if self.keep:
                self.keep.add(np.full(len(placed.scores), index), _as_rows(placed))

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        seen = sorted(self.found)
        # `driver/accuracies.py` lets no detector see pictures without boxes.
        truths = [cast("Truth", self.pictures.truth(index)) for index in seen]
        names = self.pictures.classes
        meaning, unclaimed = self._meaning()
        mine = [self.found[index] for index in seen]
        raw: dict[str, Any] = {
            "images": len(seen),
            "outputs": self.classes,
            "classes": len({one for truth in truths for one in truth.classes}),
            "boxes": None,
            "unclaimed": unclaimed,
            "assumed": meaning.assumed if meaning else None,
            "not_finite": self.not_finite,
            "fidelity": None,
        }
        theirs = self._kept(seen)
        judged = None
        if meaning is not None:
            judged = evaluate(truths, _in_classes(mine, meaning, self.classes), names)
            raw["boxes"] = summarised(judged).model_dump(mode="json")
        if theirs is not None:
            assert self.against is not None
            drop = None
            if self.decide and meaning is not None and judged is not None:
                drop = paired(evaluate(truths, _in_classes(theirs, meaning, self.classes), names), judged)
            raw["fidelity"] = {
                "reference_sha256": self.against.sha256,
                "boxes": {**agreed(theirs, mine).as_dict(), **_sure(theirs, mine)},
                "box_drop": dataclasses.asdict(drop) if drop else None,
            }
        return raw

    def _count_classes(self, outputs: dict[str, np.ndarray]) -> int:
        """Of the model: scores tell how many, and where there are only indices its labels."""
        detector = self.task.detector
        if detector.classes is None:
            return int(self.task.parts(outputs)["scores"].shape[-1]) - (detector.nothing == "last")
        labels = self.artifact.labels
        if labels is None:
            # The largest that was seen is not known before the end.
            raise UsageError(
                f"{self.artifact.model} tells each box's class by its number and not what the numbers mean; state its labels in a "
                "registry (labels = [ … ])"
            )
        return len(coco_names(labels) if isinstance(labels, str) else labels)

    def _meaning(self) -> tuple[ClassMap | None, str | None]:
        """What the dataset's classes are among the model's, or why nobody knows."""
        try:
            return class_map(self.pictures.classes, self.classes, self.artifact.labels), None
        except UsageError as error:
            return None, str(error)

    def _kept(self, seen: list[int]) -> list[Detections] | None:
        if self.against is None:
            return None
        indices, rows = self.against.all()
        begins = np.searchsorted(indices, seen, side="left")
        ends = np.searchsorted(indices, seen, side="right")
        return [_from_rows(rows[begin:end]) for begin, end in zip(begins, ends, strict=True)]


def _sure(theirs: list[Detections], mine: list[Detections]) -> dict[str, Any]:
    """How sure the surest finds are, and whether that is still anything."""
    before, after = (
        np.concatenate([np.zeros(0, np.float32), *(one.scores for one in side)]) for side in (theirs, mine)
    )
    return {
        "surest": float(after.max(initial=0.0)),
        "reference_surest": float(before.max(initial=0.0)),
        "finds_nothing": finds_nothing(before, after),
    }


def _as_rows(found: Detections) -> np.ndarray:
    """Float32, (n, 6)."""
    rest = np.stack([found.scores, found.classes.astype(np.float32)], axis=1)
    return np.concatenate([found.boxes, rest], axis=1).astype(np.float32).reshape(-1, _WIDTH)


def _from_rows(rows: np.ndarray) -> Detections:
    return Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


def _in_classes(found: list[Detections], meaning: ClassMap, classes: int) -> list[Detections]:
    """In the dataset's classes; boxes of a class that it has not are neither right nor wrong, and left out."""
    place = np.full(classes, -1, np.int64)
    place[list(meaning.outputs)] = np.arange(len(meaning.outputs))
    moved = []
    for one in found:
        there = (one.classes >= 0) & (one.classes < classes)
        index = np.where(there, place[np.where(there, one.classes, 0)], -1)
        known = index >= 0
        moved.append(Detections(one.boxes[known], one.scores[known], index[known]))
    return moved
