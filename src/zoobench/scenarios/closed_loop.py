"""`single_stream`: a closed loop, the next call begins when the last one has ended. Also the warm-up.

The clock is `perf_counter_ns` around the call; it is passed in, so that a virtual one can stand in for it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

from zoobench.outcome import WarmUp
from zoobench.scenarios import SlotBudget
from zoobench.spec import Case

Clock = Callable[[], int]

_WINDOW_CALLS, _WINDOW_SLOW_CALLS, _WINDOW_S = 10, 3, 0.25
_SLOW_CALL_S = 0.1
_MIN_CALLS, _MIN_S = 10, 1.0
_CAP_CALLS, _CAP_S = 300, 15.0
_STEADY = 0.05


class SingleStream:
    """One call after another, each timed on its own."""

    def prepare(self, case: Case, bind: Callable[[int], Callable[[], Any]], clock: Clock) -> None:
        """The case's own call is all that it needs."""

    def drive(
        self,
        call: Callable[[], Any],
        *,
        clock: Clock,
        budget: SlotBudget,
        gap_ms: float = 0.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> dict[str, Any]:
        """A settling call (caches and threads are cold after the others' turns), then the timed calls.

        Args:
            budget: what the slot must and may hold.
            gap_ms: pause before each sample, outside the timing.
            pause: lets that many seconds pass.

        Returns:
            settling_ns; samples_ns, nanoseconds a call, in time order; inner_loops, the calls per sample;
            elapsed_ns, the whole slot with its gaps.
        """
        begin = clock()
        call()
        settling_ns = clock() - begin
        slow = settling_ns > budget["slow_call_s"] * 1e9
        needed = budget["slow_min_calls"] if slow else budget["min_calls"]
        loops = max(1, math.ceil(budget["min_sample_ns"] / max(settling_ns, 1)))
        samples: list[int] = []
        timed_ns, end_at = 0, begin + int(budget["max_seconds"] * 1e9)
        while len(samples) < needed or timed_ns < budget["min_seconds"] * 1e9:
            if len(samples) >= budget["slow_min_calls"] and clock() > end_at:
                break
            if gap_ms:
                pause(gap_ms / 1e3)
            start = clock()
            for _ in range(loops):
                call()
            elapsed = clock() - start
            timed_ns += elapsed
            samples.append(round(elapsed / loops))
        return {
            "settling_ns": settling_ns,
            "samples_ns": samples,
            "inner_loops": loops,
            "elapsed_ns": clock() - begin,
        }


def warm_up(call: Callable[[], Any], clock: Clock) -> WarmUp:
    """Call until three consecutive windows' medians lie within 5% of each other.

    At least 10 calls and 1 s. A window is at least 10 calls and 0.25 s, or 3 calls when one takes over 100 ms.
    It is given up after 15 s, or 300 calls and 1 s, but never before the third window.
    """
    medians: list[float] = []
    calls, begin = 0, clock()
    while True:
        window: list[int] = []
        window_begin = clock()
        while True:
            start = clock()
            call()
            window.append(clock() - start)
            needed = _WINDOW_SLOW_CALLS if window[-1] > _SLOW_CALL_S * 1e9 else _WINDOW_CALLS
            if len(window) >= needed and clock() - window_begin >= _WINDOW_S * 1e9:
                break
        calls += len(window)
        medians.append(statistics.median(window) / 1e6)
        seconds = (clock() - begin) / 1e9
        last = medians[-3:]
        if len(last) < 3 or seconds < _MIN_S:
            continue
        steady = max(last) <= (1 + _STEADY) * min(last)
        if (steady and calls >= _MIN_CALLS) or calls >= _CAP_CALLS or seconds >= _CAP_S:
            break
    return WarmUp(calls=calls, seconds=seconds, steady=steady, window_medians_ms=tuple(medians))
