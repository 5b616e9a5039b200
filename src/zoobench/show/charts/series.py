"""What has a colour of its own in a chart, what it is called, and which colour: one home for all charts."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import attrgetter

from zoobench.results.row import Row
from zoobench.show.document import plain
from zoobench.show.numbers import counted
from zoobench.show.tables import backend_label, scenario_label
from zoobench.terms import Precision

_COLOURS = {
    "pytorch": "#D55E00",
    "onnx_cpu": "#0072B2",
    "openvino": "#009E73",
    "torch_compile": "#E69F00",
    "pytorch_cuda": "#CC79A7",
    "onnx_cuda": "#56B4E9",
    "onnx_tensorrt": "#000000",
    "torch_compile_cuda": "#B8A800",
    "ort_genai": "#54278F",
    "endpoint": "#8C564B",
    "llama_cpp": "#2166AC",
    "openvino_genai": "#117733",
    "ort_genai_cuda": "#C51B7D",
}
"""One colour a backend in every chart: Okabe and Ito's palette (2008), its yellow darkened to stand on white; more where it
ends."""

_OTHER_COLOUR = "#7A7A7A"
_PALER = {"tf32": 0.2, "bf16": 0.3, "fp16": 0.4, "int8": 0.55, "int8_dynamic": 0.7, "int4": 0.7}
"""Precision → share of white in its backend's colour."""
_LESS_LIGHT = 0.66
"""What each further series of one backend and precision keeps of the last one's light."""


def model_names(rows: Iterable[Row]) -> Callable[[Row], str]:
    """Row → its model. The slash behind a local folder's name is left out, unless a model of that name is there too."""
    known = dict.fromkeys(row.model for row in rows)
    names = {model: plain(model if (short := model.removesuffix("/")) in known else short) for model in known}
    return lambda row: names[row.model]


def runtime_names(rows: Iterable[Row]) -> Callable[[Row], str]:
    """Row → its backend with options and precision, whatever is asked of it; and its threads, where those of `rows` differ.

    Two rows that differ in any of these are two series: one of them would hide the other.
    """
    several = len({row.threads for row in rows}) > 1

    def name(row: Row) -> str:
        parts = [backend_label(row)]
        parts += [] if row.precision == Precision.FP32.value else [row.precision]
        parts += [counted(row.threads, "thread")] if several else []
        return plain(" · ".join(parts))

    return name


def series_names(rows: Iterable[Row]) -> Callable[[Row], str]:
    """Row → what it is called in a chart of `rows`: as `runtime_names`, with its load."""
    runtime = runtime_names(rows)
    # Thousands of rows are of a handful of series.
    known: dict[Hashable, str] = {}

    def name(row: Row) -> str:
        what = (*_of_series(row), *sorted(row.options.items())) if row.options else _of_series(row)
        if what not in known:
            loaded = row.scenario != "single_stream"
            known[what] = plain(f"{runtime(row)} · {scenario_label(row)}") if loaded else runtime(row)
        return known[what]

    return name


_of_series = attrgetter("backend", "precision", "threads", "scenario")


def clients_label(row: Row) -> str:
    """To stand behind a name where one load is asked: ` · 4 clients`, nothing for one."""
    return f" · {row.concurrency} clients" if (row.concurrency or 1) > 1 else ""


def colours_of(series: Iterable[str]) -> dict[str, str]:
    """Series → colour, in the order of legends: backends as everywhere, then by name."""
    names = sorted(set(series), key=_order)
    return dict(zip(names, series_colours(names), strict=True))


def series_colours(series: Sequence[str]) -> list[str]:
    """The backend's colour, paler by precision, so that both are the same in every chart; darker for further options and threads."""
    seen: dict[tuple[str, float], int] = {}
    colours = []
    for name in series:
        backend = _backend(name)
        paler = next((_PALER[part] for part in name.split(" · ")[1:] if part in _PALER), 0.0)
        step = seen[backend, paler] = seen.get((backend, paler), -1) + 1
        colours.append(_mixed(_COLOURS.get(backend, _OTHER_COLOUR), paler, step))
    return colours


def first_of(names: Iterable[str], most: int, what: str) -> tuple[list[str], str]:
    """At most `most` different names in their order, and the sentence that says what is left out."""
    every = list(dict.fromkeys(names))
    if len(every) <= most:
        return every, ""
    return every[:most], f" The first {most} of {len(every)} {what} are shown."


def _backend(series: str) -> str:
    return series.replace("(", "·").split("·")[0].strip()


def _order(series: str) -> tuple[int, str]:
    backends = list(_COLOURS)
    backend = _backend(series)
    # 2 threads come before 16.
    by_number = re.sub(r"[0-9]+", lambda number: number[0].zfill(9), series)
    return (backends.index(backend) if backend in backends else len(backends)), by_number


def _mixed(colour: str, white: float, step: int) -> str:
    """With so much white, then with black, the more the higher the step; black itself becomes grey."""
    light = 1 - _LESS_LIGHT**step
    if colour == "#000000":
        white, light = max(white, 0.8 * light), 0.0
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round((part + (255 - part) * white) * (1 - light)):02X}" for part in parts)
