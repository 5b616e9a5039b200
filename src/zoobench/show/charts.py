"""Charts: Vega-Lite specifications as plain dictionaries, drawn to SVG without a browser.

The specifications are written out rather than built with a chart library, whose import alone would cost more
than reading and drawing everything else in a report. Every chart is one function from records to a `Chart`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from zoobench.outcome import VerdictValue
from zoobench.results.query import Cell
from zoobench.results.record import Record
from zoobench.show.document import plain
from zoobench.show.numbers import format_number, format_ratio
from zoobench.show.speedup import Pair
from zoobench.show.tables import backend_label, has_verdict, in_order, is_believable, p50
from zoobench.spec import Case, Precision

MOST_MODELS, MOST_PANELS, MOST_SERIES, MOST_BATCHES = 30, 12, 8, 4

_COLOURS = {
    "pytorch": "#D55E00",
    "onnx_cpu": "#0072B2",
    "openvino": "#009E73",
    "torch_compile": "#E69F00",
    "pytorch_cuda": "#CC79A7",
    "onnx_cuda": "#56B4E9",
    "onnx_tensorrt": "#000000",
    "torch_compile_cuda": "#B8A800",
}
"""One colour a backend in every chart: Okabe and Ito's palette (2008), its yellow darkened to stand on white."""

_OTHER_COLOUR = "#7A7A7A"
_INK, _DIM, _GRID = "#1c2126", "#5b6570", "#e3e7eb"
_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"


@dataclass(frozen=True)
class Chart:
    """A chart before it is drawn: its file's name, its Vega-Lite specification, and what it shows in words."""

    name: str
    spec: dict[str, Any]
    caption: str


def draw_svg(chart: Chart) -> str:
    """Render to SVG. Needs no network and no display."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(chart.spec, vl_version="6.4", allowed_base_urls=[])
    return svg


def latency_chart(cells: Iterable[Cell]) -> Chart | None:
    """Bars of p50 per model and backend, whiskers for the interval, one panel a batch size."""
    scope = _Scope.of([c.record for c in in_order(cells) if is_believable(c.record)])
    if not scope.records:
        return None
    panels = [_latency_panel(scope, batch, first=i == 0) for i, batch in enumerate(scope.batches)]
    caption = "Median latency (p50, ms, shorter is better) with its 95% interval."
    if any(has_verdict(r, VerdictValue.UNSTABLE) for r in scope.records):
        caption += " Pale bars are unstable."
    return Chart("latency", _page({"hconcat": panels, "spacing": 14}), caption + scope.remark)


def _latency_panel(scope: _Scope, batch: int, first: bool) -> dict[str, Any]:
    rows = []
    for record in scope.records:
        if record.case.batch != batch or record.latency is None:
            continue
        low, high = record.latency.p50_interval_ms or (p50(record), p50(record))
        unstable = has_verdict(record, VerdictValue.UNSTABLE)
        rows.append({
            **scope.place(record), "value": p50(record), "low": low, "high": high,
            "text": format_number(p50(record)), "opacity": 0.45 if unstable else 1.0,
        })  # fmt: skip
    room = 1.22 * max((max(row["high"], row["value"]) for row in rows), default=1.0)
    x = {
        "type": "quantitative",
        "title": "p50 (ms)",
        "scale": {"domain": [0, room]},
        "axis": {"tickCount": 4},
    }
    bar = {
        "mark": {"type": "bar", "height": {"band": 0.9}},
        "encoding": {
            "x": {**x, "field": "value"},
            "opacity": {"field": "opacity", "scale": None, "legend": None},
        },
    }
    return _panel(scope, f"batch {batch}", rows, [bar, _whisker(x, _INK), _number(x)], first)


def speedup_chart(pairs: Sequence[Pair]) -> Chart | None:
    """Speed-up over PyTorch per model and backend, whiskers for the interval, one panel a batch size."""
    scope = _Scope.of([p.other for p in pairs])
    if not scope.records:
        return None
    shown = {id(r) for r in scope.records}
    rows = [
        {
            **scope.place(p.other), "batch": p.other.case.batch, "value": p.ratio, "text": format_ratio(p.ratio),
            "low": p.interval[0] if p.interval else p.ratio, "high": p.interval[1] if p.interval else p.ratio,
        }
        for p in pairs if id(p.other) in shown
    ]  # fmt: skip
    highest = max(row["high"] for row in rows)
    x = {
        "type": "quantitative",
        "title": "speed-up (×)",
        "scale": {"domain": [0, max(1.25 * highest, 1.2)]},
        "axis": {"tickCount": 4},
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
        "encoding": {"x": {**x, "field": "value"}},
    }
    line = {
        "data": {"values": [{"one": 1}]},
        "mark": {"type": "rule", "color": _INK, "strokeDash": [4, 3]},
        "encoding": {"x": {**x, "field": "one"}, "y": None, "yOffset": None, "color": None},
    }
    panels = []
    for i, batch in enumerate(scope.batches):
        own = [row for row in rows if row["batch"] == batch]
        panels.append(
            _panel(scope, f"batch {batch}", own, [line, _whisker(x), point, _number(x)], first=i == 0)
        )
    base = " / ".join(sorted({p.base.case.backend for p in pairs}))
    caption = f"Speed-up over {base} (ratio of p50, longer is better) with its conservative interval; dashed: equal."
    return Chart("speedup", _page({"hconcat": panels, "spacing": 14}), caption + scope.remark)


def throughput_chart(cells: Iterable[Cell]) -> Chart | None:
    """Throughput against batch size, one panel a model, one line a backend; None with a single batch size."""
    records = [c.record for c in in_order(cells) if is_believable(c.record) and c.record.throughput_per_s]
    scope = _Scope.of(records, most_models=MOST_PANELS, most_batches=12)
    if len(scope.batches) < 2:
        return None
    panels = [_throughput_panel(scope, model, first=i % 3 == 0) for i, model in enumerate(scope.models)]
    caption = "Throughput (items/s, higher is better) against batch size; every panel has its own scale."
    return Chart("throughput", _page({"concat": panels, "columns": 3, "spacing": 18}), caption + scope.remark)


def _throughput_panel(scope: _Scope, model: str, first: bool) -> dict[str, Any]:
    known = {(_series(r.case), r.case.batch): r.throughput_per_s for r in scope.records if _model(r) == model}
    # Every batch gets a row: a null breaks the line, so that it does not run through cells without a number.
    rows = [
        {"series": series, "batch": batch, "value": known.get((series, batch))}
        for series in scope.series
        for batch in scope.batches
    ]
    return {
        "title": model,
        "width": 215,
        "height": 150,
        "data": {"values": rows},
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 45, "filled": True}},
        "encoding": {
            "x": {"field": "batch", "type": "ordinal", "title": "batch size", "axis": {"labelAngle": 0}},
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": "items/s" if first else None,
                "axis": {"tickCount": 4},
                "scale": {"zero": True, "nice": 4},
            },
            "color": scope.colour_encoding(),
        },
    }


@dataclass(frozen=True)
class _Scope:
    """What part of the cells a chart shows, so that it stays readable, and the sentence that says so."""

    records: list[Record]
    models: list[str]
    series: list[str]
    batches: list[int]
    remark: str

    @classmethod
    def of(
        cls, records: list[Record], most_models: int = MOST_MODELS, most_batches: int = MOST_BATCHES
    ) -> _Scope:
        models, remark = _first(dict.fromkeys(_model(r) for r in records), most_models, "fastest models")
        series, more = _first(dict.fromkeys(_series(r.case) for r in records), MOST_SERIES, "backends")
        every = sorted({r.case.batch for r in records})
        batches = _spread(every, most_batches)
        if batches != every:
            more += f" Batches {', '.join(map(str, batches))} of {len(every)} are shown."
        kept = {(m, s, b) for m in models for s in series for b in batches}
        inside: dict[tuple[str, str, int], Record] = {}
        for r in records:
            key = (_model(r), _series(r.case), r.case.batch)
            if key in kept:
                inside.setdefault(key, r)
        series = sorted({s for _, s, _ in inside}, key=_series_order)
        return cls(list(inside.values()), models, series, batches, remark + more)

    def place(self, record: Record) -> dict[str, Any]:
        return {"model": _model(record), "series": _series(record.case)}

    def colour_encoding(self) -> dict[str, Any]:
        domain = {"domain": self.series, "range": _series_colours(self.series)}
        return {"field": "series", "type": "nominal", "title": None, "scale": domain}


def _first(names: Iterable[str], most: int, what: str) -> tuple[list[str], str]:
    every = list(names)
    if len(every) <= most:
        return every, ""
    return every[:most], f" The {most} first of {len(every)} {what} are shown."


def _spread(every: list[int], most: int) -> list[int]:
    """At most `most` of them, the first and the last among them, the others evenly between."""
    if len(every) <= most:
        return every
    return [every[i * (len(every) - 1) // (most - 1)] for i in range(most)]


def _model(record: Record) -> str:
    return plain(record.case.model)


def _series(case: Case) -> str:
    extras = [] if case.precision is Precision.FP32 else [case.precision.value]
    extras += [] if case.scenario == "single_stream" else [case.scenario]
    return plain(" · ".join([backend_label(case), *extras]))


def _backend(series: str) -> str:
    return series.replace("(", "·").split("·")[0].strip()


def _series_order(series: str) -> tuple[int, str]:
    backends = list(_COLOURS)
    backend = _backend(series)
    return (backends.index(backend) if backend in backends else len(backends)), series


def _series_colours(series: Sequence[str]) -> list[str]:
    """The backend's colour; its further precisions and options are paler by steps."""
    seen: dict[str, int] = {}
    colours = []
    for name in series:
        backend = _backend(name)
        step = seen[backend] = seen.get(backend, -1) + 1
        colours.append(_paler(_COLOURS.get(backend, _OTHER_COLOUR), min(step * 0.35, 0.7)))
    return colours


def _paler(colour: str, share: float) -> str:
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * share):02X}" for part in parts)


def _whisker(x: dict[str, Any], colour: str | None = None) -> dict[str, Any]:
    mark: dict[str, Any] = {"type": "rule", "strokeWidth": 1.5}
    encoding: dict[str, Any] = {"x": {**x, "field": "low"}, "x2": {"field": "high"}}
    if colour is not None:
        mark["color"] = colour
        encoding["color"] = None
    return {"mark": mark, "encoding": encoding}


def _number(x: dict[str, Any]) -> dict[str, Any]:
    return {
        "mark": {
            "type": "text",
            "align": "left",
            "dx": 5,
            "baseline": "middle",
            "fontSize": 11,
            "color": _INK,
        },
        "encoding": {"x": {**x, "field": "high"}, "text": {"field": "text"}, "color": None},
    }


def _panel(
    scope: _Scope, title: str, rows: list[dict[str, Any]], layers: list[dict[str, Any]], first: bool
) -> dict[str, Any]:
    """One panel of a row of panels: models down the side (labelled on the first panel only), backends beside."""
    step = 15 if len(scope.models) <= 12 else 13
    axis = {"labelLimit": 190, "ticks": False, "domain": False} if first else None
    return {
        "title": title,
        "width": 640 // max(len(scope.batches), 2),
        "height": len(scope.models) * (len(scope.series) * step + 8) + 8,
        "data": {"values": rows},
        "encoding": {
            "y": {
                "field": "model", "type": "nominal", "title": None, "axis": axis,
                "scale": {"domain": scope.models, "paddingInner": 0.18, "paddingOuter": 0.1},
            },
            "yOffset": {"field": "series", "type": "nominal", "scale": {"domain": scope.series}},
            "color": scope.colour_encoding(),
        },
        "layer": layers,
    }  # fmt: skip


def _page(body: dict[str, Any]) -> dict[str, Any]:
    words = {"labelFont": _FONT, "titleFont": _FONT, "labelColor": _INK, "titleColor": _DIM}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        "padding": 12,
        "config": {
            "font": _FONT,
            "view": {"stroke": None},
            "axis": {
                **words, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
                "labelPadding": 5, "gridColor": _GRID, "domainColor": _DIM, "tickColor": _DIM,
            },
            "legend": {**words, "orient": "top", "labelFontSize": 12, "symbolType": "square", "labelLimit": 260},
            "title": {"font": _FONT, "fontSize": 13, "color": _INK, "anchor": "start", "frame": "group", "limit": 230},
        },
        **body,
    }  # fmt: skip
