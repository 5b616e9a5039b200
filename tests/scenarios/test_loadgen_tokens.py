"""LoadGen's arrivals for language models, on calls that sleep: real tests of LoadGen, a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zoobench.errors import UsageError
from zoobench.outcome import LoadTest
from zoobench.scenarios.loadgen_tokens import TokenServer
from zoobench.spec import Case

pytestmark = pytest.mark.slow

pytest.importorskip("mlperf_loadgen")

FIRST_S, LATER_S, TOKENS = 0.006, 0.003, 4


def answering(fail_at: int | None = None) -> Callable[..., dict[str, Any]]:
    made = 0

    def call(first: Callable[[], None] | None = None) -> dict[str, Any]:
        nonlocal made
        made += 1
        if made == fail_at:
            raise UsageError("the server broke off")
        begin, token_ns = time.perf_counter_ns(), []
        for number in range(TOKENS):
            time.sleep(LATER_S if number else FIRST_S)
            token_ns.append(time.perf_counter_ns() - begin)
            if not number and first:
                first()
        return {"token_ns": np.asarray(token_ns)}

    return call


def served(
    call: Callable[..., Any], *, qps: float = 40.0, clients: int = 2, queries: int = 50, **limits: float
) -> dict[str, Any]:
    options = {
        "target_qps": qps, "latency_percentile": 90.0, "concurrency": clients, "prompt_tokens": 8,
        "new_tokens": TOKENS, **limits,
    }  # fmt: skip
    case = Case(model="m", backend="endpoint", threads=1, scenario="server", options=options)
    scenario = TokenServer()
    scenario.prepare(case, lambda _: call, time.perf_counter_ns)
    budget: Any = {"max_seconds": 10.0, "test_seconds": 0.4, "test_queries": queries, "seed": 1}
    return scenario.drive(call, clock=time.perf_counter_ns, budget=budget)


def test_loadgen_judges_first_and_further_tokens_by_their_own_limits() -> None:
    slot = served(answering(), ttft_limit_ms=1000.0, tpot_limit_ms=1000.0)
    test = LoadTest.model_validate(slot["load"])
    assert test.valid and test.constraints_met
    assert test.queries == len(slot["samples_ns"]) == len(slot["token_ns"]) == len(slot["begun_ns"]) >= 50
    assert (test.ttft_limit_ms, test.latency_limit_ms) == (1000.0, None)
    assert test.ttft_percentile_ms and test.ttft_percentile_ms >= 1e3 * FIRST_S
    assert test.tpot_percentile_ms and test.tpot_percentile_ms >= 0.9e3 * LATER_S
    assert test.little_error is not None and abs(test.little_error) < 0.05
    # A limit between the two: the first token misses it, the later ones hold it.
    for limits, held in (
        ({"ttft_limit_ms": 1.0}, False),
        ({"tpot_limit_ms": 1.0}, False),
        ({"tpot_limit_ms": 900.0}, True),
    ):
        assert LoadTest.model_validate(served(answering(), **limits)["load"]).constraints_met is held


def test_waiting_for_a_client_is_part_of_the_first_tokens_time() -> None:
    # One client of about 66 requests a second is asked for 60: arrivals wait for it.
    slot = served(answering(), qps=60.0, clients=1, ttft_limit_ms=1e4)
    firsts = sorted(times[0] for times in slot["token_ns"])
    assert firsts[-1] > 2 * firsts[0]
    flying = LoadTest.model_validate(slot["load"]).mean_in_flight
    assert flying is not None and flying > 0.7


def test_a_request_that_fails_ends_the_test_and_what_was_answered_is_kept() -> None:
    # One request warms the second client up.
    slot = served(answering(fail_at=9), clients=1, ttft_limit_ms=1e4)
    assert slot["trouble"] == "the server broke off" and "load" not in slot
    assert len(slot["samples_ns"]) == len(slot["token_ns"]) == 8
    with pytest.raises(UsageError, match="the server broke off"):
        served(answering(fail_at=1), clients=1, ttft_limit_ms=1e4)
