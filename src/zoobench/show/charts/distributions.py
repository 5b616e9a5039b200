"""How the calls of a cell are spread: a median hides two modes and a long tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoobench.results.row import Row
from zoobench.show.charts.axes import Axis, lower_axis
from zoobench.show.charts.bars import Chart, in_series_order, series_colours, series_of
from zoobench.show.document import plain
from zoobench.show.numbers import format_ms
from zoobench.show.svg import DIM, INK, Drawing, fit

MOST_CELLS = 24
_MOST_DOTS = 260
"""Dots of a cell; of more calls some are drawn, evenly chosen by rank."""
_BINS = 64
_FAR = 1.5
"""Calls that take longer than so many times the 95th in a hundred are told in words, or they would press the rest together."""
_PAD, _NAMES, _WIDTH, _WORDS, _TITLE, _ROW, _AXIS, _STRIP = 14.0, 178.0, 470.0, 300.0, 26.0, 40.0, 44.0, 20.0
"""Pixels: around the picture; names, plot and words from left to right; a panel's title, a cell's row, a panel's axis; the
height of a strip."""


@dataclass(frozen=True)
class _Strip:
    """A cell and the milliseconds of its calls, the shortest first."""

    row: Row
    times: Sequence[float]

    def quantile(self, share: float) -> float:
        """The order statistic x[⌊n·share⌋], as everywhere."""
        return self.times[min(int(share * len(self.times)), len(self.times) - 1)]

    @property
    def shown_to(self) -> float:
        """The longest call that is drawn."""
        return min(self.times[-1], _FAR * self.quantile(0.95))


def distribution_chart(samples: Sequence[tuple[Row, Sequence[float]]]) -> Chart | None:
    """A strip a cell, a panel a model and batch size: a dot a call, the middle half as a bar, p50, and p95 where it is known.

    Args:
        samples: cells of one machine with the milliseconds of their calls, in the order in which they are shown.
    """
    known = [(row, sorted(t for t in times if t > 0)) for row, times in samples]
    strips = [_Strip(row, times) for row, times in known if times]
    if not strips:
        return None
    shown = strips[:MOST_CELLS]
    caption = (
        "Every timed call (ms); warm-up and settling calls are no part of it. The dots are the calls, higher where there are many; the bar "
        "below holds the middle half, its long stroke is p50, the dashed one p95 where there are calls enough to tell it."
    )
    if any(len(strip.times) > _MOST_DOTS for strip in shown):
        caption += f" Of more than {_MOST_DOTS} calls so many are drawn, evenly chosen by rank."
    if len(strips) > len(shown):
        caption += f" The first {len(shown)} of {len(strips)} cells are shown."
    return Chart("distributions", _draw(shown, caption), caption)


def _draw(strips: Sequence[_Strip], caption: str) -> str:
    names = in_series_order({series_of(strip.row) for strip in strips})
    colours = dict(zip(names, series_colours(names), strict=True))
    panels: dict[tuple[str, int], list[_Strip]] = {}
    for strip in strips:
        panels.setdefault((strip.row.model, strip.row.batch), []).append(strip)
    out = Drawing()
    left, top = _PAD + _NAMES, _PAD
    for (model, batch), own in panels.items():
        out.text(
            _PAD, top + 8, fit(f"{plain(model)} · batch {batch}", _NAMES + _WIDTH, 13), bold=True, size=13
        )
        top += _TITLE
        bottom = top + _ROW * len(own)
        ends = [end for strip in own for end in (strip.times[0], strip.shown_to)]
        axis = Axis(0.98 * min(ends), 1.02 * max(ends), left, left + _WIDTH, log=True)
        lower_axis(out, axis, top, bottom, "ms a call, logarithmic")
        for number, strip in enumerate(own):
            _strip(out, strip, axis, top + number * _ROW, colours[series_of(strip.row)])
        top = bottom + _AXIS
    return out.finish(left + _WIDTH + _WORDS + _PAD, top + _PAD, caption)


def _strip(out: Drawing, strip: _Strip, axis: Axis, top: float, colour: str) -> None:
    row, middle, below = strip.row, top + 4 + _STRIP / 2, top + 4 + _STRIP + 6
    out.text(axis.start - 8, middle + 4, fit(series_of(row), _NAMES - 10), anchor="end")
    out.dots(_cloud(strip, axis, middle), colour, 0.75)
    low, high = (axis.at(min(strip.quantile(share), axis.high)) for share in (0.25, 0.75))
    out.rect(low, below - 2.5, high - low, 5, colour)
    median, tail = row.p50_ms or strip.quantile(0.5), row.p95_ms
    out.line((axis.at(median), top + 3), (axis.at(median), below + 4), INK, 1.8)
    if tail is not None and axis.low <= tail <= axis.high:
        out.line((axis.at(tail), top + 3), (axis.at(tail), below + 4), INK, 1.2, dash="3 2")
    words = f"p50 {format_ms(row.p50_ms)} · p95 {format_ms(tail)} · {len(strip.times)} calls"
    out.text(axis.end + 10, middle - (2 if _beside(strip, axis) else -4), words, size=11)
    if beside := _beside(strip, axis):
        out.text(axis.end + 10, middle + 12, beside, size=11, colour=DIM)


def _beside(strip: _Strip, axis: Axis) -> str:
    """What the strip itself does not show."""
    far = sum(t > axis.high for t in strip.times)
    told = ["⚠ unstable"] if strip.row.is_unstable else []
    told += [f"{far} beyond, up to {format_ms(strip.times[-1])} ms"] if far else []
    return " · ".join(told)


def _cloud(strip: _Strip, axis: Axis, middle: float) -> list[tuple[float, float]]:
    """The calls along the axis, spread upwards and downwards by how many lie near: the same drawing every time."""
    times = strip.times
    if len(times) > _MOST_DOTS:
        times = [strip.quantile(number / (_MOST_DOTS - 1)) for number in range(_MOST_DOTS)]
    places = [axis.at(t) for t in times if t <= axis.high]
    bins = [int((x - axis.start) / (axis.end - axis.start) * (_BINS - 1)) for x in places]
    counts = {number: bins.count(number) for number in set(bins)}
    most = max(counts.values(), default=1)
    # The golden ratio's multiples fill an interval evenly without a random number.
    return [
        (x, middle + _STRIP * (number * 0.618034 % 1 - 0.5) * counts[bin_] / most)
        for number, (x, bin_) in enumerate(zip(places, bins, strict=True))
    ]
