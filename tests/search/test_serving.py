"""The search as a whole, on an executor that answers at once: every rate is a record, and a repeat measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from zoobench import api, searches
from zoobench.driver import Settings
from zoobench.errors import UsageError
from zoobench.executors.local import LocalExecutor
from zoobench.measure.conductor import GroupResult
from zoobench.measure.effort import EFFORTS
from zoobench.measure.stats import describe
from zoobench.measure.verdict import judge
from zoobench.outcome import CaseError, CaseResult, Check, LoadTest, Slot, summarise_load
from zoobench.results.query import load_records
from zoobench.spec import Seat
from zoobench.terms import Effort, Status

pytest.importorskip("mlperf_loadgen")

CHECK = Check(finite=True, constant=False, denormal=False, compared=False)


class Answering(LocalExecutor):
    """A server whose p99 is `service_ms` · 1 / (1 − rate / capacity)."""

    def __init__(
        self,
        folder: Path,
        capacity: float = 100.0,
        queries: int = 500,
        fails: bool = False,
        proves: float = 1e9,
        stalls: Sequence[float] = (),
    ) -> None:
        super().__init__(cache=folder / "cache")
        self.capacity, self.queries, self.fails, self.proves = capacity, queries, fails, proves
        self.groups = self.probes = 0
        self.stalls = stalls
        self.asked: list[float] = []

    def probe(self, backends: Sequence[str]) -> dict[str, str | None]:
        self.probes += 1
        return super().probe(backends)

    def run(
        self, groups: Iterable[Sequence[Seat]], *_: Any, listener: Any, **__: Any
    ) -> Iterator[GroupResult]:
        for (seat,) in groups:
            self.groups += 1
            yield GroupResult((self.result(seat),))

    def result(self, seat: Seat) -> CaseResult:
        case = seat.case
        if self.fails and case.scenario == "server":
            return CaseResult(
                case_id=case.id, status=Status.FAILED, error=CaseError(stage="slot", message="it broke")
            )
        rate = float(case.options.get("target_qps", self.capacity))
        p99 = 10 / max(1e-9, 1 - rate / self.capacity)
        limit = float(case.options.get("latency_limit_ms", 1e9))
        served = case.scenario == "server"
        self.asked.append(rate)
        # The first attempt of a rate in `stalls` has a stall that LoadGen does not forgive.
        stalled = rate in self.stalls and self.asked.count(rate) == 1
        enough = rate < self.proves and not stalled
        test = LoadTest(
            valid=not served or (p99 <= limit and enough),
            constraints_met=p99 <= limit if served else None,
            target_qps=rate if served else None,
            completed_qps=min(rate, self.capacity),
            latency_percentile=99.0 if served else None,
            latency_limit_ms=limit if served else None,
            percentile_ms=p99,
            queries=self.queries,
            samples=self.queries,
            duration_s=self.queries / min(rate, self.capacity),
        )
        samples = tuple(10_000_000 + 1000 * (i % 7) for i in range(self.queries))
        slots = (Slot(fork=0, round=0, position=0, settling_ns=1, samples_ns=samples, load=test),)
        load, latency = summarise_load([test]), describe(slots)
        verdict = judge(
            case=case, check=CHECK, latency=latency, warm_up=None, noises=[], evidence=None,
            plan=EFFORTS[Effort.QUICK], load=load,
        )  # fmt: skip
        return CaseResult(
            case_id=case.id, status=Status.OK, slots=slots, latency=latency, load=load, verdict=verdict,
            throughput_per_s=load.completed_qps,
        )  # fmt: skip


def search(folder: Path, executor: LocalExecutor, limit_ms: float = 50.0, **more: Any) -> Any:
    options = {
        "latency_percentile": 99.0, "latency_limit_ms": limit_ms, "fake_clock": "wall", **more.pop("options", {}),
    }  # fmt: skip
    asked = api.request(["resnet18"], backends=["fake"], scenario="server", options=options, **more)
    return searches.find_max_rates(
        asked, settings=Settings(results_dir=folder / "results"), executor=executor
    )


@pytest.fixture(autouse=True)
def _own_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZOOBENCH_LOCK", str(tmp_path / "lock"))


def test_it_finds_the_rate_and_says_what_limited_it(tmp_path):
    executor = Answering(tmp_path)
    records, [found] = search(tmp_path, executor)
    # 10 / (1 − r/100) ≤ 50 up to r = 80.
    assert 80 / 1.06 < found.qps <= 80
    assert "queries/s do not hold (p99 was" in found.limited_by
    assert "holds" in found.line and "p99 ≤ 50 ms" in found.line and "\n" not in found.line
    assert [r.case.scenario for r in records] == ["offline", *["server"] * len(found.tried)]
    assert executor.probes == 1


def test_every_rate_is_a_record_and_a_repeat_measures_nothing(tmp_path):
    executor = Answering(tmp_path)
    records, [found] = search(tmp_path, executor)
    stored = load_records(tmp_path / "results").records
    assert len(stored) == len(records) == executor.groups == 1 + len(found.tried)
    assert [t.holds for t in found.tried if t.qps == found.qps] == [True, True]
    assert {r.case.options["target_qps"] for r in stored if "target_qps" in r.case.options} == {
        t.qps for t in found.tried
    }
    again, [same] = search(tmp_path, executor)
    assert executor.groups == len(records)
    assert same == found and [r.case.id for r in again] == [r.case.id for r in records]


def test_a_call_that_is_slower_than_the_limit_ends_it_at_once(tmp_path):
    records, [found] = search(tmp_path, Answering(tmp_path), limit_ms=5.0)
    assert found.qps is None and len(records) == 2
    assert "the fastest call takes 10 ms already" in found.limited_by
    assert "no rate holds" in found.line


def test_where_a_test_has_no_time_for_its_queries_it_ends_with_advice(tmp_path):
    # 459 queries in a minute are 7.65/s; p90 takes 44.
    records, [found] = search(tmp_path, Answering(tmp_path, capacity=7.0))
    assert found.qps is None and [r.case.scenario for r in records] == ["offline"]
    assert "needs 459 queries to judge p99 and a test has 60 s" in found.limited_by
    assert "--max-case-time" in found.limited_by
    executor = Answering(tmp_path, capacity=20.0, proves=0.0)
    _, [found] = search(tmp_path / "slow", executor, limit_ms=1000.0)
    assert found.qps is None and 7.65 < min(executor.asked[1:]) < 8.3


def test_a_stall_is_no_answer(tmp_path):
    calm = Answering(tmp_path)
    _, [without] = search(tmp_path / "calm", calm)
    stalling = Answering(tmp_path, stalls=calm.asked[1:])
    records, [found] = search(tmp_path / "stalls", stalling)
    assert found.qps == without.qps
    again = [rate for rate in stalling.asked if stalling.asked.count(rate) >= 2]
    assert set(again) == {t.qps for t in found.tried if t.holds}
    assert len(load_records(tmp_path / "stalls" / "results").records) == len(records)


def test_a_cell_that_fails_ends_its_search_with_the_reason(tmp_path):
    _, [found] = search(tmp_path, Answering(tmp_path, fails=True))
    assert found.qps is None and "failed: it broke" in found.line


def test_what_has_no_highest_rate_is_refused(tmp_path):
    with pytest.raises(UsageError, match="without --target-qps"):
        search(tmp_path, Answering(tmp_path), options={"target_qps": 5.0})
    with pytest.raises(UsageError, match="--max-batch 4"):
        search(tmp_path, Answering(tmp_path), batch_sizes=[4])


def test_what_is_only_not_proven_is_said_to_be_so(tmp_path):
    _, [found] = search(tmp_path, Answering(tmp_path, proves=60.0))
    assert 60 / 1.06 < found.qps < 60
    assert "met it without proof" in found.limited_by


def test_an_interruption_ends_the_whole_search(tmp_path):
    class Interrupted(Answering):
        def result(self, seat: Seat) -> CaseResult:
            return CaseResult(case_id=seat.case.id, status=Status.INTERRUPTED)

    executor = Interrupted(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, executor, precisions=["fp32", "int8"])
    assert executor.groups == 1
