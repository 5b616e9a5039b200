"""What people write with a unit, and what they forget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoobench.errors import UsageError
from zoobench.units import (
    duration_ms,
    percentile_limit,
    price_per_hour,
    rate_per_s,
    share,
    size_bytes,
    written,
)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("50ms", 50.0),
        (" 12.5 ms ", 12.5),
        ("800us", 0.8),
        ("800µs", 0.8),
        ("800μs", 0.8),
        ("1s", 1000.0),
        ("1500 NS", 0.0015),
        (".5ms", 0.5),
        ("1.235e+04ms", 12350.0),
        ("2e-1s", 200.0),
    ],
)
def test_a_duration_in_milliseconds(text: str, ms: float) -> None:
    assert duration_ms(text, "p95") == pytest.approx(ms)


@pytest.mark.parametrize(
    ("text", "spelling"), [("50", "50ms"), (50, "50ms"), (12.5, "12.5ms"), (".5", ".5ms")]
)
def test_a_duration_without_a_unit_is_told_how_it_is_written(text: object, spelling: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^limit 3: p95 = '{text}': the unit is missing; write {spelling}$"
    ):
        duration_ms(text, "limit 3: p95 =")


NONSENSE = [
    "",
    "ms",
    "fast",
    "-5ms",
    "+5ms",
    "5 minutes",
    "5m",
    "5mſ",
    "5.ms",
    "1,5ms",
    "5ms 3us",
    "٥ms",
    "５ms",
    "infms",
    "inf",
    "nan",
    "nanms",
    "0x10ms",
    True,
    False,
    None,
    [50],
    {"ms": 50},
    float("nan"),
    float("inf"),
    -1,
]


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(UsageError, match=r"^--limit .*: a duration is needed, such as 50ms"):
        duration_ms(text, "--limit")


@pytest.mark.parametrize("text", ["0ms", "0.0s", "1e999ms", "9" * 400 + "s", "1e-400ms"])
def test_no_limit_can_be_zero_or_infinite(text: str) -> None:
    with pytest.raises(UsageError, match="it must be above 0 and finite"):
        duration_ms(text, "--limit")


@pytest.mark.parametrize(
    ("text", "value"),
    [("5%", 0.05), ("0.05", 0.05), (0.05, 0.05), (" 2.5 % ", 0.025), ("150%", 1.5), ("5e-1%", 0.005)],
)
def test_a_share(text: object, value: float) -> None:
    assert share(text, "--margin") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "spelling"), [("5", "5%"), (5, "5%"), ("1", "1%"), ("1.0", "1.0%"), ("25", "25%")]
)
def test_a_bare_number_of_one_and_more_is_no_share(text: object, spelling: str) -> None:
    with pytest.raises(UsageError, match=rf"^--margin '{text}': the unit is missing; write {spelling}$"):
        share(text, "--margin")


@pytest.mark.parametrize(
    "text", ["", "%", "much", "-5%", "5 percent", "5%%", "٥%", "nan", "inf%", "5ms", True, None]
)
def test_what_is_no_share(text: object) -> None:
    with pytest.raises(UsageError, match=r"^--margin .*: a share is needed, such as 5%$"):
        share(text, "--margin")


@pytest.mark.parametrize("text", ["0", "0%", "0.0", "1e999%", "1e-400"])
def test_no_share_is_zero_or_infinite(text: str) -> None:
    with pytest.raises(UsageError, match="it must be above 0 and finite"):
        share(text, "--margin")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500MB", 500_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("64kib", 65_536),
        ("7 b", 7),
        (" 2TB ", 2 * 10**12),
    ],
)
def test_a_size_in_bytes(text: str, value: int) -> None:
    assert size_bytes(text, "--max-memory") == value


@pytest.mark.parametrize("text", ["", "MB", "-5MB", "5 megabytes", "5M", "5\u212ab", "５MB", "nanMB", None])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(UsageError, match=r"^--max-memory .*: a size is needed, such as 500MB"):
        size_bytes(text, "--max-memory")


def test_a_size_needs_a_unit_and_something() -> None:
    with pytest.raises(UsageError, match=r"'500': the unit is missing; write 500MB$"):
        size_bytes("500", "--max-memory")
    with pytest.raises(UsageError, match="it must be above 0 and finite"):
        size_bytes("0MB", "--max-memory")


def test_a_rate_and_a_price() -> None:
    assert [rate_per_s(text, "x") for text in ("100", "0.5/s", 7, " 3 / S ")] == [100, 0.5, 7, 3]
    assert [price_per_hour(text, "x") for text in ("0.40/h", "2 / hour")] == [0.4, 2]
    with pytest.raises(UsageError, match=r"^--price '0.40': the unit is missing; write 0.40/h$"):
        price_per_hour("0.40", "--price")
    for text in ("$0.40/h", "0.40/day", "cheap", "-1/h", "nan/h"):
        with pytest.raises(
            UsageError, match=r"a price an hour is needed, such as 0\.40/h, without a currency"
        ):
            price_per_hour(text, "--price")
    with pytest.raises(UsageError, match="it must be above 0 and finite"):
        rate_per_s("0", "x")
    assert [price_per_hour(text, "x") for text in ("0.000001/h", "1000000/h")] == [1e-6, 1e6]
    for text in ("0/h", "1e-7/h", "1000000.1/h", "1e300/h"):
        with pytest.raises(UsageError, match=rf"^x '{text}': it must lie from 0\.000001/h to 1000000/h$"):
            price_per_hour(text, "x")


@given(st.one_of(st.text(max_size=12), st.from_regex(r"[0-9.eE+-]{1,6} ?[nuµμmsſS%]{0,3}", fullmatch=True)))
def test_every_text_is_a_positive_number_or_a_usage_error(text: str) -> None:
    for read in (duration_ms, share, size_bytes, rate_per_s, price_per_hour):
        try:
            assert 0 < read(text, "here") < float("inf")
        except UsageError as error:
            assert str(error).startswith("here ")


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_a_number_is_written_so_that_it_comes_back_to_the_last_bit(value: float) -> None:
    assert duration_ms(f"{written(value)}ms", "--gap") == value and "e" not in written(value)


def test_a_whole_number_is_written_without_a_point() -> None:
    assert [written(value) for value in (50.0, 0.1, 1e-7, 1e16)] == ["50", "0.1", "0.0000001", "1" + "0" * 16]


def test_a_limit_may_have_a_percentile() -> None:
    assert percentile_limit("500ms", "--max-ttft") == (None, 500.0)
    assert percentile_limit("p90:2s", "--max-ttft") == (90.0, 2000.0)
    for wrong in ("500", "p100:1s", "p0:1s", "x:1s", "p99:", "", "p९:1s", "p99:1:2s"):
        with pytest.raises(UsageError, match="--max-ttft"):
            percentile_limit(wrong, "--max-ttft")
