"""The outputs of reference passes on disk: what other passes over the same pictures are held against.

A folder holds rows of float32 and an index that says which picture each is of. It appears when all of it was written.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from zoobench.backends import BACKENDS
from zoobench.data.pack import Pack
from zoobench.errors import PrepareError, UsageError
from zoobench.machine.cpus import cpu_flags
from zoobench.spec import Artifact, Case, Preprocessing, stable_hash
from zoobench.terms import CALL_OPTIONS

_ROWS, _INDEX = "rows.f32", "index.json"
_VERSION = 1
"""Counts up when the same picture is decoded or prepared into other pixels, or the same outputs become other rows."""


def key_of(case: Case, artifact: Artifact, pictures: Pack) -> str:
    """What the outputs of a reference pass depend on."""
    versions: dict[str, str | None] = {}
    # Pillow and numpy make the pixels.
    for package in (*BACKENDS[case.backend].packages, "pillow", "numpy"):
        versions[package] = None
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    how = artifact.preprocessing or Preprocessing()
    parts: list[Any] = [
        _VERSION,
        sorted(cpu_flags()),
        artifact.sha256,
        case.backend,
        case.precision.value,
        {name: value for name, value in case.options.items() if name not in CALL_OPTIONS},
        versions,
        how.model_dump(mode="json"),
        pictures.content_sha256,
        # Which pictures fit what is said of them decides which were looked at.
        *([artifact.detector.model_dump(mode="json"), pictures.labels_sha256] if artifact.detector else []),
    ]
    return stable_hash(parts)[:32]


class Writer:
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
def writing(outputs: Path, key: str, sha256: str) -> Iterator[Writer]:
    """A writer whose file appears under `key` when all of it was written."""
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=outputs))
    except OSError as error:
        raise _unwritable(outputs, error) from error
    try:
        writer = Writer(folder)
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


class Kept:
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

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """Of every row the picture, int64, (n,), ascending, and the row itself, float32, (n, width)."""
        self.at = len(self.indices)
        rows: np.ndarray = np.fromfile(self.file, "<f4", self.at * self.width).reshape(-1, self.width or 1)
        return np.asarray(self.indices, np.int64), rows

    def finish(self) -> None:
        """Both passes saw the same pictures to the end."""
        if self.at != len(self.indices):
            raise UsageError(
                f"the kept outputs in {self.file.parent} are of more pictures; delete that folder"
            )
