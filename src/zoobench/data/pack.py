"""A selection on the local disk, so that a worker without network and token only reads files.

<cache>/data/<key>/
    images.bin     the encoded pictures, one after the other
    index.jsonl    one line a picture: id, label, offset, length, sha256; of a dataset for detectors its truth too
    pack.json      what it is; written last, so it marks the pack as finished
<cache>/data/locks/    kernel locks: they go when their process goes, however it goes

Both files only grow: a pack that was interrupted goes on with the pictures that it lacks.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

from filelock import FileLock, Timeout

from zoobench.data import Block, DataRequest, Pick, Source
from zoobench.data.decode import stored_size
from zoobench.data.select import select
from zoobench.data.truth import Flaws, Truth
from zoobench.errors import PrepareError, printable
from zoobench.spec import stable_hash

IMAGES_FILE = "images.bin"
INDEX_FILE = "index.jsonl"
PACK_FILE = "pack.json"
VERSION = 2
"""Counts up when the same request is packed into something else."""

Progress = Callable[[int, int], None]
"""Called with (pictures so far, pictures in all) after each picture."""


@dataclass(frozen=True)
class Entry:
    """A picture of a pack: its id and label in the dataset, and where its bytes lie in `images.bin`.

    One with a truth has no label, which is -1.
    """

    id: str
    label: int
    offset: int
    length: int
    sha256: str
    truth: Truth | None = None

    def line(self) -> bytes:
        """As it stands in `index.jsonl`."""
        stored = dict(vars(self))
        if self.truth is None:
            del stored["truth"]
        else:
            stored["truth"] = self.truth.as_dict()
        return json.dumps(stored).encode() + b"\n"

    @classmethod
    def of(cls, line: bytes) -> Self:
        """What `line` wrote.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        stored = json.loads(line)
        if "truth" in stored:
            stored["truth"] = Truth.of(stored["truth"])
        return cls(**stored)


class Pack:
    """A finished pack, to be read. Threads may share it; close it, or use it as a context manager.

    Attributes:
        folder: where it lies.
        identity: the source's, see `Source.identity`.
        label: the source's, for people.
        notes: the source's, and how many boxes of its pictures were not as they should be.
        classes: names by label index.
        request: the fields of the DataRequest.
        ids_sha256: over the sorted ids: whether two packs ask about the same pictures.
        content_sha256: over the pictures' sha256, in order.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], entries: list[Entry], images: int) -> None:
        self.folder = folder
        self.identity: dict[str, Any] = manifest["identity"]
        self.label: str = manifest["label"]
        self.notes: tuple[str, ...] = tuple(manifest["notes"])
        self.classes: tuple[str, ...] = tuple(manifest["classes"])
        self.request: dict[str, Any] = manifest["request"]
        self.ids_sha256: str = manifest["ids_sha256"]
        self.content_sha256: str = manifest["content_sha256"]
        self._entries, self._images = entries, images

    @classmethod
    def open(cls, folder: Path) -> Self:
        """A pack that `collect` finished.

        Raises:
            PrepareError: it is not there, not finished, or damaged.
        """
        try:
            manifest = json.loads((folder / PACK_FILE).read_bytes())
            lines = (folder / INDEX_FILE).read_bytes().splitlines()
            entries = [Entry.of(line) for line in lines]
            if manifest["version"] != VERSION:
                raise ValueError(f"its version is {manifest['version']}, this zoobench reads {VERSION}")
            end = _end(entries)
            if len({entry.truth is None for entry in entries}) != 1:
                raise ValueError("it has no pictures, or some with boxes and some without")
            if manifest["labels_sha256"] != _labels(manifest["classes"], entries):
                raise ValueError("its labels are not those that were packed")
            size = (folder / IMAGES_FILE).stat().st_size
            stated = manifest["ids_sha256"], manifest["content_sha256"]
            if size != end or (_ids(entries), _content(entries)) != stated:
                raise ValueError(f"index and pictures do not fit: {size} bytes, {end} indexed")
            return cls(folder, manifest, entries, os.open(folder / IMAGES_FILE, os.O_RDONLY | os.O_CLOEXEC))
        except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise PrepareError(
                f"{printable(str(folder))} holds no finished pack of pictures ({printable(reason)}): delete the folder"
                " and run again"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading is over."""
        images, self._images = getattr(self, "_images", -1), -1
        if images >= 0:
            os.close(images)

    @cached_property
    def labels_sha256(self) -> str:
        """Over the class names and each picture's id and class, or its truth: equal where the same is asked of the same pictures."""
        return _labels(self.classes, self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def boxes(self) -> bool:
        """Whether its pictures have boxes, for detectors, and no class, for classifiers."""
        return self._entries[0].truth is not None

    def truth(self, index: int) -> Truth | None:
        """The objects on picture `index`; None in a pack of pictures with classes."""
        return self._entries[index].truth

    def entry(self, index: int) -> Entry:
        """Where picture `index` comes from and what it shows."""
        return self._entries[index]

    def read(self, index: int) -> bytes:
        """The encoded picture, checked against its sha256.

        Raises:
            PrepareError: the disk fails, or the bytes are other ones than were packed.
        """
        entry = self._entries[index]
        try:
            content = _read_at(self._images, entry)
        except OSError as error:
            raise PrepareError(
                f"{self.folder / IMAGES_FILE} cannot be read ({error.strerror}): check the disk"
            ) from error
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise PrepareError(
                f"{self.folder} is damaged at picture {printable(entry.id)}: delete the folder and run again"
            )
        return content


def overlap(a: Pack, b: Pack) -> list[str]:
    """Ids in `a` of pictures whose very bytes are also in `b`, in `a`'s order."""
    there = {b.entry(index).sha256 for index in range(len(b))}
    return [a.entry(index).id for index in range(len(a)) if a.entry(index).sha256 in there]


def collect(
    source: Source,
    request: DataRequest,
    cache: Path,
    *,
    exclude: Collection[str] = frozenset(),
    progress: Progress | None = None,
) -> Pack:
    """Bring the pictures that `request` means to the disk; at once, and without asking the source, where they are.

    Interrupted, the same call goes on with what is missing. Two processes that want the same wait for one another.

    Args:
        source: as `open_source(request)` gives it.
        request: decides how many and which.
        cache: zoobench's cache folder.
        exclude: ids that are never taken.
        progress: told after each picture.

    Raises:
        UsageError: the selection is not possible.
        PrepareError: no room, a cache that cannot be written, or what the source raises.
    """
    recipe = [VERSION, source.pin, request.samples, request.at_most, request.seed, sorted(exclude)]
    key = stable_hash(recipe)
    folder = cache / "data" / key
    if (found := _finished(folder)) is not None:
        return found
    with _explained_disk(cache):
        for needed in (folder, cache / "data" / "locks"):
            needed.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / "data" / "locks" / f"{key}.lock")
        lock.acquire()
    try:
        if (found := _finished(folder)) is None:
            _write(source, request, cache, folder, exclude, progress)
    finally:
        # Where not one picture came there is nothing to go on with.
        with suppress(OSError):
            folder.rmdir()
        lock.release()
    return found or Pack.open(folder)


def _finished(folder: Path) -> Pack | None:
    """The pack, if it is whole; one that is damaged counts as absent and is mended."""
    if not (folder / PACK_FILE).is_file():
        return None
    try:
        found = Pack.open(folder)
        # Reading them all costs seconds in ten thousand, and a bit that fell shows here, where it is mended.
        for index in range(len(found)):
            found.read(index)
    except PrepareError:
        return None
    # A cache that may only be read serves all the same.
    with suppress(OSError):
        os.utime(folder / PACK_FILE)
    return found


def _write(
    source: Source,
    request: DataRequest,
    cache: Path,
    folder: Path,
    exclude: Collection[str],
    progress: Progress | None,
) -> None:
    blocks = source.labels()
    picks = select(blocks, request.samples, request.seed, exclude, at_most=request.at_most)
    with _explained_disk(cache):
        (folder / PACK_FILE).unlink(missing_ok=True)
        entries = _intact(folder, blocks, picks)
        images, index = (folder / IMAGES_FILE).open("ab"), (folder / INDEX_FILE).open("ab")
    try:
        left = picks[len(entries) :]
        for pick, (_, _, content) in zip(left, source.read(left), strict=True):
            entry = _entry(blocks[pick.block], pick.row, content, _end(entries))
            with _explained_disk(cache):
                _append(images, index, entry, content)
            entries.append(entry)
            if progress is not None:
                progress(len(entries), len(picks))
        with _explained_disk(cache):
            images.flush()
            index.flush()
    finally:
        # After a failure closing tries to write once more, and would hide why.
        with suppress(OSError):
            images.close()
        with suppress(OSError):
            index.close()
    manifest = {
        "version": VERSION,
        "identity": source.identity,
        "label": source.label,
        "notes": [*source.notes, *_flaws(blocks, picks, entries).notes()],
        "classes": source.classes,
        "request": asdict(request),
        "ids_sha256": _ids(entries),
        "content_sha256": _content(entries),
        "labels_sha256": _labels(source.classes, entries),
    }
    with _explained_disk(cache):
        for name in (IMAGES_FILE, INDEX_FILE):
            _sync(folder / name)
        fresh = folder / f"{PACK_FILE}.new"
        fresh.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        _sync(fresh)
        fresh.replace(folder / PACK_FILE)


def _entry(block: Block, row: int, content: bytes, offset: int) -> Entry:
    """What the index says of a picture."""
    truth = None
    if block.objects is not None:
        truth, _ = block.objects.truth(row, block.objects.size(row) or stored_size(content))
    sha256 = hashlib.sha256(content).hexdigest()
    return Entry(block.ids[row], int(block.labels[row]), offset, len(content), sha256, truth)


def _append(images: BinaryIO, index: BinaryIO, entry: Entry, content: bytes) -> None:
    images.write(content)
    index.write(entry.line())


def _flaws(blocks: Sequence[Block], picks: Sequence[Pick], entries: Sequence[Entry]) -> Flaws:
    """Of all the pictures, those too that an earlier call had brought."""
    found = Flaws()
    for (block, row), entry in zip(picks, entries, strict=True):
        objects, truth = blocks[block].objects, entry.truth
        if objects is not None and truth is not None:
            found += objects.truth(row, (truth.width, truth.height) if truth.width else None)[1]
    return found


def _end(entries: Sequence[Entry]) -> int:
    return entries[-1].offset + entries[-1].length if entries else 0


def _intact(folder: Path, blocks: Sequence[Block], picks: Sequence[Pick]) -> list[Entry]:
    """The entries that an earlier call left whole, after cutting off what lies behind them.

    A process that was killed leaves any prefix of either file, and a machine that lost power also zeros.
    """
    entries: list[Entry] = []
    kept = 0
    images, index = folder / IMAGES_FILE, folder / INDEX_FILE
    for path in (images, index):
        path.touch()
    with images.open("rb") as pictures, index.open("rb") as lines:
        for (block, row), line in zip(picks, lines, strict=False):
            try:
                entry = Entry.of(line)
                content = _read_at(pictures.fileno(), entry)
            except (ValueError, TypeError, KeyError, OSError):
                break
            # Its label and truth too: an index that was changed must not be believed.
            if entry != _entry(blocks[block], row, content, _end(entries)) or not line.endswith(b"\n"):
                break
            entries.append(entry)
            kept += len(line)
    os.truncate(images, _end(entries))
    os.truncate(index, kept)
    return entries


def _read_at(file: int, entry: Entry) -> bytes:
    """The picture's bytes, fewer where the file ends; one `pread` may bring less than asked for."""
    parts, have = [], 0
    while have < entry.length:
        part = os.pread(file, entry.length - have, entry.offset + have)
        if not part:
            break
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def _ids(entries: list[Entry]) -> str:
    return stable_hash(sorted(entry.id for entry in entries))


def _labels(classes: Sequence[str], entries: Sequence[Entry]) -> str:
    return stable_hash([list(classes), [[entry.id, _asked(entry)] for entry in entries]])


def _asked(entry: Entry) -> Any:
    return entry.label if entry.truth is None else entry.truth.as_dict()


def _content(entries: list[Entry]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(bytes.fromhex(entry.sha256))
    return digest.hexdigest()


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def _explained_disk(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = printable(str(cache))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PrepareError(
                f"no room left in the cache {where} for the pictures: make room (zoobench cache prune --everything), or"
                " set ZOOBENCH_CACHE to another disk; what has arrived is kept"
            ) from error
        raise PrepareError(
            f"the cache {where} cannot be used ({error.strerror or error}); set ZOOBENCH_CACHE to another"
        ) from error


@dataclass(frozen=True)
class KeptPack:
    """A pack in the cache, finished or not; `last_used` is UTC."""

    folder: Path
    label: str
    pictures: int
    size_bytes: int
    last_used: datetime


def kept_packs(cache: Path) -> list[KeptPack]:
    """The packs in zoobench's cache folder, the last used first."""
    found = []
    for folder in (cache / "data").glob("*/"):
        if folder.name == "locks":
            continue
        try:
            manifest = json.loads((folder / PACK_FILE).read_bytes())
            label = str(manifest["label"])
        except (OSError, ValueError, TypeError, KeyError):
            label = "not finished"
        index, files = folder / INDEX_FILE, [f for f in folder.iterdir() if f.is_file()]
        found.append(
            KeptPack(
                folder,
                label,
                index.read_bytes().count(b"\n") if index.is_file() else 0,
                sum(f.stat().st_size for f in files),
                datetime.fromtimestamp(max((f.stat().st_mtime for f in files), default=0.0), UTC),
            )
        )
    return sorted(found, key=lambda pack: pack.last_used, reverse=True)


def prune_packs(cache: Path, *, older_than_days: float | None = None) -> int:
    """Delete packs that were not used for so long (None: all), and what reference passes kept; returns bytes freed."""
    oldest = datetime.now(UTC) - timedelta(days=older_than_days or 0.0)
    freed = 0
    for pack in kept_packs(cache):
        lock = FileLock(cache / "data" / "locks" / f"{pack.folder.name}.lock")
        if older_than_days is None or pack.last_used < oldest:
            # One that is being written holds the lock of its name.
            with suppress(Timeout), lock.acquire(timeout=0):
                shutil.rmtree(pack.folder, ignore_errors=True)
                freed += pack.size_bytes
    for folder in (cache / "outputs").glob("*/"):
        used = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
        in_work = folder.name.startswith(".") and datetime.now(UTC) - used < timedelta(days=1)
        if not in_work and (older_than_days is None or used < oldest):
            freed += sum(f.stat().st_size for f in folder.iterdir() if f.is_file())
            shutil.rmtree(folder, ignore_errors=True)
    return freed
