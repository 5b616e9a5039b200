"""A report as plain blocks, and their rendering as Markdown; `page` makes a page of them.

Blocks hold text only, never markup, so that a hostile model name has one gate to pass in each rendering.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from zoobench.errors import printable

LONGEST_TEXT = 500


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the page's title."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text; `strong` marks the sentence to take away."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Items:
    """A bullet list: each item a term (may be empty) and what is said about it."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Column:
    """A table's column; numbers are set flush right."""

    head: str
    align: Literal["left", "right"] = "left"


@dataclass(frozen=True)
class Table:
    """Rows of text, one cell a column.

    Attributes:
        choices: heads of columns by whose words rows are chosen where a page can filter; empty: the table is not filtered.
        unranked: which rows come after all others, whatever figure they are sorted by.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[str]]
    choices: tuple[str, ...] = ()
    unranked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Command:
    """Lines to type into a shell."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A chart: its file beside the report, its SVG source, and what it shows in words."""

    path: str
    svg: str
    caption: str


Block = Heading | Paragraph | Items | Table | Command | Picture

_MARKUP = frozenset("&<>|`*~$\\[]!{}")
_ZERO_WIDTH_SPACE = "&#8203;"
_HARMLESS = re.compile(
    r"(?!(?i:.*www\.)|\d+[.)](?:\s|$))[A-Za-z0-9—]"
    r"(?:[A-Za-z0-9 .,/%×()—🟢🟡🔴-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])|\[-?[0-9.]+, -?[0-9.]+\])*"
)


def plain(text: str) -> str:
    """One line without control, direction and other invisible characters, clipped to 500 characters."""
    if text.isprintable() and len(text) <= LONGEST_TEXT:
        return text
    shown = _visible(text[: 4 * LONGEST_TEXT])
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"


def command_text(block: Command) -> str:
    """What is typed, line by line and whole: a command that lost its end, or a space, is another one."""
    return "\n".join(map(printable, block.lines))


def _visible(text: str) -> str:
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))


def markdown_text(text: str) -> str:
    """Escape for Markdown anywhere, table cells included: what comes out reads as `text` and does nothing."""
    return text if _HARMLESS.fullmatch(text) else _escape_markdown(text)


@lru_cache(maxsize=8192)
def _escape_markdown(text: str) -> str:
    """Character references are never markup (CommonMark, "Entity and numeric character references").

    A zero-width space keeps mentions, issue numbers and bare addresses from becoming links. Underscores
    inside a word are no markup and stay as they are.
    """
    text = "".join(f"&#{ord(c)};" if c in _MARKUP else c for c in plain(text))
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", "&#95;", text)
    text = re.sub(r"@(?=\w)", "@" + _ZERO_WIDTH_SPACE, text)
    text = re.sub(r"(?<!&)#(?=\d)", "#" + _ZERO_WIDTH_SPACE, text)
    text = re.sub(r"(?i)\b(https?|ftp|mailto|xmpp):(?=\S)", r"\1:" + _ZERO_WIDTH_SPACE, text)
    text = re.sub(r"(?i)\b(www)\.", r"\1" + _ZERO_WIDTH_SPACE + ".", text)
    text = re.sub(r"^([-+#=])", lambda marker: f"&#{ord(marker[1])};", text)
    return re.sub(r"^(\d+)([.)])", r"\1" + _ZERO_WIDTH_SPACE + r"\2", text)


def to_markdown(blocks: Sequence[Block]) -> str:
    """GitHub-flavoured Markdown, one blank line between blocks."""
    return "\n\n".join(_markdown_block(block) for block in blocks) + "\n"


def _markdown_block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {markdown_text(block.text)}"
        case Paragraph():
            text = markdown_text(block.text)
            return f"**{text}**" if block.strong else text
        case Items():
            return "\n".join(
                f"* **{markdown_text(term)}** {markdown_text(said)}" if term else f"* {markdown_text(said)}"
                for term, said in block.items
            )
        case Table():
            return "\n".join(_markdown_table(block))
        case Command():
            return _markdown_command(block)
        case Picture():
            caption = markdown_text(block.caption)
            return f"![{caption}]({quote(block.path)})\n\n{caption}"


def _markdown_table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(markdown_text(column.head) for column in table.columns) + " |"
    yield "|" + "|".join("---:" if column.align == "right" else "---" for column in table.columns) + "|"
    for row in table.rows:
        yield "| " + " | ".join(map(markdown_text, row)) + " |"


def _markdown_command(block: Command) -> str:
    text = command_text(block)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"
