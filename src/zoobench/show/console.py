"""A document on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from zoobench.show.document import Block, Heading, Items, Paragraph, Table, plain
from zoobench.show.numbers import DASH
from zoobench.show.tables import rich_table, short_head


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
            yield rich_table(self.title, self.table)
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
            f"{short_head(column)} {plain(cell)}"
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
