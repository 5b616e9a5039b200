"""Cells in a plane of any two figures, with the front of what nothing else beats in both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from zoobench.judge import measures
from zoobench.judge.front import Aim, pareto_front
from zoobench.judge.scope import load_of
from zoobench.results.row import Row
from zoobench.show.charts.axes import Axis, Labels, left_axis, legend, lower_axis, padded_log
from zoobench.show.charts.bars import Chart
from zoobench.show.charts.series import clients_label, colours_of, model_names, runtime_names
from zoobench.show.numbers import counted
from zoobench.show.svg import DIM, Drawing
from zoobench.show.tables import load_label
from zoobench.terms import TEXT, Interval

MOST_POINTS = 120
_LEFT, _WIDTH, _HEIGHT, _RIGHT, _BELOW, _PAD = 66.0, 600.0, 340.0, 130.0, 46.0, 14.0
"""Pixels: left of the axes, the plot itself, right of it for names, below it, around the picture."""


@dataclass(frozen=True)
class Measure:
    """What can be an axis.

    Attributes:
        name: of the chart's file.
        title: for people, with its unit.
        known: of a row, in the record's unit.
        scale: what that is multiplied by to be in the title's.
        more_is_better: which way is better.
        of_pictures: figures of other pictures do not belong beside these.
    """

    name: str
    title: str
    known: measures.Measure
    scale: float = 1.0
    more_is_better: bool = False
    of_pictures: bool = False

    def value(self, row: Row) -> float | None:
        """The row's figure, None where it is not known."""
        found = self.known.value(row)
        return None if found is None else self.scale * found

    def interval(self, row: Row) -> Interval | None:
        """Its interval."""
        found = self.known.interval(row)
        return None if found is None else (self.scale * found[0], self.scale * found[1])


LATENCY = Measure("latency", "p50 (ms)", measures.latency_of(50))
TOP1 = Measure("accuracy", "top-1 (%)", measures.TOP1, 100, more_is_better=True, of_pictures=True)
MAP = Measure("detection", "mAP (%)", measures.MAP, 100, more_is_better=True, of_pictures=True)
SIZE = Measure("size", "size of the file (MB)", measures.SIZE, 1e-6)
MEASURES: dict[str, Measure] = {
    "latency": LATENCY,
    "throughput": Measure(
        "throughput", "throughput (items/s)", measures.throughput_of("any"), more_is_better=True
    ),
    "top-1": TOP1,
    "mAP": MAP,
    "size": SIZE,
    "memory": Measure("memory", "peak memory (MB)", measures.MEMORY, 1e-6),
    "TTFT": Measure("ttft", "time to first token (ms)", measures.latency_of(50, "ttft")),
    "TPOT": Measure("tpot", "time per further token (ms)", measures.latency_of(50, "tpot")),
    "tokens": Measure("tokens", "throughput (tokens/s)", measures.throughput_of(TEXT), more_is_better=True),
}
"""What can be an axis, by what it is called in an address."""


def known_measures(rows: Sequence[Row]) -> list[str]:
    """The axes on which two rows or more have a place."""
    return [name for name, m in MEASURES.items() if sum(m.value(row) is not None for row in rows) > 1]


def plane_front(rows: Sequence[Row], x: Measure, y: Measure) -> list[Row]:
    """What no other row beats in both, the best in `x` first."""
    aims = [Aim[Row](m.title, m.value, more_is_better=m.more_is_better) for m in (x, y)]
    return pareto_front(rows, aims).items


def plane_chart(rows: Sequence[Row], x: Measure, y: Measure) -> Chart | None:
    """A point a cell, a line along those that nothing else beats in both; None with fewer than two points.

    Args:
        rows: believable ones of one machine, task and load, in the order in which they are shown.
    """
    points, elsewhere = comparable(rows, x, y)
    if len(points) < 2:
        return None
    better = " and ".join(
        f"{('more' if m.more_is_better else 'less')} {m.title.partition(' (')[0]}" for m in (y, x)
    )
    said = f"Up: {y.title}; across: {x.title}; {better} is better."
    pictures = next((r.data_label for r in points if r.data_label), None)
    if pictures and (x.of_pictures or y.of_pictures):
        said += f" Pictures: {pictures}."
    return scatter(points, (x, y), said, other_pictures(elsewhere), MOST_POINTS)


def comparable(rows: Sequence[Row], x: Measure, y: Measure) -> tuple[list[Row], int]:
    """Rows that have both figures, on the pictures that most of them saw; and how many saw others."""
    known = [r for r in rows if x.value(r) is not None and y.value(r) is not None]
    if not known or not (x.of_pictures or y.of_pictures):
        return known, 0
    [(most, count)] = Counter(r.data_sha256 for r in known).most_common(1)
    return [r for r in known if r.data_sha256 == most], len(known) - count


def other_pictures(count: int) -> str:
    """The sentence on what saw others."""
    if not count:
        return ""
    return f" {counted(count, 'cell')} measured on other pictures, which do not compare, {'is' if count == 1 else 'are'} left out."


def scatter(
    points: Sequence[Row], axes: tuple[Measure, Measure], said: str, left_out: str, most: int
) -> Chart:
    """The points as a picture, those on the front first where there are more than `most`.

    Args:
        points: at least one, each with both figures.
        axes: across, up.
        said: what the axes are and which way is better: the caption's beginning.
        left_out: its end.
    """
    front = plane_front(points, *axes)
    on_front = set(map(id, front))
    shown = [*front, *(r for r in points if id(r) not in on_front)][:most]
    caption = f"{said} The line joins what nothing else beats in both (bold); where intervals overlap, that is not decided."
    if len({row.model for row in shown}) == 1:
        caption += f" Model: {model_names(shown)(shown[0])}."
    if shown[0].scenario != "single_stream":
        caption += f" All: {load_label(shown[0].scenario, dict(load_of(shown[0])))}."
    if any(r.is_unstable for r in shown):
        caption += " Hollow points are unstable."
    if len(points) > len(shown):
        caption += f" {len(shown)} of {len(points)} cells are shown."
    return _drawn(shown, front[:most], axes, caption + left_out)


def _drawn(
    shown: Sequence[Row], front: Sequence[Row], measures: tuple[Measure, Measure], caption: str
) -> Chart:
    x_measure, y_measure = measures
    out = Drawing()
    runtime = runtime_names(shown)
    # What is asked is the same of all, and told below.
    series = {id(row): runtime(row) + clients_label(row) for row in shown}
    colours = colours_of(series.values())
    right = _LEFT + _WIDTH
    top = _PAD + legend(out, colours, _LEFT, _PAD, right + _RIGHT) + 12
    bottom = top + _HEIGHT
    x, y = _axis(shown, x_measure, _LEFT, right), _axis(shown, y_measure, bottom, top)
    lower_axis(out, x, top, bottom, _named(x_measure, x))
    left_axis(out, y, _LEFT, right, _named(y_measure, y))
    at = {id(r): (x.at(x_measure.value(r) or 0.0), y.at(y_measure.value(r) or 0.0)) for r in shown}
    line = _steps([at[id(r)] for r in front], _LEFT if x_measure.more_is_better else right)
    out.path(line, DIM, width=1.5)
    on_front = set(map(id, front))
    labels = Labels(list(at.values()), _LEFT, right + _RIGHT, line)
    for row in shown:
        place, colour = at[id(row)], colours[series[id(row)]]
        if span := _span(x_measure, row, x):
            out.line((x.at(span[0]), place[1]), (x.at(span[1]), place[1]), colour, 1.5)
        if span := _span(y_measure, row, y):
            out.line((place[0], y.at(span[0])), (place[0], y.at(span[1])), colour, 1.5)
        (out.ring if row.is_unstable else out.dot)(*place, colour, radius=5 if id(row) in on_front else 3.6)
    name = _names(shown, series)
    for row in shown:
        labels.put(out, at[id(row)], name(row), must=id(row) in on_front)
    if labels.left_out:
        caption += f" There was no room for {labels.left_out} of the names."
    size = right + _RIGHT + _PAD, bottom + _BELOW
    return Chart(f"{y_measure.name}_{x_measure.name}", out.finish(*size, caption), caption)


def _steps(points: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Corners of the front's line, to the `end` of the worse: between two points the best is still the earlier one's."""
    steps: list[tuple[float, float]] = []
    for at in points:
        if steps:
            steps.append((at[0], steps[-1][1]))
        steps.append(at)
    return [*steps, (end, steps[-1][1])]


def _names(shown: Sequence[Row], series: Mapping[int, str]) -> Callable[[Row], str]:
    """Beside a point what sets it apart: the model and its precision, of one model what runs it; and the batch where that differs."""
    several = len({row.batch for row in shown}) > 1
    alone = len({row.model for row in shown}) == 1
    model = model_names(shown)

    def name(row: Row) -> str:
        parts = [series[id(row)]] if alone else [model(row)]
        parts += [] if alone or row.precision == "fp32" else [row.precision]
        parts += [f"×{row.batch}"] if several else []
        return " ".join(parts)

    return name


def _named(measure: Measure, axis: Axis) -> str:
    return measure.title + (", logarithmic" if axis.log else "")


def _span(measure: Measure, row: Row, axis: Axis) -> tuple[float, float] | None:
    """The interval, where the axis can hold it."""
    span = measure.interval(row)
    return None if span is None or (axis.log and min(span) <= 0) else span


def _axis(shown: Sequence[Row], measure: Measure, start: float, end: float) -> Axis:
    """As far as the intervals reach; shares run evenly, everything else differs by factors."""
    ends = [edge for r in shown for edge in (measure.interval(r) or (measure.value(r) or 0.0,))]
    if not measure.of_pictures and all(edge > 0 for edge in ends):
        return padded_log(ends, start, end)
    margin = max(0.5, 0.08 * (max(ends) - min(ends)))
    highest = 100.0 if measure.of_pictures else float("inf")
    return Axis(max(0.0, min(ends) - margin), min(highest, max(ends) + margin), start, end)
