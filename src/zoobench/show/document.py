"""A report as plain blocks, and their two renderings: Markdown and one self-contained HTML page.

Blocks hold text only, never markup, so that a hostile model name has one gate to pass in each rendering.
"""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

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
    """Rows of text, one cell a column."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[str]]


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
    spaced = " ".join(text[: 4 * LONGEST_TEXT].split())
    shown = "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"


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
    text = "\n".join(map(plain, block.lines))
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def _html_text(text: str) -> str:
    return html.escape(plain(text))


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """One page that needs nothing else: styles and pictures are inside, there is no script."""
    body = "\n".join(map(_html_block, blocks))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{_html_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html_block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{_html_text(block.text)}</h{block.level}>"
        case Paragraph():
            css = ' class="strong"' if block.strong else ""
            return f"<p{css}>{_html_text(block.text)}</p>"
        case Items():
            items = "".join(
                f"<li>{f'<b>{_html_text(term)}</b> ' if term else ''}{_html_text(said)}</li>"
                for term, said in block.items
            )
            return f"<ul>{items}</ul>"
        case Table():
            return _html_table(block)
        case Command():
            return f"<pre><code>{html.escape(chr(10).join(map(plain, block.lines)))}</code></pre>"
        case Picture():
            # As an image of its own: two SVGs set into one page would share the ids of their clip paths.
            data = base64.b64encode(block.svg.encode()).decode()
            caption = _html_text(block.caption)
            return (
                f'<figure><img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
                f"<figcaption>{caption}</figcaption></figure>"
            )


def _html_table(table: Table) -> str:
    classes = [' class="n"' if column.align == "right" else "" for column in table.columns]

    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(f"<{tag}{c}>{_html_text(t)}</{tag}>" for c, t in zip(classes, cells, strict=True))

    head = row("th", [column.head for column in table.columns])
    body = "\n".join(f"<tr>{row('td', cells)}</tr>" for cells in table.rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --dim: #5b6570; --paper: #fff; --line: #dde1e6;
  --band: #f5f7f9; --strong: #eaf3fb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --dim: #9aa4af; --paper: #15191d;
  --line: #333a42; --band: #1c2126; --strong: #1a2a38; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 1rem; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .6rem; }
p { margin: .6rem 0; overflow-wrap: anywhere; }
p.strong { background: var(--strong); border-left: 4px solid #0072b2; padding: .6rem .9rem;
  font-weight: 600; }
li { margin: .2rem 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .84rem; min-width: 60%; }
th, td { padding: .3rem .5rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; max-width: 34rem; }
th { color: var(--dim); font-weight: 600; border-bottom-width: 2px; }
tbody tr:nth-child(even) { background: var(--band); }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { background: var(--band); padding: .8rem 1rem; overflow-x: auto; border-radius: 6px; font-size: .85rem; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
figcaption { color: var(--dim); font-size: .87rem; margin-top: .3rem; }
"""
