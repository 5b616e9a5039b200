"""What has no number, and why."""

from __future__ import annotations

from zoobench.results.explore import failing
from zoobench.show.dashboard.markup import show_blocks, show_text
from zoobench.show.dashboard.place import Place
from zoobench.show.sections import failure_section
from zoobench.show.view import View


def show(place: Place) -> None:
    """Draw the page."""
    machine = place.machine
    show_text(place.where)
    cells = failing(machine.cells)
    if not cells:
        show_text("Every cell of this machine has a number.")
        return
    show_text(f"{len(cells)} of {len(machine.cells)} cells.")
    show_blocks(failure_section(View(cells, machine.fake))[1:])
