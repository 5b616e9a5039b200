"""What may be ranked together: the cells of one machine, sorted once for all that is shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from zoobench.results.query import Cell
from zoobench.results.row import Row
from zoobench.show.speedup import Pair, Speedup, find_pairs, summarise
from zoobench.show.tables import by_batch, machine_title


class View:
    """The real, or the fake, cells of one machine; never empty.

    Attributes:
        batches: batch size → its cells, in their ranking's order.
        cells: all of them, batch by batch.
        fake: they were made by the `fake` backend.
    """

    def __init__(self, cells: Sequence[Cell], fake: bool) -> None:
        self.batches = by_batch(cells)
        self.cells = [cell for group in self.batches.values() for cell in group]
        self.fake = fake
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
        return summarise(find_pairs(self.believable))

    @property
    def pairs(self) -> list[Pair]:
        """The pairs behind `speedups`."""
        return [pair for speedup in self.speedups for pair in speedup.pairs]


def views_of(cells: Sequence[Cell]) -> list[View]:
    """Real cells before fake ones, machine by machine in the order of first appearance."""
    groups: dict[tuple[bool, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.row.is_fake, cell.row.fingerprint), []).append(cell)
    return [View(group, fake) for (fake, _), group in sorted(groups.items(), key=lambda item: item[0][0])]
