"""Failures, forks, limits and interruptions of a group, on fake sessions and a virtual clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.measure.fake_group import QUICK, STANDARD, Watched, run, seat, virtual

from zoobench.measure.channel import Launch, Worker, WorkerError, WorkerProcess
from zoobench.measure.conductor import Deadlines
from zoobench.measure.effort import with_max_case_time
from zoobench.outcome import Noise, Slot
from zoobench.spec import Case
from zoobench.terms import Status


def test_verbs_come_in_the_order_that_spoils_nothing():
    watched = Watched()
    result = run(seat(), open_worker=lambda case: watched)
    slots = watched.verbs.count("slot")
    assert slots == len(result.results[0].slots) >= 2
    assert watched.verbs == [
        "load",
        "first_call",
        "check",
        "warm_up",
        *["slot"] * slots,
        "memory",
        "evidence",
    ]
    assert watched.closed


def test_a_case_that_went_well_has_everything():
    found = run(seat(fake_p50_ms=8.0)).results[0]
    assert found.status is Status.OK
    assert found.error is None
    assert found.latency and found.latency.n >= QUICK.min_calls
    assert found.latency.p50_ms == pytest.approx(8.0, rel=0.02)
    assert found.throughput_per_s == pytest.approx(1000 / found.latency.mean_ms)
    assert found.first_call_ms and found.load_s is not None and found.worker_start_s is not None
    assert found.warm_up and found.warm_up.steady
    assert found.memory and found.memory.peak_bytes
    assert found.evidence and found.evidence.runtime == "fake"
    assert found.check and found.verdict
    assert found.forks == 1


VERBS = ("load", "first_call", "check", "warm_up", "slot", "memory")


@pytest.mark.parametrize("verb", ["start", *VERBS])
def test_a_case_that_fails_leaves_the_others_alone(verb: str):
    trouble = WorkerError("error", "out of order", {"type": "RuntimeError"}, "the last words")
    broken = Watched(verb, trouble)

    def open_worker(case: Case) -> Worker:
        if case.arm != "broken":
            return virtual(case)
        if verb == "start":
            raise trouble
        return broken

    result = run(seat("a"), seat("broken"), seat("b"), open_worker=open_worker)
    a, failed, b = result.results
    assert failed.status is Status.FAILED
    assert failed.error
    assert failed.error.model_dump() == {
        "stage": verb,
        "message": "out of order",
        "type": "RuntimeError",
        "stderr_tail": "the last words",
    }
    assert failed.verdict is None
    assert bool(failed.slots) == (verb == "memory")
    assert broken.closed == (verb != "start"), "the worker is left running, or ended twice"
    assert broken.verbs[-1:] == ([] if verb == "start" else [verb]), "it was asked on"
    for well in (a, b):
        assert well.status is Status.OK
        assert well.latency and well.latency.n >= QUICK.min_calls
        assert well.evidence and well.memory
    assert not result.interrupted


def test_a_profile_that_fails_takes_nothing_back():
    broken = Watched("evidence", WorkerError("error", "the disk was full"))
    found = run(seat(), open_worker=lambda case: broken).results[0]
    assert found.status is Status.OK and found.error is None and found.evidence is None
    assert found.latency and found.memory and found.memory.peak_bytes
    assert found.verdict
    assert "the disk was full" in {r.code: r.message for r in found.verdict.warnings}["no_evidence"]
    assert broken.closed


def test_of_several_forks_the_worst_outputs_and_warm_up_count():
    class Third(Watched):
        def request(self, verb: str, args: dict[str, Any], **how: Any) -> Any:
            reply = super().request(verb, args, **how)
            if len(opened) == 2 and verb == "check":
                return {**reply, "finite": False}
            if len(opened) == 2 and verb == "warm_up":
                return {**reply, "steady": False}
            return reply

    opened: list[Watched] = []

    def open_worker(case: Case) -> Worker:
        opened.append(Third())
        return opened[-1]

    found = run(seat(), plan=STANDARD, open_worker=open_worker).results[0]
    assert found.forks == len(opened) == 2
    assert found.check and not found.check.finite
    assert found.warm_up and not found.warm_up.steady
    assert found.verdict and [r.code for r in found.verdict.reasons] == [
        "outputs_not_finite",
        "no_steady_state",
    ]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("timeout", Status.TIMEOUT),
        ("out_of_memory", Status.OUT_OF_MEMORY),
        ("died", Status.FAILED),
        ("usage", Status.FAILED),
        ("error", Status.FAILED),
    ],
)
def test_how_a_worker_ended_becomes_the_status(kind: str, status: Status):
    broken = Watched("slot", WorkerError(kind, "the end"))
    assert run(seat(), open_worker=lambda case: broken).results[0].status is status


def test_the_group_goes_on_until_everybody_has_enough():
    steady, noisy = run(seat("steady", fake_sigma=0.001), seat("noisy", fake_sigma=0.3)).results
    assert len(steady.slots) == len(noisy.slots) > len(run(seat(fake_sigma=0.001)).results[0].slots)
    assert noisy.latency and noisy.latency.p50_interval_ms and noisy.latency.p50_ms
    low, high = noisy.latency.p50_interval_ms
    assert (high - low) / 2 <= 1.05 * QUICK.target_half_width * noisy.latency.p50_ms


def test_a_case_gets_no_more_than_its_time():
    plan = with_max_case_time(QUICK, 3.0)
    fast, endless = run(seat("fast"), seat("endless", fake_sigma=2.0, fake_p50_ms=40.0), plan=plan).results
    spent = sum(slot.settling_ns + sum(slot.samples_ns) for slot in endless.slots) / 1e9
    longest = max(max(slot.samples_ns) for slot in endless.slots) / 1e9
    assert 3.0 <= spent <= 3.0 + 4 * longest
    assert endless.status is Status.OK
    assert fast.latency and fast.latency.n >= QUICK.min_calls


def test_gaps_are_part_of_a_cases_time():
    gaps, endless = run(
        seat(gap_ms=500.0), seat("endless", fake_sigma=0.6), plan=with_max_case_time(QUICK, 10.0)
    ).results
    assert len(endless.slots) > 3
    assert 15 <= sum(len(slot.samples_ns) for slot in gaps.slots) <= 25


@pytest.mark.timeout(30)
def test_a_fork_that_needs_all_its_time_does_not_wait_for_an_earlier_one():
    def open_worker(case: Case) -> Worker:
        opened.append(case)
        # The first process is fast and steady, the second one as wild as can be.
        sigma = 0.001 if len(opened) == 1 else 3.0
        return Replaced(case.model_copy(update={"options": {"fake_sigma": sigma, "fake_p50_ms": 5.0}}))

    opened: list[Case] = []
    found = run(seat(), plan=with_max_case_time(STANDARD, 12.0), open_worker=open_worker).results[0]
    assert found.forks == 2
    assert {slot.fork for slot in found.slots} == {0, 1}


class Replaced:
    """A fake worker that loads another case than it was given."""

    def __init__(self, case: Case) -> None:
        self.case, self.worker, self.start_s, self.pid = case, virtual(case), 0.0, None

    def request(self, verb: str, args: dict[str, Any], *, deadline_s: float, on_event: Any = None) -> Any:
        if verb == "load":
            args = {**args, "case": self.case.model_dump(mode="json")}
        return self.worker.request(verb, args, deadline_s=deadline_s)

    def close(self) -> None:
        """Nothing to end."""


def test_forks_are_fresh_workers_and_samples_carry_their_number():
    opened: list[Watched] = []

    def open_worker(case: Case) -> Worker:
        opened.append(Watched())
        return opened[-1]

    a, b = run(seat("a"), seat("b"), plan=STANDARD, open_worker=open_worker).results
    assert [worker.args[0]["fork"] for worker in opened] == [0, 0, 1, 1]
    assert [worker.verbs[0] for worker in opened] == ["load"] * 4
    assert all(worker.closed for worker in opened)
    assert ["evidence" in worker.verbs for worker in opened] == [True, True, False, False]
    for case in (a, b):
        assert case.forks == 2
        by_fork = {f: [s for s in case.slots if s.fork == f] for f in (0, 1)}
        assert [s.fork for s in case.slots] == sorted(s.fork for s in case.slots)
        assert all(sum(len(s.samples_ns) for s in slots) >= 250 for slots in by_fork.values())
        assert by_fork[0][0].samples_ns != by_fork[1][0].samples_ns
        assert [s.round for s in by_fork[1]] == list(range(len(by_fork[1])))
    assert a.latency and a.latency.n >= STANDARD.min_calls


def test_a_case_that_fails_is_not_started_again_in_the_next_fork():
    opened: Counter[str] = Counter()

    def open_worker(case: Case) -> Worker:
        opened[case.arm] += 1
        return Watched("slot", WorkerError("died", "gone")) if case.arm == "b" else virtual(case)

    a, b = run(seat("a"), seat("b"), plan=STANDARD, open_worker=open_worker).results
    assert opened == {"a": 2, "b": 1}
    assert (a.status, b.status) == (Status.OK, Status.FAILED)


def test_ctrl_c_keeps_what_was_measured():
    taken: list[Slot] = []
    opened: list[Watched] = []

    def on_slot(case: Case, slot: Slot) -> None:
        taken.append(slot)
        if len(taken) == 3:
            raise KeyboardInterrupt

    def open_worker(case: Case) -> Worker:
        opened.append(Watched())
        return opened[-1]

    result = run(seat("a"), seat("b"), on_slot=on_slot, open_worker=open_worker)
    assert result.interrupted
    assert all(worker.closed for worker in opened)
    assert sum(len(case.slots) for case in result.results) == 3
    for case in result.results:
        assert case.status is Status.INTERRUPTED
        assert case.error and "run again to continue" in case.error.message
        assert case.latency and case.verdict is None


@pytest.mark.parametrize("stage", ["load", "warm_up", "evidence"])
def test_ctrl_c_in_every_phase_ends_the_workers(stage: str):
    opened: list[Watched] = []

    def open_worker(case: Case) -> Worker:
        opened.append(Watched())
        return opened[-1]

    def on_progress(case: Case, now: str) -> None:
        if now == stage and case.arm == "b":
            raise KeyboardInterrupt

    result = run(seat("a"), seat("b"), on_progress=on_progress, open_worker=open_worker)
    assert result.interrupted
    assert {case.status for case in result.results} == {Status.INTERRUPTED}
    assert all(worker.closed for worker in opened)


def test_a_failure_before_ctrl_c_stays_a_failure():
    def on_slot(case: Case, slot: Slot) -> None:
        raise KeyboardInterrupt

    failed, interrupted = run(seat("a", fake_fault="load"), seat("b"), on_slot=on_slot).results
    assert failed.status is Status.FAILED
    assert interrupted.status is Status.INTERRUPTED


def test_a_slots_deadline_grows_with_the_case():
    def deadline(**options: Any) -> float:
        watched = Watched()
        deadlines = Deadlines(slot=1.0, slot_factor=10.0)
        run(seat(**options), open_worker=lambda case: watched, deadlines=deadlines)
        return watched.deadlines[watched.verbs.index("slot")]

    assert deadline(fake_p50_ms=5.0, fake_sigma=0.0) == pytest.approx(10 * 51 * 0.005)
    assert deadline(fake_p50_ms=400.0, fake_sigma=0.0) == pytest.approx(10 * 21 * 0.4)
    assert deadline(fake_p50_ms=50.0, fake_sigma=0.0, gap_ms=950.0) == pytest.approx(10 * 21 * 1.0)


def test_a_sensor_looks_around_each_slot():
    class Sensor:
        def __init__(self) -> None:
            self.looks = 0

        def before(self) -> int:
            self.looks += 1
            return self.looks

        def after(self, snapshot: int, worker_cpu_s: float | None) -> Noise:
            assert worker_cpu_s is not None
            return Noise(load_1m=float(snapshot))

        def gpu_bytes(self) -> int:
            return 617_000_000

    found = run(seat(), open_sensor=lambda case, worker: Sensor()).results[0]
    assert [slot.noise.load_1m for slot in found.slots] == list(range(1, len(found.slots) + 1))
    assert found.memory.gpu_bytes == 617_000_000


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_waits_fails_alone():
    """Two real processes; the idle one is killed between its turns."""
    workers: dict[str, WorkerProcess] = {}

    def open_worker(case: Case) -> Worker:
        workers[case.arm] = WorkerProcess("session", Launch(), threads=1)
        return workers[case.arm]

    def on_slot(case: Case, slot: Slot) -> None:
        if case.arm == "victim" and workers["victim"].process.poll() is None:
            workers["victim"].process.kill()
            workers["victim"].process.wait()

    fast = {"fake_clock": "wall", "fake_p50_ms": 2.0}
    plan = replace(QUICK, min_calls=200, min_time_s=0.1, target_half_width=1.0)
    victim, other = run(
        seat("victim", **fast), seat("other", **fast), plan=plan, open_worker=open_worker, on_slot=on_slot
    ).results
    assert victim.status is Status.FAILED
    assert victim.error and victim.error.stage == "slot"
    assert "was killed by SIGKILL" in victim.error.message
    assert len(victim.slots) == 1
    assert other.status is Status.OK
