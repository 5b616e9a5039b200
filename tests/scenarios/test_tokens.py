"""Requests of a language model, one after another, on a clock that moves when it is told to."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from zoobench.errors import UsageError
from zoobench.scenarios.tokens import Tokens
from zoobench.spec import Case


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


def clients(count: int, call: Any) -> Tokens:
    scenario = Tokens()
    case = Case(model="m", backend="ort_genai", threads=1, scenario="tokens", options={"concurrency": count})
    scenario.prepare(case, lambda batch: call, time.perf_counter_ns)
    return scenario


class Meeting:
    """A request that ends when as many as are expected are in it at once."""

    def __init__(self, expected: int) -> None:
        self.barrier = threading.Barrier(expected, timeout=10)

    def __call__(self) -> dict[str, Any]:
        self.barrier.wait()
        return {"token_ns": np.array([1, 2, 3])}


def test_clients_ask_at_once_and_each_more_than_once() -> None:
    call = Meeting(3)
    slot = clients(3, call).drive(call, clock=time.perf_counter_ns, budget=budget(min_calls=1))
    assert len(slot["samples_ns"]) == len(slot["token_ns"]) == 6
    assert slot["begun_ns"] == sorted(slot["begun_ns"]) and slot["begun_ns"][0] >= 0


def test_all_clients_warm_up() -> None:
    call = Meeting(2)
    assert clients(2, call).warm_up(call, time.perf_counter_ns).calls == 2


class Failing(Model):
    def __init__(self, at: int, error: Exception) -> None:
        super().__init__()
        self.at, self.error = at, error

    def __call__(self) -> dict[str, Any]:
        if self.calls == self.at:
            raise self.error
        return super().__call__()


def test_what_was_made_before_a_failure_is_kept_and_the_failure_told() -> None:
    model = Failing(2, UsageError("the server broke off"))
    slot = Tokens().drive(model, clock=model.clock, budget=budget(min_calls=5))
    assert len(slot["samples_ns"]) == 2 and slot["trouble"] == "the server broke off"
    first = Failing(0, UsageError("nothing answers"))
    with pytest.raises(UsageError, match="nothing answers"):
        Tokens().drive(first, clock=first.clock, budget=budget())
    bug = Failing(1, KeyError("choices"))
    assert Tokens().drive(bug, clock=bug.clock, budget=budget())["trouble"] == "KeyError: 'choices'"
