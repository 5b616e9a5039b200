"""The driver: what was planned is prepared, measured group after group, and written record by record.

`execute` yields each record as soon as it stands on disk, so whoever listens can stop at any moment and lose
nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from zoobench import machine, plan
from zoobench.backends import BACKENDS, on_virtual_clock
from zoobench.driver.accuracies import Accuracies, collect
from zoobench.driver.recorder import Recorder
from zoobench.driver.recovery import recover
from zoobench.driver.seating import apart, prepare, sort_out
from zoobench.driver.settings import Observer, Settings
from zoobench.driver.text_tasks import TextTasks
from zoobench.errors import UsageError
from zoobench.executors import Executor, Listener
from zoobench.machine import Ceilings
from zoobench.plan import Inventory, Request
from zoobench.results.record import MachineInfo, Record
from zoobench.results.store import RunWriter, check_results_dir
from zoobench.spec import Case, Seat
from zoobench.terms import TEXT, Effort, Status

if TYPE_CHECKING:
    from zoobench.measure.effort import EffortPlan

__all__ = ["Observer", "Settings", "alone", "effort_plan", "exclusive", "execute"]


def execute(request: Request, settings: Settings, executor: Executor, observer: Observer) -> Iterator[Record]:
    """Plan, prepare, measure and record.

    Args:
        request: the cells.
        settings: where results go and how existing ones are treated.
        executor: where workers run.
        observer: told what is going on.

    Yields:
        One record a cell: first those that were measured before, then each new one once it is on disk. After an
        interruption the last ones are `interrupted`, and nothing follows.

    Raises:
        UsageError: the request cannot be meant, or results exist and `on_existing` is `fail`.
        BusyError: another measurement holds this machine.
    """
    effort = effort_plan(request.effort, settings)
    check_results_dir(settings.results_dir)
    recover(settings.results_dir, observer)
    request = _with_inputs(request, settings)
    here = machine.describe()
    cpus = machine.usable_cpu_count()
    plan.check(request, cpus)
    inventory = Inventory(cpus, executor.probe(request.backends))
    planned = plan.plan(request, inventory)
    recorder = Recorder(
        settings=settings,
        effort=request.effort,
        max_case_time_s=effort.max_case_time_s,
        machine=MachineInfo(**here.info()),
        seed=secrets.randbits(32) if settings.seed is None else settings.seed,
        models={model.name: model for model in request.models},
    )
    # Preparing needs the machine too: an export would spoil what another run measures meanwhile.
    with alone(planned.cases, settings, observer):
        pictures = collect(request.data, executor, observer)
        for preparation in prepare(planned, request, settings, executor, observer, pictures.calibration):
            recorder.preparations[preparation.model.name] = preparation
        accuracies = Accuracies(pictures, recorder, TextTasks(request.tasks))
        done, groups, refused = sort_out(planned, recorder, accuracies)
        groups = apart(groups, machine.free_memory_bytes(), observer, always=settings.sequential)
        if accuracies.rejudged:
            observer.note(
                f"the drop of {accuracies.rejudged} cells that were measured before is judged by "
                f"{100 * pictures.max_drop:g}% here; their records keep the margin of their run (report --max-drop)"
            )
        observer.planned(len(done) + len(refused) + sum(map(len, groups)), len(done))
        yield from done
        if groups or refused:
            yield from _measure(groups, refused, request, effort, recorder, accuracies, executor, observer)


def _with_inputs(request: Request, settings: Settings) -> Request:
    """The user's tensors are part of what was asked, by their content."""
    if settings.inputs is None:
        return request
    if spoken := next((model.name for model in request.models if model.task == TEXT), None):
        raise UsageError(
            f"--inputs is for tensors, and {spoken} is a language model: its prompts are seeded ids"
        )
    import dataclasses
    import hashlib

    if settings.inputs.exists() and not settings.inputs.is_file():
        raise UsageError(f"--inputs {settings.inputs}: not a regular file; give an .npz")
    try:
        digest = hashlib.sha256(settings.inputs.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise UsageError(f"--inputs {settings.inputs}: {error.strerror}") from error
    return dataclasses.replace(request, options={**request.options, "inputs_sha256": digest})


def alone(cases: Sequence[Case], settings: Settings, observer: Observer) -> AbstractContextManager[None]:
    """The machine for these cases alone; only what runs on a real clock needs that."""
    if all(on_virtual_clock(case) for case in cases):
        return contextlib.nullcontext()
    return exclusive(settings, observer)


def exclusive(settings: Settings, observer: Observer) -> AbstractContextManager[None]:
    """Hold the machine, or wait for whoever holds it where that was asked for.

    Raises:
        BusyError: another measurement holds it.
    """
    return machine.measurement_lock(
        timeout_s=None if settings.wait else 0.0,
        on_wait=lambda holder: observer.note(f"waiting for {holder}"),
    )


def _measure(
    groups: list[list[Seat]],
    refused: list[Record],
    request: Request,
    effort: EffortPlan,
    recorder: Recorder,
    accuracies: Accuracies,
    executor: Executor,
    observer: Observer,
) -> Iterator[Record]:
    # Who looks on while it runs can say how far it is.
    cells = {"cells": len(refused) + sum(map(len, groups))}
    writer = RunWriter.create(recorder.settings.results_dir, recorder.manifest(request) | cells)
    recorder.run_id = writer.run_id
    try:
        for record in refused:
            record = writer.write(record.model_copy(update={"run_id": writer.run_id}))
            observer.recorded(record)
            yield record
        if not groups:
            return
        recorder.ceilings = _ceilings(groups, executor, observer)
        skeletons = {
            seat.case.id: recorder.record(seat.case, Status.INTERRUPTED, group=number)
            for number, seats in enumerate(groups)
            for seat in seats
        }
        listener = Listener(
            on_slot=lambda case, slot: writer.journal(skeletons[case.id], slot), on_progress=observer.working
        )
        due = map(accuracies.seats, groups)
        outcomes = executor.run(due, effort, seed=recorder.seed, listener=listener)
        for number, (seats, outcome) in enumerate(zip(groups, outcomes, strict=False)):
            for seat, result in zip(seats, outcome.results, strict=True):
                record = recorder.measured(seat, result, number)
                accuracies.learn(record)
                record = writer.write(accuracies.of(record), result.slots)
                observer.recorded(record)
                yield record
    finally:
        writer.close()


def effort_plan(effort: Effort, settings: Settings) -> EffortPlan:
    """The effort's numbers, with the user's own limit on a case's time; or those of the search that asks."""
    if settings.evidence is not None:
        return settings.evidence
    from zoobench.measure.effort import EFFORTS, with_max_case_time

    chosen = EFFORTS[effort]
    return (
        chosen if settings.max_case_time_s is None else with_max_case_time(chosen, settings.max_case_time_s)
    )


def _ceilings(groups: list[list[Seat]], executor: Executor, observer: Observer) -> Ceilings | None:
    real = [seat.case for seats in groups for seat in seats if not BACKENDS[seat.case.backend].inline]
    if not any(case.device == "cpu" for case in real):
        return None
    runtimes = [name for name in ("numpy", "torch", "onnxruntime") if importlib.util.find_spec(name)]
    observer.preparing("machine", "ceilings: how fast it can be at best")
    return executor.ceilings(real[0].threads, runtimes)
