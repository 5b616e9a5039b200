"""What speed costs: latency against what a model gets right, or against its size, with the front of what nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zoobench.judge.scope import by_load
from zoobench.results.row import Row
from zoobench.show.charts.bars import Chart
from zoobench.show.charts.plane import LATENCY, MAP, SIZE, TOP1, Measure, comparable, other_pictures, scatter

MOST_POINTS = 40


def front_chart(rows: Sequence[Row], measure: Measure | None = None) -> Chart | None:
    """A point a cell at the smallest batch that has both, and the line of what nothing else beats in both.

    Args:
        rows: believable ones of one machine and one task, in the order in which they are shown.
        measure: what is held against p50; None: top-1, else mAP, else size, whichever two cells or more have.
    """
    if measure is None:
        return next((chart for m in (TOP1, MAP, SIZE) if (chart := front_chart(rows, m))), None)
    points, elsewhere = comparable(_alike(rows, measure), LATENCY, measure)
    if len(points) < 2:
        return None
    chart = scatter(
        points, (LATENCY, measure), _said(points, measure), other_pictures(elsewhere), MOST_POINTS
    )
    return replace(chart, name=measure.name)


def _alike(rows: Sequence[Row], measure: Measure) -> list[Row]:
    """Cells of the smallest batch, called one after another; of what else was asked of them the plainest."""
    known = [r for r in rows if measure.value(r) is not None and r.scenario == "single_stream"]
    smallest = min((r.batch for r in known), default=0)
    return next(iter(by_load(r for r in known if r.batch == smallest).values()), [])


def _said(points: Sequence[Row], measure: Measure) -> str:
    what = measure.title.partition(" (")[0]
    what = what if measure is MAP else what[0].upper() + what[1:]
    interval = " with its 95% interval" if measure.of_pictures else ""
    data = f", on {points[-1].data_label}" if measure.of_pictures else ""
    better = "Up" if measure.more_is_better else "Down"
    return (
        f"{what}{interval} against median latency (p50 with its interval) at batch {points[0].batch}{data}. {better} and to the "
        "left is better."
    )
