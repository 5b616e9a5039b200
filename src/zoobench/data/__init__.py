"""Labelled pictures, to measure accuracy with: from what a user typed to local files that a worker reads.

`open_source` finds the dataset, `select` (pure) chooses a sample of it, `pack` brings the sample to the
local disk, and `loader` decodes it in batches. A measuring worker only ever sees the pack, so it needs neither the
network nor a token.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from zoobench.errors import UsageError, printable

if TYPE_CHECKING:
    import numpy as np

    from zoobench.data.truth import Objects

__all__ = ["Block", "DataRequest", "Pick", "Source", "check_local", "open_source"]

_PATH_STARTS = ("/", "./", "../", "~")
_FILES = (".parquet", ".json")


@dataclass(frozen=True)
class DataRequest:
    """What the user asked for.

    Attributes:
        said: a folder, a parquet file, a COCO json, a Hub id with an optional `@revision`, or a short name.
        samples: how many pictures; None means all of them.
        seed: decides which ones.
        at_most: with fewer pictures than `samples` all are taken; else that is an error.
        revision: branch, tag or commit of a dataset on the Hub; None means the default branch.
        split: None means the only one there is, or the usual one for a test.
        config: of a parquet dataset that has several.
        image_column: of a parquet dataset; None: told from the types and names.
        label_column: likewise; one of objects makes it a dataset for detectors.
    """

    said: str
    samples: int | None = None
    seed: int = 0
    at_most: bool = False
    revision: str | None = None
    split: str | None = None
    config: str | None = None
    image_column: str | None = None
    label_column: str | None = None


@dataclass(frozen=True)
class Block:
    """Pictures that are read together: a row group of a parquet file, or the files of a class.

    Attributes:
        name: of the file or folder, for people.
        ids: one a picture, unique in the source and the same on every machine.
        labels: int64, as many; an index into the source's classes, -1 where there is no label.
        objects: what is where on each picture, of a dataset for detectors, whose labels are all -1; None: of one for
            classifiers.
    """

    name: str
    ids: Sequence[str]
    labels: np.ndarray
    objects: Objects | None = None


class Pick(NamedTuple):
    """One picture that was chosen: which block of `Source.labels()`, and which row of it."""

    block: int
    row: int


class Source(Protocol):
    """A labelled dataset that can say what it holds without reading its pictures.

    Only `pin` needs no network; the others may have to ask the Hub. One for detectors has `objects` in all its blocks.
    """

    @property
    def pin(self) -> dict[str, Any]:
        """What the pictures depend on, as JSON: kind, name, and the commit or a digest of names, sizes and times."""

    @property
    def identity(self) -> dict[str, Any]:
        """What to write into a record, as JSON: kind, name, commit or content digest, config, split.

        Unlike `pin` it is the same on every machine that holds the same files.
        """

    @property
    def label(self) -> str:
        """For people, such as `timm/mini-imagenet@1a2b3c4 test`."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the accuracies must know of this dataset."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by label index; numbers as text where the dataset has only those."""

    def labels(self) -> list[Block]:
        """What is where, in an order that is the same on every machine. Reads no picture."""

    def read(self, picks: Sequence[Pick]) -> Iterator[tuple[str, int, bytes]]:
        """(id, label, encoded picture) of each pick, in their order; memory does not grow with their number.

        Within a block the rows must ascend.
        """


@dataclass(frozen=True)
class _Known:
    hf_id: str
    split: str | None = None
    revision: str | None = None
    config: str | None = None
    notes: tuple[str, ...] = ()


SHORT_NAMES = {
    "mini-imagenet": _Known("timm/mini-imagenet", "test"),
    "imagenet-1k": _Known("ILSVRC/imagenet-1k", "validation"),
    "imagenette": _Known(
        "frgfm/imagenette",
        "validation",
        "refs/convert/parquet",
        notes=(
            "imagenette contains training images of ImageNet: differences between models mean something, accuracies"
            " do not",
        ),
    ),
}


def open_source(request: DataRequest) -> Source:
    """The dataset that `request.said` means; a path that exists wins over everything else.

    Of a branch on the Hub the commit is asked for, and without a network the one that it last stood at is taken.

    Raises:
        UsageError: nothing is called so, or it is no dataset of pictures.
        HubError: the Hub refused; HubUnreachableError where it does not answer and nothing is known.
    """
    if not request.said.strip():
        raise UsageError(
            f"no dataset is named: give a folder, a parquet file, a COCO .json, a Hub id or {_short_names()}"
        )
    path = _existing(request.said)
    if path is not None:
        return _open_path(path, request)
    said, _, at = request.said.partition("@")
    if said.startswith(_PATH_STARTS) or said.endswith(_FILES):
        raise UsageError(f"{printable(request.said)}: no such file or folder: check the path of the dataset")
    if at and request.revision and at != request.revision:
        raise UsageError(
            f"{printable(request.said)} names one revision, and {printable(request.revision)} is another:"
            " give one"
        )
    revision = at or request.revision
    known = SHORT_NAMES.get(said.lower())
    if known is None:
        if "/" not in said:
            raise UsageError(f"no dataset is called {printable(said)!r}{_did_you_mean(said)}")
        known = _Known(said)
    from zoobench.data.remote import open_hub

    request = replace(request, split=request.split or known.split, config=request.config or known.config)
    return open_hub(known.hf_id, revision or known.revision, request, known.notes)


def check_local(request: DataRequest) -> None:
    """Refuse what can be seen not to be without asking the Hub: for a run that is only planned.

    Raises:
        UsageError, PrepareError: as `open_source` and its `labels`.
    """
    said = request.said.partition("@")[0]
    may_be_on_the_hub = said.lower() in SHORT_NAMES or (
        said.count("/") == 1 and not said.startswith(_PATH_STARTS) and not said.endswith(_FILES)
    )
    if _existing(request.said) is not None or not may_be_on_the_hub:
        open_source(request).labels()


def _existing(said: str) -> Path | None:
    try:
        path = Path(said).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):
        # Too long, a NUL in it, or the home of nobody: no path, but it may still be a name.
        return None


def _open_path(path: Path, request: DataRequest) -> Source:
    if request.revision is not None:
        raise UsageError(
            f"{printable(request.said)} is a local path and has no revisions: leave the revision out"
        )
    from zoobench.data.coco import is_coco, open_coco
    from zoobench.data.parquet import open_parquet
    from zoobench.data.shelf import holds_parquet

    if is_coco(path):
        _without_columns(request, "COCO's annotations")
        return open_coco(path, request.split)
    if path.is_dir() and not holds_parquet(path):
        from zoobench.data.folder import open_folder

        _without_columns(request, "a folder of pictures")
        return open_folder(path, request.split)
    # Opening a pipe would wait for ever.
    if not path.is_dir() and (not path.is_file() or path.suffix.lower() != ".parquet"):
        raise UsageError(
            f"{printable(request.said)} is neither a folder nor a .parquet or .json file: give a folder with one"
            " sub-folder a class, parquet files, or COCO's annotations"
        )
    return open_parquet(path, request)


def _without_columns(request: DataRequest, what: str) -> None:
    if request.config or request.image_column or request.label_column:
        raise UsageError(
            f"{printable(request.said)} is {what}, with neither configs nor columns: leave those flags out"
        )


def _short_names() -> str:
    return "one of " + ", ".join(SHORT_NAMES)


def _did_you_mean(said: str) -> str:
    near = difflib.get_close_matches(said.lower(), SHORT_NAMES, n=1, cutoff=0.5)
    if near:
        return f": did you mean {near[0]}?"
    return f": give a folder, a parquet file, a COCO .json, a Hub id (owner/name) or {_short_names()}"
