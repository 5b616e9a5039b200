"""What speed costs: latency against what a model gets right, or against its size, with the front of what nothing beats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zoobench.judge.front import Aim, pareto_front
from zoobench.outcome import Interval
from zoobench.results.row import Row
from zoobench.show.charts.axes import Axis, Labels, left_axis, legend, lower_axis, padded_log
from zoobench.show.charts.bars import Chart, in_series_order, series_colours, series_of
from zoobench.show.document import plain
from zoobench.show.svg import DIM, INK, Drawing

MOST_POINTS = 40
_LEFT, _WIDTH, _HEIGHT, _RIGHT, _BELOW, _PAD = 66.0, 600.0, 330.0, 130.0, 46.0, 14.0
"""Pixels: left of the axes, the plot itself, right of it for names, below it, around the picture."""


@dataclass(frozen=True)
class Measure:
    """What is held against latency.

    Attributes:
        name: of the chart's file.
        title: for people, with its unit.
        value, interval: of a row, in that unit.
        more_is_better: which way is up.
        of_pictures: figures of other pictures do not belong beside these.
    """

    name: str
    title: str
    value: Callable[[Row], float | None]
    interval: Callable[[Row], Interval | None]
    more_is_better: bool = True
    of_pictures: bool = True


def _percent(interval: Interval | None) -> Interval | None:
    return None if interval is None else (100 * interval[0], 100 * interval[1])


TOP1 = Measure(
    "accuracy",
    "top-1 (%)",
    lambda r: None if r.top1 is None else 100 * r.top1,
    lambda r: _percent(r.top1_interval),
)
MAP = Measure(
    "detection",
    "mAP (%)",
    lambda r: None if r.map is None else 100 * r.map,
    lambda r: _percent(r.map_interval),
)
SIZE = Measure(
    "size",
    "size of the file (MB)",
    lambda r: r.size_bytes / 1e6 if r.size_bytes else None,
    lambda _: None,
    more_is_better=False,
    of_pictures=False,
)


def front_chart(rows: Sequence[Row], measure: Measure | None = None) -> Chart | None:
    """A point a cell at the smallest batch that has both, and the line of what nothing else beats in both.

    Args:
        rows: believable ones of one machine, in the order in which they are shown.
        measure: what is held against p50; None: top-1, else mAP, else size, whichever two cells or more have.
    """
    if measure is None:
        return next((chart for m in (TOP1, MAP, SIZE) if (chart := front_chart(rows, m))), None)
    points, elsewhere = _comparable(rows, measure)
    if len(points) < 2:
        return None
    front = front_of(points, measure)
    on_front = set(map(id, front))
    shown = [*front, *(r for r in points if id(r) not in on_front)][:MOST_POINTS]
    remark = f" {len(shown)} of {len(points)} cells are shown." if len(points) > len(shown) else ""
    if elsewhere:
        remark += f" {_cells(elsewhere)} measured on other pictures, which do not compare, {'is' if elsewhere == 1 else 'are'} left out."
    return _scatter(shown, front[:MOST_POINTS], measure, remark)


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


def front_of(rows: Sequence[Row], measure: Measure) -> list[Row]:
    """What no other row beats in p50 and the measure, fastest first."""
    aims = (
        Aim[Row]("p50 (ms)", lambda r: r.p50_ms),
        Aim[Row](measure.title, measure.value, more_is_better=measure.more_is_better),
    )
    return pareto_front(rows, aims)


def _comparable(rows: Sequence[Row], measure: Measure) -> tuple[list[Row], int]:
    """Cells of the smallest batch on the pictures that most of them saw, and how many saw others."""
    known = [r for r in rows if measure.value(r) is not None and r.scenario == "single_stream"]
    smallest = min((r.batch for r in known), default=0)
    known = [r for r in known if r.batch == smallest]
    if not measure.of_pictures or not known:
        return known, 0
    [(most, count)] = Counter(r.data_sha256 for r in known).most_common(1)
    return [r for r in known if r.data_sha256 == most], len(known) - count


def _caption(shown: Sequence[Row], measure: Measure) -> str:
    what = measure.title.partition(" (")[0]
    what = what if measure is MAP else what[0].upper() + what[1:]
    interval = " with its 95% interval" if measure.of_pictures else ""
    data = f", on {shown[-1].data_label}" if measure.of_pictures else ""
    better = "Up" if measure.more_is_better else "Down"
    caption = (
        f"{what}{interval} against median latency (p50 with its interval) at batch {shown[0].batch}{data}. The line joins what "
        f"nothing else beats in both (bold); where intervals overlap, that is not decided. {better} and to the left is better."
    )
    if any(r.is_unstable for r in shown):
        caption += " Hollow points are unstable."
    return caption


def _scatter(shown: Sequence[Row], front: Sequence[Row], measure: Measure, remark: str) -> Chart:
    out = Drawing()
    names = in_series_order({series_of(row) for row in shown})
    colours = dict(zip(names, series_colours(names), strict=True))
    right = _LEFT + _WIDTH
    top = _PAD + legend(out, colours, _LEFT, _PAD, right + _RIGHT) + 12
    bottom = top + _HEIGHT
    x = padded_log(
        [end for r in shown for end in (*(r.p50_interval_ms or ()), r.median) if end > 0], _LEFT, right
    )
    y = _upward(shown, measure, bottom, top)
    lower_axis(out, x, top, bottom, "p50 (ms), logarithmic")
    left_axis(out, y, _LEFT, right, measure.title + (", logarithmic" if y.log else ""))
    at = {id(r): (x.at(r.median), y.at(measure.value(r) or 0.0)) for r in shown}
    _front_line(out, [at[id(r)] for r in front], right)
    on_front = set(map(id, front))
    labels = Labels(list(at.values()), _LEFT, right + _RIGHT)
    for row in shown:
        place, colour = at[id(row)], colours[series_of(row)]
        _whiskers(out, row, measure, place, (x, y), colour)
        (out.ring if row.is_unstable else out.dot)(*place, colour, radius=5 if id(row) in on_front else 3.6)
    for row in shown:
        text = row.model if row.precision == "fp32" else f"{row.model} {row.precision}"
        labels.put(out, at[id(row)], plain(text), must=id(row) in on_front)
    caption = _caption(shown, measure) + remark
    if labels.left_out:
        caption += f" There was no room for {labels.left_out} of the names."
    return Chart(measure.name, out.finish(right + _RIGHT + _PAD, bottom + _BELOW, caption), caption)


def _upward(shown: Sequence[Row], measure: Measure, bottom: float, top: float) -> Axis:
    """As far as the intervals reach; sizes differ by factors."""
    if not measure.of_pictures:
        return padded_log([value for r in shown if (value := measure.value(r))], bottom, top)
    ends = [end for r in shown for end in (measure.interval(r) or (measure.value(r) or 0.0,))]
    margin = max(0.5, 0.08 * (max(ends) - min(ends)))
    return Axis(max(0.0, min(ends) - margin), min(100.0, max(ends) + margin), bottom, top)


def _front_line(out: Drawing, points: Sequence[tuple[float, float]], right: float) -> None:
    """Steps: between two points the best is still the faster one's."""
    steps: list[tuple[float, float]] = []
    for at in points:
        if steps:
            steps.append((at[0], steps[-1][1]))
        steps.append(at)
    steps.append((right, steps[-1][1]))
    out.path(steps, DIM, width=1.5)


def _whiskers(
    out: Drawing, row: Row, measure: Measure, place: tuple[float, float], axes: tuple[Axis, Axis], colour: str
) -> None:
    x, y = axes
    if (speed := row.p50_interval_ms) and speed[0] > 0:
        out.line((x.at(speed[0]), place[1]), (x.at(speed[1]), place[1]), INK, 1)
    if interval := measure.interval(row):
        out.line((place[0], y.at(interval[0])), (place[0], y.at(interval[1])), colour, 1.5)
