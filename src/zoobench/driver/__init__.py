"""The driver: what was planned is prepared, measured group after group, and written record by record.

`execute` yields each record as soon as it stands on disk, so whoever listens can stop at any moment and lose
nothing.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zoobench import machine, plan
from zoobench._version import __version__
from zoobench.backends import BACKENDS, on_virtual_clock
from zoobench.errors import UsageError
from zoobench.executors import Executor, Listener, Preparation
from zoobench.machine import Ceilings
from zoobench.outcome import CaseError, CaseResult, Status
from zoobench.plan import Inventory, Plan, Request
from zoobench.results.query import load_records
from zoobench.results.record import (
    PROTOCOL_VERSION,
    ArtifactInfo,
    MachineInfo,
    ModelInfo,
    Record,
    summarise_noise,
)
from zoobench.results.store import RunWriter, check_results_dir, now, unfinished
from zoobench.spec import Artifact, Case, Effort, ModelSpec, OnExisting, Seat, WeightsPolicy, stable_hash

if TYPE_CHECKING:
    from zoobench.measure.effort import EffortPlan


_CARRIED = set(CaseResult.model_fields) - {"case_id", "status", "slots"}
"""What a record takes over from a result as it is."""


@dataclass(frozen=True)
class Settings:
    """How to run, as against what to run.

    Attributes:
        max_case_time_s: overrides the effort's limit on one case's measuring time, seconds.
        inputs: an .npz file with the user's own tensors.
        seed: of the order of turns; None draws one, and it is recorded.
        wait: wait for another measurement on this host to end, instead of refusing.
    """

    results_dir: Path = Path("results")
    on_existing: OnExisting = OnExisting.RESUME
    weights: WeightsPolicy = WeightsPolicy.AUTO
    allow_pickle: bool = False
    max_case_time_s: float | None = None
    inputs: Path | None = None
    seed: int | None = None
    wait: bool = False
    argv: Sequence[str] = ()


class Observer(Protocol):
    """Who watches a run. Called between slots, never during one."""

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...

    def planned(self, cells: int, done: int) -> None:
        """How many cells there are, and how many of them have their result already."""
        ...

    def preparing(self, model: str, text: str) -> None:
        """A step of the preparation."""
        ...

    def working(self, case: Case, stage: str) -> None:
        """A cell's next step."""
        ...

    def recorded(self, record: Record) -> None:
        """A cell is done."""
        ...


@dataclass
class _Context:
    """What every record of this run shares, made once."""

    settings: Settings
    effort: Effort
    machine: MachineInfo
    seed: int
    ceilings: Ceilings | None = None
    preparations: dict[str, Preparation] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    models: dict[str, ModelSpec] = field(default_factory=dict)
    run_id: str = ""

    def record(self, case: Case, status: Status, **fields: Any) -> Record:
        """A record of `case` with everything that is known before or beside measuring."""
        preparation = self.preparations.get(case.model)
        model = preparation.model if preparation else self.models[case.model]
        artifact = self._artifact(case)
        return Record(
            run_id=self.run_id,
            recorded_at=now(),
            status=status,
            case=case,
            measurement_key=self.key(case),
            effort=self.effort.value,
            model=_model_info(model, artifact),
            artifact=_artifact_info(artifact) if artifact else None,
            machine=self.machine,
            versions=self._versions(case.backend),
            **fields,
        )

    def key(self, case: Case) -> str:
        """The measurement key of `case` as it resolved in this run."""
        versions = self._versions(case.backend)
        return measurement_key(case, self._artifact(case), versions, self.machine.fingerprint)

    def _artifact(self, case: Case) -> Artifact | None:
        preparation = self.preparations.get(case.model)
        return preparation.artifacts.get(BACKENDS[case.backend].format) if preparation else None

    def _versions(self, backend: str) -> dict[str, str]:
        if backend not in self.versions:
            found = {}
            for package in BACKENDS[backend].packages:
                with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                    found[package] = importlib.metadata.version(package)
            self.versions[backend] = found
        return self.versions[backend]


def measurement_key(
    case: Case, artifact: Artifact | None, versions: Mapping[str, str], fingerprint: str
) -> str:
    """Identity of a measurement: the case and all that it resolved to. 32 hexadecimal digits."""
    parts = [
        case.id,
        artifact.commit if artifact else None,
        artifact.sha256 if artifact else None,
        dict(versions),
        fingerprint,
        PROTOCOL_VERSION,
    ]
    return stable_hash(parts)[:32]


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
    context = _Context(
        settings=settings,
        effort=request.effort,
        machine=MachineInfo(**here.info()),
        seed=secrets.randbits(32) if settings.seed is None else settings.seed,
        models={model.name: model for model in request.models},
    )
    for preparation in _prepare(planned, request, settings, executor, observer):
        context.preparations[preparation.model.name] = preparation
    done, groups, refused = _sort_out(planned, context)
    observer.planned(len(done) + len(refused) + sum(map(len, groups)), len(done))
    yield from done
    if not groups and not refused:
        return
    with _exclusive(groups, settings, observer):
        yield from _measure(groups, refused, request, effort, context, executor, observer)


def _with_inputs(request: Request, settings: Settings) -> Request:
    """The user's tensors are part of what was asked, by their content."""
    if settings.inputs is None:
        return request
    import dataclasses
    import hashlib

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


def _sort_out(planned: Plan, context: _Context) -> tuple[list[Record], list[list[Seat]], list[Record]]:
    """Split the cells: measured before, to be measured now (by group), and refused with the reason."""
    existing = _existing(context)
    inputs = str(context.settings.inputs.resolve()) if context.settings.inputs else None
    fitting: set[str] = set()
    done: list[Record] = []
    refused: list[Record] = []
    groups: list[list[Seat]] = []
    for group in planned.groups:
        seats: list[Seat] = []
        for case in group.cases:
            preparation = context.preparations[case.model]
            artifact = preparation.artifacts.get(BACKENDS[case.backend].format)
            if artifact is None:
                refused.append(_unprepared(case, preparation, context))
                continue
            if context.settings.inputs and artifact.sha256 not in fitting:
                # Before anything is measured, so that a wrong file costs seconds.
                from zoobench.inputs import read_inputs

                read_inputs(context.settings.inputs, artifact.input_name, artifact.input_shape)
                fitting.add(artifact.sha256)
            if artifact.fixed_batch not in (None, case.batch):
                refused.append(_fixed(case, artifact, context))
                continue
            before = existing.get(context.key(case))
            if before:
                done.append(before)
            else:
                seats.append(Seat(case, artifact, BACKENDS[case.backend].provider, inputs))
        if seats:
            groups.append(seats)
    for skip in planned.skips:
        error = CaseError(stage="plan", message=skip.reason)
        refused.append(context.record(skip.case, Status.SKIPPED, error=error))
    if done and context.settings.on_existing is OnExisting.FAIL:
        raise UsageError(
            f"{context.settings.results_dir} holds results for {len(done)} of these cells already; "
            "use --on-existing resume to keep them or rerun to measure again"
        )
    return done, groups, refused


def _existing(context: _Context) -> dict[str, Record]:
    """Finished results by measurement key: measured with at least the effort that is asked now."""
    from zoobench.measure.effort import at_least

    if context.settings.on_existing is OnExisting.RERUN:
        return {}
    loaded = load_records(context.settings.results_dir)
    return {
        record.measurement_key: record
        for record in loaded.records
        if record.status is Status.OK and at_least(Effort(record.effort), context.effort)
    }


def _unprepared(case: Case, preparation: Preparation, context: _Context) -> Record:
    if preparation.error is None:
        wanted = BACKENDS[case.backend].format
        reason = f"{case.model} has no {wanted} artifact for {case.backend}: " + "; ".join(preparation.notes)
        return context.record(case, Status.SKIPPED, error=CaseError(stage="plan", message=reason))
    status = {"out_of_memory": Status.OUT_OF_MEMORY, "timeout": Status.TIMEOUT}.get(
        preparation.error_kind or "", Status.FAILED
    )
    return context.record(case, status, error=CaseError(stage="prepare", message=preparation.error))


def _fixed(case: Case, artifact: Artifact, context: _Context) -> Record:
    reason = (
        f"the batch axis of {case.model}'s graph is fixed at {artifact.fixed_batch}, so batch {case.batch} cannot run; "
        "export it with a dynamic batch axis"
    )
    return context.record(case, Status.SKIPPED, error=CaseError(stage="plan", message=reason))


def _exclusive(
    groups: Sequence[Sequence[Seat]], settings: Settings, observer: Observer
) -> AbstractContextManager[None]:
    """Only what runs on a real clock needs the machine for itself."""
    if all(on_virtual_clock(seat.case) for seats in groups for seat in seats):
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
    context: _Context,
    executor: Executor,
    observer: Observer,
) -> Iterator[Record]:
    writer = RunWriter.create(context.settings.results_dir, _manifest(request, context))
    context.run_id = writer.run_id
    try:
        for record in refused:
            record = writer.write(record.model_copy(update={"run_id": writer.run_id}))
            observer.recorded(record)
            yield record
        if not groups:
            return
        context.ceilings = _ceilings(groups, executor, observer)
        skeletons = {
            seat.case.id: context.record(seat.case, Status.INTERRUPTED) for seats in groups for seat in seats
        }
        listener = Listener(
            on_slot=lambda case, slot: writer.journal(skeletons[case.id], slot), on_progress=observer.working
        )
        for seats, outcome in zip(
            groups, executor.run(groups, effort, seed=context.seed, listener=listener), strict=False
        ):
            for seat, result in zip(seats, outcome.results, strict=True):
                record = writer.write(_measured(seat, result, context), result.slots)
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


def _measured(seat: Seat, result: CaseResult, context: _Context) -> Record:
    """The result of measuring, as a record."""
    case, latency = seat.case, result.latency
    near = None
    if context.ceilings and latency and case.device == "cpu" and not BACKENDS[case.backend].inline:
        flops, moved = work(seat.artifact, case.batch)
        near = machine.roofline(context.ceilings, case.precision.value, flops, moved, latency.p50_ms)
    record = context.record(
        case,
        result.status,
        roofline_fraction=near[0] if near else None,
        roofline_bound=near[1] if near else None,
        noise=summarise_noise([slot.noise for slot in result.slots]) if result.slots else None,
    )
    return record.model_copy(update={name: getattr(result, name) for name in _CARRIED})


def work(artifact: Artifact, batch: int) -> tuple[int | None, int | None]:
    """FLOPs and the least bytes that one call of `batch` items must move: weights once, inputs and outputs each."""
    flops = artifact.flops * batch if artifact.flops is not None else None
    if artifact.bytes_moved is None or artifact.parameters is None:
        return flops, None
    weights = min(artifact.bytes_moved, artifact.parameters * 4)
    return flops, weights + batch * (artifact.bytes_moved - weights)


def recover(results_dir: Path, observer: Observer) -> list[Record]:
    """Make records of what a crashed run had measured.

    Returns:
        The `interrupted` records that were written, each holding the slots that had arrived.
    """
    written: list[Record] = []
    for writer, cases in unfinished(results_dir):
        from zoobench.measure.stats import describe, throughput_per_s

        for case in cases:
            latency = describe(case.slots) if case.slots else None
            record = case.skeleton.model_copy(
                update={
                    "recorded_at": now(),
                    "latency": latency,
                    "throughput_per_s": throughput_per_s(case.skeleton.case.batch, latency)
                    if latency
                    else None,
                    "noise": summarise_noise([slot.noise for slot in case.slots]),
                    "error": CaseError(
                        stage="slot", message="the run ended before this case was done; run again"
                    ),
                }
            )
            written.append(writer.write(record, case.slots))
        kept = (
            f"{len(cases)} unfinished cells were kept as interrupted"
            if cases
            else "nothing could be saved of it"
        )
        observer.note(f"run {writer.run_id} had ended early: {kept}")
    return written


def _manifest(request: Request, context: _Context) -> dict[str, Any]:
    packages = sorted({package for name in request.backends for package in BACKENDS[name].packages})
    installed: dict[str, str] = {"zoobench": __version__}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    return {
        "argv": list(context.settings.argv),
        "request": {
            "models": [model.name for model in request.models],
            "backends": list(request.backends),
            "batch_sizes": list(request.batch_sizes),
            "precisions": [precision.value for precision in request.precisions],
            "effort": request.effort.value,
            "scenario": request.scenario,
            "threads": request.threads,
            "options": dict(request.options),
        },
        "seed": context.seed,
        "machine": context.machine.model_dump(mode="json"),
        "versions": installed,
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of the work tree that the command was given in, if it is one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def _model_info(model: ModelSpec, artifact: Artifact | None) -> ModelInfo:
    return ModelInfo(
        name=model.name,
        hf_id=model.hf_id,
        revision=artifact.commit if artifact else model.revision,
        weights=artifact.weights if artifact else None,
        library=model.library or (artifact.library if artifact else None),
        licence=model.licence,
        parameters=(artifact.parameters if artifact else None) or model.parameters,
        task=model.task,
    )


def _artifact_info(artifact: Artifact) -> ArtifactInfo:
    return ArtifactInfo.model_validate(artifact.model_dump(include=set(ArtifactInfo.model_fields)))
