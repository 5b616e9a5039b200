"""Charts of language models: how the time of a token, the rate and memory go with how much has been read and written."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from zoobench.results.row import Row
from zoobench.show.charts.bars import MOST_PANELS, Chart
from zoobench.show.charts.series import clients_label, colours_of, first_of, runtime_names
from zoobench.show.svg import DIM, GRID, Drawing, fit, round_ticks
from zoobench.show.tables import model_label, scenario_label
from zoobench.terms import TOKENS

_MOST_LINES = 16
"""Four runtimes in four precisions."""
_MOST_POSITIONS = 200
"""Points of a line; of a longer answer neighbours are drawn as one."""
_PAD, _TITLE, _AXIS, _MARGIN, _WIDTH, _HEIGHT, _NAMES, _NAME = (
    14.0,
    44.0,
    56.0,
    58.0,
    290.0,
    170.0,
    220.0,
    14.0,
)
"""Pixels: around the picture, above a panel, below it, left of it, the panel itself, right of it for the lines' names, and of the
height of one name."""
_COLUMNS = 2


@dataclass(frozen=True)
class _Point:
    """Where a cell stands in a panel; `stable` where its number may be relied on."""

    x: float
    y: float
    stable: bool


@dataclass
class _Panel:
    """One pair of axes: who is drawn in it, and what is counted upwards.

    Attributes:
        lines: name of the backend and precision → its points, from left to right.
        subtitle: what sets it apart from others of the model.
        dots: each point is a cell of its own, and is marked; without, a line is one cell.
    """

    title: str
    subtitle: str
    unit: str
    below: str
    dots: bool
    lines: dict[str, list[_Point]] = field(default_factory=dict)


def itl_chart(rows: Sequence[Row]) -> Chart | None:
    """ITL over the position of the token, one panel a model, batch and lengths, one line a backend and precision.

    Args:
        rows: believable ones, in the order in which they are shown.
    """
    panels: dict[Hashable, _Panel] = {}
    # One new token has no neighbour, two have one interval: a point is no line.
    drawn = [r for r in rows if r.scenario == TOKENS and len(r.itl_by_position_ms) > 1]
    name = runtime_names(drawn)
    joined = 1
    for row in drawn:
        key = (model_label(row), row.batch, scenario_label(row))
        asked = f"batch {row.batch} · {scenario_label(row)}"
        panel = panels.setdefault(
            key, _Panel(model_label(row), asked, "ITL (ms)", "position of the token", dots=False)
        )
        step = -(-len(row.itl_by_position_ms) // _MOST_POSITIONS)
        joined = max(joined, step)
        # How many clients there were stands over the panel.
        panel.lines.setdefault(name(row), _positions(row, step))
    caption = "Time between neighbouring tokens (ITL, median over requests, ms, less is better) against the position of the later one"
    caption += f", up to {joined} neighbours drawn as their median." if joined > 1 else "."
    return _chart("itl", list(panels.values()), caption)


def decode_chart(rows: Sequence[Row]) -> Chart | None:
    """Decode rate against context length, one panel a model and batch; None where no two lengths were measured."""
    panels = _by_length(rows, [("decode (tokens/s)", lambda r: r.decode_tokens_per_s)])
    caption = "Decode rate (tokens/s of all sequences of a batch, more is better) against the context's length at the end."
    return _chart("decode", panels, caption)


def memory_chart(rows: Sequence[Row]) -> Chart | None:
    """Peak memory and keys and values against context length; None where no two lengths were measured."""
    panels = _by_length(
        rows,
        [
            ("peak (MB)", lambda r: r.peak_bytes and r.peak_bytes / 1e6),
            ("KV used (MB)", lambda r: r.kv_used_bytes and r.kv_used_bytes / 1e6),
        ],
    )
    caption = (
        "Peak resident memory, and the keys and values in use (MB, 10⁶ bytes, less is better), against the context's length at "
        "the end. Lines that lie on each other are nested."
    )
    return _chart("memory", panels, caption)


def _by_length(
    rows: Sequence[Row], kinds: Sequence[tuple[str, Callable[[Row], float | None]]]
) -> list[_Panel]:
    """Panels in which at least one line has two lengths; cells of equal place and lengths: the first."""
    spoken = [r for r in rows if r.scenario == TOKENS and r.prompt_tokens and r.new_tokens]
    runtime = runtime_names(spoken)
    panels: dict[Hashable, _Panel] = {}
    seen: set[Hashable] = set()
    for row in sorted(spoken, key=lambda r: (_length(r), r.prompt_tokens or 0)):
        for unit, value_of in kinds:
            key, name, value = (
                (model_label(row), row.batch, unit),
                runtime(row) + clients_label(row),
                value_of(row),
            )
            if value is None or (key, name, row.prompt_tokens, row.new_tokens) in seen:
                continue
            seen.add((key, name, row.prompt_tokens, row.new_tokens))
            panel = panels.setdefault(
                key, _Panel(model_label(row), f"batch {row.batch}", unit, "prompt + new tokens", dots=True)
            )
            panel.lines.setdefault(name, []).append(_Point(_length(row), value, not row.is_unstable))
    order = {(model_label(r), r.batch): n for n, r in reversed(list(enumerate(spoken)))}
    for panel in panels.values():
        # A point says nothing of a length's influence.
        panel.lines = {n: points for n, points in panel.lines.items() if points[0].x < points[-1].x}
    chosen = sorted(panels, key=lambda key: order[key[:2]])  # type: ignore[index]
    return [panels[key] for key in chosen if panels[key].lines]


def _length(row: Row) -> int:
    return (row.prompt_tokens or 0) + (row.new_tokens or 0)


def _positions(row: Row, step: int) -> list[_Point]:
    """The time that the second token took stands at 2."""
    times, stable = row.itl_by_position_ms, not row.is_unstable
    groups = [times[at : at + step] for at in range(0, len(times), step)]
    return [
        _Point(2 + n * step + (len(group) - 1) / 2, statistics.median(group), stable)
        for n, group in enumerate(groups)
    ]


def _chart(name: str, panels: list[_Panel], caption: str) -> Chart | None:
    if not panels:
        return None
    names, remark = first_of((n for p in panels for n in p.lines), _MOST_LINES, "series")
    panels = [panel for panel in panels if set(panel.lines) & set(names)]
    if len(panels) > MOST_PANELS:
        caption += f" The first {MOST_PANELS} of {len(panels)} panels are shown."
        panels = panels[:MOST_PANELS]
    colours = colours_of(names)
    if any(not point.stable for p in panels for n in colours for point in p.lines.get(n, ())):
        caption += " Rings are unstable." if panels[0].dots else " Dashed lines are unstable."
    if len(panels) > 1:
        caption += " Every panel has its own scale."
    caption += remark
    return Chart(name, _grid(panels, colours, caption), caption)


def _grid(panels: Sequence[_Panel], colours: dict[str, str], caption: str) -> str:
    out = Drawing()
    across, down = min(len(panels), _COLUMNS), -(-len(panels) // _COLUMNS)
    wide, tall = _MARGIN + _WIDTH + _NAMES, _TITLE + _HEIGHT + _AXIS
    for number, panel in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        _draw(out, panel, colours, _PAD + _MARGIN + column * wide, _PAD + _TITLE + row * tall)
    return out.finish(2 * _PAD + across * wide, 2 * _PAD + down * tall, caption)


def _draw(out: Drawing, panel: _Panel, colours: dict[str, str], left: float, top: float) -> None:
    lines = {name: panel.lines[name] for name in colours if name in panel.lines}
    points = [point for line in lines.values() for point in line]
    x_end = 1.02 * max((p.x for p in points), default=1.0)
    ticks = round_ticks(max((p.y for p in points), default=1.0))
    bottom = top + _HEIGHT

    def at(point: _Point) -> tuple[float, float]:
        return left + _WIDTH * point.x / x_end, bottom - _HEIGHT * point.y / ticks[-1]

    out.text(left, top - _TITLE + 9, fit(panel.title, _WIDTH + _NAMES - 20, 13), bold=True, size=13)
    out.text(left, top - _TITLE + 26, panel.subtitle, colour=DIM)
    for tick in ticks:
        y = bottom - _HEIGHT * tick / ticks[-1]
        out.line((left, y), (left + _WIDTH, y), DIM if tick == 0 else GRID)
        out.text(left - 6, y, f"{tick:.9g}", anchor="end", size=11)
    for tick in (t for t in round_ticks(x_end, about=5) if t <= x_end):
        x = left + _WIDTH * tick / x_end
        out.line((x, bottom), (x, bottom + 4), DIM)
        out.text(x, bottom + 13, f"{tick:.9g}", anchor="middle", size=11)
    out.text(left - 50, top + _HEIGHT / 2, panel.unit, anchor="middle", colour=DIM, turned=True)
    out.text(left + _WIDTH / 2, bottom + 31, panel.below, anchor="middle", colour=DIM)
    for number, (name, line) in enumerate(lines.items()):
        # What lies under others is wider, so that all of them are seen.
        over = sum(_lie_together(line, other) for other in list(lines.values())[number + 1 :])
        _line(out, list(map(at, line)), [p.stable for p in line], colours[name], over, dots=panel.dots)
    _names(out, {name: at(line[-1]) for name, line in lines.items()}, colours, left + _WIDTH, bottom)


def _names(
    out: Drawing,
    ends: dict[str, tuple[float, float]],
    colours: dict[str, str],
    edge: float,
    bottom: float,
) -> None:
    """Right of the axes, as near to where each line ends as the others leave room, and joined with it."""
    order = sorted(ends, key=lambda name: ends[name][1])
    places: list[float] = []
    for name in order:
        places.append(max(ends[name][1], places[-1] + _NAME if places else 0.0))
    # What was pushed out below moves up again, and the others before it.
    lowest = bottom
    for number in reversed(range(len(places))):
        places[number] = min(places[number], lowest)
        lowest = places[number] - _NAME
    for name, place in zip(order, places, strict=True):
        out.line(ends[name], (edge + 14, place), colours[name], 0.8)
        out.rect(edge + 14, place - 4.5, 9, 9, colours[name])
        out.text(edge + 27, place, fit(name, _NAMES - 40, 11), size=11)


def _lie_together(one: Sequence[_Point], other: Sequence[_Point]) -> bool:
    """Wherever both have a point it is the same to the eye."""
    values = {p.x: p.y for p in one}
    common = [(values[p.x], p.y) for p in other if p.x in values]
    return bool(common) and all(abs(a - b) <= 0.005 * max(a, b) for a, b in common)


def _line(
    out: Drawing,
    points: list[tuple[float, float]],
    stable: list[bool],
    colour: str,
    over: int,
    *,
    dots: bool,
) -> None:
    out.path(points, colour, width=2 + 2 * over, dash="" if dots or all(stable) else "5 3")
    if dots:
        for (x, y), is_stable in zip(points, stable, strict=True):
            (out.dot if is_stable else out.ring)(x, y, colour, radius=3.6 + over)
