"""Labelled pictures in parquet files, read a row group at a time; the same code for local files and the Hub's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, overload

import numpy as np

from zoobench.data import Block, DataRequest, Pick
from zoobench.data.columns import Columns
from zoobench.data.decode import stored_size
from zoobench.data.layout import card_features, choose, parts_of
from zoobench.data.object_column import (
    Fields,
    Reading,
    Written,
    as_sizes,
    readings,
    written,
)
from zoobench.data.shelf import LocalShelf, Shelf, front_matter
from zoobench.data.truth import Objects
from zoobench.errors import PrepareError, UsageError, explained, install_extra, printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BUFFER_BYTES = 4 << 20
"""What is read ahead of a column's pages: large for a Hub that is far away, small beside a row group."""
_ROWS_AT_ONCE = 16
_FILES_AT_ONCE = 8
"""Whose labels are read together: on the Hub each row group's take a request, and waiting is all that it costs."""
_MOST_CLASSES = 100_000
_T = TypeVar("_T")
_LOOKED_AT = 64
"""Pictures whose headers are read where nothing else tells how boxes are written."""
_HOW_READ: dict[Reading, str] = {
    "xywh": "boxes were read as left, top, width, height, as their numbers say",
    "corners": "boxes were read as left, top, right, bottom, as their numbers say",
}
_NO_CROWDS = "the dataset does not mark crowds, so what a model finds in one counts as wrong"


def open_parquet(path: Path, request: DataRequest) -> ParquetSource:
    """A local `.parquet` file, or a folder of them."""
    return ParquetSource(LocalShelf(path), request)


class ParquetSource:
    """A `Source` over the parquet files of a shelf. Opened when something is asked of it.

    Its label column holds a class, or the objects on the picture (`object_column`): then it is for detectors. Config, split and
    columns are told from the files where the request has None. Every property but `pin`, and both methods, raise UsageError where there are several or none, PrepareError for files that cannot be read, and
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
        self._notes = notes
        self._footers: dict[str, pq.FileMetaData] = {}

    @property
    def pin(self) -> dict[str, Any]:
        """The shelf's, and what was asked for: nothing that would need a file to be opened."""
        return {**self._shelf.pin, "asked": self._asked}

    @property
    def identity(self) -> dict[str, Any]:
        """The shelf's, with config, split and columns."""
        config, split = self._part
        image, label = self._columns.image, self._columns.label
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

    @property
    def notes(self) -> tuple[str, ...]:
        """Those it was given, and how boxes were read."""
        return (*self._notes, *self._read_labels[2])

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
        column = self._columns.image
        path = column if self._columns.image_is_plain else f"{column}.bytes"
        wanted, start = iter(rows), 0
        row = next(wanted, None)
        with self._opened(name) as file, explained(self._cannot_read(name)):
            for batch in file.iter_batches(
                _ROWS_AT_ONCE, row_groups=[group], columns=[path], use_threads=False
            ):
                values = batch.column(0) if self._columns.image_is_plain else batch.column(0).field("bytes")
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
    def _columns(self) -> Columns:
        return Columns(
            self._shelf.title,
            self._schema,
            lambda: card_features(self._card, self._part[0]),
            {noun: self._asked[noun] for noun in ("image", "label")},
        )

    @cached_property
    def _groups(self) -> list[tuple[str, int]]:
        """(file, row group) of each block."""
        return [
            (name, group)
            for name in self._parts[self._part]
            for group in range(self._footers[name].num_row_groups)
        ]

    @cached_property
    def _read_labels(self) -> tuple[tuple[str, ...], list[Block], tuple[str, ...]]:
        """Classes, blocks, and what there is to note."""
        if fields := self._columns.objects:
            return self._read_objects(fields)
        by_file = self._of_each_file([self._columns.label], _labels)
        classes, coded = self._coded(by_file)
        groups = [labels for groups in coded for labels in groups]
        return (
            classes,
            [Block(ids.file, ids, labels) for ids, labels in zip(self._ids, groups, strict=True)],
            (),
        )

    def _read_objects(self, fields: Fields) -> tuple[tuple[str, ...], list[Block], tuple[str, ...]]:
        column, sides = self._columns.label, self._columns.sides
        paths = [*fields.paths(column, self._schema.field(column).type), *sides]
        by_file = self._of_each_file(
            paths, lambda table: (written(table.column(column), fields), _sizes(table, sides))
        )
        classes, coded = self._coded([[objects.classes for objects, _ in groups] for groups in by_file])
        told = [both for groups in by_file for both in groups]
        reading = self._reading(told)
        blocks = []
        for ids, (objects, sizes), labels in zip(
            self._ids, told, (labels for groups in coded for labels in groups), strict=True
        ):
            if (labels < 0).any():
                raise PrepareError(
                    f"{self._shelf.title}: {printable(ids.file)} has an object without a class"
                )
            boxes = as_sizes(objects.boxes, reading)
            found = Objects(objects.counts, sizes, labels, boxes, objects.areas, objects.crowds)
            blocks.append(Block(ids.file, ids, np.full(len(ids), -1), found))
        notes = [_HOW_READ[reading]] if any(len(objects.boxes) for objects, _ in told) else []
        return classes, blocks, (*notes, *(() if fields.crowds else (_NO_CROWDS,)))

    def _reading(self, told: Sequence[tuple[Written, np.ndarray]]) -> Reading:
        """What the four numbers of a box are, told from all of them; where no sizes are stated, from pictures too."""
        boxes = np.concatenate([objects.boxes for objects, _ in told])
        areas = np.concatenate([objects.areas for objects, _ in told])
        sizes = np.concatenate([np.repeat(sizes, objects.counts, axis=0) for objects, sizes in told])
        found = readings(boxes, areas, sizes)
        if len(found) > 1 and not self._columns.sides:
            looked, sizes = self._looked_at(told)
            found = readings(boxes[looked], areas[looked], sizes)
        if len(found) == 1:
            return found[0]
        if np.nanmax(boxes) <= 1:
            why = "are shares of the picture and not pixels"
        elif found:
            why = "could be left, top, width, height as well as left, top, right, bottom"
        else:
            why = "are neither left, top, width, height nor left, top, right, bottom of pixels in their pictures"
        raise UsageError(
            f"{self._shelf.title}: the boxes in column {printable(self._columns.label)} {why}: give the dataset as COCO's"
            " annotations, a .json"
        )

    def _looked_at(self, told: Sequence[tuple[Written, np.ndarray]]) -> tuple[slice, np.ndarray]:
        """Which boxes lie on the first pictures of the first block that has any, and the sizes of each one's picture."""
        block = next(index for index, (objects, _) in enumerate(told) if len(objects.boxes))
        counts = told[block][0].counts[:_LOOKED_AT]
        pictures = self._pictures(block, range(len(counts)))
        sizes = np.array([stored_size(picture) or (0, 0) for picture in pictures], np.int64)
        return slice(0, int(counts.sum())), np.repeat(sizes, counts, axis=0)

    @property
    def _ids(self) -> Iterator[RowIds]:
        """Of each block; known once all files were opened."""
        for name in self._parts[self._part]:
            footer, start = self._footers[name], 0
            for group in range(footer.num_row_groups):
                rows = footer.row_group(group).num_rows
                yield RowIds(name, start, rows)
                start += rows

    def _of_each_file(self, columns: list[str], read: Callable[[pa.Table], _T]) -> list[list[_T]]:
        """What `read` makes of these columns of each row group, by file."""

        def groups(name: str) -> list[_T]:
            found = []
            with self._opened(name) as file:
                for group in range(file.metadata.num_row_groups):
                    with explained(self._cannot_read(name)):
                        table = file.read_row_group(group, columns=columns, use_threads=False)
                    with explained(f"{self._shelf.title}: {printable(name)}"):
                        found.append(read(table))
            return found

        names = self._parts[self._part]
        with ThreadPoolExecutor(min(_FILES_AT_ONCE, len(names))) as pool:
            return list(pool.map(groups, names))

    def _coded(self, by_file: list[list[np.ndarray]]) -> tuple[tuple[str, ...], list[list[np.ndarray]]]:
        """The class names, and the labels as indices into them."""
        column = self._columns.label
        flat = [labels for groups in by_file for labels in groups]
        stated = self._columns.stated_names(column)
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
        self.file, self._rows = file, range(start, start + length)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [f"{self.file}#{row}" for row in self._rows[index]]
        return f"{self.file}#{self._rows[index]}"


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise UsageError(
            f"reading parquet needs pyarrow, which is not installed; {install_extra('data')}"
        ) from error
    return pyarrow.parquet


def _labels(table: pa.Table) -> np.ndarray:
    """Of a table with one column: int64 with -1 for none, or text with None for none."""
    import pyarrow as pa

    values = table.column(0)
    if not pa.types.is_integer(values.type):
        return np.array(values.to_pylist(), dtype=object)
    # An unsigned column has no −1.
    numbers = values.cast(pa.int64()).fill_null(-1).to_numpy().astype(np.int64)
    return np.where(numbers < 0, -1, numbers)


def _sizes(table: pa.Table, sides: Sequence[str]) -> np.ndarray:
    """int64, (rows, 2), width and height; 0 where they are not stated."""
    import pyarrow as pa

    stated = [table.column(side).cast(pa.int64()).fill_null(0).to_numpy() for side in sides]
    return np.stack(stated, axis=1) if stated else np.zeros((table.num_rows, 2), np.int64)
