"""What nothing else beats in two figures at once."""

from __future__ import annotations

import streamlit as st

from zoobench.judge.scope import Load, by_load
from zoobench.results.explore import values_of
from zoobench.results.query import Cell
from zoobench.results.row import Row
from zoobench.results.watch import reference
from zoobench.show.charts.plane import MEASURES, comparable, known_measures, plane_chart, plane_front
from zoobench.show.dashboard.grid import show_grid
from zoobench.show.dashboard.markup import show_blocks, show_chart, show_text
from zoobench.show.dashboard.place import Place
from zoobench.show.document import Heading
from zoobench.show.tables import Notes, documented_table, load_label
from zoobench.terms import ASKED_OPTIONS

_FIRST_UP = ("top-1", "mAP", "size", "memory")


def show(place: Place) -> None:
    """Draw the page."""
    show_text(place.where)
    cells = [cell for cell in place.filtered() if cell.row.is_believable]
    known = known_measures([cell.row for cell in cells])
    up = next((name for name in _FIRST_UP if name in known), "throughput")
    left, right = st.columns(2)
    with left:
        x = place.address.one("x", "Across", list(MEASURES), default="latency", said=_title, what="figure")
    with right:
        y = place.address.one("y", "Up", list(MEASURES), default=up, said=_title, what="figure")
    # A classifier does not compete with a detector, nor a long answer with a short one.
    planes = [
        (task, asked, rows)
        for task in values_of(cells, "task")
        for asked, rows in by_load(cell.row for cell in cells if cell.row.task == task).items()
    ]
    if not planes:
        show_text("No believable cell fits these filters.")
        place.offer_clearing()
    if x == y:
        show_text("Choose two different figures.")
        return
    for task, asked, rows in planes:
        if len(planes) > 1:
            show_blocks([Heading(3, f"{task.replace('_', ' ')} · {_asked(*asked)}")])
        _show_plane(place, rows, x, y, f"{task}:{asked}")


def _show_plane(place: Place, rows: list[Row], x: str, y: str, key: str) -> None:
    across, up = MEASURES[x], MEASURES[y]
    missing = f"There is nothing to draw: it takes two cells with both {across.title} and {up.title}."
    show_chart(plane_chart(rows, across, up), missing)
    front = plane_front(comparable(rows, across, up)[0], across, up)
    if not front:
        return
    st.markdown("**On the front**")
    table = documented_table([Cell(row) for row in front], Notes(), narrow=True, batches=True, among=rows)
    picked = show_grid(table, list(map(reference, front)), f"front:{key}", "The cells on the front")
    if st.button("Compare the chosen", key=f"compare:{key}", disabled=len(picked) < 2):
        place.go("compare", cells=picked)


def _asked(scenario: str, load: Load) -> str:
    """The load as the tables have it, and what they have beside the backend."""
    told = dict(load)
    others = [f"{name}={str(told.pop(name))[:12]}" for name in list(told) if name not in ASKED_OPTIONS]
    return ", ".join([load_label(scenario, told), *others])


def _title(name: str) -> str:
    return MEASURES[name].title
