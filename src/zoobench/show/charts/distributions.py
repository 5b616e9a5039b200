"""How the calls of a cell are spread: a median hides two modes and a long tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoobench.results.row import Row
from zoobench.show.charts.axes import Axis, lower_axis
from zoobench.show.charts.bars import Chart
from zoobench.show.charts.series import colours_of, model_names, series_names
from zoobench.show.numbers import format_ms
from zoobench.show.svg import DIM, INK, Drawing, fit, text_width

MOST_CELLS = 24
_MOST_DOTS = 260
"""Dots of a cell; of more calls some are drawn, evenly chosen by rank."""
_BINS = 90
_TAIL, _LEAST, _MOST = 1.5, 0.5, 1.6
"""What is drawn: calls up to so many times p95, from so many times p50 to so many; the others are told in words, or they would
press the rest together."""
_MOST_NAMES = 330.0
_PAD, _NAMES, _WIDTH, _WORDS, _TITLE, _ROW, _AXIS, _STRIP = 14.0, 210.0, 500.0, 260.0, 24.0, 38.0, 44.0, 20.0
"""Pixels: around the picture; names (as wide as they are, up to the most), plot and words from left to right; a model's title, a cell's row, the axis; the height of a
strip."""


@dataclass(frozen=True)
class _Strip:
    """A cell and the milliseconds of its calls, the shortest first."""

    row: Row
    times: Sequence[float]

    def quantile(self, share: float) -> float:
        """The order statistic x[⌊n·share⌋], as everywhere."""
        return self.times[min(int(share * len(self.times)), len(self.times) - 1)]

    @property
    def median(self) -> float:
        """What its calls are divided by, ms."""
        return self.row.p50_ms or self.quantile(0.5)

    @property
    def ends(self) -> tuple[float, float]:
        """Where what is drawn of it begins and ends, in medians."""
        longest = min(self.times[-1], _TAIL * self.quantile(0.95))
        return max(self.times[0] / self.median, _LEAST), min(longest / self.median, _MOST)


def distribution_chart(samples: Sequence[tuple[Row, Sequence[float]]]) -> Chart | None:
    """A strip a cell, in medians so that they compare: a dot a call, the middle half as a bar, p50, and p95 where it is known.

    Args:
        samples: cells of one machine with the milliseconds of their calls, in the order in which they are shown.
    """
    known = [(row, sorted(t for t in times if t > 0)) for row, times in samples]
    strips = [_Strip(row, times) for row, times in known if times]
    if not strips:
        return None
    shown = strips[:MOST_CELLS]
    caption = (
        "Every timed call against the median of its cell; warm-up and settling calls are no part of it. The dots are the calls, higher "
        "where there are many; the bar below holds the middle half, the long stroke is p50, the dashed one p95 where there are calls "
        "enough to tell it. Words are in milliseconds."
    )
    if any(len(strip.times) > _MOST_DOTS for strip in shown):
        caption += f" Of more than {_MOST_DOTS} calls so many are drawn, evenly chosen by rank."
    if len(strips) > len(shown):
        caption += f" The first {len(shown)} of {len(strips)} cells are shown."
    return Chart("distributions", _draw(shown, caption), caption)


def _draw(strips: Sequence[_Strip], caption: str) -> str:
    name = series_names([strip.row for strip in strips])
    colours = colours_of(name(strip.row) for strip in strips)
    models: dict[str, list[_Strip]] = {}
    model_of = model_names([strip.row for strip in strips])
    for strip in strips:
        models.setdefault(model_of(strip.row), []).append(strip)
    out = Drawing()
    called = {id(strip): f"{name(strip.row)} · batch {strip.row.batch}" for strip in strips}
    left = _PAD + min(max(_NAMES, *(text_width(text) + 16 for text in called.values())), _MOST_NAMES)
    bottom = _PAD + _TITLE * len(models) + _ROW * len(strips) + 6
    lows, highs = zip(*(strip.ends for strip in strips), strict=True)
    axis = Axis(min(*lows, 0.98) - 0.01, max(*highs, 1.02) + 0.01, left, left + _WIDTH)
    lower_axis(out, axis, _PAD + _TITLE, bottom, "time of a call / p50 of its cell")
    out.line((axis.at(1.0), _PAD + _TITLE), (axis.at(1.0), bottom), DIM)
    top = _PAD
    for model, own in models.items():
        out.text(_PAD, top + 12, fit(model, _NAMES + _WIDTH, 13), bold=True, size=13)
        top += _TITLE
        for strip in own:
            _strip(out, strip, axis, top, called[id(strip)], colours[name(strip.row)])
            top += _ROW
    return out.finish(left + _WIDTH + _WORDS + _PAD, bottom + _AXIS, caption)


def _strip(out: Drawing, strip: _Strip, axis: Axis, top: float, name: str, colour: str) -> None:
    row, middle, below = strip.row, top + 2 + _STRIP / 2, top + 2 + _STRIP + 6
    out.text(axis.start - 8, middle + 3, fit(name, axis.start - _PAD - 10), anchor="end")
    out.dots(_cloud(strip, axis, middle), colour, 0.75)
    low, high = (_inside(strip.quantile(share) / strip.median, axis) for share in (0.25, 0.75))
    out.rect(axis.at(low), below - 2.5, axis.at(high) - axis.at(low), 5, colour)
    out.line((axis.at(1.0), top + 1), (axis.at(1.0), below + 4), INK, 1.8)
    tail = row.p95_ms
    if tail is not None and axis.low <= tail / strip.median <= axis.high:
        x = axis.at(tail / strip.median)
        out.line((x, top + 1), (x, below + 4), INK, 1.2, dash="3 2")
    words = f"p50 {format_ms(row.p50_ms)}, p95 {format_ms(tail)} · {len(strip.times)} calls"
    beside = _beside(strip, axis)
    out.text(axis.end + 10, middle - 3 if beside else middle + 3, words, size=11)
    if beside:
        out.text(axis.end + 10, middle + 11, beside, size=11, colour=DIM)


def _inside(share: float, axis: Axis) -> float:
    return min(max(share, axis.low), axis.high)


def _beside(strip: _Strip, axis: Axis) -> str:
    """What the strip itself does not show."""
    short = sum(t < axis.low * strip.median for t in strip.times)
    long = sum(t > axis.high * strip.median for t in strip.times)
    told = ["⚠ unstable"] if strip.row.is_unstable else []
    told += [f"{short} shorter, from {format_ms(strip.times[0])} ms"] if short else []
    told += [f"{long} longer, up to {format_ms(strip.times[-1])} ms"] if long else []
    return " · ".join(told)


def _cloud(strip: _Strip, axis: Axis, middle: float) -> list[tuple[float, float]]:
    """The calls along the axis, spread upwards and downwards by how many lie near: the same drawing every time."""
    times = strip.times
    if len(times) > _MOST_DOTS:
        times = [strip.quantile(number / (_MOST_DOTS - 1)) for number in range(_MOST_DOTS)]
    medians = (t / strip.median for t in times)
    places = [axis.at(share) for share in medians if axis.low <= share <= axis.high]
    bins = [int((x - axis.start) / (axis.end - axis.start) * (_BINS - 1)) for x in places]
    counts = {number: bins.count(number) for number in set(bins)}
    most = max(counts.values(), default=1)
    # The golden ratio's multiples fill an interval evenly without a random number.
    return [
        (x, middle + _STRIP * (number * 0.618034 % 1 - 0.5) * counts[bin_] / most)
        for number, (x, bin_) in enumerate(zip(places, bins, strict=True))
    ]
