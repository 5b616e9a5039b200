"""From what a run found out to its records: what they share, and their keys."""

from __future__ import annotations

import contextlib
import importlib.metadata
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from zoobench import machine
from zoobench._version import __version__
from zoobench.backends import BACKENDS, RIVALS, artifact_key
from zoobench.driver.settings import Settings
from zoobench.executors import Preparation
from zoobench.machine import Ceilings
from zoobench.outcome import CaseResult
from zoobench.plan import Request
from zoobench.results.record import (
    PROTOCOL_VERSION,
    ArtifactInfo,
    MachineInfo,
    ModelInfo,
    Record,
    summarise_noise,
)
from zoobench.results.store import now
from zoobench.spec import Artifact, Case, ModelSpec, Seat, stable_hash
from zoobench.terms import LOADGEN_SCENARIOS, Effort, Precision, Status

_LOADGEN = "mlcommons-loadgen"
_CARRIED = set(CaseResult.model_fields) - {"case_id", "status", "slots"}
"""What a record takes over from a result as it is."""


@dataclass
class Recorder:
    """Makes a run's records; holds what they share, which is found out once.

    `versions`, by backend, may be given where another interpreter runs the cases.
    """

    settings: Settings
    effort: Effort
    max_case_time_s: float
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
        artifact = self.artifact(case)
        return Record(
            run_id=self.run_id,
            recorded_at=now(),
            status=status,
            case=case,
            measurement_key=self.key(case),
            effort=self.effort.value,
            max_case_time_s=self.max_case_time_s,
            model=_model_info(model, artifact),
            artifact=_artifact_info(artifact) if artifact else None,
            machine=self.machine,
            versions=self._versions(case),
            **fields,
        )

    def key(self, case: Case) -> str:
        """The measurement key of `case` as it resolved in this run."""
        versions = self._versions(case)
        return measurement_key(
            case, self.artifact(case), versions, self.machine.fingerprint, self.machine.affinity
        )

    def artifact(self, case: Case) -> Artifact | None:
        """What `case` runs; None when it could not be prepared."""
        preparation = self.preparations.get(case.model)
        return preparation.artifacts.get(artifact_key(case.backend, case.precision)) if preparation else None

    def reference(self, case: Case) -> Artifact | None:
        """The fp32 artifact that `case` is held against; None where it is the reference itself."""
        return (
            None
            if case.precision is Precision.FP32
            else self.artifact(case.model_copy(update={"precision": Precision.FP32}))
        )

    def _versions(self, case: Case) -> dict[str, str]:
        if case.backend not in self.versions:
            self.versions[case.backend] = _installed(BACKENDS[case.backend].packages)
        if case.scenario not in LOADGEN_SCENARIOS:
            return self.versions[case.backend]
        # The worker imports it from the same environment as everything else of zoobench's.
        if _LOADGEN not in self.versions:
            self.versions[_LOADGEN] = _installed([_LOADGEN])
        return {**self.versions[case.backend], **self.versions[_LOADGEN]}

    def measured(self, seat: Seat, result: CaseResult, group: int | None = None) -> Record:
        """The result of measuring, as a record; `group` is the number of those that took turns with it."""
        case, latency = seat.case, result.latency
        near = None
        if self.ceilings and latency and case.device == "cpu" and not BACKENDS[case.backend].inline:
            flops, moved = work(seat.artifact, case.batch, case.precision)
            near = machine.roofline(self.ceilings, case.precision.value, flops, moved, latency.p50_ms)
        record = self.record(
            case,
            result.status,
            roofline_fraction=near[0] if near else None,
            roofline_bound=near[1] if near else None,
            noise=summarise_noise([slot.noise for slot in result.slots]) if result.slots else None,
            group=group,
        )
        return record.model_copy(update={name: getattr(result, name) for name in _CARRIED})

    def manifest(self, request: Request) -> dict[str, Any]:
        """Who measured what, with which command: the run's manifest.json."""
        packages = sorted({package for name in request.backends for package in BACKENDS[name].packages})
        installed = {"zoobench": __version__, **_installed(packages)}
        return {
            "argv": list(self.settings.argv),
            "request": {
                "models": [model.name for model in request.models],
                "backends": list(request.backends),
                "batch_sizes": list(request.batch_sizes),
                "precisions": [precision.value for precision in request.precisions],
                "effort": request.effort.value,
                "scenario": request.scenario,
                "threads": request.threads,
                "options": dict(request.options),
                "variants": [asdict(variant) for variant in request.variants],
                "data": asdict(request.data),
                "tasks": [task.model_dump(mode="json") for task in request.tasks],
            },
            "seed": self.seed,
            "machine": self.machine.model_dump(mode="json"),
            "versions": installed,
            "git_commit": _git_commit(),
        }


def _installed(packages: Iterable[str]) -> dict[str, str]:
    """Version of each distribution, or of the one that stands in for it."""
    found: dict[str, str] = {}
    for package in packages:
        for name in filter(None, (package, RIVALS.get(package))):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[name] = importlib.metadata.version(name)
                break
    return found


def measurement_key(
    case: Case,
    artifact: Artifact | None,
    versions: Mapping[str, str],
    fingerprint: str,
    affinity: Sequence[int] | None = None,
) -> str:
    """Identity of a measurement: the case and all that it resolved to. 32 hexadecimal digits.

    Args:
        affinity: the CPUs that were used, where that is not all of the machine's.
    """
    parts: list[Any] = [
        case.id,
        artifact.commit if artifact else None,
        artifact.sha256 if artifact else None,
        dict(versions),
        fingerprint,
        PROTOCOL_VERSION,
        *([list(affinity)] if affinity is not None else []),
    ]
    return stable_hash(parts)[:32]


_WEIGHT_BYTES = {Precision.FP16: 2.0, Precision.BF16: 2.0, Precision.INT8: 1.0, Precision.INT4: 0.5}


def work(
    artifact: Artifact, batch: int, precision: Precision = Precision.FP32
) -> tuple[int | None, int | None]:
    """FLOPs and the least bytes that one call of `batch` items must move.

    Weights once, in the precision's width; inputs and outputs for each item, as fp32 on the host.
    """
    flops = artifact.flops * batch if artifact.flops is not None else None
    if artifact.bytes_moved is None or artifact.parameters is None:
        return flops, None
    weights = min(artifact.bytes_moved, artifact.parameters * 4)
    read = round(artifact.parameters * _WEIGHT_BYTES.get(precision, 4.0))
    return flops, min(weights, read) + batch * (artifact.bytes_moved - weights)


_LICENCES = {"ultralytics": "AGPL-3.0"}
"""Library → licence of its code, which holds for whatever weights are run with it."""


def _model_info(model: ModelSpec, artifact: Artifact | None) -> ModelInfo:
    library = model.library or (artifact.library if artifact else None)
    return ModelInfo(
        name=model.name,
        hf_id=model.hf_id,
        revision=artifact.commit if artifact else model.revision,
        weights=artifact.weights if artifact else None,
        library=library,
        licence=model.licence or _LICENCES.get(library or ""),
        parameters=(artifact.parameters if artifact else None) or model.parameters,
        task=model.task,
    )


def _artifact_info(artifact: Artifact) -> ArtifactInfo:
    return ArtifactInfo.model_validate(artifact.model_dump(include=set(ArtifactInfo.model_fields)))


def _git_commit() -> str | None:
    """The commit of the work tree that the command was given in, if it is one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None
