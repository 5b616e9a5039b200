"""What has no number, and why; the way to those whose number is not to be believed."""

from __future__ import annotations

import streamlit as st

from zoobench.results.explore import ANY, failing, verdict_word
from zoobench.show.dashboard.markup import show_blocks, show_text
from zoobench.show.dashboard.place import FILTERS, Place
from zoobench.show.sections import failure_section
from zoobench.show.view import View
from zoobench.terms import VerdictValue


def show(place: Place) -> None:
    """Draw the page."""
    machine = place.machine
    show_text(place.where)
    cells = failing(machine.cells)
    if cells:
        show_text(f"{len(cells)} of {len(machine.cells)} cells.")
        show_blocks(failure_section(View(cells, machine.fake))[1:])
    else:
        show_text("Every cell of this machine has a number.")
    _lead_to_invalid(place)


def _lead_to_invalid(place: Place) -> None:
    word = VerdictValue.INVALID.value
    count = sum(verdict_word(cell.row) == word for cell in place.machine.cells)
    if count == 0:
        return
    show_text(f"Cells whose number is {word}: {count}. The leaderboard shows them below the others.")
    if st.button("Show what is invalid"):
        every: dict[str, list[str]] = {name: [] for name in FILTERS}
        place.go("leaderboard", **every | {"task": [ANY], "batch": [ANY], "verdict": [word]})
