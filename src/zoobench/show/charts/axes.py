"""Axes of charts: from values to pixels, the numbers beside them, and what is named where there is room."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from zoobench.show.svg import DIM, GRID, Drawing, fit, round_ticks, text_width

LEGEND_LINE = 20.0
"""Pixels: the height of one line of a legend."""
_SWATCH, _SPACE, _LONGEST_NAME = 17.0, 19.0, 230.0
_ROUND_UP_TO = 6.0
"""Ends of a logarithmic axis that are less than so many times apart get evenly spaced numbers: 1, 2, 5 would leave too few."""


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` between the pixels `start` and `end`; logarithmic ones are above 0."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * share

    @property
    def ticks(self) -> list[float]:
        """Round numbers between the ends, some five of them."""
        if self.log and self.high >= _ROUND_UP_TO * self.low:
            return self._by_powers()
        step = round_ticks(self.high - self.low, about=5)[1]
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * number for number in range(first, last + 1)]

    def _by_powers(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = (1, 2, 5) if last - first <= 4 else (1,)
        numbers = (step * 10.0**power for power in range(first, last + 1) for step in steps)
        return [number for number in numbers if self.low <= number <= self.high]


def padded_log(values: Sequence[float], start: float, end: float) -> Axis:
    """A logarithmic axis that leaves a little room beyond the values, which are above 0."""
    return Axis(0.85 * min(values), 1.18 * max(values), start, end, log=True)


def lower_axis(
    out: Drawing, axis: Axis, top: float, bottom: float, name: str, ticks: Sequence[float] | None = None
) -> None:
    """Lines from `top` to `bottom`, numbers and the name with its unit below; numbers without room are left out."""
    free_from = -math.inf
    for tick in axis.ticks if ticks is None else ticks:
        x, text = axis.at(tick), f"{tick:.9g}"
        out.line((x, top), (x, bottom), GRID)
        half = text_width(text, 11) / 2
        if x - half >= free_from:
            out.text(x, bottom + 13, text, anchor="middle", size=11)
            free_from = x + half + 4
    out.line((axis.start, bottom), (axis.end, bottom), DIM)
    if name:
        out.text((axis.start + axis.end) / 2, bottom + 31, name, anchor="middle", colour=DIM)


def left_axis(out: Drawing, axis: Axis, left: float, right: float, name: str) -> None:
    """Lines from `left` to `right`, numbers and the name with its unit left of them; `axis.start` is the lower end."""
    for tick in axis.ticks:
        y = axis.at(tick)
        out.line((left, y), (right, y), DIM if tick == axis.low else GRID)
        out.text(left - 6, y, f"{tick:.9g}", anchor="end", size=11)
    out.text(left - 46, (axis.start + axis.end) / 2, name, anchor="middle", colour=DIM, turned=True)


def legend(out: Drawing, colours: Mapping[str, str], left: float, top: float, right: float) -> float:
    """Names with their colours, in as many lines as fit between `left` and `right`. Returns the height."""
    x, y = left, top
    for name, colour in colours.items():
        shown = fit(name, _LONGEST_NAME)
        width = _SWATCH + text_width(shown)
        if x > left and x + width > right:
            x, y = left, y + LEGEND_LINE
        out.rect(x, y + 2, 12, 12, colour)
        out.text(x + _SWATCH, y + 8, shown)
        x += width + _SPACE
    return y + LEGEND_LINE - top


_Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Labels:
    """Puts names beside points where nothing lies yet."""

    def __init__(
        self,
        points: Sequence[tuple[float, float]],
        left: float,
        right: float,
        line: Sequence[tuple[float, float]] = (),
    ) -> None:
        """Take the places of all points, which no name may cover; names stay between `left` and `right`.

        Args:
            line: corners of what runs along the axes' directions; names lie on it only where there is no other place.
        """
        self._left, self._right = left, right
        self._taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
        self._line = [
            (min(a[0], b[0]) - 1, min(a[1], b[1]) - 1, max(a[0], b[0]) + 1, max(a[1], b[1]) + 1)
            for a, b in pairwise(line)
        ]
        self.left_out = 0

    def put(self, out: Drawing, at: tuple[float, float], text: str, *, must: bool) -> None:
        """Name a point; where there is no room, only what `must` be named is."""
        short = fit(text, 190, 11)
        # Whole rather than cut, beside the line rather than on it: cut off is what sets a name apart from its neighbours'.
        found = [
            (shown, box)
            for shown in dict.fromkeys((text, short))
            for box in self._free(at, text_width(shown, 11))
        ]
        clear = [(shown, box) for shown, box in found if not any(_meet(box, one) for one in self._line)]
        if not found and not must:
            self.left_out += 1
            return
        shown, chosen = (clear or found or [(short, _around(at, text_width(short, 11))[0])])[0]
        self._taken.append(chosen)
        out.text(chosen[0], chosen[1] + 6, shown, size=11, bold=must, over=True)

    def _free(self, at: tuple[float, float], width: float) -> list[_Box]:
        """Places beside the point where nothing lies yet, the nearest first."""
        return [
            box
            for box in _around(at, width)
            if self._left <= box[0]
            and box[2] <= self._right
            and not any(_meet(box, one) for one in self._taken)
        ]


def _around(at: tuple[float, float], width: float) -> list[_Box]:
    x, y = at
    return [
        (left, y + dy - 6, left + width, y + dy + 6)
        for dy in (-9, 10, -21, 22, 0)
        for left in (x + 7, x - 7 - width)
    ]


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
