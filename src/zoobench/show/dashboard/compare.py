"""Two cells or more beside each other, each against the first."""

from __future__ import annotations

import streamlit as st

from zoobench.judge.compare import VARYING, compare
from zoobench.outcome import Slot
from zoobench.results.explore import milliseconds
from zoobench.results.record import Record
from zoobench.results.row import Row
from zoobench.show.charts.distributions import distribution_chart
from zoobench.show.dashboard.markup import show_blocks, show_chart, show_notice, show_text
from zoobench.show.dashboard.place import Place
from zoobench.show.side_by_side import comparison_blocks, figures_table
from zoobench.show.tables import in_order

MARGIN = 0.05
MOST = 8


def show(place: Place) -> None:
    """Draw the page."""
    show_text(place.where)
    rows = place.pick_many(
        in_order(place.filtered()), "cells", "Cells; the first is what the others are held against"
    )
    if len(rows) < 2:
        show_text("Choose two or more cells above, or rows of the leaderboard.")
        return
    if len(rows) > MOST:
        show_text(f"The first {MOST} of {len(rows)} are compared.")
        rows = rows[:MOST]
    show_blocks([figures_table(rows)])
    sides = [_side(place, row) for row in rows]
    if None in sides:
        return
    known = [side for side in sides if side is not None]
    found = [
        compare(row.label, known[0], other, delta=MARGIN, varying=VARYING["cell"])
        for row, other in zip(rows[1:], known[1:], strict=True)
    ]
    show_blocks(comparison_blocks(rows, found))
    with st.expander("How the calls are spread", expanded=True):
        samples = [(row, milliseconds(side[1])) for row, side in zip(rows, known, strict=True)]
        show_chart(distribution_chart(samples), "No samples were kept of these records.")


def _side(place: Place, row: Row) -> tuple[Record, tuple[Slot, ...]] | None:
    found = place.measured(row)
    if found is None:
        return None
    record, slots, why = found
    if why and record.latency is not None:
        show_notice(f"{row.label}: {why}; its interval comes from its statistics", "warning")
    return record, tuple(slots)
