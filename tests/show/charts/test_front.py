"""The front: what is drawn, what it is held against, and that it stays readable."""

from __future__ import annotations

import pytest
from tests.show.charts.drawn import HOSTILE, attributes, fills, is_harmless, texts
from tests.show.records import make_accuracy, make_record
from tests.show.test_accuracy import zoo

from zoobench.results.row import Row, row_of
from zoobench.show.charts.front import front_chart
from zoobench.show.charts.plane import LATENCY, MAP, SIZE, TOP1, plane_front
from zoobench.terms import VerdictValue


def rows() -> list[Row]:
    return [row_of(r) for r in zoo()]


def sized(model: str, p50: float, size: int, **more: object) -> Row:
    made = make_record(model, p50=p50, **more)  # type: ignore[arg-type]
    assert made.artifact
    return row_of(made.model_copy(update={"artifact": made.artifact.model_copy(update={"size_bytes": size})}))


def test_the_front_is_what_nothing_beats() -> None:
    front = plane_front([r for r in rows() if r.batch == 1], LATENCY, TOP1)
    assert [(r.model, r.precision) for r in front] == [
        ("mobilenetv2_100", "int8"),
        ("mobilenetv2_100", "fp32"),
    ]


def test_a_smaller_file_is_the_better_one() -> None:
    points = [
        sized("fast", 1.0, 90_000_000),
        sized("small", 2.0, 9_000_000),
        sized("neither", 3.0, 50_000_000),
    ]
    assert [r.model for r in plane_front(points, LATENCY, SIZE)] == ["fast", "small"]
    chart = front_chart(points)
    assert chart is not None and chart.name == "size" and "Down and to the left is better" in chart.caption
    assert "size of the file (MB), logarithmic" in texts(chart)


def test_every_cell_of_one_batch_on_the_same_pictures_is_a_point() -> None:
    chart = front_chart(rows())
    assert (
        chart is not None
        and chart.name == "accuracy"
        and "at batch 1, on timm/mini-imagenet" in chart.caption
    )
    assert len(attributes(chart, "circle")) == 4 and len(attributes(chart, "polyline")) == 1
    assert {"top-1 (%)", "p50 (ms), logarithmic"} <= set(texts(chart))
    other = make_accuracy(500).model_copy(
        update={"data": make_accuracy().data.model_copy(update={"content_sha256": "e" * 64})}
    )
    mixed = front_chart([row_of(make_record(accuracy=other)), *rows()], TOP1)
    assert mixed is not None and len(attributes(mixed, "circle")) == 4
    assert "1 cell measured on other pictures, which do not compare, is left out." in mixed.caption


def test_the_line_joins_the_front_in_steps_to_the_edge() -> None:
    chart = front_chart(rows())
    (line,) = attributes(chart, "polyline")
    points = [tuple(map(float, point.split(","))) for point in line["points"].split()]
    assert len(points) == 4, "two points, the corner between them, and the edge"
    assert points[0][1] == points[1][1] and points[1][0] == points[2][0] and points[2][1] == points[3][1]
    named = attributes(chart, "text")
    assert [t.get("font-weight") for t in named].count("bold") == 2


def test_a_precision_has_its_colour_and_the_unstable_are_hollow() -> None:
    shaky = row_of(make_record("x", p50=0.5, accuracy=make_accuracy(500), verdict=VerdictValue.UNSTABLE))
    chart = front_chart([*rows(), shaky])
    assert {"#0072B2", "white"} <= set(fills(chart, "circle"))
    assert chart is not None and "Hollow points are unstable" in chart.caption


@pytest.mark.parametrize("right", [0, 1000])
def test_it_lives_at_the_ends_of_the_scale(right: int) -> None:
    points = [row_of(make_record(name, p50=1.0, accuracy=make_accuracy(right))) for name in "ab"]
    chart = front_chart(points)
    assert chart is not None and "nan" not in chart.svg


@pytest.mark.parametrize("p50", [1e-4, 1e9])
def test_extreme_latencies_draw(p50: float) -> None:
    chart = front_chart([sized("a", p50, 10), sized("b", 1.0, 10**12)])
    assert chart is not None and "nan" not in chart.svg


def test_a_single_point_is_no_chart_and_nothing_is_none() -> None:
    assert front_chart([]) is None
    assert front_chart(rows()[:1]) is None
    assert front_chart(rows(), MAP) is None
    assert (
        front_chart([row_of(make_record(scenario="offline")), row_of(make_record("b", scenario="offline"))])
        is None
    )


def test_hundreds_of_cells_keep_the_front_and_say_what_is_left_out() -> None:
    points = [sized(f"model_{n:03}", 1.0 + n, 10**9 - n) for n in range(20)]
    points += [sized(f"other_{n:03}", 50.0 + n, 2 * 10**9) for n in range(300)]
    chart = front_chart(points)
    assert chart is not None and "40 of 320 cells are shown." in chart.caption
    assert len(attributes(chart, "circle")) == 40 and len(chart.svg) < 30_000
    assert {f"model_{n:03}" for n in range(20)} <= set(texts(chart))


def test_a_hostile_name_is_text() -> None:
    assert is_harmless(front_chart([sized(HOSTILE, 1.0, 10), sized("b", 2.0, 5)]))
