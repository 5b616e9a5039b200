"""What a report says of accuracy: what each artifact gets right, what its precision costs, and how both go with speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from zoobench.outcome import Interval
from zoobench.results.row import Row
from zoobench.show.charts.bars import Chart, in_series_order, series_colours, series_of
from zoobench.show.document import Block, Column, Heading, Paragraph, plain
from zoobench.show.numbers import DASH, format_megabytes, format_number
from zoobench.show.svg import DIM, GRID, INK, Drawing, fit, round_ticks, text_width
from zoobench.show.tables import Field, backend_label, drop_word, make_table, model_label, top1_cell

_MOST_POINTS = 40


def accuracy_section(rows: Sequence[Row]) -> list[Block]:
    """One line an artifact and runtime; the batch does not change what a model gets right.

    Args:
        rows: of one machine, the newest first; of equal artifacts and pictures the first is shown.
    """
    shown = _by_artifact(rows)
    if not shown:
        return []
    fields: list[Field] = [
        (Column("Model"), model_label),
        (Column("Backend"), backend_label),
        (Column("Precision"), lambda r: r.precision),
        (Column("Top-1 (%)", "right"), top1_cell),
        (Column("Top-5 (%)", "right"), lambda r: percent(r.top5)),
    ]
    if len({r.data_sha256 for r in shown}) > 1:
        # Figures of other pictures must not be read side by side.
        fields.insert(3, (Column("Pictures"), lambda r: f"{r.pictures} of {r.data_label}"))
    if any(r.top1_masked is not None for r in shown):
        fields.append((Column("Top-1 masked (%)", "right"), lambda r: percent(r.top1_masked)))
    if any(r.published_top1 is not None for r in shown):
        fields.append((Column("Published (%)", "right"), lambda r: format_number(r.published_top1)))
    if any(r.agreement is not None for r in shown):
        fields += [
            (Column("Drop against fp32 (points)", "right"), drop_cell),
            (Column("Drop"), decision_cell),
            (Column("McNemar p", "right"), _p),
            (Column("Same class as fp32 (%)", "right"), lambda r: percent(r.agreement)),
            (
                Column("Smallest cosine", "right"),
                lambda r: DASH if r.cosine_min is None else f"{r.cosine_min:.4f}",
            ),
        ]
    fields += [
        (Column("Size (MB)", "right"), lambda r: format_megabytes(r.size_bytes)),
        (Column("Peak memory (MB)", "right"), lambda r: format_megabytes(r.peak_bytes)),
    ]
    return [Heading(3, "Accuracy"), *map(Paragraph, _sentences(shown)), make_table(fields, shown)]


def _by_artifact(rows: Sequence[Row]) -> list[Row]:
    first: dict[Hashable, Row] = {}
    for row in rows:
        if row.pictures and not row.is_detector:
            key = (row.model, backend_label(row), row.precision, row.artifact_sha256, row.data_sha256)
            first.setdefault(key, row)
    return by_name(first.values())


def by_name(rows: Iterable[Row]) -> list[Row]:
    """Model by model, fp32 before what is held against it."""
    return sorted(rows, key=lambda r: (r.model, backend_label(r), r.precision != "fp32", r.precision))


def _sentences(rows: Sequence[Row]) -> list[str]:
    told: dict[str, None] = {}
    for row in rows:
        bad = f", {row.undecodable} more could not be decoded" if row.undecodable else ""
        over = f"over all {row.outputs} classes" if row.outputs else ""
        told[f"{row.pictures} pictures of {row.data_label}{bad}; the argmax runs {over}."] = None
    if any(r.top1_masked is not None for r in rows):
        told["Masked: the argmax runs over the classes of the data only, which is easier."] = None
    told[
        "Intervals are Wilson's, 95%; a drop's is Agresti and Min's, over the pictures on which the two disagree."
    ] = None
    return [*told, *margin_sentences(rows)]


def margin_sentences(rows: Sequence[Row]) -> list[str]:
    """When a drop passes, and why some rows claim nothing."""
    told: list[str] = []
    margins = sorted({r.max_drop for r in rows if r.max_drop is not None})
    if len(margins) == 1:
        told.append(
            f"A drop passes where its whole interval lies below {_points(margins[0])}, and fails where it lies above."
        )
    elif margins:
        told.append(
            f"A drop passes where its whole interval lies below its run's margin ({' or '.join(map(_points, margins))}); "
            "`zoobench report --max-drop 1%` judges all by one."
        )
    unclaimed = dict.fromkeys(r.unclaimed for r in rows if r.unclaimed)
    return [*told, *(f"Where there is a dash no accuracy is claimed: {why}." for why in unclaimed)]


def _points(margin: float) -> str:
    return f"{100 * margin:g} point{'s' * (margin != 0.01)}"


def percent(value: float | None) -> str:
    """Of a share."""
    return DASH if value is None else f"{100 * value:.1f}"


def drop_cell(row: Row) -> str:
    """`0.42 [-0.10, 0.94]`, points."""
    if row.drop is None or row.drop_interval is None:
        return DASH
    low, high = row.drop_interval
    return f"{100 * row.drop:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def _p(row: Row) -> str:
    if row.mcnemar_p is None:
        return DASH
    return "< 0.001" if row.mcnemar_p < 0.001 else f"{row.mcnemar_p:.3f}"


def decision_cell(row: Row) -> str:
    """Whether it passes, and what would decide it."""
    needed = f" (≈ {row.images_needed:,} pictures would decide)" if row.images_needed else ""
    return drop_word(row) + needed


@dataclass(frozen=True)
class Measure:
    """What says how much a model gets right.

    Attributes:
        name: of the chart's file.
        title: for people.
        value, interval: of a row, shares.
    """

    name: str
    title: str
    value: Callable[[Row], float | None]
    interval: Callable[[Row], Interval | None]


TOP1 = Measure("accuracy", "top-1", lambda r: r.top1, lambda r: r.top1_interval)
MAP = Measure("detection", "mAP", lambda r: r.map, lambda r: r.map_interval)


def pareto_front(rows: Sequence[Row], measure: Measure = TOP1) -> list[Row]:
    """The rows that no other beats in both p50 and what they get right, fastest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda r: (r.median, -(measure.value(r) or 0.0))):
        if not front or (measure.value(row) or 0.0) > (measure.value(front[-1]) or 0.0):
            front.append(row)
    return front


def accuracy_chart(rows: Sequence[Row], measure: Measure = TOP1) -> Chart | None:
    """What is right against p50 at the smallest batch that has both, with the front of what nothing else beats.

    Args:
        rows: believable ones.
    """
    known = [r for r in rows if measure.value(r) is not None and r.scenario == "single_stream"]
    if not known:
        return None
    # Accuracies of other pictures do not belong beside these.
    data = known[-1].data_sha256
    batch = min(r.batch for r in known if r.data_sha256 == data)
    shown = [r for r in known if r.batch == batch and r.data_sha256 == data][:_MOST_POINTS]
    if len(shown) < 2:
        return None
    front = pareto_front(shown, measure)
    title = measure.title[0].upper() + measure.title[1:] if measure is TOP1 else measure.title
    caption = (
        f"{title} (95% interval) against median latency at batch {batch}, on {known[-1].data_label}; the line joins what "
        "nothing else beats in both. Up and to the left is better."
    )
    return Chart(measure.name, _scatter(shown, front, measure, caption), caption)


_LEFT, _TOP, _WIDTH, _HEIGHT, _RIGHT, _BELOW = 66.0, 56.0, 560.0, 320.0, 150.0, 60.0


def _scatter(rows: Sequence[Row], front: Sequence[Row], measure: Measure, caption: str) -> str:
    out = Drawing()
    names = in_series_order({series_of(row) for row in rows})
    colours = dict(zip(names, series_colours(names), strict=True))
    left = _LEFT
    for name, colour in colours.items():
        out.rect(left, 16, 12, 12, colour)
        out.text(left + 17, 22, fit(name, 230))
        left += text_width(fit(name, 230)) + 36
    x, y = _log_axis(out, rows), _share_axis(out, rows, measure)
    steps: list[tuple[float, float]] = []
    for row in front:
        if steps:
            steps.append((x(row.median), steps[-1][1]))
        steps.append((x(row.median), y(measure.value(row) or 0.0)))
    steps.append((_LEFT + _WIDTH, steps[-1][1]))
    out.path(steps, GRID if len(front) == 1 else DIM)
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda r: -(measure.value(r) or 0.0)):
        at = x(row.median), y(measure.value(row) or 0.0)
        colour = colours[series_of(row)]
        if interval := measure.interval(row):
            out.line((at[0], y(interval[0])), (at[0], y(interval[1])), colour, 1.5)
        out.dot(*at, colour, 0.45 if row.is_unstable else 1.0)
        text = f"{row.model} {row.precision}"
        # Above the line that runs to the right from it.
        place = at[1] - 8
        while any(abs(place - b) < 12 and abs(at[0] - a) < text_width(text, 11) for a, b in taken):
            place += 12
        taken.append((at[0], place))
        out.text(at[0] + 8, place, fit(plain(text), 190), size=11)
    return out.finish(max(_LEFT + _WIDTH + _RIGHT, left), _TOP + _HEIGHT + _BELOW, caption)


def _log_axis(out: Drawing, rows: Sequence[Row]) -> Callable[[float], float]:
    """p50 over the width, logarithmic: models differ by factors. Draws the axis and returns value → pixel."""
    low = 0.8 * min(r.median for r in rows)
    high = 1.25 * max(r.median for r in rows)
    span = math.log(high / low)

    def at(value: float) -> float:
        return _LEFT + _WIDTH * math.log(value / low) / span

    power = 10.0 ** math.floor(math.log10(low))
    ticks = [p * m for p in (power, 10 * power, 100 * power, 1000 * power) for m in (1, 2, 5)]
    for tick in (t for t in ticks if low <= t <= high):
        out.line((at(tick), _TOP), (at(tick), _TOP + _HEIGHT), GRID)
        out.text(at(tick), _TOP + _HEIGHT + 13, f"{tick:g}", anchor="middle", size=11)
    out.line((_LEFT, _TOP + _HEIGHT), (_LEFT + _WIDTH, _TOP + _HEIGHT), INK)
    out.text(_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 34, "p50 (ms), logarithmic", anchor="middle", colour=DIM)
    return at


def _share_axis(out: Drawing, rows: Sequence[Row], measure: Measure) -> Callable[[float], float]:
    """Shares over the height, as far as the intervals reach. Draws the axis and returns share → pixel."""
    ends = [edge for r in rows for edge in (measure.interval(r) or (measure.value(r) or 0.0,))]
    margin = max(0.005, 0.08 * (max(ends) - min(ends)))
    low, high = max(0.0, min(ends) - margin), min(1.0, max(ends) + margin)

    def at(share: float) -> float:
        return _TOP + _HEIGHT * (high - share) / (high - low)

    step = round_ticks(100 * (high - low), about=5)[1]
    tick = math.ceil(100 * low / step) * step
    while tick <= 100 * high + 1e-9:
        out.line((_LEFT, at(tick / 100)), (_LEFT + _WIDTH, at(tick / 100)), GRID)
        out.text(_LEFT - 6, at(tick / 100), f"{tick:g}", anchor="end", size=11)
        tick += step
    out.line((_LEFT, _TOP), (_LEFT, _TOP + _HEIGHT), INK)
    out.text(_LEFT - 46, _TOP + _HEIGHT / 2, f"{measure.title} (%)", anchor="middle", colour=DIM, turned=True)
    return at
