"""How numbers are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoobench.show.numbers import (
    DASH,
    decimals_for,
    format_bytes,
    format_interval,
    format_number,
    traffic_light,
    with_interval,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9.528, "9.53"), (9.996, "10.0"), (9.994, "9.99"), (99.96, "100"), (123.4, "123"), (1234.5, "1234"),
        (0.012345, "0.0123"), (0.9996, "1.00"), (0.99949, "0.999"), (1.0, "1.00"), (0.0, "0"), (-1.5, "-1.50"),
        (None, DASH), (math.nan, DASH), (math.inf, DASH),
    ],
)  # fmt: skip
def test_three_significant_digits_and_never_an_exponent(value: float | None, text: str) -> None:
    assert format_number(value) == text


@given(st.floats(1e-6, 1e12))
def test_what_is_written_is_near_what_is_meant(value: float) -> None:
    text = format_number(value)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=0.0051)
    assert decimals_for(value) >= 0


def test_an_interval_has_the_decimals_of_the_number_beside_it() -> None:
    assert with_interval(9.53, (9.412, 9.7)) == "9.53 [9.41, 9.70]"
    assert with_interval(99.6, (97.13, 102.3)) == "99.6 [97.1, 102.3]"
    assert with_interval(9.53, None) == "9.53"
    assert format_interval(None) == ""
    assert format_interval((math.nan, 1.0)) == ""


def test_bytes_are_decimal() -> None:
    assert [format_bytes(n) for n in (999, 46_830_571, 8e9, None)] == ["999 B", "46.8 MB", "8.00 GB", DASH]


def test_lights_change_at_10_and_above_50_ms() -> None:
    assert [traffic_light(ms) for ms in (9.99, 10.0, 50.0, 50.01)] == ["🟢", "🟡", "🟡", "🔴"]
