"""Where the parquet files of a dataset stand, and the card that lies beside them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from zoobench.data.local import LocalFile, content_digest, files_below, local_file, state_digest, unreadable
from zoobench.errors import printable

CARD_FILE = "README.md"


class Shelf(Protocol):
    """Where parquet files stand."""

    @property
    def title(self) -> str:
        """For people, such as `timm/mini-imagenet@1a2b3c4`."""

    @property
    def pin(self) -> dict[str, Any]:
        """Known without a network: see `Source.pin`."""

    @property
    def identity(self) -> dict[str, Any]:
        """See `Source.identity`."""

    def names(self) -> Sequence[str]:
        """Of the parquet files, relative, with slashes, sorted."""

    def open(self, name: str) -> BinaryIO:
        """A seekable file; may be called in several threads at once."""

    def card(self) -> str:
        """README.md, empty where there is none."""


class LocalShelf:
    """Parquet files on the local disk."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            self._folder = path.resolve()
            self.title = printable(self._folder.name)
            found = files_below(self._folder, {".parquet"})
        else:
            # A link keeps its own name: in the Hub's cache it leads to a file that is called by its checksum.
            self._folder = path.parent.resolve()
            self.title = printable(path.name)
            found = [local_file(self._folder, self._folder / path.name)]
        self._files: dict[str, LocalFile] = {file.name: file for file in found}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Kind, name and a digest over the files' names and sizes."""
        return {"kind": "parquet", "name": self.title, "content": content_digest(self._files.values())}

    @cached_property
    def pin(self) -> dict[str, Any]:
        """As the identity, and the times at which the files were changed."""
        return {**self.identity, "state": state_digest(self._files.values())}

    def names(self) -> Sequence[str]:
        """Of all the files."""
        return list(self._files)

    def open(self, name: str) -> BinaryIO:
        """The file itself."""
        path = self._files[name].path
        try:
            return path.open("rb")
        except OSError as error:
            raise unreadable(path, error) from error

    def card(self) -> str:
        """The README.md beside the files."""
        try:
            return (self._folder / CARD_FILE).read_text("utf-8", errors="replace")
        except OSError:
            return ""


def holds_parquet(folder: Path) -> bool:
    """Whether a folder is a dataset of parquet files."""
    return bool(files_below(folder, {".parquet"}))


def front_matter(card: str) -> dict[str, Any]:
    """What a dataset's README.md says in its YAML block; nothing where there is none or it is damaged."""
    from huggingface_hub import DatasetCard
    from yaml import YAMLError

    if not card.startswith("---"):
        return {}
    try:
        found: dict[str, Any] = DatasetCard(card, ignore_metadata_errors=True).data.to_dict()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, YAMLError):
        return {}
    return found
