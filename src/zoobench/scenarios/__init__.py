"""Scenarios: how load is applied. A scenario is one module, one row here, one test."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any, Protocol, TypedDict, cast


class SlotBudget(TypedDict):
    """What one slot must and may hold.

    Keys:
        min_calls: least number of timed calls; `slow_min_calls` when the settling call took over `slow_call_s`.
        min_seconds: least sum of timed calls.
        max_seconds: no new call is begun after this much time in the slot, once `slow_min_calls` are in.
        min_sample_ns: a shorter call is repeated within one sample, because the timer is too coarse for it.
    """

    min_calls: int
    slow_min_calls: int
    min_seconds: float
    slow_call_s: float
    max_seconds: float
    min_sample_ns: float


class Scenario(Protocol):
    """Applies load to one session for one slot."""

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


SCENARIOS: dict[str, str] = {"single_stream": "zoobench.scenarios.closed_loop:SingleStream"}


def open_scenario(name: str) -> Scenario:
    """Import and make the scenario called `name`."""
    module, _, attribute = SCENARIOS[name].partition(":")
    return cast("Scenario", getattr(importlib.import_module(module), attribute)())
