"""`offline`, `multi_stream` and `server` on MLPerf LoadGen: its scheduler, its clock, its VALID and INVALID.

The thread that loaded the session is the one that runs it, always. In the closed loops (`offline`,
`multi_stream`, `single_stream`) LoadGen calls back on that very thread, so nothing is handed over. In `server`
LoadGen has a thread of its own that only puts arrivals into a queue, which this one takes them from.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from zoobench.errors import UsageError
from zoobench.outcome import LoadTest
from zoobench.scenarios import SlotBudget
from zoobench.scenarios.little import aligned, little_error, mean_in_flight
from zoobench.scenarios.load import Load
from zoobench.scenarios.loadgen_log import Log
from zoobench.scenarios.loadgen_run import library, run_test, settings_of
from zoobench.scenarios.loadgen_sut import Answering, Call, Clock, Serving
from zoobench.spec import Case

_SETTLING_CALLS, _ENOUGH_CALLS, _SETTLING_S = 3, 20, 0.25
_PREGENERATED = 2.0
"""LoadGen makes its queries beforehand: so many times as the fastest call seen would need."""
_BACKLOG_S = 1.0
_BACKLOG_LIMITS = 5.0
"""A server that is so far behind (this long, and so many latency limits) will not catch up: the test ends."""


class LoadGenScenario:
    """What all share: the case's load, on the real clock."""

    def prepare(self, case: Case, bind: Callable[[int], Call], clock: Clock) -> None:
        """Take the case's load; `server` binds and warms every batch size here, so that no slot meets a new one.

        Raises:
            UsageError: LoadGen is not installed, or the clock is not the real one, which LoadGen goes by.
        """
        library()
        if hasattr(clock, "pause"):
            raise UsageError(
                f"--scenario {case.scenario} runs on the real clock; give the fake backend --options fake_clock=wall"
            )
        self.case, self.load = case, Load.of(case.options)


class QueryScenario(LoadGenScenario, ABC):
    """Queries that are answered at once: settle, run one test, and tell of it."""

    def drive(
        self,
        call: Call,
        *,
        clock: Clock,
        budget: SlotBudget,
        gap_ms: float = 0.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> dict[str, Any]:
        """Settling calls, then one LoadGen test.

        Returns:
            What a closed loop's slot returns (`samples_ns` are the queries' latencies, offline the calls' times),
            and `load`, a LoadTest as JSON.
        """
        begin = clock()
        settling_ns, fastest_s = settle(call, clock)
        samples, test = self.test(call, fastest_s, clock, budget)
        return {
            "settling_ns": settling_ns,
            "samples_ns": samples,
            "inner_loops": 1,
            "elapsed_ns": clock() - begin,
            "load": test.model_dump(mode="json"),
        }

    @abstractmethod
    def test(
        self, call: Call, fastest_s: float, clock: Clock, budget: SlotBudget
    ) -> tuple[list[int], LoadTest]:
        """One test, sized by `budget` and by the fastest call seen just now: its samples, and what came of it."""


class Offline(QueryScenario):
    """One query with many samples, run in calls of the case's batch. The figure is samples a second."""

    def test(
        self, call: Call, fastest_s: float, clock: Clock, budget: SlotBudget
    ) -> tuple[list[int], LoadTest]:
        """LoadGen wants 1.1 times what the rate needs to fill the time; whole calls of the batch are asked for."""
        batch, qps = self.case.batch, self.load.target_qps or self.case.batch / fastest_s
        seconds = min(budget["test_seconds"], budget["max_seconds"] / 1.2)
        count = math.ceil(1.1 * qps * seconds / batch) * batch
        settings = settings_of("Offline", seconds, count, budget["seed"])
        settings.offline_expected_qps = qps
        sut = Answering(call, clock, batch)
        log = run_test(settings, sut.answer, trace=False)
        sut.raise_trouble()
        done = sut.done_ns
        samples = [end - begin for begin, end in zip([sut.start_ns, *done], done, strict=False)]
        results, rate = log.results, float(log.results["result_samples_per_second"])
        # Every sample of a call is done with it; the last call may hold fewer.
        completions = [at for at, size in zip(done, sut.sizes, strict=True) for _ in range(size)]
        flying = mean_in_flight([sut.start_ns] * len(completions), completions)
        return samples, LoadTest(
            **verdict_of(log, seconds, 1, settings),
            target_qps=self.load.target_qps,
            completed_qps=rate,
            samples_per_query=len(completions),
            queries=1,
            samples=len(completions),
            duration_s=len(completions) / rate,
            batches=_histogram(sut.sizes),
            mean_in_flight=flying,
            little_error=little_error(flying, rate, results["result_mean_latency_ns"]),
        )


class MultiStream(QueryScenario):
    """The next query comes when the last one is done; each holds as many samples as the case's batch."""

    def test(
        self, call: Call, fastest_s: float, clock: Clock, budget: SlotBudget
    ) -> tuple[list[int], LoadTest]:
        """The percentile that LoadGen estimates is the highest that the effort means to show."""
        seconds, count = min(budget["test_seconds"], budget["max_seconds"]), int(budget["test_queries"])
        settings = settings_of("MultiStream", seconds, count, budget["seed"])
        settings.max_duration_ms = max(1, round(budget["max_seconds"] * 1e3))
        settings.multi_stream_samples_per_query = self.case.batch
        settings.multi_stream_expected_latency_ns = fastest_s * 1e9 / _PREGENERATED
        settings.multi_stream_target_latency_percentile = budget["test_percentile"] / 100
        sut = Answering(call, clock, self.case.batch)
        log = run_test(settings, sut.answer)
        sut.raise_trouble()
        samples = log.queries.latencies_ns
        rate = len(samples) / ((sut.done_ns[-1] - sut.start_ns) / 1e9)
        flying = in_flight(log, sut.done_ns)
        return samples, LoadTest(
            **verdict_of(log, seconds, count, settings),
            **outcome_of(log, self.case.batch),
            latency_percentile=budget["test_percentile"],
            percentile_ms=percentile_ms(samples, budget["test_percentile"]),
            batches=_histogram(sut.sizes),
            mean_in_flight=flying,
            little_error=little_error(flying, rate, log.results["result_mean_query_latency_ns"]),
        )


class Server(QueryScenario):
    """Queries of one item arrive as a Poisson process, whether or not the last one is done."""

    def prepare(self, case: Case, bind: Callable[[int], Call], clock: Clock) -> None:
        """Every size that a joined batch can have is bound and run, so that no shape is met first in a slot."""
        super().prepare(case, bind, clock)
        self.calls = {size: bind(size) for size in range(2, self.load.max_batch + 1)}
        for call in self.calls.values():
            # Compilers specialise on the second call of a shape, not only on the first.
            for _ in range(3):
                call()

    def test(
        self, call: Call, fastest_s: float, clock: Clock, budget: SlotBudget
    ) -> tuple[list[int], LoadTest]:
        """As many queries as early stopping needs at the rate, and no more than there is time for."""
        load = self.load
        assert load.target_qps is not None
        calls = {1: call, **self.calls}
        largest_s = settle(calls[load.max_batch], clock)[1] if load.max_batch > 1 else fastest_s
        longest_s = budget["max_seconds"]
        seconds = min(budget["test_seconds"], longest_s)
        count = max(1, int(min(budget["test_queries"], load.target_qps * longest_s)))
        settings = settings_of("Server", seconds, count, budget["seed"])
        settings.server_target_qps = load.target_qps
        settings.server_target_latency_ns = round(load.latency_limit_ms * 1e6)
        settings.server_target_latency_percentile = load.latency_percentile / 100
        hopeless_s = _BACKLOG_S + _BACKLOG_LIMITS * load.latency_limit_ms / 1e3
        settings.server_max_async_queries = math.ceil(load.max_batch * max(1.0, hopeless_s / largest_s))
        sut = Serving(calls, clock, load)
        log = sut.serve(settings)
        samples = log.queries.latencies_ns
        rate = float(log.results["result_completed_samples_per_sec"])
        # LoadGen counts the intervals between n queries, n − 1; Little's law counts queries.
        rate *= len(samples) / max(1, len(samples) - 1)
        flying = in_flight(log, sut.done_ns)
        return samples, LoadTest(
            **verdict_of(log, seconds, count, settings),
            **outcome_of(log, 1),
            constraints_met=log.results.get("result_perf_constraints_met"),
            target_qps=load.target_qps,
            scheduled_qps=float(log.results["result_scheduled_samples_per_sec"]),
            latency_percentile=load.latency_percentile,
            latency_limit_ms=load.latency_limit_ms,
            percentile_ms=percentile_ms(samples, load.latency_percentile),
            batches=_histogram(sut.sizes),
            mean_in_flight=flying,
            little_error=little_error(flying, rate, log.results["result_mean_latency_ns"]),
        )


def single_stream(call: Call, min_queries: int, min_duration_s: float) -> list[int]:
    """LoadGen's SingleStream around `call`: another tool's word on what the closed loop measures.

    Args:
        call: returns when its outputs are on the host.
        min_queries, min_duration_s: what the test must hold at least.

    Returns:
        LoadGen's own latency of each query, nanoseconds, in order.
    """
    clock = time.perf_counter_ns
    _, fastest_s = settle(call, clock)
    settings = settings_of("SingleStream", min_duration_s, min_queries, 0)
    settings.single_stream_expected_latency_ns = fastest_s * 1e9 / _PREGENERATED
    sut = Answering(call, clock, 1)
    log = run_test(settings, sut.answer)
    sut.raise_trouble()
    return log.queries.latencies_ns


def settle(call: Call, clock: Clock) -> tuple[int, float]:
    """The first call's nanoseconds, and the fastest of a few in seconds: caches and threads are cold at first."""
    begin = clock()
    call()
    first_ns = clock() - begin
    taken: list[int] = []
    while len(taken) < _SETTLING_CALLS or (
        clock() - begin < _SETTLING_S * 1e9 and len(taken) < _ENOUGH_CALLS
    ):
        start = clock()
        call()
        taken.append(clock() - start)
    return first_ns, max(min(taken), 1) / 1e9


def verdict_of(log: Log, seconds: float, queries: int, settings: Any) -> dict[str, Any]:
    """LoadGen's word on the test, and what it was asked for, as fields of a LoadTest."""
    return {
        "valid": log.valid,
        "advice": log.advice,
        "min_duration_s": seconds,
        "min_queries": queries,
        "seeds": {
            name: int(getattr(settings, f"{name}_rng_seed")) for name in ("qsl", "sample_index", "schedule")
        },
    }


def outcome_of(log: Log, samples_per_query: int) -> dict[str, Any]:
    """What came of the queries, as fields of a LoadTest."""
    queries = log.queries
    seconds = (max(queries.completed_ns) - min(queries.scheduled_ns)) / 1e9
    samples = len(queries.scheduled_ns) * samples_per_query
    return {
        "queries": len(queries.scheduled_ns),
        "samples": samples,
        "samples_per_query": samples_per_query,
        "duration_s": seconds,
        "completed_qps": samples / seconds,
    }


def in_flight(log: Log, done_ns: Sequence[int]) -> float | None:
    """Arrivals as LoadGen scheduled them, completions as this side's own clock saw them."""
    queries = log.queries
    return mean_in_flight(queries.scheduled_ns, aligned(done_ns, queries.completed_ns))


def percentile_ms(samples_ns: Sequence[int], percent: float) -> float | None:
    """The order statistic that LoadGen takes."""
    ordered = sorted(samples_ns)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] / 1e6 if ordered else None


def _histogram(sizes: Sequence[int]) -> dict[int, int]:
    return {size: sizes.count(size) for size in sorted(set(sizes))}
