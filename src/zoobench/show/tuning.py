"""What a search for runtime options found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from zoobench.show.document import Block, Column, Heading, Paragraph, Table
from zoobench.show.numbers import DASH, counted, format_ms, format_number

if TYPE_CHECKING:
    from zoobench.search.tuning import TunedCell, Tuning
    from zoobench.terms import Interval


def tuning_blocks(found: Sequence[Tuning]) -> Iterator[Block]:
    """Of each backend: the batch curve, all that was tried, and the defaults against the best afresh."""
    for one in found:
        name = f"{one.model} · {one.backend} · {one.precision}"
        if one.skipped is not None:
            yield Paragraph(f"{name}: skipped: {one.skipped}")
            continue
        if len(one.curve) > 1:
            yield Paragraph(f"{name}: {curve_line(one)}")
        if one.held:
            yield Paragraph(f"{name}: every configuration, the defaults too, has {one.held}")
        for note in one.notes:
            yield Paragraph(f"{name}: {note}")
        for cell in one.cells:
            if cell.trials:
                tried = counted(len(cell.trials), "configuration")
                yield Heading(3, f"{name} · batch {cell.batch}: {tried} in {counted(cell.rungs, 'rung')}")
                yield _trials(cell)
            yield Paragraph(f"{name} · batch {cell.batch}: {cell.message}")
            if cell.fresh is not None:
                yield Heading(3, "Measured afresh, in turns" + ("; unstable" if cell.fresh.unstable else ""))
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


def _trials(cell: TunedCell) -> Table:
    rows = [(cell.defaults.label, "all", "1", "", "the defaults, the yardstick of every rung")]
    # Who stayed longest comes first, and of those the fastest.
    for trial in sorted(cell.trials, key=lambda t: (-t.rung, t.why is not None, t.estimate or float("inf"))):
        # The figures of what was merely slower stand beside it.
        best = cell.fresh is not None and cell.fresh.configuration == trial.configuration
        stayed = "the best of the search, measured afresh" if best else "went on to the end"
        fate = stayed if trial.why is None else trial.why
        if trial.estimate is not None:
            fate = fate.partition(": ")[0]
        figure = DASH if trial.estimate is None else f"{trial.estimate:.3f}"
        rows.append((trial.configuration.label, str(trial.rung), figure, _interval(trial.interval), fate))
    heads = (
        Column("Configuration"),
        Column("Rung", "right"),
        Column("Time ÷ defaults'", "right"),
        Column("95% interval"),
        Column("What became of it"),
    )
    return Table(heads, rows)


def _afresh(cell: TunedCell) -> Table:
    fresh = cell.fresh
    assert fresh is not None
    ratio = fresh.ratio
    rows = [
        (cell.defaults.label, format_ms(fresh.default_ms), format_number(fresh.default_per_s), "1", ""),
        (
            fresh.configuration.label,
            format_ms(fresh.best_ms),
            format_number(fresh.best_per_s),
            DASH if ratio is None else f"{ratio.estimate:.3f}",
            _interval(ratio.interval if ratio else None),
        ),
    ]
    numbers = ("Latency (ms)", "Items/s", "Time ÷ defaults'", "95% interval")
    return Table((Column("Configuration"), *(Column(head, "right") for head in numbers)), rows)


def _interval(interval: Interval | None) -> str:
    """Ratios near 1 need their third decimal."""
    return "" if interval is None else f"[{interval[0]:.3f}, {interval[1]:.3f}]"
