"""Pictures in one folder a class: `class/name.jpg`, with or without a folder a split above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zoobench.data import Block, Pick
from zoobench.data.local import (
    LocalFile,
    content_digest,
    files_below,
    picture_bytes,
    state_digest,
    unreadable,
)
from zoobench.errors import UsageError, printable

SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
DEFAULT_SPLITS = ("test", "val", "validation")
_SPLITS = frozenset((*DEFAULT_SPLITS, "train"))


def open_folder(path: Path, split: str | None) -> FolderSource:
    """The classes below `path`, or below its sub-folder for `split`.

    Raises:
        UsageError: no such split, several and none said, or no pictures in sub-folders.
        PrepareError: it cannot be read.
    """
    said = printable(str(path))
    try:
        root = path.resolve()
        below = {entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    except OSError as error:
        raise unreadable(path, error) from error
    if split is None and below & _SPLITS:
        split = next((name for name in DEFAULT_SPLITS if name in below), None)
        if split is None:
            raise UsageError(
                f"{said} has no split to test on, only {_listed(below & _SPLITS)}: pass --split train if you mean it"
            )
    elif split is not None and split not in below:
        there = f"only {_listed(below & _SPLITS)}" if below & _SPLITS else "and no splits at all"
        raise UsageError(f"{said} has no sub-folder {printable(split)!r} for the split, {there}")
    folder = root / split if split is not None else root
    files = [file for file in files_below(folder, SUFFIXES) if "/" in file.name]
    if not files:
        raise UsageError(
            f"{printable(str(path / split if split else path))} has no pictures in sub-folders: give a folder with one"
            " sub-folder a class, or parquet files"
        )
    title = f"{root.parent.name}/{root.name}" if root.name in _SPLITS and root.parent.name else root.name
    return FolderSource(root.name, split, files, title)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


class FolderSource:
    """A `Source`; its classes are the names of the folders, sorted, and its ids the files' names below the folder that was given."""

    notes: tuple[str, ...] = ()

    def __init__(
        self, name: str, split: str | None, files: Sequence[LocalFile], title: str | None = None
    ) -> None:
        self._name, self._split, self._title = name, split, title or name
        self._by_class: dict[str, list[LocalFile]] = {}
        for file in files:
            self._by_class.setdefault(file.name.partition("/")[0], []).append(file)
        self.classes = tuple(sorted(self._by_class))

    @property
    def label(self) -> str:
        """The folder's name, with that of the one above where it says more than `test` would; and the split."""
        return f"{printable(self._title)} {self._split or ''}".strip()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Kind, name, content and split; the content is a digest over the files' names and sizes."""
        return {
            "kind": "folder",
            "name": printable(self._name),
            "content": content_digest(self._files()),
            "split": self._split,
        }

    @cached_property
    def pin(self) -> dict[str, Any]:
        """As the identity, and the times at which the files were changed."""
        return {**self.identity, "state": state_digest(self._files())}

    def labels(self) -> list[Block]:
        """One block a class."""
        return [
            Block(
                name,
                [self._id(file) for file in self._by_class[name]],
                np.full(len(self._by_class[name]), index),
            )
            for index, name in enumerate(self.classes)
        ]

    def read(self, picks: Sequence[Pick]) -> Iterator[tuple[str, int, bytes]]:
        """The files' bytes.

        Raises:
            PrepareError: a file cannot be read.
        """
        for block, row in picks:
            file = self._by_class[self.classes[block]][row]
            yield self._id(file), block, picture_bytes(file)

    def _id(self, file: LocalFile) -> str:
        """With the split: `cat/1.jpg` of the training pictures is another one than that of the test."""
        return f"{self._split}/{file.name}" if self._split else file.name

    def _files(self) -> Iterator[LocalFile]:
        for name in self.classes:
            yield from self._by_class[name]
