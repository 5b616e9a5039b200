"""Charts: one function each, from records to a `Chart`, with one colour a backend everywhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from zoobench.results.row import Row
from zoobench.show.charts.axes import legend
from zoobench.show.charts.series import colours_of, first_of, model_names, series_names
from zoobench.show.numbers import format_number, format_ratio
from zoobench.show.speedup import Pair
from zoobench.show.svg import DIM, GRID, INK, Drawing, fit, round_ticks, text_width
from zoobench.terms import Interval

MOST_MODELS, MOST_PANELS, MOST_SERIES, MOST_BATCHES = 30, 12, 12, 4

_PAD, _GAP, _TITLE, _AXIS = 14, 22, 22, 42
"""Pixels: around the picture, between panels, heights of a panel's title and of its lower axis."""


@dataclass(frozen=True)
class Chart:
    """A chart: its file's name without the ending, its SVG, and what it shows in words."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Mark:
    """One number of a chart, with its interval, how it is written, and how strongly it is drawn."""

    value: float
    interval: Interval | None
    text: str
    opacity: float = 1.0

    @property
    def high(self) -> float:
        """Where what is drawn of it ends."""
        return max(self.value, self.interval[1] if self.interval else self.value)


@dataclass(frozen=True)
class Panel:
    """Marks along one scale.

    Attributes:
        title, unit: above it and below it.
        marks: (model, series) → what is drawn.
    """

    title: str
    unit: str
    marks: dict[tuple[str, str], Mark]


def latency_chart(rows: Sequence[Row]) -> Chart | None:
    """Bars of p50 per model and backend, whiskers for the interval, one panel a batch size.

    Args:
        rows: believable ones, in the order in which they are shown.
    """
    scope = Scope.of(rows)
    if not scope.rows:
        return None
    marks: dict[Place, Mark] = {}
    for place, row in scope.at.items():
        opacity = 0.45 if row.is_unstable else 1.0
        marks[place] = Mark(row.median, row.p50_interval_ms, format_number(row.p50_ms), opacity)
    caption = "Median latency (p50, ms, shorter is better) with its 95% interval."
    if any(mark.opacity < 1 for mark in marks.values()):
        caption += " Pale bars in a frame are unstable."
    caption += scope.remark
    panels = by_batch(scope, marks, "p50 (ms)")
    return Chart("latency", rows_of_panels(scope, panels, bar, caption), caption)


def speedup_chart(pairs: Sequence[Pair]) -> Chart | None:
    """Speed-up over PyTorch per model and backend, whiskers for the interval, one panel a batch size."""
    scope = Scope.of([p.other for p in pairs])
    if not scope.rows:
        return None
    pair_of = {id(p.other): p for p in pairs}
    marks = {
        place: Mark(p.ratio, p.interval, format_ratio(p.ratio), 1.0 if p.is_stable else 0.45)
        for place, row in scope.at.items()
        for p in [pair_of[id(row)]]
    }
    base = " / ".join(sorted({p.base.backend for p in pairs}))
    caption = f"Speed-up over {base} (ratio of times, more is better) with its 95% interval; dashed: equal."
    if any(mark.opacity < 1 for mark in marks.values()):
        caption += " Pale points hold an unstable number."
    caption += scope.remark
    panels = by_batch(scope, marks, "speed-up (×)")
    svg = rows_of_panels(scope, panels, _point, caption, common_scale=True, reference=1.0)
    return Chart("speedup", svg, caption)


Place = tuple[str, str, int]
"""Model, series, batch."""
Draw = Callable[[Drawing, Mark, float, float, Callable[[float], float], str], None]


def bar(out: Drawing, mark: Mark, y: float, height: float, at: Callable[[float], float], colour: str) -> None:
    """A bar from 0, in a frame where it is pale."""
    out.rect(at(0), y + 0.5, at(mark.value) - at(0), height - 1.5, colour, mark.opacity)
    if mark.opacity < 1:
        # A frame of its own colour: pale alone could be taken for another precision.
        corners = [
            (x, y + dy) for x, dy in ((at(0), 0.5), (at(mark.value), 0.5), (at(mark.value), height - 1))
        ]
        out.path([*corners, (at(0), height - 1 + y), corners[0]], colour)
    _whisker(out, mark, y + height / 2 - 0.25, at, INK)


def _point(
    out: Drawing, mark: Mark, y: float, height: float, at: Callable[[float], float], colour: str
) -> None:
    _whisker(out, mark, y + height / 2, at, colour)
    out.dot(at(mark.value), y + height / 2, colour, mark.opacity)


def _whisker(out: Drawing, mark: Mark, y: float, at: Callable[[float], float], colour: str) -> None:
    if mark.interval is not None:
        out.line((at(mark.interval[0]), y), (at(mark.interval[1]), y), colour, 1.5)


def by_batch(scope: Scope, marks: dict[Place, Mark], unit: str) -> list[Panel]:
    """A panel for each batch size."""
    return [
        Panel(
            f"batch {batch}",
            unit,
            {(model, series): mark for (model, series, b), mark in marks.items() if b == batch},
        )
        for batch in scope.batches
    ]


def rows_of_panels(
    scope: Scope,
    panels: Sequence[Panel],
    draw: Draw,
    caption: str,
    *,
    common_scale: bool = False,
    reference: float = 0.0,
) -> str:
    """Models down the side, labelled once; panels side by side."""
    out = Drawing()
    labels = max(text_width(fit(model, 190)) for model in scope.models) + 8
    width = 460 if len(panels) == 1 else 640 / len(panels)
    full = _PAD * 2 + labels + len(panels) * (width + _GAP) - _GAP
    step = 15 if len(scope.models) <= 12 else 12
    top = _PAD + legend(out, scope.colours, _PAD + labels, _PAD, max(full, 480) - _PAD) + 8 + _TITLE
    # A model has a line for each of its own series; a gap tells what only another batch size has.
    drawn = {place for panel in panels for place in panel.marks}
    line_at: dict[tuple[str, str], float] = {}
    bottom = top
    for model in scope.models:
        own_series = [series for series in scope.series if (model, series) in drawn]
        line_at |= {(model, series): bottom + 4 + s * step for s, series in enumerate(own_series)}
        height = max(len(own_series), 1) * step + 8
        out.text(_PAD + labels - 8, bottom + height / 2, fit(model, 190), anchor="end")
        bottom += height
    for i, panel in enumerate(panels):
        left = _PAD + labels + i * (width + _GAP)
        own = [m for p in (panels if common_scale else [panel]) for m in p.marks.values()]
        highest = max([mark.high for mark in own] + [reference])
        scale = _Scale(left, width, highest, room=max((text_width(m.text, 11) for m in own), default=0) + 10)
        out.text(left, top - _TITLE / 2 - 2, fit(panel.title, width, 13), bold=True, size=13)
        _lower_axis(out, scale, top, bottom, panel.unit)
        if reference:
            out.line((scale.at(reference), top), (scale.at(reference), bottom), INK, 1, dash="4 3")
        for place, mark in panel.marks.items():
            y = line_at[place]
            draw(out, mark, y, step, scale.at, scope.colours[place[1]])
            out.text(scale.at(mark.high) + 6, y + step / 2, mark.text, size=11)
    return out.finish(max(full, 480), bottom + _AXIS + _PAD, caption)


class _Scale:
    """Values from 0 along `width` pixels from `left`, with `room` pixels to the right of the highest."""

    def __init__(self, left: float, width: float, highest: float, room: float) -> None:
        self.left, self.width = left, width
        self.end = highest * width / max(width - room, width / 3) or 1.0
        self.ticks = [t for t in round_ticks(self.end, about=4) if t <= self.end * 1.0001]

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.left + self.width * value / self.end


def _lower_axis(out: Drawing, scale: _Scale, top: float, bottom: float, unit: str) -> None:
    for tick in scale.ticks:
        out.line((scale.at(tick), top), (scale.at(tick), bottom), GRID)
        out.text(scale.at(tick), bottom + 13, f"{tick:g}", anchor="middle", size=11)
    out.line((scale.left, bottom), (scale.left + scale.width, bottom), DIM)
    out.text(scale.left + scale.width / 2, bottom + 32, unit, anchor="middle", colour=DIM)


@dataclass(frozen=True)
class Scope:
    """What part of the cells a chart shows, so that it stays readable, and the sentence that says so.

    Attributes:
        at: where a cell is shown → the cell.
    """

    at: dict[Place, Row]
    models: list[str]
    colours: dict[str, str]
    batches: list[int]
    remark: str

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        most_models: int = MOST_MODELS,
        most_batches: int = MOST_BATCHES,
    ) -> Scope:
        """The first models of `rows` and the first series among those; the first row of equal places."""
        models, remark = first_of((r.model for r in rows), most_models, "models")
        kept = set(models)
        rows = [r for r in rows if r.model in kept]
        every = sorted({r.batch for r in rows})
        batches, of_batches = _spread(every, most_batches), ""
        if batches != every:
            of_batches, shown = _of_batches(every, batches), set(batches)
            rows = [r for r in rows if r.batch in shown]
        model, name = model_names(rows), series_names(rows)
        places = [(model(row), name(row), row.batch) for row in rows]
        series, more = first_of((name for _, name, _ in places), MOST_SERIES, "series")
        more += of_batches
        at: dict[Place, Row] = {}
        hidden = 0
        for row, place in zip(rows, places, strict=True):
            if place[1] in series:
                hidden += at.setdefault(place, row) is not row
        if hidden:
            more += (
                f" Of cells that differ in nothing that is named here the first is shown; left out: {hidden}."
            )
        return cls(at, list(dict.fromkeys(map(model, rows))), colours_of(series), batches, remark + more)

    def narrowed(self, most_batches: int, besides: Collection[int]) -> Scope:
        """With fewer batch sizes, `besides` among them in any case."""
        shown = {*_spread(self.batches, most_batches), *besides}
        if len(shown) == len(self.batches):
            return self
        at = {place: row for place, row in self.at.items() if place[2] in shown}
        drawn, batches = {series for _, series, _ in at}, sorted(shown)
        return Scope(
            at,
            list(dict.fromkeys(model for model, *_ in at)),
            {series: colour for series, colour in self.colours.items() if series in drawn},
            batches,
            self.remark + _of_batches(self.batches, batches),
        )

    @property
    def rows(self) -> list[Row]:
        """What is shown."""
        return list(self.at.values())

    @property
    def series(self) -> list[str]:
        """What has a colour, in the legend's order."""
        return list(self.colours)


def _of_batches(every: Sequence[int], shown: Sequence[int]) -> str:
    return f" Of {len(every)} batch sizes {', '.join(map(str, shown))} are shown."


def _spread(every: list[int], most: int) -> list[int]:
    """At most `most` of them, the first and the last among them, the others evenly between."""
    if len(every) <= most:
        return every
    return [every[i * (len(every) - 1) // (most - 1)] for i in range(most)]
