"""Blocks as one HTML page that needs nothing else: style, script and pictures are inside.

Its Content-Security-Policy names this style and this script by their hashes and allows nothing else, so that whatever a hostile
name smuggled in would not run. Without the script the page says the same, in the order of the ranking.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from zoobench.show.document import (
    Block,
    Command,
    Heading,
    Items,
    Paragraph,
    Picture,
    Table,
    command_text,
    plain,
)
from zoobench.show.numbers import Keyed

_CARDS_FROM, _DENSE_FROM = 4, 12
"""Tables of so many columns become cards on a narrow screen, and are set closer on a wide one."""
_TALL_FROM = 40
"""Tables of so many rows scroll by themselves, under their heads."""
_CONTENTS_FROM = 4


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The page, with a table of contents before its first section."""
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(title)}</title>\n<style>{style}</style>\n</head>\n"
        '<body>\n<a class="skip" href="#main">Skip to the report</a>\n<main id="main">\n'
        + "\n".join(_body(blocks))
        + f"\n</main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def fragment(blocks: Sequence[Block]) -> str:
    """The blocks as HTML for a page that somebody else makes, with a style of its own: no ids, no contents."""
    return "\n".join(
        f"<h{block.level}>{_text(block.text)}</h{block.level}>"
        if isinstance(block, Heading)
        else _table(block, "")
        if isinstance(block, Table)
        else _simple(block)
        for block in blocks
    )


@lru_cache(maxsize=2)
def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


def _hash(text: str) -> str:
    """As a Content-Security-Policy names what stands between two tags (CSP level 3, "Hash usage for <script> elements")."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _text(text: str) -> str:
    """Escaped for an element and for an attribute in double quotes."""
    return html.escape(plain(text))


_LIGHTS = {"🟢": "green", "🟡": "yellow", "🔴": "red"}


def _lit(text: str) -> str:
    """For an element; the lights are drawn, since not every machine has a font with them."""
    found = _text(text)
    if found.isascii():
        return found
    for light, name in _LIGHTS.items():
        if light in found:
            found = found.replace(light, f'<i class="light {name}" role="img" aria-label="{name}">●</i>')
    return found


def _body(blocks: Sequence[Block]) -> Iterator[str]:
    names = _names(blocks)
    # The first is the page's title.
    sections = [(b, names[i]) for i, b in enumerate(blocks) if isinstance(b, Heading) and b.level > 1]
    about = ""
    for i, block in enumerate(blocks):
        match block:
            case Heading():
                if len(sections) >= _CONTENTS_FROM and names[i] == sections[0][1]:
                    yield _contents(sections)
                about = names[i]
                yield f'<h{block.level} id="{about}">{_text(block.text)}</h{block.level}>'
            case Table():
                yield _table(block, about)
            case _:
                yield _simple(block)


def _names(blocks: Sequence[Block]) -> dict[int, str]:
    """Number of a block that is a heading → an id that nobody else has, of small letters, digits and hyphens."""
    taken: dict[str, int] = {"main": 1}
    found: dict[int, str] = {}
    for number, block in enumerate(blocks):
        if isinstance(block, Heading):
            word = re.sub(r"[^a-z0-9]+", "-", plain(block.text).lower()).strip("-")[:50] or "section"
            taken[word] = taken.get(word, 0) + 1
            found[number] = word if taken[word] == 1 else f"{word}--{taken[word]}"
    return found


def _contents(sections: Sequence[tuple[Heading, str]]) -> str:
    """Sections, each with its own in the line below."""
    lines: list[str] = []
    for heading, name in sections:
        link = f'<a href="#{name}">{_text(heading.text)}</a>'
        if heading.level == 2 or not lines:
            lines.append(f"<li>{link}")
        else:
            lines[-1] += f' <span class="sub">{link}</span>'
    items = "</li>\n".join(lines)
    return f'<nav class="contents" aria-label="Contents"><ul>\n{items}</li>\n</ul></nav>'


def _simple(block: Paragraph | Items | Command | Picture) -> str:
    match block:
        case Paragraph():
            css = ' class="strong"' if block.strong else ""
            return f"<p{css}>{_lit(block.text)}</p>"
        case Items():
            items = "".join(
                f"<li>{f'<b>{_text(term)}</b> ' if term else ''}{_lit(said)}</li>"
                for term, said in block.items
            )
            return f"<ul>{items}</ul>"
        case Command():
            return f"<pre><code>{html.escape(command_text(block))}</code></pre>"
        case Picture():
            # As an image of its own: nothing in it can act on the page.
            data = base64.b64encode(block.svg.encode()).decode()
            caption = _text(block.caption)
            return (
                f'<figure><div class="wide"><img alt="{caption}" src="data:image/svg+xml;base64,{data}"></div>'
                f"<figcaption>{caption}</figcaption></figure>"
            )


def _table(table: Table, about: str) -> str:
    """Each cell tells its column, for cards, and the number or word behind it, for sorting and choosing."""
    labels = [_text(column.head) for column in table.columns]
    numbers = [' class="n"' if column.align == "right" else "" for column in table.columns]
    chosen = [" data-choose" if column.head in table.choices else "" for column in table.columns]
    heads = "".join(
        f'<th scope="col"{n}{choose}>{label}</th>'
        for n, choose, label in zip(numbers, chosen, labels, strict=True)
    )
    openings = [f'{n} data-label="{label}"' for n, label in zip(numbers, labels, strict=True)]
    out = ' class="out"'
    rows = "\n".join(
        f"<tr{out if number in table.unranked else ''}>{_cells(openings, row)}</tr>"
        for number, row in enumerate(table.rows)
    )
    css = ["wide"]
    css += ["cards"] if len(table.columns) >= _CARDS_FROM else []
    css += ["dense"] if len(table.columns) >= _DENSE_FROM else []
    css += ["tall"] if len(table.rows) >= _TALL_FROM else []
    css += ["judged"] if table.columns[-1].head == "Verdict" else []
    filtered = " data-filter" if table.choices else ""
    named = f' aria-labelledby="{about}"' if about else ""
    return (
        f'<div class="{" ".join(css)}"><table{named}{filtered}>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _cells(openings: Sequence[str], row: Sequence[str]) -> str:
    """The first names the row."""
    return "".join(
        f"<{tag}{opening}{_key(text)}>{_lit(text)}</{tag[:2]}>"
        for tag, opening, text in zip(
            ('th scope="row"', *["td"] * (len(row) - 1)), openings, row, strict=True
        )
    )


def _key(text: str) -> str:
    if not isinstance(text, Keyed):
        return ""
    key = _text(text.key) if isinstance(text.key, str) else f"{text.key:.7g}"
    return f' data-value="{key}"'
