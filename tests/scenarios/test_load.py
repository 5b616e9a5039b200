"""The load's flags: how they are written, and what goes with what; every refusal says what to do."""

from __future__ import annotations

import re

import pytest

from zoobench.errors import UsageError
from zoobench.scenarios.load import (
    Load,
    check,
    complete,
    parse_batch_timeout,
    parse_max_latency,
)

SERVER = {"target_qps": 50.0, "latency_percentile": 99.0, "latency_limit_ms": 50.0}


@pytest.mark.parametrize(
    ("text", "percentile", "limit_ms"),
    [("p99:50ms", 99, 50), ("p90:0.5s", 90, 500), ("p99.9:800us", 99.9, 0.8), ("p50:2.5ms", 50, 2.5)],
)
def test_a_limit_is_a_percentile_and_a_time(text, percentile, limit_ms):
    assert parse_max_latency(text) == {
        "latency_percentile": percentile,
        "latency_limit_ms": pytest.approx(limit_ms),
    }


def test_a_missing_unit_is_refused_with_the_right_spelling():
    with pytest.raises(UsageError, match=r"write p99:50ms"):
        parse_max_latency("p99:50")
    with pytest.raises(UsageError, match=r"write 2ms"):
        parse_batch_timeout("2")


@pytest.mark.parametrize(
    "text", ["50ms", "99:50ms", "p99", "p100:5ms", "p0:5ms", "p99:", "p99:-5ms", "p99:5min"]
)
def test_what_is_no_limit_is_refused_in_one_line(text):
    with pytest.raises(UsageError, match=r"such as p\d+:50ms") as error:
        parse_max_latency(text)
    assert "\n" not in str(error.value)


def test_equal_questions_make_equal_options():
    assert complete("server", {"target_qps": 50}) == complete("server", {"target_qps": 50.0})
    assert repr(complete("server", {"target_qps": 50})["target_qps"]) == "50.0"
    assert complete("server", {"target_qps": 50})["latency_limit_ms"] == 100.0
    assert complete("offline", {"gap_ms": 1}) == {"gap_ms": 1}
    assert complete("server", {"max_batch": 8.0})["max_batch"] == 8


@pytest.mark.parametrize(
    ("scenario", "options", "batches", "advice"),
    [
        ("single_stream", {"target_qps": 5.0}, (1,), "--target-qps goes with --scenario server or --scenario offline"),
        ("multi_stream", {"target_qps": 5.0}, (1,), "no rate to set"),
        ("offline", {"latency_limit_ms": 5.0}, (1,), "--max-latency goes with --scenario server"),
        ("offline", {"max_batch": 4}, (1,), "--batch-sizes says"),
        ("server", {"latency_limit_ms": 5.0}, (1,), "--target-qps 50"),
        ("server", SERVER, (1, 4), "--max-batch 4"),
        ("server", {**SERVER, "batch_timeout_ms": 2.0}, (1,), "add --max-batch"),
        ("server", {**SERVER, "gap_ms": 2.0}, (1,), "--gap does not go"),
        ("server", {**SERVER, "target_qps": -1.0}, (1,), "from 0.001"),
        ("server", {**SERVER, "target_qps": float("nan")}, (1,), "a number"),
        ("server", {**SERVER, "target_qps": "fast"}, (1,), "a number"),
        ("server", {**SERVER, "max_batch": 2.5}, (1,), "a whole number"),
        ("server", {**SERVER, "latency_percentile": True}, (1,), "a number"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(scenario, options, batches, advice):
    with pytest.raises(UsageError) as error:
        check(scenario, options, batches)
    assert advice in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("scenario", "options", "batches"),
    [
        ("single_stream", {"gap_ms": 5.0}, (1, 8)),
        ("offline", {"target_qps": 100.0}, (1, 8)),
        ("multi_stream", {}, (4,)),
        ("server", {**SERVER, "max_batch": 8, "batch_timeout_ms": 2.0}, (1,)),
    ],
)
def test_what_goes_together_passes(scenario, options, batches):
    check(scenario, options, batches)


def test_the_load_is_read_from_the_case():
    load = Load.of({**SERVER, "max_batch": 8, "graph_optimization": "all"})
    assert (load.target_qps, load.latency_limit_ms, load.max_batch, load.batch_timeout_ms) == (50, 50, 8, 0)
    assert Load.of({}).target_qps is None


@pytest.mark.parametrize(
    ("scenario", "options", "batches", "advice"),
    [
        ("server", {"target_qps": 1.0, "latency_limit_ms": 50.0}, [1], "--max-ttft 2s and --max-tpot 200ms"),
        ("server", {"target_qps": 1.0, "max_batch": 4}, [1], "--concurrency 4"),
        ("server", {"ttft_limit_ms": 50.0}, [1], "needs a rate: --target-qps 0.5"),
        ("server", {"target_qps": 1.0}, [8], "--concurrency 8"),
        ("single_stream", {"latency_percentile": 90.0}, [1], "without it each request is counted"),
    ],
)
def test_a_language_models_load_has_limits_of_its_own(scenario, options, batches, advice):
    with pytest.raises(UsageError, match=re.escape(advice)):
        check(scenario, options, batches, text=True)


def test_a_language_models_server_goes_by_mlperfs_limits_unless_told():
    found = complete("server", {"target_qps": 1}, text=True)
    assert (found["ttft_limit_ms"], found["tpot_limit_ms"], found["latency_percentile"]) == (
        2000.0,
        200.0,
        99.0,
    )
    assert "latency_limit_ms" not in found
    assert "tpot_limit_ms" not in complete("server", {"target_qps": 1, "ttft_limit_ms": 5.0}, text=True)
