"""Parquet files on the Hub at a pinned commit, of which only the parts come down that are looked at."""

from __future__ import annotations

import io
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from zoobench.data import DataRequest
from zoobench.data.parquet import ParquetSource
from zoobench.data.shelf import CARD_FILE
from zoobench.errors import HubError, HubUnreachableError, UsageError
from zoobench.hub.cache import COMMIT, ModelCache
from zoobench.hub.connection import (
    ANSWER_TIMEOUT_S,
    TransientHubError,
    endpoint,
    garbage,
    one_line,
    refusal,
    require_reachable,
)
from zoobench.hub.snapshots import ask, check_names, stays_inside
from zoobench.hub.transfer import MAX_STALLED

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo

BACK_OFF_S = 0.5
"""Before the second attempt; doubles with each attempt that brings nothing."""
BLOCK_BYTES = 64 << 10
"""Requests begin and end at multiples of it: pyarrow's next small read is often beside the last one."""
_BLOCKS_KEPT = 32
_CONVERTED = "refs/convert/parquet"
_CARD_BYTES = 4 << 20


def open_hub(
    hf_id: str, revision: str | None, request: DataRequest, notes: tuple[str, ...] = ()
) -> ParquetSource:
    """The dataset at the commit where `revision` (None: the default branch) stands.

    A full commit is not asked about. Without a network a branch counts as standing where it stood when last asked.

    Raises:
        UsageError: `hf_id` or `revision` cannot be one.
        HubError: the Hub refused; HubUnreachableError where it does not answer and the branch was never asked about.
    """
    check_names(hf_id, revision, "dataset")
    if revision is not None and COMMIT.fullmatch(revision):
        return ParquetSource(HubShelf(hf_id, revision), request, notes)
    cache, name = ModelCache.of(hf_id, "dataset"), revision or "main"
    try:
        info = _ask(hf_id, revision)
    except HubUnreachableError:
        known = cache.commit_of(name)
        if known is None:
            raise
        return ParquetSource(HubShelf(hf_id, known), request, notes)
    commit = info.sha
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise garbage(hf_id, f"it names no commit but {commit!r}")
    # A cache that may only be read serves all the same.
    with suppress(OSError):
        cache.remember_ref(name, commit)
    return ParquetSource(HubShelf(hf_id, commit, _sizes(hf_id, info)), request, notes)


def _ask(hf_id: str, revision: str | None) -> DatasetInfo:
    return ask(
        hf_id,
        revision,
        lambda api: api.dataset_info(hf_id, revision=revision, files_metadata=True, timeout=ANSWER_TIMEOUT_S),
        kind="dataset",
    )


def _sizes(hf_id: str, info: DatasetInfo) -> dict[str, int]:
    """Name → size in bytes of every file, the listing checked."""
    sizes = {}
    for sibling in info.siblings or ():
        size = sibling.lfs.size if sibling.lfs else sibling.size
        if not stays_inside(sibling.rfilename) or not isinstance(size, int) or size < 0:
            raise garbage(hf_id, f"it lists {sibling.rfilename!r} with the size {size!r}")
        sizes[sibling.rfilename] = size
    return sizes


class HubShelf:
    """The parquet files of a commit; listed when they are first asked for."""

    def __init__(self, hf_id: str, commit: str, sizes: Mapping[str, int] | None = None) -> None:
        self._hf_id, self._commit, self._listed = hf_id, commit, sizes

    @property
    def title(self) -> str:
        """The id with the commit's first digits."""
        return f"{self._hf_id}@{self._commit[:7]}"

    @property
    def pin(self) -> dict[str, Any]:
        """Id and commit: they say all."""
        return {"kind": "hub", "name": self._hf_id, "commit": self._commit}

    @property
    def identity(self) -> dict[str, Any]:
        """As the pin."""
        return self.pin

    def names(self) -> Sequence[str]:
        """Of the parquet files.

        Raises:
            UsageError: there are none.
            HubError: the Hub refused or does not answer.
        """
        names = sorted(name for name in self._sizes() if name.endswith(".parquet"))
        if not names:
            raise UsageError(
                f"'{self._hf_id}' has no parquet files at commit {self._commit[:7]}: try {self._hf_id}@{_CONVERTED},"
                " where the Hub keeps its own conversion"
            )
        return names

    def open(self, name: str) -> BinaryIO:
        """A file over the network."""
        size = self._sizes()[name]
        require_reachable(self._hf_id)
        return cast(BinaryIO, HubFile(self._hf_id, self._commit, name, size))

    def card(self) -> str:
        """The README.md of the commit."""
        if not 0 < self._sizes().get(CARD_FILE, 0) <= _CARD_BYTES:
            return ""
        with self.open(CARD_FILE) as card:
            return card.read().decode("utf-8", errors="replace")

    def _sizes(self) -> Mapping[str, int]:
        if self._listed is None:
            info = _ask(self._hf_id, self._commit)
            if info.sha != self._commit:
                raise garbage(self._hf_id, f"asked for commit {self._commit} it speaks of {info.sha!r}")
            self._listed = _sizes(self._hf_id, info)
        return self._listed


class HubFile(io.RawIOBase):
    """A file of a commit, read-only and seekable, by HTTP Range requests that go on where one was cut.

    Reading raises HubError where the Hub refuses or the connection is cut too often. For one thread at a time.
    """

    def __init__(self, hf_id: str, commit: str, name: str, size: int) -> None:
        self._hf_id, self._commit, self._name, self._size = hf_id, commit, name, size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._direct: str | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position in bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to `offset`; asks the Hub for nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer only at the end of the file; -1 for all that follow."""
        stop = self._size if size is None or size < 0 else min(self._size, self._position + size)
        start, self._position = self._position, max(self._position, stop)
        return self._between(start, stop) if start < stop else b""

    def readall(self) -> bytes:
        """All that follows."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the file goes."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _between(self, start: int, stop: int) -> bytes:
        first, last = start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
        missing = [index for index in range(first, last + 1) if index not in self._blocks]
        if missing:
            begin = missing[0] * BLOCK_BYTES
            content = self._fetch(begin, min((missing[-1] + 1) * BLOCK_BYTES, self._size))
            for offset in range(0, len(content), BLOCK_BYTES):
                self._blocks[(begin + offset) // BLOCK_BYTES] = content[offset : offset + BLOCK_BYTES]
        whole = b"".join(self._blocks[index] for index in range(first, last + 1))
        for index in range(first, last + 1):
            self._blocks.move_to_end(index)
        while len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return whole[start - first * BLOCK_BYTES : stop - first * BLOCK_BYTES]

    def _fetch(self, start: int, stop: int) -> bytes:
        """Ask for the missing rest until it is there, or `MAX_STALLED` attempts in a row brought nothing."""
        arrived, stalled = bytearray(), 0
        while True:
            before = len(arrived)
            try:
                self._receive(start + before, stop, arrived)
                return bytes(arrived)
            except TransientHubError:
                stalled = 0 if len(arrived) > before else stalled + 1
                if stalled >= MAX_STALLED:
                    raise
                time.sleep(BACK_OFF_S * 2**stalled)

    def _receive(self, start: int, stop: int, arrived: bytearray) -> None:
        """One request: append bytes `start` to `stop` of the file."""
        import httpx2
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        direct = self._direct
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
        if direct is None:
            # The storage that the Hub points to has signed addresses and must not see the token.
            headers |= build_hf_headers()
        url = direct or hf_hub_url(
            self._hf_id, self._name, repo_type="dataset", revision=self._commit, endpoint=endpoint()
        )
        wanted = stop - start
        try:
            with get_session().stream(
                "GET", url, headers=headers, timeout=ANSWER_TIMEOUT_S, follow_redirects=True
            ) as response:
                if response.status_code >= 400:
                    raise self._refusal(response.status_code, response.headers, direct)
                self._check_range(response.status_code, response.headers, start)
                self._direct = direct or (str(response.url) if response.history else None)
                for chunk in response.iter_bytes():
                    arrived += chunk[:wanted]
                    wanted -= min(wanted, len(chunk))
                    if not wanted:
                        return
        except httpx2.TransportError as error:
            self._direct = None
            raise self._cut(start, one_line(error)) from error
        except httpx2.HTTPError as error:
            raise HubError(f"'{self._hf_id}': reading {self._name} failed: {one_line(error)}") from error
        raise self._cut(start, "the answer was too short")

    def _refusal(self, status: int, headers: Mapping[str, str], direct: str | None) -> HubError:
        if direct is not None:
            # Signed addresses expire: the Hub gives a new one, or says in its own words why not.
            self._direct = None
            return TransientHubError(
                f"'{self._hf_id}': the storage of {endpoint()} refuses {self._name} (HTTP {status}): run again later"
            )
        return refusal(self._hf_id, status, headers, self._commit, kind="dataset")

    def _check_range(self, status: int, headers: Mapping[str, str], start: int) -> None:
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("content-range", ""))
        if status != 206 or stated is None or int(stated[1]) != start:
            # A short file whose whole is asked for may come without a range.
            if status == 200 and start == 0 and headers.get("content-length") == str(self._size):
                return
            raise HubError(
                f"'{self._hf_id}': {endpoint()} delivers no parts of {self._name} (HTTP {status}): something on the way"
                " drops Range headers; download the dataset and give its folder"
            )
        if stated[2] not in ("*", str(self._size)):
            raise garbage(self._hf_id, f"{self._name} has {stated[2]} bytes, listed are {self._size}")

    def _cut(self, start: int, how: str) -> TransientHubError:
        return TransientHubError(
            f"'{self._hf_id}': the connection was cut while reading {self._name} near byte {start} of {self._size}"
            f" ({how}): check the network and run again; what has arrived is kept"
        )
