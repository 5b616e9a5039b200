"""A table that is sorted by a click and in which rows are chosen: the report's cells, with the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from zoobench.show.document import Table, plain
from zoobench.show.numbers import DASH, Keyed
from zoobench.show.svg import text_width

_HEAD_PX, _ROW_PX, _MOST_SEEN, _VERDICT_PX, _WIDEST_PX = 38, 35, 18, 180, 250
"""Heights of Streamlit's head and rows, rows that are seen at once, and the widths of a verdict with its notes and of other words."""


class _Figure(float):
    """A number that is sorted as such and read as its text."""

    text: str


def show_grid(table: Table, names: Sequence[str], key: str, alt: str) -> list[str]:
    """Draw it. Returns the names of the chosen rows.

    Args:
        names: one a row; what was chosen is forgotten when they change.
        alt: what it holds, for those who cannot see it.
    """
    # Streamlit keeps the places of chosen rows, which would be other rows after a filter.
    state = f"{key}:{crc32(chr(10).join(names).encode(errors='surrogatepass')):x}"
    event: Any = st.dataframe(
        _styled(table),
        column_order=_in_sight([column.head for column in table.columns]),
        height=_HEAD_PX + _ROW_PX * min(len(names), _MOST_SEEN),
        hide_index=True,
        column_config=_widths(table),
        key=state,
        on_select="rerun",
        selection_mode="multi-row",
        placeholder=DASH,
        alt=alt,
    )
    return [names[at] for at in event.selection.rows if at < len(names)]


def _widths(table: Table) -> dict[str, Any]:
    """Columns of words are as wide as what is in them: by itself Streamlit goes by the first few rows."""
    found: dict[str, Any] = {"Verdict": st.column_config.Column(width=_VERDICT_PX)}
    for at, column in enumerate(table.columns):
        if column.align == "left" and column.head not in found:
            longest = max(map(text_width, [column.head, *(cells[at] for cells in table.rows)]))
            found[column.head] = st.column_config.Column(width=int(min(longest * 1.1 + 22, _WIDEST_PX)))
    return found


def _in_sight(heads: list[str]) -> list[str]:
    """The verdict beside the number that it is about: the table's end may lie beyond a narrow screen's."""
    if "Verdict" not in heads or "Latency (ms)" not in heads:
        return heads
    heads.remove("Verdict")
    heads.insert(heads.index("Latency (ms)") + 1, "Verdict")
    return heads


def _styled(table: Table) -> Any:
    """Streamlit shows a Styler's text and sorts by what stands below it."""
    columns = {
        column.head: _column([cells[at] for cells in table.rows], numbers=column.align == "right")
        for at, column in enumerate(table.columns)
    }
    # As objects: pandas would keep the number of a figure and forget its text.
    frame = pd.DataFrame({head: pd.Series(values, dtype=object) for head, values in columns.items()})
    numeric = [head for head, values in columns.items() if any(isinstance(v, _Figure) for v in values)]
    return Styler(frame).format(lambda figure: figure.text, subset=numeric, na_rep=DASH) if numeric else frame


def _column(cells: Sequence[str], *, numbers: bool) -> list[Any]:
    if any(isinstance(cell, Keyed) and isinstance(cell.key, float | int) for cell in cells):
        return [_figure(cell) for cell in cells]
    if numbers and all(cell.isdecimal() for cell in cells):
        return [int(cell) for cell in cells]
    return [plain(cell) for cell in cells]


def _figure(cell: str) -> _Figure | None:
    if not (isinstance(cell, Keyed) and isinstance(cell.key, float | int)):
        return None
    figure = _Figure(cell.key)
    figure.text = plain(cell)
    return figure
