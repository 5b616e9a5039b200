"""From a plan to seats: everything is prepared, and every cell is done before, to be measured, or refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from zoobench.backends import BACKENDS, artifact_key
from zoobench.driver.accuracies import Accuracies, needed_keys
from zoobench.driver.earlier import Earlier
from zoobench.driver.recorder import Recorder
from zoobench.driver.settings import Observer, Settings
from zoobench.errors import UsageError
from zoobench.executors import Collected, Executor, Preparation
from zoobench.outcome import CaseError, wrong_answers
from zoobench.plan import Plan, Request
from zoobench.results.query import load_records
from zoobench.results.record import Record
from zoobench.spec import Artifact, Case, Seat, cache_bytes, weights_bytes
from zoobench.terms import ANSWER_CODES, UNSTABLE_CODES, Effort, OnExisting, Status, VerdictValue


def prepare(
    planned: Plan,
    request: Request,
    settings: Settings,
    executor: Executor,
    observer: Observer,
    calibration: Collected | None = None,
) -> Iterator[Preparation]:
    """Everything is prepared before anything is measured."""
    wanted = needed_keys(planned.cases, request.data)
    models = [(model, list(wanted[model.name])) for model in request.models if model.name in wanted]
    for preparation in executor.prepare(
        models,
        weights=settings.weights,
        allow_pickle=settings.allow_pickle,
        on_progress=observer.preparing,
        calibration=calibration,
    ):
        for note in preparation.notes:
            observer.note(f"{preparation.model.name}: {note}")
        yield preparation


def sort_out(
    planned: Plan, recorder: Recorder, accuracies: Accuracies
) -> tuple[list[Record], list[list[Seat]], list[Record]]:
    """Split the cells: measured before, to be measured now (by group), and refused with the reason."""
    earlier = recorder.settings.earlier
    existing = {} if earlier else _existing(recorder, accuracies)
    inputs = str(recorder.settings.inputs.resolve()) if recorder.settings.inputs else None
    fitting: set[str] = set()
    done: list[Record] = []
    refused: list[Record] = []
    groups: list[list[Seat]] = []
    for group in planned.groups:
        seats: list[Seat] = []
        if earlier:
            existing = _together(recorder, group.cases, earlier)
        for case in group.cases:
            preparation = recorder.preparations[case.model]
            artifact = recorder.artifact(case)
            if artifact is None:
                refused.append(_unprepared(case, preparation, recorder))
                continue
            if recorder.settings.inputs and artifact.sha256 not in fitting:
                # Before anything is measured, so that a wrong file costs seconds.
                from zoobench.inputs import read_inputs

                read_inputs(recorder.settings.inputs, artifact.input_name, artifact.input_shape)
                fitting.add(artifact.sha256)
            accuracies.check(artifact)
            if artifact.fixed_batch not in (None, case.batch):
                refused.append(_fixed(case, artifact, recorder))
                continue
            before = existing.get(recorder.key(case))
            if before and accuracies.fits(before, artifact):
                done.append(accuracies.judged(before))
            else:
                # Where fp32 was asked for as well: it is many gigabytes to make it for that alone.
                reference = recorder.reference(case) if artifact.decoder else None
                seats.append(
                    Seat(case, artifact, BACKENDS[case.backend].provider, inputs, reference=reference)
                )
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


def apart(
    groups: list[list[Seat]], free_bytes: int | None, observer: Observer, *, always: bool
) -> list[list[Seat]]:
    """The groups, of which those are taken apart whose cases do not fit into memory together.

    Args:
        free_bytes: memory that processes may take now; None: not known.
        always: take every group apart.
    """
    found: list[list[Seat]] = []
    free = math.inf if free_bytes is None else float(free_bytes)
    for seats in groups:
        # Those that run in this process or elsewhere hold nothing here.
        own = [s for s in seats if s.case.device == "cpu" and not BACKENDS[s.case.backend].inline]
        needed = sum(map(footprint_bytes, own))
        tight = needed > free
        if len(seats) > 1 and tight and not always:
            observer.note(
                f"{seats[0].case.model}: its {len(seats)} cells need about {needed / 1e9:.1f} GB together and "
                f"{free / 1e9:.1f} GB are free: they are measured one after another, so their ratios are of other minutes"
            )
        found += [[seat] for seat in seats] if always or tight else [seats]
    return found


def footprint_bytes(seat: Seat) -> int:
    """About what its process holds while it waits for its turn: weights, and a language model's keys and values."""
    weights = weights_bytes(seat.artifact, seat.case.precision)
    libraries = 600_000_000 if seat.artifact.format == "torch" else 100_000_000
    return libraries + weights + cache_bytes(seat.artifact, seat.case)


def _existing(recorder: Recorder, accuracies: Accuracies) -> dict[str, Record]:
    """Finished results by measurement key: bought with at least the effort and the time that are asked now.

    An invalid number is none, so it is measured again; an unstable one stays until `rerun` is asked for.
    """
    from zoobench.measure.effort import at_least

    if recorder.settings.on_existing is OnExisting.RERUN:
        return {}
    loaded = load_records(recorder.settings.results_dir)
    for record in loaded.records:
        accuracies.learn(record)
    return {
        record.measurement_key: record
        for record in loaded.records
        if record.status is Status.OK
        and at_least(Effort(record.effort), recorder.effort)
        and (record.max_case_time_s or recorder.max_case_time_s) >= recorder.max_case_time_s
        and not _is_no_answer(record)
    }


def _together(recorder: Recorder, cases: Sequence[Case], earlier: Earlier) -> dict[str, Record]:
    """By measurement key, what a run found in which all of the cases took turns undisturbed; else nothing.

    Of several runs the one that bought least more than is asked, so that a search that is repeated goes the same way; else the latest.
    """
    if recorder.settings.on_existing is OnExisting.RERUN or any(recorder.artifact(c) is None for c in cases):
        return {}
    keys = {recorder.key(case) for case in cases}
    turns: dict[tuple[str, int | None], dict[str, Record]] = {}
    for record in itertools.chain.from_iterable(earlier.runs()):
        if record.measurement_key in keys and _is_settled(record, recorder):
            turns.setdefault((record.run_id, record.group), {})[record.measurement_key] = record
    whole = [found for found in reversed(turns.values()) if found.keys() == keys]
    return min(whole, key=lambda found: max(r.max_case_time_s or 0.0 for r in found.values()), default={})


def _is_settled(record: Record, recorder: Recorder) -> bool:
    """It was bought with at least as much, and nothing disturbed it: what failed then would fail now."""
    from zoobench.measure.effort import at_least

    disturbed = record.verdict is not None and record.verdict.value is VerdictValue.INVALID
    evidence = recorder.settings.evidence
    # A long last rung of a search is one process, and no fresh measurement of several.
    if record.status is Status.OK and evidence is not None and record.forks < evidence.forks:
        return False
    return (
        record.status not in (Status.INTERRUPTED, Status.SKIPPED)
        and at_least(Effort(record.effort), recorder.effort)
        and (record.max_case_time_s or 0.0) >= recorder.max_case_time_s
        and not (disturbed and not wrong_answers(record.verdict))
    )


def _is_no_answer(record: Record) -> bool:
    """Invalid for another reason than that the load asked for was too much, which is worth knowing."""
    if record.verdict is None or record.verdict.value is not VerdictValue.INVALID:
        return False
    codes = {reason.code for reason in record.verdict.reasons} - UNSTABLE_CODES
    return not codes or not codes <= ANSWER_CODES


def _unprepared(case: Case, preparation: Preparation, recorder: Recorder) -> Record:
    wanted = artifact_key(case.backend, case.precision)
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
