"""Distributions: every call is accounted for, and nothing is claimed that the calls do not tell."""

from __future__ import annotations

import re
from itertools import pairwise

from tests.show.charts.drawn import HOSTILE, attributes, fills, is_harmless, texts
from tests.show.records import make_record

from zoobench.results.row import Row, row_of
from zoobench.show.charts.distributions import distribution_chart
from zoobench.terms import VerdictValue


def cell(model: str = "resnet18", p50: float = 10.0, **more: object) -> Row:
    return row_of(make_record(model, p50=p50, **more))  # type: ignore[arg-type]


def around(p50: float, n: int = 200) -> list[float]:
    return [p50 * (0.95 + 0.001 * (i * 37 % 100)) for i in range(n)]


def dots(rows: list[tuple[Row, list[float]]]) -> int:
    return sum(len(re.findall("M", path["d"])) for path in attributes(distribution_chart(rows), "path"))


def test_each_call_is_a_dot_and_the_axis_has_its_unit() -> None:
    chart = distribution_chart(
        [(cell(p95=11.0), around(10.0)), (cell(backend="pytorch", p50=17.0), around(17.0))]
    )
    assert dots([(cell(), around(10.0, 200))]) == 200
    shown = texts(chart)
    assert {"time of a call / p50 of its cell", "resnet18", "onnx_cpu · batch 1"} <= set(shown)
    assert "p50 10.0, p95 11.0 · 200 calls" in shown
    assert "p50 17.0, p95 — · 200 calls" in shown, "what the calls do not support is not told"
    assert {"#0072B2", "#D55E00"} <= set(fills(chart, "rect"))


def test_p95_is_marked_only_where_it_is_known() -> None:
    dashed = [
        [
            line
            for line in attributes(distribution_chart([(cell(p95=p95), around(10.0))]), "line")
            if "stroke-dasharray" in line
        ]
        for p95 in (10.4, None)
    ]
    assert [len(lines) for lines in dashed] == [1, 0]


def test_calls_far_out_are_told_and_do_not_press_the_rest_together() -> None:
    chart = distribution_chart([(cell(), [*around(10.0), 300.0, 400.0])])
    assert "2 longer, up to 400 ms" in texts(chart)
    assert "1 shorter, from 2.00 ms" in texts(distribution_chart([(cell(), [*around(10.0), 2.0])]))


def test_an_unstable_cell_is_marked() -> None:
    assert "⚠ unstable" in texts(distribution_chart([(cell(verdict=VerdictValue.UNSTABLE), around(10.0))]))


def test_one_call_draws_and_none_is_no_chart() -> None:
    assert distribution_chart([]) is None
    assert distribution_chart([(cell(), [])]) is None
    chart = distribution_chart([(cell(), [10.0])])
    assert chart is not None and "nan" not in chart.svg


def test_two_modes_are_seen_as_two() -> None:
    calls = [10.0 + 0.001 * n for n in range(100)] + [14.0 + 0.001 * n for n in range(100)]
    (path,) = attributes(distribution_chart([(cell(p50=12.0), calls)]), "path")
    xs = sorted(float(x) for x in re.findall(r"M([0-9.]+)", path["d"]))
    assert max(b - a for a, b in pairwise(xs)) > 0.8 * (xs[-1] - xs[0])


def test_hundred_thousands_of_calls_stay_bounded_and_it_is_told() -> None:
    many = [(cell(f"model_{n}"), around(10.0, 5000)) for n in range(40)]
    chart = distribution_chart(many)
    assert chart is not None and len(chart.svg) < 200_000
    assert "The first 24 of 40 cells are shown." in chart.caption
    assert "evenly chosen by rank" in chart.caption


def test_a_hostile_name_is_text() -> None:
    assert is_harmless(distribution_chart([(cell(HOSTILE), around(10.0))]))
