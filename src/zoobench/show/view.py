"""What may be ranked together: the cells of one machine, sorted once for all that is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from zoobench.outcome import Slot
from zoobench.results.query import Cell
from zoobench.results.row import Row
from zoobench.show.speedup import Pair, Speedup, find_pairs, judged, summarise
from zoobench.show.tables import by_batch, machine_title

SlotsOf = Callable[[Row], Sequence[Slot]]


def _none_read(_: Row) -> Sequence[Slot]:
    return ()


class View:
    """The real, or the fake, cells of one machine; never empty.

    Attributes:
        batches: batch size → its cells, in their ranking's order.
        cells: all of them, batch by batch.
        fake: they were made by the `fake` backend.
    """

    def __init__(self, cells: Sequence[Cell], fake: bool, slots_of: SlotsOf = _none_read) -> None:
        """Sort the cells; `slots_of` reads the samples behind a row, for the speed-ups."""
        self.batches = by_batch(cells)
        self.cells = [cell for group in self.batches.values() for cell in group]
        self.fake = fake
        self._slots_of = slots_of
        self.newest = max((c.row for c in cells), key=lambda r: r.recorded_at)

    @property
    def title(self) -> str:
        """The machine, and that nothing was measured where the numbers are fake."""
        return machine_title(self.newest)

    @cached_property
    def rows(self) -> list[Row]:
        """Every cell's row."""
        return [c.row for c in self.cells]

    @cached_property
    def believable(self) -> list[Row]:
        """The rows that may be ranked, compared and drawn."""
        return [r for r in self.rows if r.is_believable]

    @property
    def at_own_pace(self) -> list[Row]:
        """Believable rows whose numbers are the runtime's own: in `server` they follow the rate that was asked for."""
        return [r for r in self.believable if r.scenario != "server"]

    @cached_property
    def speedups(self) -> list[Speedup]:
        """Every backend against PyTorch."""
        return summarise(self.pairs)

    @cached_property
    def pairs(self) -> list[Pair]:
        """The pairs behind `speedups`, in the order of their table."""
        return judged(find_pairs(self.believable), self._slots_of)


def views_of(cells: Sequence[Cell], slots_of: SlotsOf = _none_read) -> list[View]:
    """Real cells before fake ones, machine by machine in the order of first appearance."""
    groups: dict[tuple[bool, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.row.is_fake, cell.row.fingerprint), []).append(cell)
    return [
        View(group, fake, slots_of)
        for (fake, _), group in sorted(groups.items(), key=lambda item: item[0][0])
    ]
