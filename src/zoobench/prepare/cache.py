"""The artifact cache: what was built once is found again by its recipe and named by its content.

    <root>/artifacts/by_recipe/<key>.json    which content a recipe gave, with its manifest
    <root>/artifacts/by_content/<sha256>/    the artifact's folder
    <root>/artifacts/building/<key>/         a build in work, on the same filesystem: a rename ends it
    <root>/artifacts/locks/                  kernel locks: they go when their process goes, however it goes

This module imports no runtime: when everything wanted is here, preparing costs milliseconds.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoobench.errors import PrepareError, first_line
from zoobench.spec import MANIFEST_FILE, REFERENCE_FILE, Artifact, stable_hash

_DAY_S = 86_400.0
_BESIDE_CONTENT = frozenset({MANIFEST_FILE, REFERENCE_FILE})


def recipe_key(recipe: dict[str, Any]) -> str:
    """sha256 of everything that decides what an artifact holds; `recipe` has JSON values only."""
    return stable_hash(recipe)


def content_of(folder: Path) -> tuple[str, int]:
    """sha256 over names and bytes of a folder's content files, and their size in bytes.

    The manifest and the reference outputs describe the content and are left out.
    """
    digest, total = hashlib.sha256(), 0
    for name, size in sorted(_files_of(folder).items()):
        if name in _BESIDE_CONTENT:
            continue
        digest.update(f"{name}\0{size}\0".encode())
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        total += size
    return digest.hexdigest(), total


def load_artifact(folder: Path) -> Artifact:
    """Read an artifact's manifest.

    Raises:
        PrepareError: there is none, or it is damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        return Artifact(path=folder, **manifest)
    except (OSError, ValueError, TypeError) as error:
        raise PrepareError(
            f"{folder} holds no artifact that can be read ({first_line(error)}); zoobench cache prune --everything"
        ) from error


@dataclass(frozen=True)
class CacheEntry:
    """One artifact on disk; `made_at` and `last_used` are UTC, `size_bytes` is what pruning it would free."""

    sha256: str
    model: str
    precision: str
    format: str
    size_bytes: int
    made_at: datetime
    last_used: datetime


class ArtifactCache:
    """Artifacts under `root`/artifacts; several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._home = self.root / "artifacts"

    def lookup(self, key: str) -> Artifact | None:
        """The artifact that recipe `key` gave, or None when it is not here or is damaged; marks it as used.

        Its content is read and compared: what is measured goes into the record under this sha256.
        """
        entry = self._read(key)
        if entry is None or not _intact(self._content(entry), entry["files"]):
            return None
        if not self.verify(entry["manifest"]["sha256"]):
            return None
        # A cache that may only be read serves all the same.
        with suppress(OSError):
            os.utime(self._index(key))
        return Artifact(path=self._content(entry), **entry["manifest"])

    def get_or_build(self, key: str, build: Callable[[Path], Artifact]) -> Artifact:
        """The artifact of recipe `key`; `build` writes it into an empty folder when it is not here.

        While one process builds, others that want the same wait for it.

        Raises:
            PrepareError: what `build` raises; no room on the disk; a cache folder that cannot be written.
        """
        with self._explained_disk():
            for name in ("by_recipe", "by_content", "building", "locks"):
                (self._home / name).mkdir(parents=True, exist_ok=True)
            with self._lock(key):
                found = self.lookup(key)
                if found is not None:
                    return found
                folder = self._home / "building" / key
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                try:
                    begin = time.monotonic()
                    made = build(folder)
                    made = made.model_copy(update={"made_s": round(time.monotonic() - begin, 3)})
                    return self._keep(key, made, folder)
                except Exception as error:
                    if _disk_is_full(error):
                        raise PrepareError(self._no_room(folder)) from error
                    raise
                finally:
                    shutil.rmtree(folder, ignore_errors=True)

    def verify(self, sha256: str) -> bool:
        """Whether the content still has its sha256. A damaged artifact is removed, to be built again."""
        folder = self._home / "by_content" / sha256
        if folder.is_dir() and content_of(folder)[0] == sha256:
            return True
        self._discard(folder)
        return False

    def entries(self) -> list[CacheEntry]:
        """What is in the cache, the last used first."""
        by_content: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
        for index in sorted((self._home / "by_recipe").glob("*.json")):
            if (entry := self._read(index.stem)) is not None:
                by_content.setdefault(entry["manifest"]["sha256"], []).append((index, entry))
        found = [
            CacheEntry(
                sha256=sha,
                model=", ".join(sorted({entry["manifest"]["model"] for _, entry in recipes})),
                precision=recipes[0][1]["manifest"].get("precision", "fp32"),
                format=recipes[0][1]["manifest"]["format"],
                size_bytes=sum(_files_of(self._home / "by_content" / sha).values()),
                made_at=datetime.fromisoformat(min(entry["made_at"] for _, entry in recipes)),
                last_used=datetime.fromtimestamp(max(index.stat().st_mtime for index, _ in recipes), UTC),
            )
            for sha, recipes in by_content.items()
        ]
        return sorted(found, key=lambda entry: entry.last_used, reverse=True)

    def prune(
        self,
        older_than_days: float | None = None,
        *,
        keep: Collection[str] = (),
        everything: bool = False,
    ) -> int:
        """Remove artifacts, and what builds and crashes left behind; returns the bytes that were freed.

        Args:
            older_than_days: those not used for so long.
            keep: sha256 of those that stay in any case.
            everything: all of them. Without it and without an age only left-overs go.
        """
        oldest = time.time() - older_than_days * _DAY_S if older_than_days is not None else None
        going = {
            entry.sha256
            for entry in self.entries()
            if entry.sha256 not in keep
            and (everything or (oldest is not None and entry.last_used.timestamp() < oldest))
        }
        with self._explained_disk():
            self._prune_recipes(going)
            return self._prune_left_overs()

    def _prune_recipes(self, going: Collection[str]) -> None:
        for index in (self._home / "by_recipe").glob("*.json"):
            entry = self._read(index.stem)
            if entry is None or entry["manifest"]["sha256"] in going:
                index.unlink(missing_ok=True)

    def _prune_left_overs(self) -> int:
        """Remove contents that no recipe names, and builds whose process died; returns the bytes freed."""
        freed = 0
        if not self._home.is_dir():
            return freed
        for folder in (self._home / "building").glob("*"):
            # A build in work holds the lock of its name.
            with self._lock_now(folder.name) as held:
                if held:
                    freed += sum(_files_of(folder).values())
                    shutil.rmtree(folder, ignore_errors=True)
        with self._lock("placing"):
            named = {entry.sha256 for entry in self.entries()}
            for folder in (self._home / "by_content").glob("*"):
                if folder.name not in named:
                    freed += sum(_files_of(folder).values())
                    self._discard(folder)
        return freed

    def _keep(self, key: str, artifact: Artifact, folder: Path) -> Artifact:
        """Move a finished build to its place and write down which recipe made it."""
        manifest = artifact.model_dump(mode="json")
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        files = _files_of(folder)
        del files[MANIFEST_FILE]
        place = self._home / "by_content" / artifact.sha256
        with self._lock("placing"):
            # Another recipe may have given the same content, and a worker may be reading it now.
            if not (_intact(place, files) and content_of(place)[0] == artifact.sha256):
                self._discard(place)
                folder.rename(place)
            entry = {"made_at": datetime.now(UTC).isoformat(), "manifest": manifest, "files": files}
            fresh = self._index(key).with_suffix(".new")
            fresh.write_text(json.dumps(entry), encoding="utf-8")
            fresh.replace(self._index(key))
        return artifact.model_copy(update={"path": place})

    def _read(self, key: str) -> dict[str, Any] | None:
        """One index entry. One that cannot be read counts as absent: the artifact is built again."""
        try:
            entry = json.loads(self._index(key).read_text(encoding="utf-8"))
            Artifact(path=self._home, **entry["manifest"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return entry if {"files", "made_at"} <= entry.keys() else None

    def _index(self, key: str) -> Path:
        return self._home / "by_recipe" / f"{key}.json"

    def _content(self, entry: dict[str, Any]) -> Path:
        return self._home / "by_content" / str(entry["manifest"]["sha256"])

    def _discard(self, folder: Path) -> None:
        """Remove a folder in one step as others see it: first out of sight, then file by file."""
        hidden = folder.parent.parent / "building" / f"discarded-{folder.name}-{os.getpid()}"
        try:
            folder.rename(hidden)
        except FileNotFoundError:
            return
        shutil.rmtree(hidden, ignore_errors=True)

    def _lock(self, name: str) -> FileLock:
        return FileLock(self._home / "locks" / f"{name}.lock")

    @contextmanager
    def _lock_now(self, name: str) -> Iterator[bool]:
        """Whether the lock was free; held inside when it was."""
        lock = self._lock(name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    @contextmanager
    def _explained_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if str(self.root) not in str(error.filename):
                raise
            raise PrepareError(
                f"the cache {self.root} cannot be used ({error.strerror}); set ZOOBENCH_CACHE to another"
            ) from error

    def _no_room(self, folder: Path) -> str:
        written = sum(_files_of(folder).values())
        return (
            f"no room left in the cache {self.root}: the disk was full after {written} bytes of the artifact; "
            f"make room (zoobench cache prune --everything), or set ZOOBENCH_CACHE to another disk"
        )


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether this error, or what caused it, is a full disk or quota; safetensors only says it in words."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _files_of(folder: Path) -> dict[str, int]:
    """Relative name → size in bytes of every file under `folder`."""
    return {
        file.relative_to(folder).as_posix(): file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file()
    }


def _intact(folder: Path, files: dict[str, int]) -> bool:
    """Whether the folder holds these files with these sizes, and a manifest (whichever recipe wrote it)."""
    found = _files_of(folder)
    return found.pop(MANIFEST_FILE, None) is not None and found == files
