"""The documented table of one machine, filtered and sorted; rows lead to the other pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from zoobench.results.explore import ORDERS, in_order_of, verdict_word
from zoobench.results.query import Cell
from zoobench.results.row import Row
from zoobench.results.watch import reference
from zoobench.show.dashboard.grid import show_grid
from zoobench.show.dashboard.markup import show_blocks, show_text
from zoobench.show.dashboard.place import Place
from zoobench.show.sections import notes_section
from zoobench.show.tables import Notes, documented_table, in_order
from zoobench.terms import Status, VerdictValue

MOST_ROWS = 300
AS_REPORTED = "model, then latency"
_VERDICTS = {value.value: rank for rank, value in enumerate(VerdictValue)}


def show(place: Place) -> None:
    """Draw the page."""
    show_text(f"{place.where}. Two machines are never ranked together.")
    found = place.filtered()
    order = place.address.one("sort", "Sort by", [AS_REPORTED, *ORDERS])
    cells = in_order(found) if order == AS_REPORTED else in_order_of(found, order)
    notes = Notes()
    ranked = [cell for cell in cells if cell.row.is_believable]
    others = [cell for cell in cells if not cell.row.is_believable and cell.row.status is not Status.SKIPPED]
    _tell_how_many(place, cells)
    if not cells:
        place.offer_clearing()
    among = [cell.row for cell in (*ranked, *others)]
    picked = _grid(ranked, among, notes, "leaderboard", "Cells with latency, throughput, size and verdict")
    if others:
        st.markdown("**Not ranked**: no number, or none to be believed")
        picked += _grid(others, among, notes, "unranked", "Cells that are invalid or have no number")
    if ranked or others:
        _leads(place, picked)
    if notes.notes:
        with st.expander("What the notes say"):
            show_blocks(notes_section(notes)[1:])


def _grid(cells: Sequence[Cell], among: Sequence[Row], notes: Notes, key: str, alt: str) -> list[str]:
    """The first cells as a table; what names the chosen ones."""
    shown = cells[:MOST_ROWS]
    if not shown:
        return []
    names = [reference(cell.row) for cell in shown]
    several = len({cell.row.batch for cell in shown}) > 1
    table = documented_table(shown, notes, narrow=True, batches=several, among=among)
    chosen = show_grid(table, names, key, alt)
    if len(cells) > MOST_ROWS:
        show_text(f"The first {MOST_ROWS} of {len(cells)} are shown; sort or filter for the others.")
    return chosen


def _tell_how_many(place: Place, cells: Sequence[Cell]) -> None:
    of = len(place.machine.cells)
    if cells:
        tally = Counter(verdict_word(cell.row) for cell in cells)
        shown = sorted(tally, key=lambda word: (_VERDICTS.get(word, len(_VERDICTS)), word))
        text = f"{len(cells)} of {of} cells fit the filters: {', '.join(f'{tally[word]} {word}' for word in shown)}."
    else:
        text = f"None of the {of} cells fits these filters."
    if any(cell.row.status is not Status.OK for cell in cells):
        text += " Why a cell has no number stands under Failures."
    # One batch size and one task are shown unless somebody asks for all, so nothing on the page else says that there are more.
    text += "".join(f" {sentence}" for sentence in place.narrowed())
    show_text(text)


def _leads(place: Place, picked: list[str]) -> None:
    """Where chosen rows lead."""
    left, middle, right = st.columns(3)
    with left:
        if st.button("Open the record", disabled=len(picked) != 1, width="stretch"):
            place.go("detail", record=picked)
    with middle:
        if st.button("Show its history", disabled=len(picked) != 1, width="stretch"):
            place.go("history", record=picked)
    with right:
        if st.button("Compare", disabled=len(picked) < 2, width="stretch"):
            place.go("compare", cells=picked)
    if not picked:
        st.caption("Choose rows by their boxes on the left: one to open it, two or more to compare.")
