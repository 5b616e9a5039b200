"""Who goes on: the best survives where there is no noise, ties survive, and the time is bounded whoever ties."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from zoobench.search.halving import (
    Standing,
    advance,
    course,
    half,
    most_time,
    rung_time,
    rungs,
)

TIMES = st.lists(st.floats(0.2, 5.0, allow_nan=False), min_size=1, max_size=60)


def exact(times: list[float]) -> list[Standing[int]]:
    return [Standing(n, time, (time, time)) for n, time in enumerate(times)]


def search(times: list[float], noise: float = 0.0) -> tuple[list[int], list[int]]:
    """All rungs with intervals of ±noise: who is left, and how many took part in each."""
    going, counts = list(range(len(times))), []
    for _ in range(rungs(len(times))):
        if not going:
            break
        counts.append(len(going))
        standings = [Standing(n, times[n], (times[n] * (1 - noise), times[n] * (1 + noise))) for n in going]
        going, _ = advance(standings)
        if len(going) < 2:
            break
    return going, counts


@given(TIMES)
def test_without_noise_the_best_survives_unless_the_defaults_are_better(times: list[float]) -> None:
    left, _ = search(times)
    if min(times) <= 1.0:
        assert times.index(min(times)) in left
    else:
        assert left == []


@given(TIMES, st.floats(0.0, 0.3))
def test_who_may_still_be_the_best_is_never_dropped(times: list[float], noise: float) -> None:
    """Equal intervals: the fastest has the lowest lower end, whatever the noise."""
    left, _ = search(times, noise)
    if min(times) <= 1.0:
        assert times.index(min(times)) in left


@given(TIMES)
def test_ties_survive_together(times: list[float]) -> None:
    doubled = [*times, *times]
    left, _ = search(doubled)
    assert {n % len(times) for n in left if n < len(times)} == {
        n % len(times) for n in left if n >= len(times)
    }


@given(TIMES)
def test_everybody_goes_on_or_is_dropped_with_a_reason(times: list[float]) -> None:
    kept, dropped = advance(exact(times))
    assert sorted([*kept, *(one.configuration for one in dropped)]) == list(range(len(times)))
    assert all(one.why for one in dropped)
    distinct = len(set(times)) == len(times)
    assert not distinct or len(kept) <= half(len(times))


@given(st.integers(1, 300), st.floats(0.1, 10.0))
def test_the_time_is_bounded_even_where_all_tie(count: int, first_s: float) -> None:
    bound = most_time(count, first_s)
    tied = sum(count * rung_time(count, count, first_s) for _ in range(rungs(count)))
    halved = sum(left * rung_time(count, left, first_s) for left in course(count))
    assert max(tied, halved) <= bound * (1 + 1e-9)
    assert rungs(count) <= 1 + math.log2(count) + 1


def test_who_goes_on_is_measured_the_longer_the_fewer_there_are() -> None:
    seconds = [rung_time(17, left, 1.0) for left in course(17)]
    assert course(17) == [17, 9, 5, 3, 2]
    assert seconds == sorted(set(seconds)) and seconds[0] == 1.0 and seconds[-1] == 8.5


def test_who_is_clearly_slower_leaves_at_once_and_who_overlaps_is_cut_by_halves_alone() -> None:
    standings = [
        Standing("fast", 0.8, (0.78, 0.82)),
        Standing("near", 0.83, (0.81, 0.85)),
        Standing("slow", 0.9, (0.88, 0.92)),
        Standing("slower", 1.5, (1.4, 1.6)),
    ]
    kept, dropped = advance(standings)
    assert kept == ["fast", "near"]
    assert {one.configuration: one.why.partition(":")[0] for one in dropped} == {
        "slow": "slower than the fastest",
        "slower": "slower than the fastest",
    }


def test_what_is_slower_than_the_defaults_leaves_though_nothing_else_is_faster() -> None:
    kept, dropped = advance([Standing("a", 1.2, (1.1, 1.3))])
    assert kept == [] and "slower than the defaults: 1.200 [1.100, 1.300]" in dropped[0].why


def test_what_failed_or_is_wrong_is_out_however_fast_it_is() -> None:
    kept, dropped = advance(
        [
            Standing("wrong", 0.1, (0.1, 0.1), trouble="its outputs cannot be used: constant"),
            Standing("right", 0.9, (0.88, 0.92)),
            Standing("silent"),
        ]
    )
    assert kept == ["right"]
    assert {one.configuration: one.why for one in dropped} == {
        "wrong": "its outputs cannot be used: constant",
        "silent": "it had no turn to compare",
    }


def test_where_all_overlap_the_half_with_the_lower_lower_ends_goes_on() -> None:
    wide = [Standing(n, 0.9 + n / 100, (0.8 + n / 100, 1.0 + n / 100)) for n in (3, 0, 2, 1)]
    kept, dropped = advance(wide)
    assert kept == [0, 1]
    assert {one.configuration: one.why.partition(":")[0] for one in dropped} == {
        2: "in the slower half",
        3: "in the slower half",
    }


def test_of_the_last_two_the_one_with_the_smaller_estimate_is_left() -> None:
    kept, dropped = advance([Standing("wide", 0.9, (0.5, 1.3)), Standing("narrow", 0.85, (0.8, 0.9))])
    assert kept == ["narrow"] and dropped[0].why.startswith("second best: ")
