"""`server` for language models: LoadGen's arrivals, judged by the first token and by the time of each further one.

As many requests as the case's concurrency are worked on at once; those that find all clients busy wait, and their waiting is
part of their first token's time.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from zoobench.outcome import LoadTest
from zoobench.scenarios import SlotBudget
from zoobench.scenarios.little import little_error
from zoobench.scenarios.loadgen import LoadGenScenario, in_flight, outcome_of, percentile_ms, verdict_of
from zoobench.scenarios.loadgen_log import Log
from zoobench.scenarios.loadgen_run import complete, first_token, run_test, settings_of
from zoobench.scenarios.loadgen_sut import SWITCH_S, wake_sharply
from zoobench.scenarios.tokens import Call, Made, in_one_line
from zoobench.spec import Case, concurrency_of

_HOPELESS = 4
"""A server whose clients each have so many requests waiting will not catch up: the test ends."""


class TokenServer(LoadGenScenario):
    """Requests arrive as a Poisson process, whether or not the last ones are done."""

    def prepare(self, case: Case, bind: Callable[[int], Call], clock: Callable[[], int]) -> None:
        """Every client has a call of its own, and has made one request."""
        super().prepare(case, bind, clock)
        self.calls = [bind(1) for _ in range(concurrency_of(case) - 1)]
        for call in self.calls:
            call()

    def drive(
        self,
        call: Call,
        *,
        clock: Callable[[], int],
        budget: SlotBudget,
        gap_ms: float = 0.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> dict[str, Any]:
        """One LoadGen test; a request is long and needs no settling.

        Returns:
            As the other LoadGen scenarios, with begun_ns and token_ns of each request, from its arrival.
        """
        begin = clock()
        sut = Answering([call, *self.calls], clock)
        test, samples = self._test(sut, budget)
        told = {"trouble": in_one_line(sut.trouble)} if sut.trouble else {}
        return {
            **told,
            "settling_ns": 0,
            "samples_ns": samples,
            "inner_loops": 1,
            "elapsed_ns": clock() - begin,
            "begun_ns": [one.begun_ns - begin for one in sut.made],
            "token_ns": [one.token_ns for one in sut.made],
            **({"load": test.model_dump(mode="json")} if test else {}),
        }

    def _test(self, sut: Answering, budget: SlotBudget) -> tuple[LoadTest | None, list[int]]:
        load, options = self.load, self.case.options
        assert load.target_qps is not None
        seconds = min(budget["test_seconds"], budget["max_seconds"])
        count = max(1, int(min(budget["test_queries"], load.target_qps * budget["max_seconds"])))
        settings = settings_of("Server", seconds, count, budget["seed"])
        settings.server_target_qps = load.target_qps
        settings.use_token_latencies = True
        limits = {name: options.get(f"{name}_limit_ms") for name in ("ttft", "tpot")}
        for name, limit in limits.items():
            # Without a limit none may be missed.
            setattr(settings, f"{name}_latency", round(float(limit) * 1e6) if limit else int(1e15))
        settings.server_target_latency_percentile = load.latency_percentile / 100
        settings.server_max_async_queries = _HOPELESS * len(sut.calls) + 8
        log = sut.serve(settings)
        if sut.trouble is not None:
            # No test any more, and yet requests that were answered.
            return None, [one.took_ns for one in sut.made]
        samples = log.queries.latencies_ns
        # LoadGen counts the intervals between n queries, n − 1; Little's law counts queries.
        rate = (
            float(log.results["result_completed_samples_per_sec"]) * len(samples) / max(1, len(samples) - 1)
        )
        flying = in_flight(log, [one.begun_ns + one.took_ns for one in sut.made])
        return LoadTest(
            **verdict_of(log, seconds, count, settings),
            **outcome_of(log, 1),
            constraints_met=log.results.get("result_perf_constraints_met"),
            target_qps=load.target_qps,
            scheduled_qps=float(log.results["result_scheduled_samples_per_sec"]),
            latency_percentile=load.latency_percentile,
            ttft_limit_ms=limits["ttft"],
            tpot_limit_ms=limits["tpot"],
            ttft_percentile_ms=percentile_ms([one.token_ns[0] for one in sut.made], load.latency_percentile),
            tpot_percentile_ms=percentile_ms(_tpots_ns(sut.made), load.latency_percentile),
            mean_in_flight=flying,
            little_error=little_error(flying, rate, log.results["result_mean_latency_ns"]),
        ), samples


class Answering:
    """The system under test: a thread a client takes arrivals from one queue."""

    def __init__(self, calls: Sequence[Callable[..., Any]], clock: Callable[[], int]) -> None:
        self.calls, self.clock = calls, clock
        self.made: list[Made] = []
        self._arrivals: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._trouble: list[BaseException] = []

    def serve(self, settings: Any) -> Log:
        """Run the test; LoadGen has a thread of its own, the first client this one.

        Raises:
            What a request raised, once LoadGen has come to its end, where none was answered before; else it is `trouble`.
        """
        logs: list[Log] = []

        def generate() -> None:
            wake_sharply()
            try:
                logs.append(run_test(settings, self._arrive))
            except BaseException as error:  # noqa: BLE001
                self._trouble.append(error)
            finally:
                for _ in self.calls:
                    self._arrivals.put(None)

        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        threads = [
            threading.Thread(target=generate, name="loadgen"),
            *(threading.Thread(target=self._client, args=(call,)) for call in self.calls[1:]),
        ]
        for thread in threads:
            thread.start()
        try:
            self._client(self.calls[0])
        finally:
            for thread in threads:
                thread.join()
            sys.setswitchinterval(before)
        self.made.sort(key=lambda one: one.begun_ns)
        if self.trouble is not None and (not self.made or not logs):
            raise self.trouble
        return logs[0]

    @property
    def trouble(self) -> BaseException | None:
        """The first that went wrong."""
        return self._trouble[0] if self._trouble else None

    def _arrive(self, ids: Sequence[int], _samples: Sequence[int]) -> None:
        now = self.clock()
        for number in ids:
            self._arrivals.put((now, number))

    def _client(self, call: Callable[..., Any]) -> None:
        while (arrival := self._arrivals.get()) is not None:
            arrived, number = arrival
            tokens = 1
            told = False

            def first(number: int = number) -> None:
                nonlocal told
                told = True
                first_token(number)

            if not self._trouble:
                try:
                    started = self.clock()
                    token_ns = [int(ns) + started - arrived for ns in call(first)["token_ns"]]
                    tokens = len(token_ns)
                    self.made.append(Made(arrived, self.clock() - arrived, token_ns))
                except BaseException as error:  # noqa: BLE001
                    # What is still to come is answered unserved, so that LoadGen comes to its end.
                    self._trouble.append(error)
            if not told:
                first_token(number)
            complete([number], tokens)


def _tpots_ns(made: Sequence[Made]) -> list[int]:
    """As LoadGen counts it: a request's further tokens, on average."""
    return [(t[-1] - t[0]) // (len(t) - 1) for one in made if len(t := one.token_ns) > 1]
