"""Cells in a plane of any two figures, with the front of what nothing else beats in both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zoobench.judge.front import Aim, pareto_front
from zoobench.judge.measures import memory_bytes
from zoobench.results.row import Row
from zoobench.show.charts.axes import Axis, Labels, left_axis, legend, lower_axis, padded_log
from zoobench.show.charts.bars import Chart, in_series_order, series_colours, series_of
from zoobench.show.charts.front import MAP, SIZE, TOP1, Measure
from zoobench.show.document import plain
from zoobench.show.svg import DIM, INK, Drawing

MOST_POINTS = 120
_LEFT, _WIDTH, _HEIGHT, _RIGHT, _BELOW, _PAD = 66.0, 600.0, 360.0, 130.0, 46.0, 14.0
"""Pixels: left of the axes, the plot itself, right of it for names, below it, around the picture."""

MEASURES: dict[str, Measure] = {
    "latency": Measure(
        "latency",
        "p50 (ms)",
        lambda r: r.p50_ms,
        lambda r: r.p50_interval_ms,
        more_is_better=False,
        of_pictures=False,
    ),
    "throughput": Measure(
        "throughput", "throughput (items/s)", lambda r: r.throughput_per_s, lambda _: None, of_pictures=False
    ),
    "top-1": TOP1,
    "mAP": MAP,
    "size": SIZE,
    "memory": Measure(
        "memory",
        "peak memory (MB)",
        lambda r: held / 1e6 if (held := memory_bytes(r)) else None,
        lambda _: None,
        more_is_better=False,
        of_pictures=False,
    ),
}
"""What can be an axis."""


def known_measures(rows: Sequence[Row]) -> list[str]:
    """The axes on which two rows or more have a place."""
    return [name for name, m in MEASURES.items() if sum(m.value(row) is not None for row in rows) > 1]


def plane_front(rows: Sequence[Row], x: Measure, y: Measure) -> list[Row]:
    """What no other row beats in both, the best in `x` first."""
    aims = [Aim[Row](m.title, m.value, more_is_better=m.more_is_better) for m in (x, y)]
    return pareto_front(rows, aims)


def plane_chart(rows: Sequence[Row], x: Measure, y: Measure) -> Chart | None:
    """A point a cell, a line through those that nothing else beats in both; None with fewer than two points.

    Args:
        rows: believable ones of one machine and one task, in the order in which they are shown.
    """
    points, elsewhere = comparable(rows, x, y)
    if len(points) < 2:
        return None
    front = plane_front(points, x, y)
    on_front = set(map(id, front))
    shown = [*front, *(r for r in points if id(r) not in on_front)][:MOST_POINTS]
    remark = f" {len(shown)} of {len(points)} cells are shown." if len(points) > len(shown) else ""
    if elsewhere:
        remark += f" Left out, as measured on other pictures, which do not compare: {elsewhere}."
    return _drawn(shown, front[:MOST_POINTS], (x, y), remark)


def comparable(rows: Sequence[Row], x: Measure, y: Measure) -> tuple[list[Row], int]:
    """Rows that have both figures, on the pictures that most of them saw; and how many saw others."""
    known = [r for r in rows if x.value(r) is not None and y.value(r) is not None]
    if not known or not (x.of_pictures or y.of_pictures):
        return known, 0
    [(most, count)] = Counter(r.data_sha256 for r in known).most_common(1)
    return [r for r in known if r.data_sha256 == most], len(known) - count


def _caption(shown: Sequence[Row], x: Measure, y: Measure) -> str:
    better = " and ".join(
        f"{('more' if m.more_is_better else 'less')} {m.title.partition(' (')[0]}" for m in (y, x)
    )
    caption = (
        f"Up: {y.title}; across: {x.title}; {better} is better. The line joins what nothing else beats in both (bold); where "
        "intervals overlap, that is not decided."
    )
    if any(r.is_unstable for r in shown):
        caption += " Hollow points are unstable."
    pictures = next((r.data_label for r in shown if r.data_label), None)
    if pictures and (x.of_pictures or y.of_pictures):
        caption += f" Pictures: {pictures}."
    return caption


def _drawn(
    shown: Sequence[Row], front: Sequence[Row], measures: tuple[Measure, Measure], remark: str
) -> Chart:
    x_measure, y_measure = measures
    out = Drawing()
    names = in_series_order({series_of(row) for row in shown})
    colours = dict(zip(names, series_colours(names), strict=True))
    right = _LEFT + _WIDTH
    top = _PAD + legend(out, colours, _LEFT, _PAD, right + _RIGHT) + 12
    bottom = top + _HEIGHT
    x = _axis(shown, x_measure, _LEFT, right)
    y = _axis(shown, y_measure, bottom, top)
    lower_axis(out, x, top, bottom, _named(x_measure, x))
    left_axis(out, y, _LEFT, right, _named(y_measure, y))
    at = {id(r): (x.at(x_measure.value(r) or 0.0), y.at(y_measure.value(r) or 0.0)) for r in shown}
    out.path([at[id(r)] for r in front], DIM, width=1.5)
    on_front = set(map(id, front))
    labels = Labels(list(at.values()), _LEFT, right + _RIGHT)
    for row in shown:
        place, colour = at[id(row)], colours[series_of(row)]
        if span := _span(x_measure, row, x):
            out.line((x.at(span[0]), place[1]), (x.at(span[1]), place[1]), INK, 1)
        if span := _span(y_measure, row, y):
            out.line((place[0], y.at(span[0])), (place[0], y.at(span[1])), INK, 1)
        (out.ring if row.is_unstable else out.dot)(*place, colour, radius=5 if id(row) in on_front else 3.6)
    for row in shown:
        labels.put(out, at[id(row)], plain(_name(row)), must=id(row) in on_front)
    caption = _caption(shown, *measures) + remark
    if labels.left_out:
        caption += f" For want of room {labels.left_out} of the names are left out."
    name = f"{y_measure.name}_{x_measure.name}"
    return Chart(name, out.finish(right + _RIGHT + _PAD, bottom + _BELOW, caption), caption)


def _name(row: Row) -> str:
    precision = "" if row.precision == "fp32" else f" {row.precision}"
    return f"{row.model}{precision}" + (f" ×{row.batch}" if row.batch > 1 else "")


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
