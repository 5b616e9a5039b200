"""One cell over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from zoobench.results.row import Row
from zoobench.show.charts.axes import Axis, left_axis
from zoobench.show.charts.bars import Chart
from zoobench.show.charts.series import runtime_names, series_colours
from zoobench.show.numbers import counted, with_interval
from zoobench.show.svg import DIM, INK, Drawing, fit, text_width

MOST_RECORDS = 60
_LEFT, _HEIGHT, _BELOW, _PAD, _TOP, _STEP, _LEAST = 66.0, 260.0, 52.0, 14.0, 30.0, 26.0, 560.0
"""Pixels: left of the axes, the plot's height, below it, around the picture, above the plot, between records, and the least
width."""


def history_chart(rows: Sequence[Row]) -> Chart | None:
    """p50 with its interval of each record of one cell, in the order in which they were made; None without a number.

    Records stand one step apart, however long it was between them: weeks of nothing would press the rest together.

    Args:
        rows: of one cell on one machine, the oldest first.
    """
    measured = [r for r in rows if r.is_measured and r.median > 0]
    shown = measured[-MOST_RECORDS:]
    if not shown:
        return None
    caption = (
        "Median latency (p50, ms, less is better) of this cell with its 95% interval, record by record, the newest on the right; "
        "a dashed line where a version of the software changed."
    )
    if any(not r.is_believable for r in shown):
        caption += " Crosses are invalid."
    if any(r.is_unstable for r in shown):
        caption += " Hollow points are unstable."
    if len(measured) > len(shown):
        caption += f" The last {len(shown)} of {len(measured)} records are shown."
    return Chart("history", _drawn(shown, caption), caption)


def _drawn(shown: Sequence[Row], caption: str) -> str:
    out = Drawing()
    width = max(_LEAST, _STEP * len(shown))
    right, top, bottom = _LEFT + width, _PAD + _TOP, _PAD + _TOP + _HEIGHT
    ends = [end for r in shown for end in (r.p50_interval_ms or (r.median,))]
    margin = 0.1 * (max(ends) - min(ends)) or 0.05 * max(ends)
    axis = Axis(max(0.0, min(ends) - margin), max(ends) + margin, bottom, top)
    left_axis(out, axis, _LEFT, right, "p50 (ms)")
    name = f"{shown[-1].label} · {counted(shown[-1].threads, 'thread')}"
    out.text(_LEFT, _PAD + 10, fit(name, width, 13), bold=True, size=13)
    colour = series_colours([runtime_names(shown)(shown[-1])])[0]
    step = width / len(shown)
    xs = [_LEFT + step * (number + 0.5) for number in range(len(shown))]
    out.line((_LEFT, bottom), (right, bottom), DIM)
    _dates(out, shown, xs, bottom)
    for number, row in enumerate(shown):
        if number and (shown[number - 1].versions or {}) != (row.versions or {}):
            between = xs[number] - step / 2
            out.line((between, top), (between, bottom), DIM, 1, dash="4 3")
    believed = [(x, axis.at(r.median)) for x, r in zip(xs, shown, strict=True) if r.is_believable]
    out.path(believed, colour, width=1.5)
    for x, row in zip(xs, shown, strict=True):
        _mark(out, row, x, axis, colour)
    if len(shown) <= 12:
        for x, row in zip(xs, shown, strict=True):
            text = with_interval(row.p50_ms, None)
            high = (row.p50_interval_ms or (0.0, row.median))[1]
            out.text(x, axis.at(max(high, row.median)) - 10, text, anchor="middle", size=11)
    return out.finish(right + _PAD * 2, bottom + _BELOW, caption)


def _mark(out: Drawing, row: Row, x: float, axis: Axis, colour: str) -> None:
    y = axis.at(row.median)
    if row.p50_interval_ms:
        out.line((x, axis.at(row.p50_interval_ms[0])), (x, axis.at(row.p50_interval_ms[1])), INK, 1)
    if not row.is_believable:
        out.line((x - 4, y - 4), (x + 4, y + 4), INK, 1.5)
        out.line((x - 4, y + 4), (x + 4, y - 4), INK, 1.5)
    elif row.is_unstable:
        out.ring(x, y, colour)
    else:
        out.dot(x, y, colour)


def _dates(out: Drawing, shown: Sequence[Row], xs: Sequence[float], bottom: float) -> None:
    """The day and the hour below the records, where there is room."""
    free_from = 0.0
    for x, row in zip(xs, shown, strict=True):
        when = _when(row.recorded_at)
        half = max(text_width(line, 11) for line in when) / 2
        if x - half >= free_from:
            for number, line in enumerate(when):
                out.text(x, bottom + 13 + 14 * number, line, anchor="middle", size=11)
            free_from = x + half + 6
    out.text((xs[0] + xs[-1]) / 2, bottom + 44, "recorded (UTC)", anchor="middle", colour=DIM)


def _when(text: str) -> tuple[str, str]:
    """`2026-11-26` and `09:47` of an ISO time; what is none as it stands."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return text[:10], ""
    return f"{moment:%Y-%m-%d}", f"{moment:%H:%M}"
