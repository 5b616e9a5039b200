"""`tokens`: a closed loop over a language model's requests, each of whose tokens is timed.

A request's sample is its end to end time; beside it stands when each token was there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from zoobench.outcome import WarmUp
from zoobench.scenarios import SlotBudget
from zoobench.scenarios.closed_loop import Clock
from zoobench.spec import Case


class Tokens:
    """One request after another."""

    def prepare(self, case: Case, bind: Callable[[int], Callable[[], Any]], clock: Clock) -> None:
        """The case's own call is all that it needs."""

    def warm_up(self, call: Callable[[], Any], clock: Clock) -> WarmUp:
        """One whole request: it meets every length of cache that the timed ones will."""
        begin = clock()
        call()
        seconds = (clock() - begin) / 1e9
        return WarmUp(calls=1, seconds=seconds, steady=True, window_medians_ms=(seconds * 1e3,))

    def drive(
        self,
        call: Callable[[], Any],
        *,
        clock: Clock,
        budget: SlotBudget,
        gap_ms: float = 0.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> dict[str, Any]:
        """Some requests; there is no settling call, because a request is long and its prefill settles the decoding.

        Args:
            budget: `min_calls` requests are made and `min_seconds` used, less where `max_seconds` are over; at least one.

        Returns:
            As a closed loop's slot, and token_ns: of each request nanoseconds from its begin to each token.
        """
        begin = clock()
        samples: list[int] = []
        token_ns: list[list[int]] = []
        end_at = begin + int(budget["max_seconds"] * 1e9)
        least_at = begin + int(budget["min_seconds"] * 1e9)
        while len(samples) < budget["min_calls"] or clock() < least_at:
            if samples and clock() > end_at:
                break
            if gap_ms:
                pause(gap_ms / 1e3)
            start = clock()
            made = call()
            samples.append(clock() - start)
            token_ns.append([int(ns) for ns in made["token_ns"]])
        return {
            "settling_ns": 0,
            "samples_ns": samples,
            "inner_loops": 1,
            "elapsed_ns": clock() - begin,
            "token_ns": token_ns,
        }
