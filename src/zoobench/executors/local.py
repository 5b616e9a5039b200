"""The local executor: worker processes on this machine, one group after another."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobench import machine
from zoobench.backends import BACKENDS, on_virtual_clock
from zoobench.errors import HubError, HubUnreachableError, PrepareError, UsageError
from zoobench.executors import Collected, Listener, Preparation
from zoobench.measure.channel import InlineWorker, Launch, Worker, WorkerError, WorkerProcess
from zoobench.outcome import CONTENDED_CPU, NOTABLE_STEAL, apart
from zoobench.spec import ENDPOINT_SECRET, HUB_SECRETS, Artifact, Case, DataInfo, ModelSpec, Seat
from zoobench.terms import WeightsPolicy

if TYPE_CHECKING:
    from zoobench.data import DataRequest
    from zoobench.measure.conductor import Deadlines, GroupResult, NoiseSensor
    from zoobench.measure.effort import EffortPlan
    from zoobench.measure.placement import Placement

_PROBE_DEADLINE_S = 180.0
_PREPARE_DEADLINE_S = 4 * 3600.0
_CHECK_FILE_DEADLINE_S = 600.0
"""A stranger's graph may loop for ever; nothing is downloaded or exported for it."""
_CEILINGS_DEADLINE_S = 120.0
UNKNOWN_VOCABULARY = 20_000
"""Ids below it are in nearly every vocabulary, and none of them ends a text."""


class LocalExecutor:
    """Workers are children of this process.

    Args:
        cache: folder of the artifacts and ceilings.
        launch: how workers are started.
        arms: how the sessions of an arm are started, where that differs.
        deadlines: after how long a verb counts as hung.
    """

    def __init__(
        self,
        cache: Path | None = None,
        launch: Launch | None = None,
        deadlines: Deadlines | None = None,
        arms: Mapping[str, Launch] | None = None,
    ) -> None:
        self.cache = cache or machine.cache_folder()
        self.launch = launch or Launch()
        self.deadlines = deadlines
        self.arms = arms or {}

    def probe(self, backends: Sequence[str]) -> dict[str, str | None]:
        """Ask each backend in a worker; the fake one needs no asking."""
        reasons: dict[str, str | None] = {name: None for name in backends if BACKENDS[name].inline}
        names = [name for name in backends if name not in reasons]
        return {**reasons, **{name: found["reason"] for name, found in self.probe_details(names).items()}}

    def probe_details(self, names: Sequence[str]) -> dict[str, dict[str, str | None]]:
        """For each backend its `reason` (None when it can run) and `version`."""
        if not names:
            return {}
        try:
            found: dict[str, dict[str, str | None]] = self._once(
                "probe", "probe", _PROBE_DEADLINE_S, names=list(names)
            )
        except WorkerError as error:
            if len(names) == 1:
                return {names[0]: {"reason": f"probing it failed: {error}", "version": None}}
            # One of them takes the process down: ask each in a process of its own.
            return {name: self.probe_details([name])[name] for name in names}
        return found

    def versions(self, backends: Sequence[str]) -> dict[str, dict[str, str]]:
        """What another interpreter has installed of each runtime; nothing where this one is used."""
        if self.launch.python == sys.executable:
            return {}
        names = [name for name in backends if BACKENDS[name].packages]
        return {
            name: {BACKENDS[name].packages[0]: found["version"]}
            for name, found in self.probe_details(names).items()
            if found["version"]
        }

    def reach(self) -> tuple[bool, str]:
        """Whether the Hub answers, and a line about it."""
        found = self._once("probe", "reach", _PROBE_DEADLINE_S)
        return bool(found["reached"]), str(found["text"])

    def ceilings(self, threads: int, runtimes: Sequence[str]) -> machine.Ceilings | None:
        """Stored ones when there are, else measured in one worker a runtime and stored."""
        fingerprint = machine.describe().fingerprint
        stored = machine.load_ceilings(fingerprint, threads, self.cache)
        if stored and all(_is_current(stored, runtime) for runtime in runtimes):
            return stored
        measured, quiet = [], True
        for runtime in runtimes:
            try:
                one, disturbed = self._ceiling(runtime, threads)
            except WorkerError:
                # A runtime that is not installed has no ceiling to add.
                continue
            measured.append(one)
            quiet = quiet and not disturbed
        if not measured:
            return None
        found = machine.combine(fingerprint, threads, measured)
        # Ceilings that others pulled down serve this run; kept, they would flatter every later one.
        if quiet:
            # A cache that cannot be written costs measuring them again, and nothing else.
            with contextlib.suppress(OSError):
                machine.save_ceilings(found, self.cache)
        return found

    def _ceiling(self, runtime: str, threads: int) -> tuple[dict[str, Any], bool]:
        """One runtime's ceilings, and whether anything pulled them down meanwhile."""
        from zoobench.measure.sensors import Sensors, process_cpu_s

        placement = self._placement() if threads > 1 else None
        worker = WorkerProcess("probe", self.launch, threads=threads)
        try:
            sensor = Sensors(worker_pid=worker.pid, placement=placement)
            snapshot, used = sensor.before(), process_cpu_s(worker.pid) or 0.0
            found = worker.request(
                "ceilings", {"threads": threads, "runtime": runtime}, deadline_s=_CEILINGS_DEADLINE_S
            )
            noise = sensor.after(snapshot, (process_cpu_s(worker.pid) or 0.0) - used)
            taken = (noise.foreign_cpu or 0.0) > CONTENDED_CPU or (noise.steal or 0.0) > NOTABLE_STEAL
            return found, taken or bool(noise.throttled_s) or bool(apart([noise]))
        finally:
            worker.close()

    def prepare(
        self,
        models: Sequence[tuple[ModelSpec, Sequence[str]]],
        *,
        weights: WeightsPolicy,
        allow_pickle: bool,
        on_progress: Callable[[str, str], None],
        calibration: Collected | None = None,
    ) -> Iterator[Preparation]:
        """All models in one worker; one that takes the worker down leaves the next a fresh one."""
        worker: WorkerProcess | None = None
        try:
            for model, formats in models:
                unmade = {name: _UNMADE[name](model) for name in formats if name in _UNMADE}
                if len(unmade) == len(formats):
                    yield Preparation(model, unmade)
                    continue
                try:
                    worker = worker or WorkerProcess("prepare", self.launch, secrets=HUB_SECRETS)
                    reply = worker.request(
                        "prepare",
                        {
                            "model": model.model_dump(mode="json"),
                            "formats": [name for name in formats if name not in unmade],
                            "weights": weights.value,
                            "allow_pickle": allow_pickle,
                            "cache": str(self.cache),
                            "calibration": calibration.folder if calibration else None,
                        },
                        deadline_s=_CHECK_FILE_DEADLINE_S if model.library == "onnx" else _PREPARE_DEADLINE_S,
                        on_event=lambda _, text, name=model.name: on_progress(name, text),  # type: ignore[misc]
                    )
                    yield _preparation(reply, unmade)
                except WorkerError as error:
                    if worker and not worker.alive:
                        worker.close()
                        worker = None
                    yield Preparation(model, error=str(error), error_kind=error.kind)
        finally:
            if worker:
                worker.close()

    def collect(
        self, request: DataRequest, *, beside: Collected | None, on_progress: Callable[[str, str], None]
    ) -> Collected:
        """In a worker, which sees the Hub's token."""
        worker = WorkerProcess("prepare", self.launch, secrets=HUB_SECRETS)
        try:
            found = worker.request(
                "collect",
                {
                    "request": asdict(request),
                    "beside": beside.folder if beside else None,
                    "cache": str(self.cache),
                },
                deadline_s=_PREPARE_DEADLINE_S,
                on_event=lambda _, text: on_progress(request.said, text),
            )
        except WorkerError as error:
            kind = {"usage": UsageError, "hub": HubError, "hub_unreachable": HubUnreachableError}
            raise kind.get(error.kind or "", PrepareError)(str(error)) from error
        finally:
            worker.close()
        return Collected(found["folder"], str(self.cache / "outputs"), DataInfo.model_validate(found["info"]))

    def weigh(self, model: ModelSpec) -> int | None:
        """Bytes of the model's download as the Hub tells them; None when it cannot be asked."""
        try:
            found = self._once(
                "prepare",
                "weigh",
                _PROBE_DEADLINE_S,
                secrets=HUB_SECRETS,
                model=model.model_dump(mode="json"),
            )
        except WorkerError:
            return None
        return None if found is None else int(found)

    def run(
        self,
        groups: Iterable[Sequence[Seat]],
        plan: EffortPlan,
        *,
        seed: int,
        listener: Listener,
        first_fork: int = 0,
    ) -> Iterator[GroupResult]:
        """Measure group after group."""
        # Only a run that measures pays for importing the numerical libraries.
        from zoobench.measure.conductor import Deadlines, Stage, conduct
        from zoobench.measure.sensors import timer_resolution_ns

        placement = self._placement()
        stage = Stage(
            open_worker=self._open_session,
            open_sensor=partial(_open_sensor, placement),
            on_slot=listener.on_slot,
            on_progress=listener.on_progress,
            timer_ns=timer_resolution_ns(),
            cores=len(machine.hyperthread_siblings(machine.usable_cpus())),
            deadlines=self.deadlines or Deadlines(),
        )
        for number, seats in enumerate(groups):
            result = conduct(seats, plan, stage, seed=seed + number, first_fork=first_fork)
            placement.keep()
            yield result
            if result.interrupted:
                return

    def _placement(self) -> Placement:
        from zoobench.measure.placement import Placement

        file = self.cache / "placement" / f"{machine.describe().place}.json"
        return Placement(sorted(machine.usable_cpus()), file)

    def _open_session(self, case: Case) -> Worker:
        if on_virtual_clock(case):
            from zoobench.backends.fake import VirtualClock
            from zoobench.worker.session import SessionRole

            return InlineWorker(SessionRole(VirtualClock()))
        # Only who speaks to the server needs its token.
        secrets = (ENDPOINT_SECRET,) if case.device == "remote" else ()
        launch = self.arms.get(case.arm, self.launch)
        return WorkerProcess("session", launch, threads=case.threads, secrets=secrets)

    def _once(
        self,
        role: str,
        verb: str,
        deadline_s: float,
        threads: int | None = None,
        secrets: Collection[str] = (),
        **args: Any,
    ) -> Any:
        worker = WorkerProcess(role, self.launch, threads=threads, secrets=secrets)
        try:
            if threads is not None:
                args["threads"] = threads
            return worker.request(verb, args, deadline_s=deadline_s)
        finally:
            worker.close()


def _is_current(stored: machine.Ceilings, runtime: str) -> bool:
    """Whether the ceilings of `runtime` are there, and are those of the version that is installed."""
    try:
        installed = importlib.metadata.version(runtime)
    except importlib.metadata.PackageNotFoundError:
        return runtime in stored.by_runtime
    # torch adds its build to its own version: 2.15.0+cu132.
    return (
        str(stored.by_runtime.get(runtime, {}).get("version", "")).partition("+")[0]
        == installed.partition("+")[0]
    )


def fake_artifact(model: ModelSpec) -> Artifact:
    """What the fake backend runs: nothing, of a small shape."""
    return Artifact(
        path=Path(),
        format="fake",
        sha256="0" * 64,
        size_bytes=0,
        model=model.name,
        hf_id=model.hf_id,
        weights="random",
        library="fake",
        input_shape=(4,),
        input_name=model.input_name,
    )


def served_artifact(model: ModelSpec) -> Artifact:
    """What a server runs: nothing is known of it but the model's name, and the vocabulary where the catalog tells it."""
    vocabulary = (model.config or {}).get("vocab_size", UNKNOWN_VOCABULARY)
    return Artifact(
        path=Path(),
        format="endpoint",
        sha256="0" * 64,
        size_bytes=0,
        model=model.name,
        hf_id=model.hf_id,
        weights="served",
        task=model.task,
        input_name="prompt",
        input_shape=(0, vocabulary),
    )


_UNMADE = {"fake": fake_artifact, "endpoint": served_artifact}
"""Artifacts that nobody has to make."""


def _preparation(reply: dict[str, Any], unmade: dict[str, Artifact]) -> Preparation:
    model = ModelSpec.model_validate(reply["model"])
    artifacts = {
        name: Artifact.model_validate({**body, "path": reply["folders"][name]})
        for name, body in reply["artifacts"].items()
    }
    return Preparation(
        model, {**artifacts, **unmade}, tuple(reply.get("notes", ())), failed=reply.get("failed", {})
    )


def _open_sensor(placement: Placement, case: Case, worker: Worker) -> NoiseSensor | None:
    if worker.pid is None:
        return None
    from zoobench.measure.sensors import Sensors

    if case.device == "remote":
        # What works here may be the very server that is asked.
        return None
    if case.device == "cuda":
        return Sensors(worker_pid=worker.pid, gpu_index=_gpu_index())
    return Sensors(worker_pid=worker.pid, placement=placement if case.threads > 1 else None)


def _gpu_index() -> int | None:
    """The device that the runtimes call 0, in NVML's order; None when it is named by something else than a number."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    return int(first) if first.isdigit() else None
