"""The reasons behind the marks of a table, each once, with all that the cells said of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from zoobench.show.document import Column, Table
from zoobench.show.tables import Notes

MOST_WORDINGS = 3
"""Wordings of one reason that are shown; hundreds of cells may each tell of another file."""
# A number by itself: those in names and versions (resnet18, 1.2.0) tell no amount.
_NUMBER = re.compile(r"(?<![\w./-])\d++(?:\.\d++)?+(?![\w/]|\.\d)")


def notes_table(notes: Notes) -> Table:
    """The reasons behind the marks, each once, with its advice and how many cells gave it."""
    columns = (
        Column("Note", "right"),
        Column("Mark"),
        Column("Code"),
        Column("Cells", "right"),
        Column("What"),
    )
    rows = [
        (str(note.number), note.kind, note.code, str(note.cells), _told(note.messages))
        for note in notes.notes.values()
    ]
    return Table(columns, rows)


def _told(messages: Iterable[str]) -> str:
    """Each wording once, with the least and the largest of its numbers: a mild case must not stand for the worst."""
    wordings: dict[tuple[str, ...], list[list[str]]] = {}
    for message in messages:
        wordings.setdefault(tuple(_NUMBER.split(message)), []).append(_NUMBER.findall(message))
    shown = [_filled(words, numbers) for words, numbers in list(wordings.items())[:MOST_WORDINGS]]
    left = len(wordings) - len(shown)
    return " | ".join([*shown, *([f"and {left} other wordings"] if left else [])])


def _filled(words: Sequence[str], numbers: Sequence[Sequence[str]]) -> str:
    spans = [_span(column) for column in zip(*numbers, strict=True)]
    return "".join(part for pair in zip_longest(words, spans, fillvalue="") for part in pair)


def _span(numbers: Sequence[str]) -> str:
    least, most = min(numbers, key=float), max(numbers, key=float)
    return least if float(least) == float(most) else f"{least} to {most}"
