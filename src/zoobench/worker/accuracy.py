"""The accuracy pass: every picture of a pack through a session of its own, counted, and held against the fp32 reference.

It comes last in a worker's life, because pictures and outputs would spoil the memory figure.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from zoobench.backends import BACKENDS
from zoobench.data.labels import ClassMap, class_map
from zoobench.data.loader import batches
from zoobench.data.pack import Pack
from zoobench.errors import PrepareError, UsageError
from zoobench.machine.cpus import cpu_flags
from zoobench.spec import CALL_OPTIONS, Artifact, Case, Precision, Preprocessing, stable_hash
from zoobench.tasks import open_task

if TYPE_CHECKING:
    from zoobench.backends import Session
    from zoobench.tasks import PictureTask

BATCH = 8
"""Large enough to keep the runtime busy, small enough to be in any model's memory."""
_NAMED = 20
_ROWS, _INDEX = "rows.f32", "index.json"
_VERSION = 1
"""Counts up when the same picture is decoded or prepared into other pixels."""
_PROGRESS_S = 2.0

Open = Callable[[Artifact, Case], "Session"]


def assess(
    case: Case,
    artifact: Artifact,
    *,
    pack: Path,
    outputs: Path,
    reference: Artifact | None,
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
        key = _key(mine, artifact, pictures)
        with _writing(outputs, key, artifact.sha256) as keep:
            return one_pass.run(mine, artifact, "accuracy", keep=keep)
    plain = mine.model_copy(update={"precision": Precision.FP32})
    key = _key(plain, reference, pictures)
    if not is_whole(outputs / key):
        with _writing(outputs, key, reference.sha256) as keep:
            one_pass.run(plain, reference, "accuracy of the fp32 reference", keep=keep)
    with suppress(OSError):
        os.utime(outputs / key)
    return one_pass.run(mine, artifact, "accuracy", against=_Kept(outputs / key))


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
        keep: _Writer | None = None,
        against: _Kept | None = None,
    ) -> dict[str, Any]:
        """All pictures through one session."""
        how = artifact.preprocessing
        if how is None:
            raise UsageError(f"{case.model}: how it wants its pictures is not known; state it in a registry")
        task = cast("PictureTask", open_task(artifact.task))
        bad: list[tuple[str, str]] = []
        counts = _Counts(against)
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
                rows = _outputs(session, artifact, batch.tensors, case.batch)
                if counts.map is None:
                    counts.know(rows.shape[1], self.pictures, artifact)
                counts.add(batch.indices, rows, self.pictures)
                if keep:
                    keep.add(batch.indices, rows)
                if time.perf_counter() - told > _PROGRESS_S:
                    told = time.perf_counter()
                    self.progress(f"{what}, {counts.images} of {len(self.pictures)} pictures")
        finally:
            session.close()
        seconds = time.perf_counter() - begin
        if against:
            against.finish()
        if not counts.images:
            raise UsageError(
                f"none of the {len(self.pictures)} pictures can be decoded; the first: {bad[0][0]} ({bad[0][1]})"
            )
        return {
            **counts.as_dict(),
            "undecodable": len(bad),
            "undecodable_ids": [f"{name} ({reason})" for name, reason in bad[:_NAMED]],
            "seconds": seconds,
            "batch": case.batch,
            "preprocessing": how.model_dump(mode="json"),
        }


def _outputs(session: Session, artifact: Artifact, tensors: np.ndarray, batch: int) -> np.ndarray:
    """Logits, float32, (n, classes); a short last batch is filled up, because a graph may be bound to its size."""
    n = len(tensors)
    if n < batch:
        tensors = np.concatenate([tensors, np.repeat(tensors[-1:], batch - n, axis=0)])
    found = np.asarray(next(iter(session.bind({artifact.input_name: tensors})().values())))
    if max(found.shape[1:], default=1) != math.prod(found.shape[1:]):
        raise UsageError(
            f"its first output has the shape {' × '.join(map(str, found.shape))}: not one number a class; accuracy is for classifiers"
        )
    rows = found.reshape(len(found), -1)[:n].astype(np.float32, copy=False)
    if rows.shape[1] < 2:
        raise UsageError(f"its output has {rows.shape[1]} value a picture: no classes to choose from")
    return rows


class _Counts:
    """What a pass counts; memory does not grow with the pictures."""

    def __init__(self, against: _Kept | None) -> None:
        self.against = against
        self.map: ClassMap | None = None
        self.not_finite = 0
        self.unclaimed: str | None = None
        self.images = self.right = self.right5 = self.masked = self.outputs = 0
        self.agree = self.lost = self.won = 0
        self.cosine_min, self.cosine_sum = 1.0, 0.0

    def know(self, outputs: int, pictures: Pack, artifact: Artifact) -> None:
        """What the outputs stand for, once their number is known."""
        self.outputs = outputs
        try:
            self.map = class_map(pictures.classes, outputs, artifact.labels)
        except UsageError as error:
            self.unclaimed = str(error)
            # Counted all the same, and never shown.
            self.map = ClassMap((0,) * len(pictures.classes), subset=False)

    def add(self, indices: np.ndarray, rows: np.ndarray, pictures: Pack) -> None:
        """One batch: indices into the pack, logits (n, classes)."""
        assert self.map is not None
        self.images += len(rows)
        finite = np.isfinite(rows).all(axis=1)
        self.not_finite += int((~finite).sum())
        # What is not finite has no first class, and must not be right by chance.
        first = np.where(finite, rows.argmax(axis=1), -1)
        truth = self.map.of(np.array([pictures.entry(int(i)).label for i in indices]))
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


def _key(case: Case, artifact: Artifact, pictures: Pack) -> str:
    """What the outputs of a reference pass depend on."""
    versions: dict[str, str | None] = {}
    # Pillow and numpy make the pixels.
    for package in (*BACKENDS[case.backend].packages, "pillow", "numpy"):
        versions[package] = None
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    how = artifact.preprocessing or Preprocessing()
    parts = [
        _VERSION,
        sorted(cpu_flags()),
        artifact.sha256,
        case.backend,
        case.precision.value,
        {name: value for name, value in case.options.items() if name not in CALL_OPTIONS},
        versions,
        how.model_dump(mode="json"),
        pictures.content_sha256,
    ]
    return stable_hash(parts)[:32]


class _Writer:
    """Appends the rows of a pass to a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = (folder / _ROWS).open("wb")
        self.indices: list[int] = []
        self.width = 0
        self.digest = hashlib.sha256()

    def add(self, indices: np.ndarray, rows: np.ndarray) -> None:
        """One batch."""
        self.width = rows.shape[1]
        self.indices += map(int, indices)
        content = np.ascontiguousarray(rows, dtype="<f4").tobytes()
        self.digest.update(content)
        self.rows.write(content)

    def finish(self, sha256: str) -> None:
        """All of it on the disk, and the index last."""
        self.rows.flush()
        os.fsync(self.rows.fileno())
        self.rows.close()
        index = {
            "sha256": sha256,
            "width": self.width,
            "indices": self.indices,
            "rows_sha256": self.digest.hexdigest(),
        }
        with (self.folder / _INDEX).open("w", encoding="utf-8") as file:
            file.write(json.dumps(index))
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _writing(outputs: Path, key: str, sha256: str) -> Iterator[_Writer]:
    """A writer whose file appears under `key` when all of it was written."""
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=outputs))
    except OSError as error:
        raise _unwritable(outputs, error) from error
    try:
        writer = _Writer(folder)
        try:
            yield writer
            writer.finish(sha256)
        finally:
            writer.rows.close()
        if not is_whole(outputs / key):
            shutil.rmtree(outputs / key, ignore_errors=True)
            # Another process may have written the same meanwhile.
            with suppress(FileExistsError):
                folder.rename(outputs / key)
    except OSError as error:
        raise _unwritable(outputs, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unwritable(outputs: Path, error: OSError) -> PrepareError:
    return PrepareError(
        f"{outputs}: the reference's outputs cannot be kept ({error.strerror or error}); make room (zoobench cache prune), or "
        "set ZOOBENCH_CACHE to another disk"
    )


def is_whole(folder: Path) -> bool:
    """Whether a folder holds all the outputs of a pass: one that a crash or a full disk left is none."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        with (folder / _ROWS).open("rb") as rows:
            return hashlib.file_digest(rows, "sha256").hexdigest() == str(index["rows_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


class _Kept:
    """The rows of a reference pass, read in the order in which they were written."""

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        self.sha256: str = index["sha256"]
        self.width: int = index["width"]
        self.indices: list[int] = index["indices"]
        self.file = folder / _ROWS
        self.at = 0

    def next(self, indices: np.ndarray) -> np.ndarray:
        """The rows of these pictures, float32, (n, classes)."""
        n = len(indices)
        if self.indices[self.at : self.at + n] != [int(i) for i in indices]:
            raise UsageError(
                f"the kept outputs in {self.file.parent} are of other pictures; delete that folder"
            )
        rows: np.ndarray = np.fromfile(self.file, "<f4", n * self.width, offset=4 * self.width * self.at)
        self.at += n
        return rows.reshape(n, self.width)

    def finish(self) -> None:
        """Both passes saw the same pictures to the end."""
        if self.at != len(self.indices):
            raise UsageError(
                f"the kept outputs in {self.file.parent} are of more pictures; delete that folder"
            )
