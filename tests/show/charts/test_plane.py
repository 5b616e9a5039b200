"""Cells in a plane: the front, its marks, and what is said of it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from tests.show.records import make_accuracy, make_record

from zoobench.outcome import Memory
from zoobench.results.row import Row, changed, row_of
from zoobench.show.charts.bars import Chart
from zoobench.show.charts.plane import MEASURES, known_measures, plane_chart, plane_front
from zoobench.terms import VerdictValue

SVG = "{http://www.w3.org/2000/svg}"


def row(model: str, p50: float, memory: int, **more: Any) -> Row:
    return row_of(make_record(model, p50=p50, memory=Memory(peak_bytes=memory), **more))


ROWS = [row("fast", 1.0, 300_000_000), row("small", 9.0, 100_000_000), row("beaten", 9.5, 310_000_000)]


def shapes(chart: Chart | None, shape: str) -> list[ElementTree.Element]:
    assert chart is not None
    return list(ElementTree.fromstring(chart.svg).iter(f"{SVG}{shape}"))


def test_the_front_is_joined_and_named_in_bold() -> None:
    x, y = MEASURES["latency"], MEASURES["memory"]
    assert [r.model for r in plane_front(ROWS, x, y)] == ["fast", "small"]
    chart = plane_chart(ROWS, x, y)
    bold = {e.text for e in shapes(chart, "text") if e.get("font-weight") == "bold"}
    assert bold == {"fast", "small"}
    assert len(shapes(chart, "circle")) == 3
    assert chart is not None
    assert "less peak memory and less p50 is better" in chart.caption


def test_which_way_is_better_goes_by_the_figure() -> None:
    front = plane_front(ROWS, MEASURES["throughput"], MEASURES["memory"])
    assert [r.model for r in front] == ["fast", "small"]


def test_an_unstable_cell_is_hollow_and_the_caption_says_so() -> None:
    rows = [*ROWS, row("shaky", 0.5, 90_000_000, verdict=VerdictValue.UNSTABLE)]
    chart = plane_chart(rows, MEASURES["latency"], MEASURES["memory"])
    assert [e.get("fill") for e in shapes(chart, "circle")].count("white") == 1
    assert chart is not None
    assert "Hollow points are unstable" in chart.caption


def test_only_what_two_cells_have_can_be_an_axis() -> None:
    assert known_measures(ROWS) == ["latency", "throughput", "size", "memory"]
    assert plane_chart(ROWS, MEASURES["latency"], MEASURES["mAP"]) is None
    right = [row(f"m{n}", 1.0 + n, 10, accuracy=make_accuracy(700 + n)) for n in range(2)]
    assert "top-1" in known_measures(right)


def test_accuracies_of_other_pictures_do_not_compare() -> None:
    rows = [row(f"m{n}", 1.0 + n, 10, accuracy=make_accuracy(700 + n)) for n in range(3)]
    rows[0] = changed(rows[0], data_sha256="other", top1=0.99)
    chart = plane_chart(rows, MEASURES["latency"], MEASURES["top-1"])
    assert len(shapes(chart, "circle")) == 2
    assert chart is not None
    assert "1 cell measured on other pictures, which do not compare, is left out." in chart.caption


def test_the_line_goes_in_steps_to_the_side_of_the_worse() -> None:
    for x, end in (("latency", max), ("throughput", min)):
        (line,) = shapes(plane_chart(ROWS, MEASURES[x], MEASURES["memory"]), "polyline")
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        across = [at for at, _ in points]
        assert across[-1] == end(across), x
        assert points[0][1] == points[1][1] and points[1][0] == points[2][0] and points[2][1] == points[3][1]


def test_a_folders_slash_stands_only_where_it_tells_something() -> None:
    x, y = MEASURES["latency"], MEASURES["memory"]
    rows = [row("mine/", 1.0, 9, precision="int8"), row("resnet18/", 2.0, 8), row("resnet18", 3.0, 7)]
    shown = {e.text for e in shapes(plane_chart(rows, x, y), "text")}
    assert {"mine int8", "resnet18/", "resnet18"} <= shown


def test_points_of_one_model_are_named_by_what_runs_them() -> None:
    x, y = MEASURES["latency"], MEASURES["memory"]
    chart = plane_chart([row("a", 1.0, 9), row("a", 2.0, 8, precision="int8", backend="openvino")], x, y)
    assert chart is not None and "Model: a." in chart.caption
    shown = [e.text for e in shapes(chart, "text")]
    assert shown.count("onnx_cpu") == shown.count("openvino · int8") == 2, "the legend and the point"


def test_what_is_asked_of_all_is_told_once() -> None:
    asked = {"scenario": "tokens", "options": {"prompt_tokens": 128, "new_tokens": 64}}
    chart = plane_chart(
        [row("a", 1.0, 9, **asked), row("b", 2.0, 8, **asked)], *map(MEASURES.get, ("latency", "memory"))
    )  # type: ignore[arg-type]
    assert chart is not None and "All: 128 + 64 tokens." in chart.caption
    assert "onnx_cpu" in {e.text for e in shapes(chart, "text")}


def test_language_models_have_figures_of_their_own() -> None:
    spoken = {"requests": 9, "ttft_p50_ms": 50.0, "tpot_p50_ms": 6.0, "tokens_per_s": 100.0}
    rows = [changed(r, **spoken, task="text_generation") for r in ROWS]
    assert {"TTFT", "TPOT", "tokens"} <= set(known_measures(rows))


@pytest.mark.parametrize("x", MEASURES)
@pytest.mark.parametrize("y", MEASURES)
def test_any_pair_can_be_drawn(x: str, y: str) -> None:
    rows = [*ROWS, row("odd", 2.0, 10, p95=None), row("exact", 3.0, 10, accuracy=make_accuracy(1000))]
    rows.append(row("none", 3.5, 11, accuracy=make_accuracy(0)))
    chart = plane_chart(rows, MEASURES[x], MEASURES[y])
    if chart is not None:
        ElementTree.fromstring(chart.svg)
        assert "nan" not in chart.svg
