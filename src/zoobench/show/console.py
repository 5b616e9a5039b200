"""A document on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from zoobench.show.document import Block, Heading, Items, Paragraph, Table, plain
from zoobench.show.tables import rich_table


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
                yield rich_table(title, block)
                title = ""
        if not isinstance(block, Heading):
            before = type(block).__name__
