"""LoadGen's scenarios on calls that sleep: real tests of LoadGen, a second each, and nothing depends on a clock's value."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoobench.backends.fake import VirtualClock
from zoobench.errors import UsageError
from zoobench.outcome import LoadTest
from zoobench.scenarios import SlotBudget, loadgen, loadgen_run, open_scenario
from zoobench.scenarios.little import little_error
from zoobench.scenarios.load import Load
from zoobench.scenarios.loadgen_log import Log, Queries, read_log
from zoobench.spec import Case

pytestmark = pytest.mark.slow

pytest.importorskip("mlperf_loadgen")

MS = 1_000_000


def budget(**changes: float) -> SlotBudget:
    return {
        "max_seconds": 10.0,
        "test_seconds": 0.4,
        "test_queries": 50,
        "test_percentile": 90.0,
        "seed": 1,
        **changes,
    }  # type: ignore[typeddict-item, return-value]


def sleeping(seconds: float = 0.003) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


SHORT = sleeping()


def drive(
    name: str, call: Callable[[], None] = SHORT, *, batch: int = 1, bind: Any = None, options: Any = None, **changes: float
) -> tuple[dict[str, Any], LoadTest]:  # fmt: skip
    scenario = open_scenario(name)
    case = Case(model="m", backend="fake", threads=1, scenario=name, batch=batch, options=options or {})
    scenario.prepare(case, bind or (lambda size: call), time.perf_counter_ns)
    slot = scenario.drive(call, clock=time.perf_counter_ns, budget=budget(**changes))
    return slot, LoadTest.model_validate(slot["load"])


def server(qps: float = 100.0, limit_ms: float = 10_000.0, **more: Any) -> dict[str, Any]:
    return {"target_qps": qps, "latency_percentile": 90.0, "latency_limit_ms": limit_ms, **more}


def test_a_server_test_keeps_every_query(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    slot, test = drive("server", options=server())
    assert test.valid and test.constraints_met
    assert len(slot["samples_ns"]) == test.queries == sum(n * k for n, k in test.batches.items()) >= 50
    assert min(slot["samples_ns"]) >= 3 * MS
    assert test.target_qps == 100 and test.min_queries == 50 and test.latency_limit_ms == 10_000
    assert test.completed_qps * test.duration_s == pytest.approx(test.queries)
    assert test.seeds == {"qsl": 1, "sample_index": 1, "schedule": 1}
    assert abs(test.little_error) < 0.02
    assert slot["settling_ns"] >= 3 * MS and slot["inner_loops"] == 1
    assert list(tmp_path.iterdir()) == []


def stalling(at: int, ns: list[int]) -> Callable[[], None]:
    """Short calls, and one that holds the interpreter for long, so that arrivals cannot even be taken in."""
    calls = iter(range(1_000_000))

    def call() -> None:
        if next(calls) == at:
            begin = time.perf_counter_ns()
            sum(range(20_000_000))
            ns.append(time.perf_counter_ns() - begin)
        else:
            time.sleep(0.001)

    return call


def test_a_stall_is_seen_by_all_who_wait_in_it():
    """Counted from the moment in which a query could be issued, only one or two would have seen it."""
    took: list[int] = []
    slot, test = drive("server", stalling(40, took), options=server(200), test_seconds=1.0)
    waited = sum(sample > took[0] / 2 for sample in slot["samples_ns"])
    expected = 200 * took[0] / 2 / 1e9
    assert waited > expected / 3 > 3
    assert abs(test.little_error) < 0.02


def test_little_shows_latencies_that_are_not_counted_from_the_schedule(monkeypatch):
    def from_the_issue(folder: Path) -> Log:
        log = read_log(folder)
        lower = dict(log.results) | {"result_mean_latency_ns": log.results["result_min_latency_ns"]}
        return Log(lower, log.advice, log.queries)

    monkeypatch.setattr(loadgen_run, "read_log", from_the_issue)
    _, test = drive("server", options=server(250))
    assert test.little_error > 0.02
    assert little_error(test.mean_in_flight, test.completed_qps, 1.0) > 0.02


def test_what_misses_the_limit_is_invalid_with_advice():
    _, test = drive("server", options=server(150, limit_ms=1.0))
    assert not test.valid and test.constraints_met is False
    assert "Reduce target QPS to improve latency." in test.advice
    assert test.percentile_ms > 1


def test_a_server_that_falls_behind_is_not_waited_for():
    begin = time.perf_counter()
    _, test = drive("server", sleeping(0.05), options=server(400, limit_ms=20.0), test_seconds=4.0)
    assert not test.valid
    assert any("Too many outstanding" in line for line in test.advice)
    # 1600 queries would have taken 80 s.
    assert time.perf_counter() - begin < 30


def test_waiting_queries_are_joined_and_every_size_was_bound_before():
    bound: list[int] = []
    ran: list[int] = []

    def bind(size: int) -> Callable[[], None]:
        bound.append(size)

        def call() -> None:
            ran.append(size)
            time.sleep(0.008)

        return call

    scenario = open_scenario("server")
    options = server(400, max_batch=4, batch_timeout_ms=1.0)
    case = Case(model="m", backend="fake", threads=1, scenario="server", options=options)
    scenario.prepare(case, bind, time.perf_counter_ns)
    assert bound == [2, 3, 4] and set(ran) == {2, 3, 4}
    slot = scenario.drive(sleeping(0.008), clock=time.perf_counter_ns, budget=budget())
    test = LoadTest.model_validate(slot["load"])
    assert bound == [2, 3, 4]
    assert set(test.batches) <= {1, 2, 3, 4} and test.batches.get(4, 0) > 0
    assert sum(size * calls for size, calls in test.batches.items()) == test.queries
    # One by one it could do 125 a second.
    assert test.completed_qps > 150


@pytest.mark.parametrize(
    ("waiting", "timeout_ms", "joined"),
    [(5, 0.0, 4), (2, 0.0, 3), (0, 0.0, 1), (2, 5.0, 3)],
    ids=["no more than the largest", "those that wait", "alone", "not for ever"],
)
def test_who_is_joined(waiting, timeout_ms, joined):
    load = Load(10.0, 100.0, 99.0, 4, timeout_ms)
    serving = loadgen.Serving({}, time.perf_counter_ns, load)
    serving._arrive(range(1, waiting + 1), [])
    assert serving._join(time.perf_counter_ns(), 0) == list(range(joined))


def test_patience_counts_from_the_arrival():
    serving = loadgen.Serving({}, lambda: 1000 * MS, Load(10.0, 100.0, 99.0, 4, 900.0))
    begin = time.perf_counter()
    assert serving._join(50 * MS, 7) == [7]
    assert time.perf_counter() - begin < 0.5


def test_offline_is_one_query_in_whole_calls():
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        time.sleep(0.004)

    slot, test = drive("offline", call, batch=4, test_seconds=0.3)
    assert test.valid and test.queries == 1
    assert test.samples == 4 * len(slot["samples_ns"]) and set(test.batches) == {4}
    assert sum(slot["samples_ns"]) / 1e9 == pytest.approx(test.duration_s, rel=0.05)
    assert test.completed_qps == pytest.approx(test.samples / test.duration_s)
    assert test.duration_s >= 0.3 and abs(test.little_error) < 0.02


def test_offline_sized_by_a_rate_that_is_too_low_is_invalid():
    _, test = drive("offline", options={"target_qps": 10.0})
    assert not test.valid and any("Increase expected QPS" in line for line in test.advice)


def test_multi_stream_waits_for_each_query():
    slot, test = drive("multi_stream", batch=3, test_queries=64)
    assert test.valid and test.samples_per_query == 3
    assert len(slot["samples_ns"]) == test.queries >= 64 and test.samples == 3 * test.queries
    assert min(slot["samples_ns"]) >= 3 * MS
    assert test.mean_in_flight == pytest.approx(1, abs=0.1) and abs(test.little_error) < 0.02


def test_loadgens_single_stream_sees_each_call():
    samples = loadgen.single_stream(sleeping(0.002), min_queries=50, min_duration_s=0.1)
    assert len(samples) >= 50 and min(samples) >= 2 * MS


@pytest.mark.parametrize("name", ["offline", "multi_stream", "server"])
def test_a_call_that_fails_ends_the_test_and_leaves_loadgen_usable(name):
    calls = iter(range(1_000_000))

    def call() -> None:
        if next(calls) > 30:
            raise RuntimeError("out of luck")
        time.sleep(0.001)

    options = server(400) if name == "server" else {}
    with pytest.raises(RuntimeError, match="out of luck"):
        drive(name, call, options=options, test_seconds=0.2)
    assert drive(name, options=options, test_seconds=0.1)[1].queries


def test_a_virtual_clock_is_refused():
    case = Case(model="m", backend="fake", threads=1, scenario="offline")
    with pytest.raises(UsageError, match="fake_clock=wall"):
        open_scenario("offline").prepare(case, lambda size: sleeping(), VirtualClock())


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlperf_loadgen", None)
    case = Case(model="m", backend="fake", threads=1, scenario="offline")
    with pytest.raises(UsageError, match=r"not installed; .*pip install .*\[loadgen\]'"):
        open_scenario("offline").prepare(case, lambda size: sleeping(), time.perf_counter_ns)


def test_a_query_is_done_with_its_last_sample():
    assert Queries((0, 5), (10, 25)).latencies_ns == [10, 20]
