"""LoadGen's tests as slots: how many there are, what each may take, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.measure.fake_group import ARTIFACT, QUICK, STANDARD, run, virtual

from zoobench.measure.effort import EFFORTS, with_max_case_time
from zoobench.outcome import CaseResult, LoadTest, Slot, summarise_load
from zoobench.spec import Case, Seat
from zoobench.terms import Effort

SERVER = {"target_qps": 50.0, "latency_percentile": 99.0, "latency_limit_ms": 50.0}


def seat(scenario: str = "server", **options: Any) -> Seat:
    return Seat(
        Case(model="m", backend="fake", threads=1, scenario=scenario, options=options or SERVER), ARTIFACT
    )


class Served:
    """A fake worker whose slots are LoadGen tests that take `seconds` each; keeps what they were given."""

    def __init__(self, log: list[tuple[str, dict[str, Any]]], seconds: float = 4.0) -> None:
        self.worker, self.log, self.seconds = (
            virtual(Case(model="m", backend="fake", threads=1)),
            log,
            seconds,
        )
        self.start_s, self.pid, self.case_id = 0.0, None, ""

    def request(self, verb: str, args: dict[str, Any], *, deadline_s: float, on_event: Any = None) -> Any:
        if verb == "load":
            self.case_id = Case.model_validate(args["case"]).id
            args = {**args, "case": {**args["case"], "scenario": "single_stream"}}
        if verb != "slot":
            return self.worker.request(verb, args, deadline_s=deadline_s)
        self.log.append((self.case_id, {**args["budget"], "deadline": deadline_s}))
        test = LoadTest(
            valid=True, target_qps=50, completed_qps=40, queries=160, samples=160, duration_s=self.seconds
        )
        return {
            "settling_ns": 1,
            # Queries overlap: the sum of their latencies is no time that passed.
            "samples_ns": [100_000_000 + i for i in range(160)],
            "inner_loops": 1,
            "elapsed_ns": round(self.seconds * 1e9),
            "load": test.model_dump(mode="json"),
            "cpu_s": 0.1,
        }

    def close(self) -> None:
        pass


def serve(
    *seats: Seat, plan: Any = QUICK, seconds: float = 4.0
) -> tuple[list[tuple[str, dict[str, Any]]], list[CaseResult]]:
    log: list[tuple[str, dict[str, Any]]] = []
    result = run(*seats, plan=plan, open_worker=lambda case: Served(log, seconds))
    return log, list(result.results)


@pytest.mark.parametrize("effort", list(Effort))
def test_every_case_has_the_efforts_number_of_tests(effort):
    plan = EFFORTS[effort]
    log, results = serve(seat(), seat(**{**SERVER, "target_qps": 60.0}), plan=plan)
    for result in results:
        assert len(result.slots) == plan.tests
        assert {slot.fork for slot in result.slots} == set(range(plan.forks))
    assert len(log) == 2 * plan.tests


def test_the_cases_of_a_group_take_turns_on_the_same_schedule():
    log, results = serve(seat(), seat(**{**SERVER, "target_qps": 60.0}), plan=STANDARD)
    rounds = [log[i : i + 2] for i in range(0, len(log), 2)]
    seeds = [{budget["seed"] for _, budget in turn} for turn in rounds]
    assert all(len({case for case, _ in turn}) == 2 for turn in rounds)
    assert all(len(seed) == 1 for seed in seeds)
    assert len(set.union(*seeds)) == len(rounds)
    assert results[0].load.tests == 4


def test_a_test_has_the_queries_that_its_percentile_needs_and_its_share_of_the_time():
    [(_, quick)], _ = serve(seat())
    assert (quick["test_queries"], quick["test_percentile"], quick["test_seconds"]) == (838, 99, 5.0)
    assert quick["max_seconds"] == 60.0 and quick["deadline"] >= 60 + 2 * quick["max_seconds"]
    log, _ = serve(seat(), plan=with_max_case_time(STANDARD, 40.0))
    assert [budget["max_seconds"] for _, budget in log] == [10.0, 16.0, 10.0, 16.0]
    [(_, budget)], _ = serve(seat("multi_stream", fake_sigma=0))
    assert (budget["test_queries"], budget["test_percentile"]) == (165, 95)


def test_throughput_is_what_was_completed_over_the_time():
    _, [result] = serve(seat())
    assert result.throughput_per_s == result.load.completed_qps == 40
    assert result.latency.n == 160 and result.latency.p50_ms == pytest.approx(100, abs=0.001)
    assert result.slots[0].load.valid and result.load.is_valid


def test_tests_are_summed_up_over_their_time():
    one = LoadTest(valid=True, completed_qps=10, queries=10, samples=10, duration_s=1, batches={1: 10},
                   mean_in_flight=1.0, little_error=0.001, percentile_ms=5)  # fmt: skip
    other = LoadTest(valid=False, constraints_met=False, advice=("slow",), completed_qps=30, queries=90, samples=90,
                     duration_s=3, batches={1: 30, 2: 30}, mean_in_flight=5.0, little_error=-0.03, percentile_ms=9)  # fmt: skip
    found = summarise_load([one, other])
    assert (found.tests, found.valid_tests, found.over_limit_tests, found.is_valid) == (2, 1, 1, False)
    assert found.completed_qps == 25 and found.mean_in_flight == 4
    assert found.batches == {1: 40, 2: 30} and found.percentile_ms == 9
    assert found.little_error == -0.03 and found.advice == ("slow",)
    assert summarise_load([]) is None


def test_slots_of_before_and_of_now_are_read():
    old = Slot(fork=0, round=0, position=0, settling_ns=1, samples_ns=(1, 2))
    assert Slot.model_validate_json(old.model_dump_json(exclude={"load"})) == old
    test = LoadTest(valid=True, completed_qps=1, queries=1, samples=1, duration_s=1, batches={4: 2})
    new = old.model_copy(update={"load": test})
    assert Slot.model_validate_json(new.model_dump_json()) == new
