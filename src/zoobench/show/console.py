"""A document on a terminal; and in a file or a pipe, which have no width."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from zoobench.results.query import Cell, latest_cells
from zoobench.results.row import Row, row_of
from zoobench.show.document import Block, Column, Heading, Items, Paragraph, Table, plain
from zoobench.show.notes import notes_table
from zoobench.show.numbers import DASH
from zoobench.show.tables import (
    Field,
    Notes,
    by_batch,
    documented_table,
    machine_label,
    make_table,
    status_label,
)
from zoobench.terms import Status

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from zoobench.results.record import Record


_SHORT_HEADS = {
    "p95 (ms)": "p95",
    "End to end (ms)": "end to end",
    "Throughput (items/s)": "items/s",
    "LoadGen (ms)": "LoadGen",
    "TTFT (ms)": "TTFT",
    "ITL (ms)": "ITL",
    "Decode (tokens/s)": "tokens/s",
    "Together (tokens/s)": "all/s",
    "Good (requests/s)": "good/s",
    "Size (MB)": "MB",
    "Peak memory (MB)": "Peak MB",
    "GPU memory (MB)": "GPU MB",
}


def short_head(column: Column) -> str:
    """As a terminal shows it."""
    return _SHORT_HEADS.get(column.head, column.head)


def console_blocks(blocks: Sequence[Block]) -> Iterator[Any]:
    """What rich prints for `blocks`; a table's title is the heading before it. Commands are for who prints lines as they are."""
    from rich.padding import Padding
    from rich.text import Text

    title, before = "", ""
    for block in blocks:
        match block:
            case Heading(level=1):
                yield Text(plain(block.text), style="bold")
            case Heading():
                title = block.text
            case Paragraph():
                if title:
                    yield Text()
                    yield Text(plain(title), style="italic")
                    title = ""
                yield Text(plain(block.text), style="bold" if block.strong else "")
            case Items():
                yield Text()
                for term, said in block.items:
                    yield Padding(Text.assemble((plain(term), "bold"), " ", plain(said)), (0, 0, 0, 2))
                yield Text()
            case Table():
                if before == "Paragraph":
                    yield Text()
                yield _Fitting(title, block)
                title = ""
        if not isinstance(block, Heading):
            before = type(block).__name__


LEAST_TEXT = 8
"""A column of text is not folded to less: names that are broken after every few letters cannot be read."""
_BETWEEN = 2
"""What a table puts beside a column."""


class _Fitting:
    """A table; where the terminal is too narrow for its columns, each row as lines that name them."""

    def __init__(self, title: str, table: Table) -> None:
        self.title, self.table = title, table

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        if self._least_width() <= options.max_width:
            yield _rich_table(self.title, self.table)
            return
        from rich.padding import Padding
        from rich.text import Text

        yield from (Text(plain(self.title), style="italic"), Text()) if self.title else ()
        for row in self.table.rows:
            first, second = self._told(row)
            yield Padding(Text(first), (0, 0, 0, 2))
            yield Padding(Text(second), (0, 0, 0, 7))
        yield Text()

    def _told(self, row: Sequence[str]) -> tuple[str, str]:
        """What the row is, in words that need no head, and its figures with theirs."""
        columns = self.table.columns
        named = next((at for at, column in enumerate(columns) if column.align == "right"), len(columns))
        mark = "" if columns[0].head else f"{plain(row[0]):4} "
        names = [plain(cell) for column, cell in zip(columns, row[:named], strict=False) if column.head]
        figures = (
            f"{short_head(column)} {plain(cell)}".strip()
            for column, cell in zip(columns[named:], row[named:], strict=True)
            if cell and cell != DASH
        )
        return mark + " · ".join(names), " · ".join(figures)

    def _least_width(self) -> int:
        widths = []
        for at, column in enumerate(self.table.columns):
            head, cells = short_head(column), [plain(row[at]) for row in self.table.rows]
            widest = max(map(len, (head, *cells)))
            words = max(map(len, head.split()), default=0)
            widths.append(widest if column.align == "right" else max(words, min(widest, LEAST_TEXT)))
        return sum(width + _BETWEEN for width in widths)


def text_lines(blocks: Sequence[Block]) -> Iterator[str]:
    """The same where nobody looks at it while it is printed: nothing is folded, so that a row is a line that can be searched for."""
    title, before = "", ""
    for block in blocks:
        match block:
            case Heading(level=1):
                yield plain(block.text)
            case Heading():
                title = block.text
            case Paragraph():
                yield from ("", plain(title)) if title else ()
                title = ""
                yield plain(block.text)
            case Items():
                yield ""
                yield from (f"  {plain(term)} {plain(said)}" for term, said in block.items)
                yield ""
            case Table():
                yield from ("",) if before == "Paragraph" else ()
                yield from (plain(title), "") if title else ()
                title = ""
                yield from _table_lines(block)
                yield ""
        if not isinstance(block, Heading):
            before = type(block).__name__


def _table_lines(table: Table) -> Iterator[str]:
    heads = tuple(map(short_head, table.columns))
    rows = [heads, *(tuple(map(plain, row)) for row in table.rows)]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    if table.columns[-1].align != "right":
        # Nothing stands behind it, and a reason may be long.
        widths[-1] = _width(heads[-1])
    for number, row in enumerate(rows):
        cells = (
            " " * (width - _width(cell)) + cell
            if column.align == "right"
            else cell + " " * (width - _width(cell))
            for column, width, cell in zip(table.columns, widths, row, strict=True)
        )
        yield (" " + "  ".join(cells)).rstrip()
        if number == 0:
            yield " " + "─" * (sum(widths) + 2 * (len(widths) - 1))


def _width(text: str) -> int:
    """Columns of a terminal that it takes."""
    if text.isascii():
        return len(text)
    return len(text) + sum(unicodedata.east_asian_width(c) in "WF" for c in text)


def run_blocks(records: Iterable[Record]) -> list[Block]:
    """The documented table, one for each machine and batch size, and below it why a mark, or no number, is there.

    Args:
        records: oldest first.
    """
    blocks: list[Block] = []
    machines: dict[str, list[Cell]] = {}
    for cell in latest_cells(map(row_of, records)):
        machines.setdefault(cell.row.fingerprint, []).append(cell)
    for cells in machines.values():
        notes = Notes()
        for batch, group in by_batch(cells).items():
            table = documented_table(group, notes, narrow=True)
            if table.rows:
                blocks += [Heading(2, f"Batch {batch} · {machine_label(group[-1].row)}"), table]
        if notes.notes:
            blocks += [Heading(2, "Notes"), notes_table(notes)]
        missing = [cell.row for cell in cells if cell.row.status is not Status.OK]
        if missing:
            blocks += [Heading(2, "Not measured"), _missing_table(missing)]
    return blocks


def _missing_table(rows: Sequence[Row]) -> Table:
    """Cells without a number, and why."""
    fields: list[Field] = [
        (Column("Cell"), lambda r: r.label),
        (Column("Status"), status_label),
        (Column("Reason"), lambda r: r.error_message or DASH),
    ]
    return make_table(fields, rows)


def _rich_table(title: str, table: Table) -> RichTable:
    """A table for a terminal; heads that are too wide for one are shortened."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    out = RichTable(
        title=Text(plain(title)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in table.columns:
        out.add_column(
            Text(short_head(column)), justify=column.align, no_wrap=column.align == "right", overflow="fold"
        )
    for row in table.rows:
        out.add_row(*(Text(plain(cell), style=_DECIDED.get(cell[:2], "")) for cell in row))
    return out


_DECIDED = {
    "✓ ": "green", "✗ ": "bold red", "? ": "yellow", "! ": "yellow", "≠ ": "yellow", "– ": "dim",
}  # fmt: skip
"""The mark that a decision begins with → its colour, which says nothing that its word does not."""
