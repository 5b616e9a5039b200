"""Progress on stderr: the cell in work, cells done, time left.

Nothing is redrawn by a timer: a redraw in the middle of a slot would disturb what is measured. The driver calls
between slots, and only then something is written.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from zoobench.errors import printable
from zoobench.show.numbers import format_ms
from zoobench.terms import Status, VerdictValue

if TYPE_CHECKING:
    from rich.progress import Progress

    from zoobench.results.record import Record
    from zoobench.spec import Case

_STAGES = {
    "load": "loading",
    "warm_up": "warming up",
    "slot": "measuring",
    "evidence": "looking at what ran",
}
_REDRAW_S = 0.5


class Lines:
    """One plain line for each thing that is done: for logs and pipes."""

    def __init__(self) -> None:
        self._cells = self._done = 0

    def note(self, text: str) -> None:
        """One line. Nobody stops measuring because it cannot be written."""
        with suppress(OSError):
            print(printable(text), file=sys.stderr, flush=True)

    def planned(self, cells: int, done: int) -> None:
        """How many cells, and how many are there already."""
        self._cells, self._done = cells, done
        count = f"{cells} cell" if cells == 1 else f"{cells} cells"
        before = f", {done} measured before (--on-existing rerun measures them again)" if done else ""
        self.note(count + before)

    def preparing(self, model: str, text: str) -> None:
        """A step of the preparation."""
        self.note(f"preparing {model}: {text}")

    def working(self, case: Case, stage: str) -> None:
        """Too many for a log."""

    def recorded(self, record: Record) -> None:
        """One line a cell."""
        self._done += 1
        self.note(f"[{self._done}/{self._cells}] {describe(record)}")


class Bar(Lines):
    """A bar that is drawn again when the driver says something, at most twice a second."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task = progress.add_task("preparing", total=None)
        self._drawn = 0.0

    def note(self, text: str) -> None:
        """Above the bar."""
        self._progress.console.print(printable(text), markup=False, emoji=False, highlight=False)

    def planned(self, cells: int, done: int) -> None:
        """The bar gets its length."""
        self._cells, self._done = cells, done
        self._progress.update(self._task, total=cells, completed=done)
        self._draw()

    def preparing(self, model: str, text: str) -> None:
        """The bar's text."""
        self._progress.update(self._task, description=printable(f"preparing {model}: {text}"))
        self._draw()

    def working(self, case: Case, stage: str) -> None:
        """The bar's text."""
        self._progress.update(self._task, description=printable(f"{_STAGES.get(stage, stage)} {case.label}"))
        if time.monotonic() - self._drawn > _REDRAW_S:
            self._draw()

    def recorded(self, record: Record) -> None:
        """One step."""
        super().recorded(record)
        self._progress.update(self._task, completed=self._done)
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._progress.refresh()


def describe(record: Record) -> str:
    """A cell's result in one line."""
    name = record.case.label + ("" if record.case.arm == "base" else f" · {record.case.arm}")
    if record.status is not Status.OK or record.latency is None:
        return f"{name}: {record.status.value}" + (f" ({record.error.message})" if record.error else "")
    doubt = (
        ""
        if not record.verdict or record.verdict.value is VerdictValue.VALID
        else f", {record.verdict.value.value}"
    )
    middle = record.latency.p50_ms
    return f"{name}: {'too few calls for p50' if middle is None else f'p50 {format_ms(middle)} ms'}{doubt}"


@contextmanager
def watch() -> Iterator[Lines]:
    """A bar on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # No refresh thread: see the module's text.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as progress:
        yield Bar(progress)
