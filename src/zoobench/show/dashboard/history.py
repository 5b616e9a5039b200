"""One cell over time."""

from __future__ import annotations

import streamlit as st

from zoobench.results.explore import history
from zoobench.results.watch import reference
from zoobench.show.charts.history import history_chart
from zoobench.show.dashboard.grid import show_grid
from zoobench.show.dashboard.markup import show_blocks, show_chart, show_text
from zoobench.show.dashboard.place import Place
from zoobench.show.document import Paragraph
from zoobench.show.numbers import counted
from zoobench.show.one_record import history_table
from zoobench.show.tables import in_order


def show(place: Place) -> None:
    """Draw the page."""
    show_text(place.where)
    cells = in_order(place.filtered())
    if not cells:
        show_text("No cell fits these filters.")
        place.offer_clearing()
        return
    row = place.pick(cells, "record", "Cell")
    rows = history(place.holdings.rows, row)
    of = f"{row.label} · {counted(row.threads, 'thread')}"
    show_blocks([Paragraph(f"{of}: {counted(len(rows), 'record')} on this machine", strong=True)])
    show_chart(history_chart(rows), "None of its records has a number.")
    runs = {one.run_id: place.holdings.run(one.run_id) for one in rows}
    names = [reference(one) for one in reversed(rows)]
    chosen = show_grid(
        history_table(rows, runs), names, "history", "The records of this cell, the newest first"
    )
    left, right = st.columns(2)
    with left:
        if st.button("Open the record", disabled=len(chosen) != 1, width="stretch"):
            place.go("detail", record=chosen)
    with right:
        if st.button("Compare", disabled=len(chosen) < 2, width="stretch"):
            place.go("compare", cells=chosen)
