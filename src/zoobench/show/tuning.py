"""What a search for runtime options found, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from zoobench.errors import printable
from zoobench.show.numbers import DASH, format_ms, format_number

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from zoobench.search.tuning import TunedCell, Tuning
    from zoobench.terms import Interval


def tuning_tables(found: Sequence[Tuning]) -> Iterator[RenderableType]:
    """Of each backend: the batch curve, all that was tried, and the defaults against the best afresh."""
    for one in found:
        name = f"{one.model} · {one.backend} · {one.precision}"
        if one.skipped is not None:
            yield _text(f"{name}: skipped: {one.skipped}")
            continue
        if len(one.curve) > 1:
            yield _text(f"{name}: {curve_line(one)}")
        if one.held:
            yield _text(f"{name}: every configuration, the defaults too, has {one.held}")
        for note in one.notes:
            yield _text(f"{name}: {note}")
        for cell in one.cells:
            if cell.trials:
                yield _trials(name, cell)
            yield _text(f"{name} · batch {cell.batch}: {cell.message}")
            if cell.fresh is not None:
                yield _afresh(cell)


def curve_line(one: Tuning) -> str:
    """Items a second over the batch size, and the knee."""
    points = ", ".join(f"{rate:.3g} at batch {batch}" for batch, rate in sorted(one.curve.items()))
    bend = (
        f"the knee is at batch {one.knee}: larger ones bring less than a tenth more"
        if one.knee is not None
        else f"the knee lies above batch {max(one.curve)}, if there is one"
    )
    return f"with the defaults {points} items/s; {bend}"


def _trials(name: str, cell: TunedCell) -> RenderableType:
    from rich.table import Table

    table = Table(
        title=_text(
            f"{name} · batch {cell.batch}: {len(cell.trials)} configurations in {cell.rungs} rung{'s' * (cell.rungs != 1)}"
        )
    )
    for head in ("Configuration", "Rung", "Time ÷ defaults'", "95% interval", "What became of it"):
        table.add_column(head, justify="right" if head == "Rung" else "left")
    table.add_row(_text(cell.defaults.label), "all", "1", "", "the defaults, the yardstick of every rung")
    # Who stayed longest comes first, and of those the fastest.
    for trial in sorted(cell.trials, key=lambda t: (-t.rung, t.why is not None, t.estimate or float("inf"))):
        # The figures of what was merely slower stand beside it.
        best = cell.fresh is not None and cell.fresh.configuration == trial.configuration
        stayed = "the best of the search, measured afresh" if best else "went on to the end"
        fate = stayed if trial.why is None else trial.why
        if trial.estimate is not None:
            fate = fate.partition(": ")[0]
        table.add_row(
            _text(trial.configuration.label),
            str(trial.rung),
            DASH if trial.estimate is None else f"{trial.estimate:.3f}",
            _interval(trial.interval),
            _text(fate),
        )
    return table


def _afresh(cell: TunedCell) -> RenderableType:
    from rich.table import Table

    fresh = cell.fresh
    assert fresh is not None
    table = Table(title="Measured afresh, in turns" + ("; unstable" if fresh.unstable else ""))
    for head in ("Configuration", "Latency (ms)", "Items/s", "Time ÷ defaults'", "95% interval"):
        table.add_column(head, justify="left" if head == "Configuration" else "right")
    table.add_row(
        _text(cell.defaults.label), format_ms(fresh.default_ms), format_number(fresh.default_per_s), "1", ""
    )
    ratio = fresh.ratio
    table.add_row(
        _text(fresh.configuration.label),
        format_ms(fresh.best_ms),
        format_number(fresh.best_per_s),
        DASH if ratio is None else f"{ratio.estimate:.3f}",
        _interval(ratio.interval if ratio else None),
    )
    return table


def _interval(interval: Interval | None) -> str:
    """Ratios near 1 need their third decimal."""
    return "" if interval is None else f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def _text(value: str) -> Text:
    """Names come from users and hubs: shown as they are, never read as markup."""
    from rich.text import Text

    return Text(printable(value))
