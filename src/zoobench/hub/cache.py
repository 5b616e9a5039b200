"""The Hub's cache on disk, in huggingface_hub's documented layout, so that all its users share one copy.

models--organisation--name/             (datasets--… for a dataset)
    blobs/<sha256 or git id>           the bytes; `.incomplete` while they come down
    refs/<branch or tag>               the commit it stood at
    snapshots/<commit>/<file>          a link to the blob
    .no_exist/<commit>/<file>          known not to be in that commit
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zoobench.hub.connection import Kind

COMMIT = re.compile(r"[0-9a-f]{40}")


def cache_root() -> Path:
    """Where the environment puts the cache: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, or the home folder."""
    stated = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if not stated:
        above = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        stated = f"{os.environ.get('HF_HOME') or f'{above}/huggingface'}/hub"
    return Path(os.path.expandvars(stated)).expanduser()


@dataclass(frozen=True)
class ModelCache:
    """One repository's folder in the cache: a model's or a dataset's."""

    root: Path
    folder: Path

    @classmethod
    def of(cls, hf_id: str, kind: Kind = "model") -> ModelCache:
        """The folder of `hf_id`, which must have been validated."""
        from huggingface_hub.file_download import repo_folder_name

        root = cache_root()
        return cls(root, root / repo_folder_name(repo_id=hf_id, repo_type=kind))

    def snapshot(self, commit: str) -> Path:
        """Folder with the files of `commit`."""
        return self.folder / "snapshots" / commit

    def files(self, commit: str) -> frozenset[str]:
        """Names of the files of `commit` that are here, sub-folders left out."""
        folder = self.snapshot(commit)
        return frozenset(f.name for f in folder.iterdir() if f.is_file()) if folder.is_dir() else frozenset()

    def commit_of(self, revision: str) -> str | None:
        """The commit that `revision` stood at when it was last asked for; a commit stands for itself."""
        if COMMIT.fullmatch(revision):
            return revision
        ref = self.folder / "refs" / revision
        commit = ref.read_text().strip() if ref.is_file() else ""
        return commit if COMMIT.fullmatch(commit) else None

    def remember_ref(self, revision: str, commit: str) -> None:
        """Record what `revision` stands at, for the day without network."""
        ref = self.folder / "refs" / revision
        if not COMMIT.fullmatch(revision) and self.commit_of(revision) != commit:
            ref.parent.mkdir(parents=True, exist_ok=True)
            fresh = ref.with_name(f"{ref.name}.{os.getpid()}.tmp")
            fresh.write_text(commit)
            fresh.replace(ref)

    def known_absent(self, commit: str, name: str) -> bool:
        """Whether the Hub once said that `commit` has no such file."""
        return (self.folder / ".no_exist" / commit / name).is_file()

    def remember_absent(self, commit: str, name: str) -> None:
        """Record that `commit` has no such file."""
        mark = self.folder / ".no_exist" / commit / name
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()

    def partial(self, etag: str) -> Path:
        """Where the bytes of a blob gather; what is there after a crash is the beginning of the file."""
        return self.folder / "blobs" / f"{etag}.incomplete"

    @contextmanager
    def locked(self, etag: str) -> Iterator[None]:
        """Keep other processes, huggingface_hub's own included, from fetching the same blob."""
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        lock = self.root / ".locks" / self.folder.name / f"{etag}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "blobs").mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            yield

    def blob(self, etag: str) -> Path:
        """Where the bytes lie for good."""
        return self.folder / "blobs" / etag

    def link(self, commit: str, name: str, etag: str) -> None:
        """Make the blob appear as `name` in the snapshot; a copy where the file system knows no links."""
        pointer = self.snapshot(commit) / name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        fresh = pointer.with_name(f".{name}.{os.getpid()}.tmp")
        fresh.unlink(missing_ok=True)
        try:
            fresh.symlink_to(Path("..", "..", "blobs", etag))
        except OSError:
            shutil.copyfile(self.blob(etag), fresh)
        fresh.replace(pointer)
