"""Labelled pictures in parquet files, read a row group at a time; the same code for local files and the Hub's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, overload

import numpy as np

from zoobench.data import Block, DataRequest, Pick
from zoobench.data.layout import card_features, choose, class_names, parts_of
from zoobench.data.local import LocalFile, content_digest, files_below, local_file, state_digest, unreadable
from zoobench.errors import PrepareError, UsageError, explained, printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

IMAGE_NAMES = ("image", "img")
LABEL_NAMES = ("label", "labels", "class", "fine_label")
CARD_FILE = "README.md"
_BUFFER_BYTES = 4 << 20
"""What is read ahead of a column's pages: large for a Hub that is far away, small beside a row group."""
_ROWS_AT_ONCE = 16
_FILES_AT_ONCE = 8
"""Whose labels are read together: on the Hub each row group's take a request, and waiting is all that it costs."""
_MOST_CLASSES = 100_000


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


def open_parquet(path: Path, request: DataRequest) -> ParquetSource:
    """A local `.parquet` file, or a folder of them."""
    return ParquetSource(LocalShelf(path), request)


class ParquetSource:
    """A `Source` over the parquet files of a shelf. Opened when something is asked of it.

    Config, split and columns are told from the files where the request has None. Every property but `pin` and `notes`, and
    both methods, raise UsageError where there are several or none, PrepareError for files that cannot be read, and
    what the shelf raises.
    """

    def __init__(self, shelf: Shelf, request: DataRequest, notes: tuple[str, ...] = ()) -> None:
        self._shelf = shelf
        self._asked = {
            "config": request.config,
            "split": request.split,
            "image": request.image_column,
            "label": request.label_column,
        }
        self.notes = notes
        self._footers: dict[str, pq.FileMetaData] = {}

    @property
    def pin(self) -> dict[str, Any]:
        """The shelf's, and what was asked for: nothing that would need a file to be opened."""
        return {**self._shelf.pin, "asked": self._asked}

    @property
    def identity(self) -> dict[str, Any]:
        """The shelf's, with config, split and columns."""
        config, split = self._part
        image, label = self._columns
        return {**self._shelf.identity, "config": config, "split": split, "columns": [image, label]}

    @property
    def label(self) -> str:
        """The shelf's title, the config where it has a name of its own, and the split."""
        config, split = self._part
        several = len({name for name, _ in self._parts}) > 1
        return printable(" ".join([self._shelf.title, *([config] if several else []), split]))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names from the schema or the card; else the labels themselves, sorted, or numbers up to the largest."""
        return self._read_labels[0]

    def labels(self) -> list[Block]:
        """One block a row group."""
        return self._read_labels[1]

    def read(self, picks: Sequence[Pick]) -> Iterator[tuple[str, int, bytes]]:
        """Encoded pictures; a row group is read no further than to the page of its last pick.

        Memory is that of a page, which many writers make as large as the row group.
        """
        for index, of_block in groupby(picks, key=lambda pick: pick.block):
            block = self.labels()[index]
            rows = [pick.row for pick in of_block]
            for row, content in zip(rows, self._pictures(index, rows), strict=True):
                yield block.ids[row], int(block.labels[row]), content

    def _pictures(self, index: int, rows: Sequence[int]) -> Iterator[bytes]:
        name, group = self._groups[index]
        column, _ = self._columns
        path = column if self._image_is_plain else f"{column}.bytes"
        wanted, start = iter(rows), 0
        row = next(wanted, None)
        with self._opened(name) as file, explained(self._cannot_read(name)):
            for batch in file.iter_batches(
                _ROWS_AT_ONCE, row_groups=[group], columns=[path], use_threads=False
            ):
                values = batch.column(0) if self._image_is_plain else batch.column(0).field("bytes")
                while row is not None and row < start + len(values):
                    content = values[row - start].as_py()
                    if not content and len(values) > 1 and values.null_count == len(values):
                        raise PrepareError(
                            f"{self._shelf.title}: {name} has no picture in row {row} of row group {group}: its"
                            " pictures are files elsewhere; give the folder that holds them"
                        )
                    # A single one that is lacking is counted and named like one that does not decode.
                    yield content or b""
                    row = next(wanted, None)
                if row is None:
                    return
                start += len(values)

    @cached_property
    def _card(self) -> dict[str, Any]:
        return front_matter(self._shelf.card())

    @cached_property
    def _parts(self) -> Mapping[tuple[str, str], Sequence[str]]:
        return parts_of(self._shelf.names(), self._card)

    @cached_property
    def _part(self) -> tuple[str, str]:
        return choose(self._shelf.title, self._parts, self._asked["config"], self._asked["split"])

    @cached_property
    def _schema(self) -> pa.Schema:
        first = self._parts[self._part][0]
        with self._opened(first) as file:
            return file.schema_arrow

    @cached_property
    def _features(self) -> dict[str, Any]:
        """What the `datasets` library wrote into the schema: column → its feature."""
        try:
            stated = json.loads((self._schema.metadata or {})[b"huggingface"])["info"]["features"]
        except (KeyError, ValueError, TypeError):
            return {}
        return stated if isinstance(stated, dict) else {}

    @cached_property
    def _card_features(self) -> dict[str, Any]:
        return card_features(self._card, self._part[0])

    @cached_property
    def _columns(self) -> tuple[str, str]:
        """Names of the image and the label column."""
        fields = {field.name: field.type for field in self._schema}
        import pyarrow as pa

        binary = {name for name, kind in fields.items() if _is_binary(kind)}
        pictures = binary | {
            name
            for name, kind in fields.items()
            if pa.types.is_struct(kind)
            and kind.get_field_index("bytes") >= 0
            and _is_binary(kind.field(kind.get_field_index("bytes")).type)
        }
        stated = {name for name, feature in self._features.items() if _type_of(feature) == "Image"}
        image = self._choose(
            "image", pictures, stated & pictures, pictures - binary, pictures & set(IMAGE_NAMES)
        )
        possible = {
            name
            for name, kind in fields.items()
            if pa.types.is_integer(kind)
            or _is_text(kind)
            or (pa.types.is_dictionary(kind) and _is_text(kind.value_type))
        }
        named = {name for name in possible if self._stated_names(name) is not None}
        label = self._choose("label", possible, named, possible & set(LABEL_NAMES))
        return image, label

    def _choose(self, noun: str, possible: set[str], *better: set[str]) -> str:
        """The asked one, else the only one of the first of `better` that has any."""
        asked, flag = self._asked[noun], f"--{noun}-column"
        there = printable(", ".join(sorted(self._schema.names)[:20]))
        if asked is not None:
            if asked in possible:
                return asked
            problem = "cannot be one" if asked in self._schema.names else "does not exist"
            raise UsageError(
                f"{self._shelf.title}: the {noun} column {printable(asked)!r} {problem}; the columns are {there}"
            )
        candidates = next((names for names in better if names), set())
        if len(candidates) == 1:
            return next(iter(candidates))
        if not candidates:
            raise UsageError(
                f"{self._shelf.title} has no {noun} column that can be told, only {there}: name it with {flag}"
            )
        raise UsageError(
            f"{self._shelf.title} has several {noun} columns, {printable(', '.join(sorted(candidates)))}: say which"
            f" with {flag}"
        )

    def _stated_names(self, column: str) -> tuple[str, ...] | None:
        """Class names of a column, by the schema or else by the card."""
        feature = self._features.get(column)
        if isinstance(feature, dict) and _type_of(feature) == "ClassLabel":
            return class_names(feature.get("names"))
        stated = self._card_features.get(column)
        if isinstance(stated, dict) and isinstance(stated.get("class_label"), dict):
            return class_names(stated["class_label"].get("names"))
        return None

    @property
    def _image_is_plain(self) -> bool:
        return _is_binary(self._schema.field(self._columns[0]).type)

    @cached_property
    def _groups(self) -> list[tuple[str, int]]:
        """(file, row group) of each block."""
        return [
            (name, group)
            for name in self._parts[self._part]
            for group in range(self._footers[name].num_row_groups)
        ]

    @cached_property
    def _read_labels(self) -> tuple[tuple[str, ...], list[Block]]:
        column = self._columns[1]
        names = self._parts[self._part]
        with ThreadPoolExecutor(min(_FILES_AT_ONCE, len(names))) as pool:
            by_file = list(pool.map(lambda name: self._labels_of(name, column), names))
        classes, coded = self._coded(column, by_file)
        blocks = []
        for name, groups in zip(names, coded, strict=True):
            start = 0
            for labels in groups:
                blocks.append(Block(name, RowIds(name, start, len(labels)), labels))
                start += len(labels)
        return classes, blocks

    def _labels_of(self, name: str, column: str) -> list[np.ndarray]:
        """Each row group's labels: int64 with -1 for none, or text with None for none."""
        import pyarrow as pa

        groups = []
        with self._opened(name) as file, explained(self._cannot_read(name)):
            for group in range(file.metadata.num_row_groups):
                values = file.read_row_group(group, columns=[column], use_threads=False).column(column)
                if pa.types.is_integer(values.type):
                    # An unsigned column has no −1.
                    numbers = values.cast(pa.int64()).fill_null(-1).to_numpy().astype(np.int64)
                    groups.append(np.where(numbers < 0, -1, numbers))
                else:
                    groups.append(np.array(values.to_pylist(), dtype=object))
        return groups

    def _coded(
        self, column: str, by_file: list[list[np.ndarray]]
    ) -> tuple[tuple[str, ...], list[list[np.ndarray]]]:
        """The class names, and the labels as indices into them."""
        flat = [labels for groups in by_file for labels in groups]
        stated = self._stated_names(column)
        if any(labels.dtype == object for labels in flat):
            names = stated or tuple(sorted({text for labels in flat for text in labels if text is not None}))
            index = {text: number for number, text in enumerate(names)} | {None: -1}
            try:
                return names, [
                    [np.array([index[text] for text in labels], np.int64) for labels in groups]
                    for groups in by_file
                ]
            except KeyError as error:
                raise PrepareError(
                    f"{self._shelf.title}: the label {printable(str(error.args[0]))!r} is none of the classes that the"
                    " dataset names"
                ) from error
        largest = max((int(labels.max(initial=-1)) for labels in flat), default=-1)
        if stated is not None and largest >= len(stated):
            raise PrepareError(
                f"{self._shelf.title}: the label {largest} in column {printable(column)} is beyond the {len(stated)} classes that"
                " the dataset names"
            )
        if largest >= _MOST_CLASSES:
            raise UsageError(
                f"{self._shelf.title}: column {printable(column)} has numbers up to {largest}, which are no classes: name the label"
                " column with --label-column"
            )
        return stated or tuple(str(number) for number in range(largest + 1)), by_file

    def _opened(self, name: str) -> pq.ParquetFile:
        """The file with its footer, which is read once; a context manager that closes it."""
        parquet = _pyarrow_parquet()
        handle = self._shelf.open(name)
        try:
            with explained(self._cannot_read(name)):
                file = parquet.ParquetFile(
                    handle, metadata=self._footers.get(name), buffer_size=_BUFFER_BYTES, pre_buffer=False
                )
                self._footers[name] = file.metadata
        except BaseException:
            handle.close()
            raise
        return _Closing(file, handle)

    def _cannot_read(self, name: str) -> str:
        return f"{self._shelf.title}: {printable(name)} cannot be read as parquet"


class _Closing:
    """A ParquetFile that closes the file below it too: pyarrow leaves that to whoever opened it."""

    def __init__(self, file: pq.ParquetFile, handle: BinaryIO) -> None:
        self._file, self._handle = file, handle

    def __enter__(self) -> pq.ParquetFile:
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._handle.close()


class RowIds(Sequence[str]):
    """`file#row` for consecutive rows of a file, made when they are looked at: there can be millions."""

    def __init__(self, file: str, start: int, length: int) -> None:
        self._file, self._rows = file, range(start, start + length)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [f"{self._file}#{row}" for row in self._rows[index]]
        return f"{self._file}#{self._rows[index]}"


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


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise UsageError(
            "reading parquet needs pyarrow, which is not installed: pip install pyarrow"
        ) from error
    return pyarrow.parquet


def _type_of(feature: Any) -> Any:
    return feature.get("_type") if isinstance(feature, dict) else None


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
