"""Requests of a language model, one after another, on a clock that moves when it is told to."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoobench.scenarios.tokens import Tokens


class Model:
    """A token each 10 ms after 50 ms."""

    def __init__(self) -> None:
        self.now = 0
        self.calls = 0

    def clock(self) -> int:
        return self.now

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        token_ns = 50_000_000 + 10_000_000 * np.arange(3)
        self.now += int(token_ns[-1])
        return {"token_ids": np.zeros((1, 3)), "token_ns": token_ns}


def budget(**changes: float) -> Any:
    return {"min_calls": 2, "min_seconds": 0.0, "max_seconds": 60.0, **changes}


def test_every_request_and_every_token_of_it_is_kept() -> None:
    model = Model()
    slot = Tokens().drive(model, clock=model.clock, budget=budget())
    assert slot["samples_ns"] == [70_000_000] * 2
    assert slot["token_ns"] == [[50_000_000, 60_000_000, 70_000_000]] * 2
    assert (slot["elapsed_ns"], slot["inner_loops"], slot["settling_ns"]) == (140_000_000, 1, 0)


def test_time_that_is_over_ends_it_but_never_before_the_first() -> None:
    model = Model()
    slot = Tokens().drive(model, clock=model.clock, budget=budget(min_calls=9, max_seconds=0.0))
    assert len(slot["samples_ns"]) == 1


def test_short_requests_are_many() -> None:
    model = Model()
    slot = Tokens().drive(model, clock=model.clock, budget=budget(min_calls=1, min_seconds=0.25))
    assert len(slot["samples_ns"]) == 4, "the fourth ends behind 250 ms"


def test_the_warm_up_is_one_whole_request() -> None:
    model = Model()
    warm = Tokens().warm_up(model, model.clock)
    assert (model.calls, warm.calls, warm.seconds, warm.steady) == (1, 1, 0.07, True)
