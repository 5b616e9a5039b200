"""Scenarios: how load is applied. A scenario is one module, one row here, one test."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict, cast

if TYPE_CHECKING:
    from zoobench.spec import Case


class SlotBudget(TypedDict):
    """What one slot must and may hold.

    Keys:
        min_calls: least number of timed calls; `slow_min_calls` when the settling call took over `slow_call_s`.
        min_seconds: least sum of timed calls.
        max_seconds: no new call is begun after this much time in the slot, once `slow_min_calls` are in.
        min_sample_ns: a shorter call is repeated within one sample, because the timer is too coarse for it.

    Keys of a LoadGen test, which must end within `max_seconds` too:
        test_seconds: its least duration.
        test_queries: least number of queries that its early stopping needs.
        test_percentile: percent; what `multi_stream` estimates.
        seed: of its schedule; the cases of a group that take turns have the same one.
    """

    min_calls: int
    slow_min_calls: int
    min_seconds: float
    slow_call_s: float
    max_seconds: float
    min_sample_ns: float
    test_seconds: NotRequired[float]
    test_queries: NotRequired[int]
    test_percentile: NotRequired[float]
    seed: NotRequired[int]


class Scenario(Protocol):
    """Applies load to one session, slot by slot."""

    def prepare(self, case: Case, bind: Callable[[int], Callable[[], Any]], clock: Callable[[], int]) -> None:
        """Called once, before the first slot.

        Args:
            bind: gives a call for that many items, beside the case's own.
            clock: nanoseconds, as the slots will use it.
        """
        ...

    def drive(
        self,
        call: Callable[[], Any],
        *,
        clock: Callable[[], int],
        budget: SlotBudget,
        gap_ms: float = 0.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> dict[str, Any]:
        """Run one slot and return its samples."""
        ...


SCENARIOS: dict[str, str] = {
    "single_stream": "zoobench.scenarios.closed_loop:SingleStream",
    "tokens": "zoobench.scenarios.tokens:Tokens",
    "offline": "zoobench.scenarios.loadgen:Offline",
    "multi_stream": "zoobench.scenarios.loadgen:MultiStream",
    "server": "zoobench.scenarios.loadgen:Server",
    "token_server": "zoobench.scenarios.loadgen_tokens:TokenServer",
}


def open_scenario(name: str) -> Scenario:
    """Import and make the scenario called `name`."""
    module, _, attribute = SCENARIOS[name].partition(":")
    return cast("Scenario", getattr(importlib.import_module(module), attribute)())
