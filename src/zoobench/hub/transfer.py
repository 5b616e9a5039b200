"""How one file comes down: resumed where the connection was cut, and verified before anybody sees it.

huggingface_hub's own download throws away what had arrived, checks sizes but no checksums, and sleeps as long
as a rate limit says. Here addresses, credentials, connection and the layout of the cache are its own; retries
and verification are ours. Plain HTTP only: the Hub serves every file so, those stored in Xet included.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from zoobench.errors import HubError
from zoobench.hub.cache import ModelCache
from zoobench.hub.connection import ANSWER_TIMEOUT_S, TransientHubError, endpoint, one_line, refusal

Progress = Callable[[str, int, int], None]
"""Called with (file name, bytes so far, bytes in all), at most once per MiB."""

MAX_STALLED = 4
"""Attempts in a row that may bring no new byte."""
BACK_OFF_S = 0.5
"""Before the second attempt; doubles with each attempt that brings nothing."""
_REPORT_BYTES = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a commit, as the Hub lists it. `sha256` is None for small files, which have only git's id."""

    name: str
    size: int
    sha256: str | None
    git_id: str

    @property
    def etag(self) -> str:
        """What the Hub and the cache call the content."""
        return self.sha256 or self.git_id

    def matches(self, path: Path) -> bool:
        """Whether the bytes at `path` are the listed ones: sha256, or git's sha1 over header and bytes."""
        if path.stat().st_size != self.size:
            return False
        digest = (
            hashlib.sha256() if self.sha256 else hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        )
        with path.open("rb") as content:
            return hashlib.file_digest(content, lambda: digest).hexdigest() == self.etag


def fetch(cache: ModelCache, hf_id: str, commit: str, file: RemoteFile, progress: Progress | None) -> None:
    """Bring `file` into the snapshot of `commit`; nothing to do where it is there already.

    Raises:
        HubError: refused, cut too often, or not the listed content (which is then deleted).
    """
    pointer = cache.snapshot(commit) / file.name
    if _size(pointer) == file.size and pointer.is_file():
        return
    with cache.locked(file.etag):
        blob = cache.blob(file.etag)
        if not blob.is_file() or not file.matches(blob):
            partial = cache.partial(file.etag)
            _receive_all(hf_id, commit, file, partial, progress)
            if not file.matches(partial):
                partial.unlink()
                raise HubError(
                    f"'{hf_id}': {file.name} arrived with another checksum than {endpoint()} lists"
                    f" ({file.etag[:12]}…) and was deleted: run again; if it stays so, something on the way"
                    " changes files"
                )
            partial.replace(blob)
        cache.link(commit, file.name, file.etag)


def _receive_all(hf_id: str, commit: str, file: RemoteFile, partial: Path, progress: Progress | None) -> None:
    """Ask for the missing rest until it is there, or `MAX_STALLED` attempts in a row brought nothing new."""
    furthest, stalled = _size(partial), 0
    while True:
        try:
            return _receive(hf_id, commit, file, partial, progress)
        except TransientHubError:
            arrived = _size(partial)
            stalled = 0 if arrived > furthest else stalled + 1
            furthest = max(furthest, arrived)
            if stalled >= MAX_STALLED:
                raise
            time.sleep(BACK_OFF_S * 2**stalled)


def _receive(hf_id: str, commit: str, file: RemoteFile, partial: Path, progress: Progress | None) -> None:
    """One request: append to `partial` what it lacks."""
    import httpx2
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    have = _size(partial)
    if have == file.size and partial.is_file():
        return
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    url = hf_hub_url(hf_id, file.name, revision=commit, endpoint=endpoint())
    try:
        with get_session().stream(
            "GET", url, headers=headers, timeout=ANSWER_TIMEOUT_S, follow_redirects=True
        ) as response:
            if response.status_code >= 400:
                raise refusal(hf_id, response.status_code, response.headers, commit)
            start = have if response.status_code == 206 else 0
            _write(response.iter_bytes(), start, file, partial, progress)
    except httpx2.TransportError as error:
        raise _cut(hf_id, file, partial, one_line(error)) from error
    except httpx2.HTTPError as error:
        raise HubError(f"'{hf_id}': fetching {file.name} failed: {one_line(error)}") from error
    if _size(partial) < file.size:
        raise _cut(hf_id, file, partial, "the answer was too short")


def _write(
    chunks: Iterable[bytes], start: int, file: RemoteFile, partial: Path, progress: Progress | None
) -> None:
    """Append the body at `start`; where it grows longer than the file, stop and let the check find out."""
    arrived = reported = start
    with partial.open("ab" if start else "wb") as out:
        for chunk in chunks:
            out.write(chunk)
            arrived += len(chunk)
            if progress and (arrived - reported >= _REPORT_BYTES or arrived == file.size):
                progress(file.name, arrived, file.size)
                reported = arrived
            if arrived > file.size:
                return


def _cut(hf_id: str, file: RemoteFile, partial: Path, how: str) -> TransientHubError:
    return TransientHubError(
        f"'{hf_id}': the connection was cut after {_size(partial)} of {file.size} bytes of {file.name}"
        f" ({how}): check the network and run again; what has arrived is kept"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
