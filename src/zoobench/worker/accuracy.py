"""The accuracy pass: every picture of a pack through a session of its own, counted, and held against the fp32 reference.

It comes last in a worker's life, because pictures and outputs would spoil the memory figure.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from zoobench.data.labels import ClassMap, class_map
from zoobench.data.loader import Batch, batches
from zoobench.data.pack import Pack
from zoobench.errors import UsageError
from zoobench.spec import Artifact, Case
from zoobench.tasks import open_task
from zoobench.terms import Precision
from zoobench.worker.kept import Kept, Writer, is_whole, key_of, writing

if TYPE_CHECKING:
    from zoobench.backends import Session
    from zoobench.tasks import PictureTask

BATCH = 8
"""Large enough to keep the runtime busy, small enough to be in any model's memory."""
_NAMED = 20
_PROGRESS_S = 2.0

Open = Callable[[Artifact, Case], "Session"]


def assess(
    case: Case,
    artifact: Artifact,
    *,
    pack: Path,
    outputs: Path,
    reference: Artifact | None,
    origin: tuple[Case, Artifact] | None = None,
    open_session: Open,
    progress: Callable[[str], None],
    workers: int,
) -> dict[str, Any]:
    """Run the pack through `artifact` and count.

    Args:
        case: what was measured; backend, options and threads are its.
        artifact: what was measured.
        pack: folder of the pictures.
        outputs: folder in which the outputs of reference passes are kept; a missing one is made first.
        reference: the fp32 artifact of the same runtime; None: the case is the reference.
        origin: fp32 of another runtime, whose kept outputs the reference itself is held against where there are any.
        open_session: loads an artifact for a case.
        progress: told how far it is, every few seconds.
        workers: threads that decode.

    Raises:
        UsageError: the model's outputs are no classes, or nothing could be decoded.
    """
    pictures = Pack.open(pack)
    batch = artifact.fixed_batch or BATCH
    mine = case.model_copy(update={"batch": batch})
    one_pass = _Pass(pictures, open_session, progress, workers)
    if reference is None and case.precision is not Precision.FP32:
        # There is no fp32 file to hold it against, and it is none itself.
        return one_pass.run(mine, artifact, "accuracy")
    if reference is None:
        key, other = key_of(mine, artifact, pictures), _of_origin(origin, pictures, outputs)
        with writing(outputs, key, artifact.sha256) as keep:
            return one_pass.run(mine, artifact, "accuracy", keep=keep, against=other)
    plain = mine.model_copy(update={"precision": Precision.FP32})
    key = key_of(plain, reference, pictures)
    if not is_whole(outputs / key):
        with writing(outputs, key, reference.sha256) as keep:
            one_pass.run(plain, reference, "accuracy of the fp32 reference", keep=keep)
    with suppress(OSError):
        os.utime(outputs / key)
    return one_pass.run(mine, artifact, "accuracy", against=Kept(outputs / key))


def _of_origin(origin: tuple[Case, Artifact] | None, pictures: Pack, outputs: Path) -> Kept | None:
    """This process has one runtime only, so another one's outputs are there or they are not."""
    if origin is None:
        return None
    folder = outputs / key_of(*origin, pictures)
    return Kept(folder) if is_whole(folder) else None


class Counts(Protocol):
    """What a pass makes of outputs, batch by batch."""

    @property
    def images(self) -> int:
        """So many were judged."""

    def add(self, batch: Batch, outputs: dict[str, np.ndarray]) -> None:
        """Outputs by name, one row a picture of the batch."""

    def as_dict(self) -> dict[str, Any]:
        """JSON, for `zoobench.measure.accuracy`."""


class _Pass:
    """Passes over one pack."""

    def __init__(
        self, pictures: Pack, open_session: Open, progress: Callable[[str], None], workers: int
    ) -> None:
        self.pictures, self.open_session = pictures, open_session
        self.progress, self.workers = progress, workers

    def run(
        self,
        case: Case,
        artifact: Artifact,
        what: str,
        *,
        keep: Writer | None = None,
        against: Kept | None = None,
    ) -> dict[str, Any]:
        """All pictures through one session."""
        how = artifact.preprocessing
        if how is None:
            raise UsageError(f"{case.model}: how it wants its pictures is not known; state it in a registry")
        task = cast("PictureTask", open_task(artifact.task, artifact.detector))
        bad: list[tuple[str, str]] = []
        counts = _open_counts(case, artifact, self.pictures, keep, against)
        session = self.open_session(artifact, case)
        begin = told = time.perf_counter()
        try:
            for batch in batches(
                self.pictures,
                lambda picture: task.item(picture, how),
                case.batch,
                workers=self.workers,
                on_bad=lambda index, reason: bad.append((self.pictures.entry(index).id, reason)),
            ):
                counts.add(batch, _outputs(session, artifact, batch.tensors, case.batch))
                if time.perf_counter() - told > _PROGRESS_S:
                    told = time.perf_counter()
                    self.progress(f"{what}, {counts.images} of {len(self.pictures)} pictures")
        finally:
            session.close()
        seconds = time.perf_counter() - begin
        if not counts.images:
            raise UsageError(
                f"none of the {len(self.pictures)} pictures can be decoded; the first: {bad[0][0]} ({bad[0][1]})"
            )
        found = counts.as_dict()
        if against:
            against.finish()
        return {
            **found,
            "undecodable": len(bad),
            "undecodable_ids": [f"{name} ({reason})" for name, reason in bad[:_NAMED]],
            "seconds": seconds,
            "batch": case.batch,
            "preprocessing": how.model_dump(mode="json"),
        }


def _open_counts(
    case: Case, artifact: Artifact, pictures: Pack, keep: Writer | None, against: Kept | None
) -> Counts:
    if artifact.detector is None:
        return _Classes(artifact, pictures, keep, against)
    # Only a detector's pass needs what counts boxes.
    from zoobench.worker.detections import Boxes

    # Two runtimes' fp32 lose nothing against each other that a drop would be decided about.
    return Boxes(artifact, pictures, keep, against, decide=case.precision is not Precision.FP32)


def _outputs(session: Session, artifact: Artifact, tensors: np.ndarray, batch: int) -> dict[str, np.ndarray]:
    """By name; a short last batch is filled up, because a graph may be bound to its size."""
    n = len(tensors)
    if n < batch:
        tensors = np.concatenate([tensors, np.repeat(tensors[-1:], batch - n, axis=0)])
    found = session.bind({artifact.input_name: tensors})()
    return {name: np.asarray(value)[:n] for name, value in found.items()}


def _rows(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """Logits, float32, (n, classes)."""
    found = next(iter(outputs.values()))
    if max(found.shape[1:], default=1) != math.prod(found.shape[1:]):
        raise UsageError(
            f"its first output has the shape {' × '.join(map(str, found.shape))}: not one number a class; accuracy is for classifiers"
        )
    rows = found.reshape(len(found), -1).astype(np.float32, copy=False)
    if rows.shape[1] < 2:
        raise UsageError(f"its output has {rows.shape[1]} value a picture: no classes to choose from")
    return rows


class _Classes:
    """What a classifier gets right; memory does not grow with the pictures."""

    def __init__(self, artifact: Artifact, pictures: Pack, keep: Writer | None, against: Kept | None) -> None:
        self.artifact, self.pictures = artifact, pictures
        self.keep, self.against = keep, against
        self.map: ClassMap | None = None
        self.not_finite = 0
        self.unclaimed: str | None = None
        self.images = self.right = self.right5 = self.masked = self.outputs = 0
        self.agree = self.lost = self.won = 0
        self.cosine_min, self.cosine_sum = 1.0, 0.0

    def add(self, batch: Batch, outputs: dict[str, np.ndarray]) -> None:
        """One batch."""
        rows = _rows(outputs)
        if self.map is None:
            self._know(rows.shape[1])
        self._count(batch.indices, rows)
        if self.keep:
            self.keep.add(batch.indices, rows)

    def _know(self, outputs: int) -> None:
        """What the outputs stand for, once their number is known."""
        self.outputs = outputs
        try:
            self.map = class_map(self.pictures.classes, outputs, self.artifact.labels)
        except UsageError as error:
            self.unclaimed = str(error)
            # Counted all the same, and never shown.
            self.map = ClassMap((0,) * len(self.pictures.classes), subset=False)

    def _count(self, indices: np.ndarray, rows: np.ndarray) -> None:
        assert self.map is not None
        self.images += len(rows)
        finite = np.isfinite(rows).all(axis=1)
        self.not_finite += int((~finite).sum())
        # What is not finite has no first class, and must not be right by chance.
        first = np.where(finite, rows.argmax(axis=1), -1)
        truth = self.map.of(np.array([self.pictures.entry(int(i)).label for i in indices]))
        right = first == truth
        self.right += int(right.sum())
        if rows.shape[1] > 5:
            # A picture whose own class is not among the five largest is wrong, however ties fall.
            five = np.argpartition(rows, -5, axis=1)[:, -5:]
            self.right5 += int(((five == truth[:, None]).any(axis=1) & finite).sum())
        if self.map.subset:
            allowed = np.asarray(self.map.occurring)
            self.masked += int(((allowed[rows[:, allowed].argmax(axis=1)] == truth) & finite).sum())
        if self.against:
            self._compare(indices, rows, first, truth, right)

    def _compare(
        self, indices: np.ndarray, rows: np.ndarray, first: np.ndarray, truth: np.ndarray, right: np.ndarray
    ) -> None:
        assert self.against is not None
        theirs = self.against.next(indices)
        their_first = np.where(np.isfinite(theirs).all(axis=1), theirs.argmax(axis=1), -2)
        was_right = their_first == truth
        self.agree += int(((first == their_first) & (first >= 0)).sum())
        self.lost += int((was_right & ~right).sum())
        self.won += int((right & ~was_right).sum())
        a, b = rows.astype(np.float64), theirs.astype(np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines = np.clip((a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny), -1.0, 1.0)
        # What is not finite is not alike.
        cosines = np.where(np.isfinite(cosines), cosines, -1.0)
        self.cosine_min = min(self.cosine_min, float(cosines.min()))
        self.cosine_sum += float(cosines.sum())

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        assert self.map is not None
        found: dict[str, Any] = {
            "images": self.images,
            "outputs": self.outputs,
            "classes": len(set(self.map.occurring)),
            "right": self.right,
            "right5": self.right5 if self.outputs > 5 else None,
            "masked": self.masked if self.map.subset else None,
            "unclaimed": self.unclaimed,
            "assumed": self.map.assumed,
            "not_finite": self.not_finite,
            "fidelity": None,
        }
        if self.against:
            found["fidelity"] = {
                "reference_sha256": self.against.sha256,
                "agree": self.agree,
                "lost": self.lost,
                "won": self.won,
                "cosine_min": self.cosine_min,
                "cosine_mean": self.cosine_sum / self.images,
            }
        return found
