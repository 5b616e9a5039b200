"""A contest: the same cases in several arms, prepared once and measured as often as a judge asks.

An arm is a build: its own environment, its own artifacts. The arms of one case take turns; everything that is
measured is a record like any other, one run for each time that the judge asked.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zoobench import machine, plan
from zoobench.driver import alone
from zoobench.driver.accuracies import Accuracies, Pictures
from zoobench.driver.recorder import Recorder
from zoobench.driver.recovery import recover
from zoobench.driver.seating import prepare, sort_out
from zoobench.driver.settings import Observer, Settings
from zoobench.executors import Executor, Listener
from zoobench.outcome import CaseResult
from zoobench.plan import Inventory, Request
from zoobench.results.record import MachineInfo, Record
from zoobench.results.store import RunWriter, check_results_dir
from zoobench.spec import Case, Seat
from zoobench.terms import OnExisting, Status

if TYPE_CHECKING:
    from zoobench.measure.effort import EffortPlan


@dataclass(frozen=True)
class Side:
    """One arm: what is asked of it, and the executor that probes and prepares in its environment.

    `about` says in the run's manifest what the arm is, such as its commit.
    """

    arm: str
    request: Request
    executor: Executor
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bout:
    """One case as the arms have it.

    Attributes:
        name: how a person names it.
        seats: by arm; an arm is missing where it could not be made ready.
        ready: by arm of `seats`, the case's record before it is measured: all that it resolved to.
        refusals: by arm, the record that says why it is missing.
    """

    name: str
    seats: Mapping[str, Seat]
    ready: Mapping[str, Record]
    refusals: Mapping[str, Record]


class Contest:
    """Cases that are ready in several arms. Made by `open_contest`; measuring writes records."""

    def __init__(
        self,
        bouts: Sequence[Bout],
        recorders: Mapping[str, Recorder],
        manifest: Mapping[str, Any],
        executor: Executor,
        settings: Settings,
        observer: Observer,
    ) -> None:
        self.bouts = tuple(bouts)
        self._recorders, self._manifest, self._executor = recorders, manifest, executor
        self._settings, self._observer = settings, observer
        self._writers: list[RunWriter] = []

    @property
    def run_ids(self) -> list[str]:
        """The runs that hold what was measured, oldest first."""
        return [writer.run_id for writer in self._writers]

    def measure(self, bout: Bout, effort: EffortPlan, attempt: int, why: str = "") -> dict[str, CaseResult]:
        """Have the arms of one case take turns.

        Args:
            attempt: 0 for the first time; forks are numbered on from those of the attempts before.
            why: what kept the attempt before from deciding, for whoever watches.

        Returns:
            The result of each arm, when it stands on disk.

        Raises:
            KeyboardInterrupt: it was interrupted; what was measured stands on disk.
        """
        writer = self._writer(attempt)
        seats = list(bout.seats.values())
        if attempt:
            self._observer.note(
                f"{bout.name}: {effort.forks} more processes an arm, for it cannot be decided yet: {why}"
            )
        self._observer.planned(len(seats), 0)
        skeletons = {
            seat.case.id: self._record(writer, seat.case, status=Status.INTERRUPTED) for seat in seats
        }
        listener = Listener(
            on_slot=lambda case, slot: writer.journal(skeletons[case.id], slot),
            on_progress=self._observer.working,
        )
        seed = next(iter(self._recorders.values())).seed + attempt
        (outcome,) = self._executor.run(
            [seats], effort, seed=seed, listener=listener, first_fork=attempt * effort.forks
        )
        for seat, result in zip(seats, outcome.results, strict=True):
            record = self._recorders[seat.case.arm].measured(seat, result)
            record = writer.write(record.model_copy(update={"run_id": writer.run_id}), result.slots)
            self._observer.recorded(record)
        if outcome.interrupted:
            raise KeyboardInterrupt
        return dict(zip(bout.seats, outcome.results, strict=True))

    def keep(self, refused: Sequence[Record]) -> None:
        """Write what could not be made ready: a failure is a record too."""
        for record in refused:
            writer = self._writer(0)
            self._observer.recorded(writer.write(record.model_copy(update={"run_id": writer.run_id})))

    def close(self) -> None:
        """Let go of the runs."""
        for writer in self._writers:
            writer.close()

    def _record(self, writer: RunWriter, case: Case, status: Status) -> Record:
        record = self._recorders[case.arm].record(case, status)
        return record.model_copy(update={"run_id": writer.run_id})

    def _writer(self, attempt: int) -> RunWriter:
        # A case's samples have one file a run: each attempt has a run of its own, so that none is overwritten.
        while len(self._writers) <= attempt:
            manifest = {**self._manifest, "attempt": len(self._writers)}
            self._writers.append(RunWriter.create(self._settings.results_dir, manifest))
        return self._writers[attempt]


@contextlib.contextmanager
def open_contest(
    sides: Sequence[Side], executor: Executor, effort: EffortPlan, settings: Settings, observer: Observer
) -> Iterator[Contest]:
    """Probe, plan and prepare every arm; the machine is held until the contest is closed.

    Args:
        sides: the arms, in the order in which they are prepared. Cases are matched by model, backend, precision and
            batch.
        executor: where the arms' workers run.

    Raises:
        UsageError: a request cannot be meant.
        BusyError: another measurement holds this machine.
    """
    check_results_dir(settings.results_dir)
    recover(settings.results_dir, observer)
    cpus, here = machine.usable_cpu_count(), MachineInfo(**machine.describe().info())
    seed = secrets.randbits(32) if settings.seed is None else settings.seed
    fresh = replace(settings, on_existing=OnExisting.RERUN)
    planned = {}
    recorders: dict[str, Recorder] = {}
    for side in sides:
        request = replace(side.request, arm=side.arm)
        plan.check(request, cpus)
        planned[side.arm] = plan.plan(request, Inventory(cpus, side.executor.probe(request.backends)))
        recorders[side.arm] = Recorder(
            settings=fresh,
            effort=request.effort,
            max_case_time_s=effort.max_case_time_s,
            machine=here,
            seed=seed,
            models={model.name: model for model in request.models},
            versions={name: dict(found) for name, found in side.executor.versions(request.backends).items()},
        )
    with alone([case for found in planned.values() for case in found.cases], settings, observer):
        seats: dict[str, dict[str, Seat]] = {}
        ready: dict[str, dict[str, Record]] = {}
        refusals: dict[str, dict[str, Record]] = {}
        for side in sides:
            recorder = recorders[side.arm]
            for preparation in prepare(planned[side.arm], side.request, fresh, side.executor, observer):
                recorder.preparations[preparation.model.name] = preparation
            _, groups, refused = sort_out(planned[side.arm], recorder, Accuracies(Pictures(), recorder))
            for seat in (seat for group in groups for seat in group):
                seats.setdefault(seat.case.label, {})[side.arm] = seat
                ready.setdefault(seat.case.label, {})[side.arm] = recorder.record(
                    seat.case, Status.INTERRUPTED
                )
            for record in refused:
                refusals.setdefault(record.case.label, {})[side.arm] = record
        bouts = [
            Bout(name, seats.get(name, {}), ready.get(name, {}), refusals.get(name, {}))
            for name in dict.fromkeys([*seats, *refusals])
        ]
        first = sides[0]
        manifest = {
            **recorders[first.arm].manifest(first.request),
            "arms": {side.arm: dict(side.about) for side in sides},
        }
        contest = Contest(bouts, recorders, manifest, executor, settings, observer)
        try:
            contest.keep([record for arms in refusals.values() for record in arms.values()])
            yield contest
        finally:
            contest.close()
