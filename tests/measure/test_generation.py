"""TTFT, TPOT and ITL from when each token was there."""

from __future__ import annotations

import numpy as np
import pytest

from zoobench.measure.generation import spread, summarise_tokens
from zoobench.outcome import Slot
from zoobench.spec import Case

CASE = Case(
    model="m", backend="ort_genai", threads=1, batch=2, scenario="tokens",
    options={"prompt_tokens": 100, "new_tokens": 4},
)  # fmt: skip


def slot(*requests: list[float]) -> Slot:
    """Requests by the milliseconds at which their tokens came."""
    in_ns = tuple(tuple(int(ms * 1e6) for ms in times) for times in requests)
    return Slot(
        fork=0, round=0, position=0, settling_ns=0, samples_ns=tuple(t[-1] for t in in_ns), token_ns=in_ns
    )


def test_the_formulas() -> None:
    found = summarise_tokens(CASE, [slot([50, 60, 70, 80]), slot([50, 60, 80, 90])])
    assert found is not None
    assert (found.requests, found.prompt_tokens, found.new_tokens) == (2, 100, 4)
    assert found.ttft.p50_ms == 50 and found.ttft.n == 2
    # The first token is not in TPOT: (80 − 50) / 3 and (90 − 50) / 3.
    assert found.tpot.mean_ms == pytest.approx((10 + 40 / 3) / 2)
    assert found.itl.n == 6 and found.itl.mean_ms == pytest.approx(70 / 6)
    assert found.prefill_tokens_per_s == pytest.approx(2 * 100 / 0.050)
    assert found.decode_tokens_per_s == pytest.approx(2 / (np.median([10, 40 / 3]) / 1e3))
    assert found.itl_by_position_ms == pytest.approx((10, 15, 10))


def test_one_new_token_decodes_nothing() -> None:
    one = CASE.model_copy(update={"options": {**CASE.options, "new_tokens": 1}})
    found = summarise_tokens(one, [slot([50]), slot([52])])
    assert found is not None
    assert found.decode_tokens_per_s is None and found.itl.n == 0 and found.tpot.p50_ms is None
    assert summarise_tokens(CASE, [Slot(fork=0, round=0, position=0, settling_ns=1, samples_ns=())]) is None


def test_a_percentile_that_so_few_do_not_support_is_none() -> None:
    few = spread(np.arange(1.0, 10.0))
    assert few.p50_ms == 5 and few.p95_ms is None and few.p99_ms is None
    assert spread(np.arange(20.0)).p95_ms is None, "it would be the maximum by another name"
    many = spread(np.random.default_rng(0).lognormal(2, 0.1, 2000))
    assert many.p50_interval_ms is not None and many.p99_interval_ms is not None
    assert many.p50_interval_ms[0] < many.p50_ms < many.p50_interval_ms[1] < many.p95_ms < many.p99_ms  # type: ignore[operator]


def test_what_clients_make_together_is_counted_over_their_common_time() -> None:
    # Two clients: 0 to 90 ms and 10 to 100 ms, then both again; 4 requests of 4 tokens for 2 prompts in 200 ms.
    one = slot([50, 60, 70, 90], [60, 70, 80, 90]).model_copy(update={"begun_ns": (0, 10_000_000)})
    asked = {**CASE.options, "concurrency": 2, "ttft_limit_ms": 55.0, "tpot_limit_ms": 12.0}
    found = summarise_tokens(CASE.model_copy(update={"options": asked}), [one, one])
    assert found is not None and found.concurrency == 2
    assert found.requests_per_s == pytest.approx(4 / 0.2)
    assert found.tokens_per_s == pytest.approx(2 * 4 * 4 / 0.2)
    assert found.mean_in_flight == pytest.approx(4 * 90 / 200)
    # The first misses TPOT (13.3 ms), the second TTFT.
    assert (found.good, found.goodput_per_s) == (0, 0)
    asked |= {"tpot_limit_ms": 14.0}
    found = summarise_tokens(CASE.model_copy(update={"options": asked}), [one, one])
    assert found is not None and (found.good, found.goodput_per_s) == (2, pytest.approx(2 / 0.2))
    del asked["ttft_limit_ms"], asked["tpot_limit_ms"]
    found = summarise_tokens(CASE.model_copy(update={"options": asked}), [one, one])
    assert found is not None and found.good is None


def test_a_server_may_send_several_tokens_at_once() -> None:
    found = summarise_tokens(CASE, [slot([50, 80]), slot([50, 80])])
    assert found is not None and found.chunks == 2 and found.itl_by_position_ms == ()
    # Three tokens after the first, however many pieces they came in.
    assert found.tpot.mean_ms == pytest.approx(10) and found.itl.mean_ms == pytest.approx(30)
