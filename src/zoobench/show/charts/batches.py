"""What a larger batch buys and what it costs: throughput and latency over the batch size, with the knee."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zoobench.judge.knee import WORTH, knee
from zoobench.results.row import Row
from zoobench.show.charts.axes import Axis, left_axis, legend, lower_axis
from zoobench.show.charts.bars import MOST_PANELS, Chart, Scope
from zoobench.show.svg import INK, Drawing, fit, round_ticks

MOST_BATCHES = 12
_PAD, _MARGIN, _TITLE, _AXIS, _BETWEEN = 14.0, 58.0, 22.0, 42.0, 16.0
_WIDTH, _THROUGHPUT, _LATENCY = 215.0, 140.0, 110.0
"""Pixels: the plots; around the picture, left of a plot, above it, below it, between two."""
_KNEE = 7.5


@dataclass(frozen=True)
class _Curves:
    """What is drawn of one model.

    Attributes:
        rows: (series, batch) → row.
        knees: series → the batch from which on larger ones buy little.
    """

    model: str
    rows: dict[tuple[str, int], Row]
    knees: dict[str, int]


def batch_chart(rows: Sequence[Row]) -> Chart | None:
    """Two plots a model, throughput over latency, one line a backend; None where no model has two batch sizes.

    Args:
        rows: believable ones of one machine, in the order in which they are shown.
    """
    known = [r for r in rows if r.throughput_per_s]
    batches: dict[str, set[int]] = {}
    for row in known:
        batches.setdefault(row.model, set()).add(row.batch)
    known = [r for r in known if len(batches[r.model]) > 1]
    if not known:
        return None
    # A knee is where it is, whether or not there is room to draw every batch size that was measured.
    whole = Scope.of(known, MOST_PANELS, most_batches=len(known))
    knees = _knees(whole)
    scope = whole.narrowed(MOST_BATCHES, set(knees.values()))
    panels = [
        _Curves(
            model,
            {(s, b): r for (m, s, b), r in scope.at.items() if m == model},
            {s: batch for (m, s), batch in knees.items() if m == model},
        )
        for model in scope.models
    ]
    caption = (
        "Throughput (items/s, more is better) and median latency (p50, ms, less is better) against batch size; every plot has its "
        f"own scale upwards. A ring marks the knee: no larger batch brings {100 * (WORTH - 1):.0f}% more throughput; where none is, the "
        "largest batch that was measured still pays."
    )
    if any(r.is_unstable for r in scope.rows):
        caption += " Hollow points are unstable."
    caption += scope.remark
    return Chart("batches", _draw(scope, panels, caption), caption)


def _knees(scope: Scope) -> dict[tuple[str, str], int]:
    """(Model, series) → its knee, where it has one."""
    rates: dict[tuple[str, str], dict[int, float]] = {}
    for (model, series, batch), row in scope.at.items():
        rates.setdefault((model, series), {})[batch] = row.throughput_per_s or 0.0
    found = ((place, knee(of_place)) for place, of_place in rates.items())
    return {place: batch for place, batch in found if batch is not None}


def _draw(scope: Scope, panels: Sequence[_Curves], caption: str) -> str:
    out = Drawing()
    columns = 2 if len(panels) in (2, 4) else 3
    across, down = min(len(panels), columns), -(-len(panels) // columns)
    wide = _MARGIN + _WIDTH + 14
    tall = _TITLE + _THROUGHPUT + _BETWEEN + _LATENCY + _AXIS + 12
    full = max(2 * _PAD + across * wide, 480)
    top = _PAD + legend(out, scope.colours, _PAD, _PAD, full - _PAD) + 8
    for number, panel in enumerate(panels):
        left = _PAD + _MARGIN + number % columns * wide
        _panel(out, scope, panel, left, top + number // columns * tall + _TITLE)
    return out.finish(full, top + down * tall + _PAD, caption)


def _panel(out: Drawing, scope: Scope, panel: _Curves, left: float, top: float) -> None:
    middle = top + _THROUGHPUT
    bottom = middle + _BETWEEN + _LATENCY
    right = left + _WIDTH
    inset = 8.0  # so that no point lies on the edge
    x = Axis(
        scope.batches[0], max(scope.batches[-1], scope.batches[0] + 1), left + inset, right - inset, log=True
    )
    out.text(left, top - _TITLE / 2 - 2, fit(panel.model, _WIDTH, 13), bold=True, size=13)
    lower_axis(out, x, top, middle, "", ticks=())
    lower_axis(out, x, middle + _BETWEEN, bottom, "batch size", ticks=scope.batches)
    rates = _from_zero([r.throughput_per_s or 0.0 for r in panel.rows.values()], middle, top)
    times = _from_zero([_highest(r) for r in panel.rows.values()], bottom, middle + _BETWEEN)
    left_axis(out, rates, left, right, "items/s")
    left_axis(out, times, left, right, "p50 (ms)")
    for series, colour in scope.colours.items():
        own = {b: r for (s, b), r in panel.rows.items() if s == series}
        for row in own.values():
            if row.p50_interval_ms:
                low, high = row.p50_interval_ms
                out.line((x.at(row.batch), times.at(low)), (x.at(row.batch), times.at(high)), colour, 1.5)
        _line(out, scope, own, lambda r: (x.at(r.batch), rates.at(r.throughput_per_s or 0.0)), colour)
        _line(out, scope, own, lambda r: (x.at(r.batch), times.at(r.median)), colour)
        if (best := panel.knees.get(series)) is not None:
            out.hoop(x.at(best), rates.at(own[best].throughput_per_s or 0.0), INK, _KNEE)


def _highest(row: Row) -> float:
    return max(row.median, row.p50_interval_ms[1] if row.p50_interval_ms else 0.0)


def _from_zero(values: Sequence[float], bottom: float, top: float) -> Axis:
    return Axis(0.0, round_ticks(max(values, default=1.0))[-1], bottom, top)


def _line(
    out: Drawing, scope: Scope, own: dict[int, Row], at: Callable[[Row], tuple[float, float]], colour: str
) -> None:
    run: list[tuple[float, float]] = []
    for batch in scope.batches:
        row = own.get(batch)
        if row is None:  # a line must not run through a cell without a number
            if len(run) > 1:
                out.path(run, colour)
            run = []
        else:
            run.append(at(row))
    if len(run) > 1:
        out.path(run, colour)
    for row in own.values():
        (out.ring if row.is_unstable else out.dot)(*at(row), colour)
