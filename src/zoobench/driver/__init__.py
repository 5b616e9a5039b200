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
from zoobench.driver.recorder import Recorder
from zoobench.driver.recovery import recover
from zoobench.driver.settings import Observer, Settings
from zoobench.errors import UsageError
from zoobench.executors import Executor, Listener, Preparation
from zoobench.machine import Ceilings
from zoobench.outcome import ANSWER_CODES, UNSTABLE_CODES, CaseError, Status, VerdictValue
from zoobench.plan import Inventory, Plan, Request
from zoobench.results.query import load_records
from zoobench.results.record import MachineInfo, Record
from zoobench.results.store import RunWriter, check_results_dir
from zoobench.spec import Artifact, Case, Effort, OnExisting, Seat

if TYPE_CHECKING:
    from zoobench.measure.effort import EffortPlan

__all__ = ["Observer", "Settings", "effort_plan", "execute"]


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
    if settings.seed is not None and settings.seed < 0:
        raise UsageError(f"--seed {settings.seed}: 0 or a larger whole number is needed")
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
    with _exclusive(planned.cases, settings, observer):
        for preparation in _prepare(planned, request, settings, executor, observer):
            recorder.preparations[preparation.model.name] = preparation
        done, groups, refused = _sort_out(planned, recorder)
        observer.planned(len(done) + len(refused) + sum(map(len, groups)), len(done))
        yield from done
        if groups or refused:
            yield from _measure(groups, refused, request, effort, recorder, executor, observer)


def _with_inputs(request: Request, settings: Settings) -> Request:
    """The user's tensors are part of what was asked, by their content."""
    if settings.inputs is None:
        return request
    import dataclasses
    import hashlib

    if settings.inputs.exists() and not settings.inputs.is_file():
        raise UsageError(f"--inputs {settings.inputs}: not a regular file; give an .npz")
    try:
        digest = hashlib.sha256(settings.inputs.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise UsageError(f"--inputs {settings.inputs}: {error.strerror}") from error
    return dataclasses.replace(request, options={**request.options, "inputs_sha256": digest})


def _prepare(
    planned: Plan, request: Request, settings: Settings, executor: Executor, observer: Observer
) -> Iterator[Preparation]:
    """Everything is prepared before anything is measured."""
    wanted: dict[str, dict[str, None]] = {}
    for case in planned.cases:
        wanted.setdefault(case.model, {})[BACKENDS[case.backend].format] = None
    models = [(model, list(wanted[model.name])) for model in request.models if model.name in wanted]
    for preparation in executor.prepare(
        models, weights=settings.weights, allow_pickle=settings.allow_pickle, on_progress=observer.preparing
    ):
        for note in preparation.notes:
            observer.note(f"{preparation.model.name}: {note}")
        yield preparation


def _sort_out(planned: Plan, recorder: Recorder) -> tuple[list[Record], list[list[Seat]], list[Record]]:
    """Split the cells: measured before, to be measured now (by group), and refused with the reason."""
    existing = _existing(recorder)
    inputs = str(recorder.settings.inputs.resolve()) if recorder.settings.inputs else None
    fitting: set[str] = set()
    done: list[Record] = []
    refused: list[Record] = []
    groups: list[list[Seat]] = []
    for group in planned.groups:
        seats: list[Seat] = []
        for case in group.cases:
            preparation = recorder.preparations[case.model]
            artifact = preparation.artifacts.get(BACKENDS[case.backend].format)
            if artifact is None:
                refused.append(_unprepared(case, preparation, recorder))
                continue
            if recorder.settings.inputs and artifact.sha256 not in fitting:
                # Before anything is measured, so that a wrong file costs seconds.
                from zoobench.inputs import read_inputs

                read_inputs(recorder.settings.inputs, artifact.input_name, artifact.input_shape)
                fitting.add(artifact.sha256)
            if artifact.fixed_batch not in (None, case.batch):
                refused.append(_fixed(case, artifact, recorder))
                continue
            before = existing.get(recorder.key(case))
            if before:
                done.append(before)
            else:
                seats.append(Seat(case, artifact, BACKENDS[case.backend].provider, inputs))
        if seats:
            groups.append(seats)
    for skip in planned.skips:
        error = CaseError(stage="plan", message=skip.reason)
        refused.append(recorder.record(skip.case, Status.SKIPPED, error=error))
    if done and recorder.settings.on_existing is OnExisting.FAIL:
        raise UsageError(
            f"{recorder.settings.results_dir} holds results for {len(done)} of these cells already; "
            "use --on-existing resume to keep them or rerun to measure again"
        )
    return done, groups, refused


def _existing(recorder: Recorder) -> dict[str, Record]:
    """Finished results by measurement key: bought with at least the effort and the time that are asked now.

    An invalid number is none, so it is measured again; an unstable one stays until `rerun` is asked for.
    """
    from zoobench.measure.effort import at_least

    if recorder.settings.on_existing is OnExisting.RERUN:
        return {}
    loaded = load_records(recorder.settings.results_dir)
    return {
        record.measurement_key: record
        for record in loaded.records
        if record.status is Status.OK
        and at_least(Effort(record.effort), recorder.effort)
        and (record.max_case_time_s or recorder.max_case_time_s) >= recorder.max_case_time_s
        and not _is_no_answer(record)
    }


def _is_no_answer(record: Record) -> bool:
    """Invalid for another reason than that the load asked for was too much, which is worth knowing."""
    if record.verdict is None or record.verdict.value is not VerdictValue.INVALID:
        return False
    codes = {reason.code for reason in record.verdict.reasons} - UNSTABLE_CODES
    return not codes or not codes <= ANSWER_CODES


def _unprepared(case: Case, preparation: Preparation, recorder: Recorder) -> Record:
    wanted = BACKENDS[case.backend].format
    if wanted in preparation.failed:
        error = CaseError(stage="prepare", message=preparation.failed[wanted])
        return recorder.record(case, Status.FAILED, error=error)
    if preparation.error is None:
        reason = f"{case.model} has no {wanted} artifact for {case.backend}: " + "; ".join(preparation.notes)
        return recorder.record(case, Status.SKIPPED, error=CaseError(stage="plan", message=reason))
    status = {"out_of_memory": Status.OUT_OF_MEMORY, "timeout": Status.TIMEOUT}.get(
        preparation.error_kind or "", Status.FAILED
    )
    return recorder.record(case, status, error=CaseError(stage="prepare", message=preparation.error))


def _fixed(case: Case, artifact: Artifact, recorder: Recorder) -> Record:
    reason = (
        f"the batch axis of {case.model}'s graph is fixed at {artifact.fixed_batch}, so batch {case.batch} cannot run; "
        "export it with a dynamic batch axis"
    )
    return recorder.record(case, Status.SKIPPED, error=CaseError(stage="plan", message=reason))


def _exclusive(cases: Sequence[Case], settings: Settings, observer: Observer) -> AbstractContextManager[None]:
    """Only what runs on a real clock needs the machine for itself."""
    if all(on_virtual_clock(case) for case in cases):
        return contextlib.nullcontext()
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
    executor: Executor,
    observer: Observer,
) -> Iterator[Record]:
    writer = RunWriter.create(recorder.settings.results_dir, recorder.manifest(request))
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
            seat.case.id: recorder.record(seat.case, Status.INTERRUPTED) for seats in groups for seat in seats
        }
        listener = Listener(
            on_slot=lambda case, slot: writer.journal(skeletons[case.id], slot), on_progress=observer.working
        )
        for seats, outcome in zip(
            groups, executor.run(groups, effort, seed=recorder.seed, listener=listener), strict=False
        ):
            for seat, result in zip(seats, outcome.results, strict=True):
                record = writer.write(recorder.measured(seat, result), result.slots)
                observer.recorded(record)
                yield record
    finally:
        writer.close()


def effort_plan(effort: Effort, settings: Settings) -> EffortPlan:
    """The effort's numbers, with the user's own limit on a case's time."""
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
