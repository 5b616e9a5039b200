"""Axes: round numbers between the ends, and names that cover nothing."""

from __future__ import annotations

import pytest

from zoobench.show.charts.axes import Axis, Labels, legend, padded_log
from zoobench.show.svg import Drawing


@pytest.mark.parametrize(
    ("low", "high"), [(8.0, 12.0), (0.9, 80.0), (1e-4, 1e9), (99.5, 100.0), (3e-4, 3.1e-4)]
)
def test_logarithmic_numbers_lie_between_the_ends(low: float, high: float) -> None:
    ticks = Axis(low, high, 0, 100, log=True).ticks
    assert 2 <= len(ticks) <= 15
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (63.2, 77.9), (0.0, 3e6), (99.5, 100.0)])
def test_linear_numbers_lie_between_the_ends(low: float, high: float) -> None:
    axis = Axis(low, high, 100, 0)
    assert 3 <= len(axis.ticks) <= 11
    assert axis.at(low) == 100 and axis.at(high) == pytest.approx(0)


def test_equal_values_have_an_axis() -> None:
    axis = padded_log([5.0, 5.0], 0, 10)
    assert 0 < axis.at(5.0) < 10


def test_a_logarithmic_axis_gives_equal_factors_equal_room() -> None:
    axis = Axis(1.0, 100.0, 0, 100, log=True)
    assert axis.at(10.0) == pytest.approx(50)


def test_a_long_legend_takes_further_lines() -> None:
    names = {f"backend_{n}": "#000000" for n in range(20)}
    assert legend(Drawing(), names, 0, 0, 2000) < legend(Drawing(), names, 0, 0, 300)


def test_a_name_without_room_is_left_out_unless_it_must_be_there() -> None:
    crowd = [(100.0 + 3 * x, 100.0 + 3 * y) for x in range(-30, 30) for y in range(-12, 12)]
    labels, out = Labels(crowd, 0, 500), Drawing()
    labels.put(out, (100.0, 100.0), "resnet18", must=False)
    assert labels.left_out == 1
    labels.put(out, (100.0, 100.0), "resnet18", must=True)
    assert labels.left_out == 1 and "resnet18" in out.finish(1, 1, "")


def test_a_name_lies_beside_the_line_and_whole_where_there_is_room() -> None:
    long = "mobilenetv2_100 of random weights int8_dynamic ×8"
    # The line runs above the point, where the first two places are.
    labels, out = Labels([(300.0, 100.0)], 0, 700, [(0.0, 91.0), (700.0, 91.0)]), Drawing()
    labels.put(out, (300.0, 100.0), long, must=True)
    drawn = out.finish(1, 1, "")
    assert long in drawn
    assert 'y="113.8"' in drawn, "below the point"
    narrow, out = Labels([(300.0, 100.0)], 100, 500), Drawing()
    narrow.put(out, (300.0, 100.0), long, must=False)
    assert long not in out.finish(1, 1, "") and narrow.left_out == 0
