"""Files on the local disk, in an order and with an identity that are the same on every machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zoobench.errors import PrepareError, printable

_MOST_BYTES = 1 << 30
"""Of a picture's file: a sparse one of terabytes would take all memory, and no picture is so large."""


@dataclass(frozen=True)
class LocalFile:
    """A file below a dataset's folder; `name` is relative to it, with slashes."""

    name: str
    path: Path
    size: int
    mtime_ns: int


def files_below(folder: Path, suffixes: Collection[str]) -> list[LocalFile]:
    """Files that end in one of `suffixes` (lower case, with the dot), sorted by name; links are followed.

    Hidden files and folders are left out: they are other programs' (`._photo.jpg`, `.ipynb_checkpoints`).

    Raises:
        PrepareError: a folder or file cannot be read.
    """
    found = [local_file(folder, path) for path in _walk(folder, set()) if path.suffix.lower() in suffixes]
    return sorted(found, key=lambda file: file.name)


def local_file(folder: Path, path: Path) -> LocalFile:
    """The file at `path`, which is below `folder`.

    Raises:
        PrepareError: it cannot be looked at.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return LocalFile(path.relative_to(folder).as_posix(), path, status.st_size, status.st_mtime_ns)


def picture_bytes(file: LocalFile) -> bytes:
    """All of it.

    Raises:
        PrepareError: it cannot be read, or is too large to be a picture.
    """
    if file.size > _MOST_BYTES:
        raise PrepareError(
            f"{printable(str(file.path))} has {file.size:,} bytes and is no picture: take it out of the dataset"
        )
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise unreadable(file.path, error) from error


def unreadable(path: Path, error: OSError) -> PrepareError:
    """The line about a file or folder that does not let itself be read."""
    return PrepareError(
        f"{printable(str(path))} cannot be read ({error.strerror or error}): give yourself the right to, or take it out"
        " of the dataset"
    )


def content_digest(files: Iterable[LocalFile]) -> str:
    """sha256 over names and sizes: what can be said of a large dataset without reading it, on every machine."""
    return _digest(f"{file.name!a}\0{file.size}" for file in files)


def state_digest(files: Iterable[LocalFile]) -> str:
    """sha256 over names, sizes and times of change: another one where a file was exchanged on this machine."""
    return _digest(f"{file.name!a}\0{file.size}\0{file.mtime_ns}" for file in files)


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Every visible file; a folder that links lead to twice is entered once, so that a loop of links ends."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error) from error
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:
            # Such as a link that leads to itself.
            raise unreadable(path, error) from error
        if is_folder:
            yield from _walk(path, seen)
        elif is_file:
            yield path
