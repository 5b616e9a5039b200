"""Slots and warm-up on a virtual clock: every rule of the protocol, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, repeat

import pytest

from zoobench.backends.fake import VirtualClock
from zoobench.measure import effort as rules
from zoobench.scenarios import SlotBudget, open_scenario
from zoobench.scenarios.closed_loop import warm_up

MS = 1_000_000


def budget(**changes: float) -> SlotBudget:
    """The conductor's own rules, on a timer without grain."""
    return {
        "min_calls": rules.SLOT_MIN_CALLS,
        "slow_min_calls": rules.SLOT_SLOW_MIN_CALLS,
        "min_seconds": rules.SLOT_MIN_S,
        "slow_call_s": rules.SLOW_CALL_S,
        "max_seconds": 20.0,
        "min_sample_ns": 0,
        **changes,
    }  # type: ignore[typeddict-item]


def model(clock: VirtualClock, *first_ms: float, then_ms: float) -> Callable[[], None]:
    """A call that takes the given times, the last of them for ever."""
    return taking(clock, chain(first_ms, repeat(then_ms)))


def taking(clock: VirtualClock, times_ms: Iterable[float]) -> Callable[[], None]:
    times = iter(times_ms)
    return lambda: clock.wait(round(next(times) * MS))


def drive(call: Callable[[], None], clock: VirtualClock, *, gap_ms: float = 0.0, **changes: float) -> dict:
    return open_scenario("single_stream").drive(
        call, clock=clock, budget=budget(**changes), gap_ms=gap_ms, pause=clock.pause
    )


def test_the_settling_call_is_kept_apart():
    clock = VirtualClock()
    slot = drive(model(clock, 90, then_ms=50), clock)
    assert slot["settling_ns"] == 90 * MS
    assert slot["samples_ns"] == [50 * MS] * 20
    assert slot["inner_loops"] == 1


@pytest.mark.parametrize(
    ("call_ms", "calls"),
    [
        pytest.param(50, 20, id="at least 20 calls"),
        pytest.param(5, 50, id="at least a quarter of a second"),
        pytest.param(12.5, 20, id="both at once"),
        pytest.param(101, 3, id="a slow model needs 3"),
        pytest.param(100, 20, id="100 ms is not yet slow"),
        pytest.param(30_000, 3, id="3 even when they take longer than the case may"),
    ],
)
def test_how_many_calls_a_slot_holds(call_ms: float, calls: int):
    clock = VirtualClock()
    assert len(drive(model(clock, then_ms=call_ms), clock)["samples_ns"]) == calls


def test_no_call_begins_after_the_time_that_is_left():
    clock = VirtualClock()
    slot = drive(model(clock, then_ms=60), clock, max_seconds=0.6)
    # The settling call at 0 ms, then calls that begin at 60, 120, … 600 ms.
    assert len(slot["samples_ns"]) == 10


def test_samples_stand_in_the_order_of_time():
    clock = VirtualClock()
    slot = drive(taking(clock, range(20, 100)), clock)
    assert slot["samples_ns"] == [ms * MS for ms in range(21, 41)]


def test_a_call_near_the_timers_grain_is_looped_and_given_per_call():
    clock = VirtualClock()
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        clock.wait(20_000)

    slot = drive(call, clock, min_sample_ns=50_000)
    assert slot["inner_loops"] == 3
    assert set(slot["samples_ns"]) == {20_000}
    assert calls == 1 + 3 * len(slot["samples_ns"])
    assert 0.25e9 <= 60_000 * len(slot["samples_ns"]) < 0.25e9 + 60_000


def test_the_gap_lies_between_calls_and_outside_the_timing():
    clock = VirtualClock()
    slot = drive(model(clock, then_ms=50), clock, gap_ms=100)
    assert slot["samples_ns"] == [50 * MS] * 20
    assert slot["elapsed_ns"] == clock() == (50 + 20 * 150) * MS


def test_the_gap_counts_against_the_time_that_is_left():
    clock = VirtualClock()
    slot = drive(model(clock, then_ms=1), clock, gap_ms=99, max_seconds=1.0)
    assert len(slot["samples_ns"]) == 10


def test_a_steady_model_is_warm_after_a_second():
    clock = VirtualClock()
    warm = warm_up(model(clock, then_ms=5), clock)
    assert warm.steady
    assert (warm.calls, warm.seconds) == (200, 1.0)
    assert warm.window_medians_ms == (5.0,) * 4


def test_a_second_is_needed_even_when_the_cap_of_calls_is_reached():
    clock = VirtualClock()
    warm = warm_up(model(clock, then_ms=0.5), clock)
    assert warm.steady
    assert warm.calls > 300
    assert warm.seconds >= 1.0


def test_ten_calls_are_needed_even_when_a_second_has_passed():
    clock = VirtualClock()
    warm = warm_up(model(clock, then_ms=200), clock)
    assert warm.steady
    assert warm.calls == 12  # four windows of 3, since nine calls are too few


def test_a_slow_start_is_waited_for():
    clock = VirtualClock()
    warm = warm_up(model(clock, *[20.0] * 13, *[10.0] * 25, then_ms=5), clock)
    assert warm.steady
    assert warm.window_medians_ms[:2] == (20.0, 10.0)
    assert warm.window_medians_ms[-3:] == (5.0,) * 3


@pytest.mark.parametrize(
    ("last_ms", "steady"),
    [pytest.param(10.49, True, id="within 5%"), pytest.param(10.51, False, id="beyond")],
)
def test_three_windows_within_five_percent_are_steady(last_ms: float, steady: bool):
    clock = VirtualClock()
    slow, windows = 10.0, (10.0, 10.2, last_ms)
    warm = warm_up(
        taking(clock, chain([slow] * 25, *([ms] * 25 for ms in windows), repeat(windows[-1]))), clock
    )
    assert (len(warm.window_medians_ms) == 4) == steady


def test_a_model_that_never_settles_is_given_up():
    clock = VirtualClock()
    growing = taking(clock, (20 * 1.01**i for i in range(10_000)))
    warm = warm_up(growing, clock)
    assert not warm.steady
    assert warm.calls >= 300 or 15.0 <= warm.seconds < 30.0


def test_giving_up_never_comes_before_the_third_window():
    clock = VirtualClock()
    warm = warm_up(taking(clock, (20_000 * 2**i for i in range(100))), clock)
    assert len(warm.window_medians_ms) == 3
    assert not warm.steady
