"""The record: one line on disk for each cell, and the steps that lift older ones to today's schema."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from zoobench.outcome import (
    CONTENDED_CPU,
    Accuracy,
    CaseError,
    Check,
    Evidence,
    Generation,
    Latency,
    LoadSummary,
    Memory,
    Noise,
    Quality,
    Stages,
    Verdict,
    WarmUp,
    apart,
)
from zoobench.results.schema import SCHEMA_VERSION, NotARecordError
from zoobench.spec import Case, Frozen, Validation
from zoobench.terms import Status

PROTOCOL_VERSION = 1
"""Version of the measuring protocol; part of the measurement key, so results of two protocols never mix."""


class Part(Frozen):
    """A part of a record: unknown keys of a record written by a later minor version are kept out, not refused."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class ModelInfo(Part):
    """Which weights were run."""

    name: str
    hf_id: str | None = None
    revision: str | None = Field(
        default=None,
        description="the commit that the revision resolved to; of local files the start of their content's sha256",
    )
    weights: Literal["pretrained", "random", "local", "served", "fake"] | None = None
    library: str | None = None
    licence: str | None = None
    parameters: int | None = None
    task: str = "image_classification"


class ArtifactInfo(Part):
    """Which file was run and how it came to be."""

    sha256: str
    size_bytes: int
    format: str
    opset_asked: int | None = None
    opset: int | None = None
    export_rung: str | None = None
    dynamic_batch: bool | None = None
    validation: Validation | None = None
    flops: int | None = None
    bytes_moved: int | None = None
    precision: str | None = Field(default=None, description="of what is stored; None: not written down, fp32")
    calibration: str | None = None
    calibrated_on_noise: bool = False
    ladder: dict[str, Any] | None = None
    derived_from: str | None = None
    made_with: dict[str, str] = Field(default_factory=dict)
    made_s: float | None = None
    notes: tuple[str, ...] = ()


class MachineInfo(Part):
    """Which machine measured; `zoobench.machine` says what goes into the fingerprint."""

    fingerprint: str
    cpu_model: str | None = None
    cpu_id: str | None = None
    isa: tuple[str, ...] = ()
    cpus_usable: int | None = None
    cpus_affinity: int | None = None
    affinity: tuple[int, ...] | None = Field(
        default=None, description="the CPUs of the affinity mask, where it leaves some of the host's out"
    )
    cores_usable: int | None = None
    cpus_host: int | None = None
    memory_bytes: int | None = None
    gpus: tuple[str, ...] = ()
    gpu_driver: str | None = None
    cuda: str | None = None
    kernel: str | None = None
    libc: str | None = None
    python: str | None = None
    container: str | None = None
    hypervisor: str | None = None
    governor: str | None = None
    boost: bool | None = None
    numa_nodes: tuple[int, ...] = ()


class NoiseSummary(Part):
    """The slots' noise in one line: worst and middle of what the sensors saw."""

    slots: int = 0
    slots_contended: int = Field(
        default=0, description=f"slots in which others used more than {CONTENDED_CPU:.0%} of our CPUs"
    )
    slots_apart: int = Field(
        default=0, description="slots before which our CPUs were on cores that share no cache"
    )
    foreign_cpu_max: float | None = None
    foreign_cpu_median: float | None = None
    steal_max: float | None = None
    parent_cpu_max: float | None = None
    throttled_s: float | None = None
    involuntary_switches: int | None = None


class Record(Part):
    """Everything about one cell of one run. One JSON line."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    recorded_at: str = Field(description="UTC, ISO 8601")
    status: Status
    case: Case
    measurement_key: str
    protocol_version: int = PROTOCOL_VERSION
    effort: str
    max_case_time_s: float | None = Field(
        default=None, description="what the case's slots were allowed to take; None: not written down"
    )
    model: ModelInfo
    artifact: ArtifactInfo | None = None
    machine: MachineInfo
    versions: dict[str, str] = Field(default_factory=dict)
    worker_start_s: float | None = None
    load_s: float | None = None
    compile_s: float | None = None
    first_call_ms: float | None = None
    warm_up: WarmUp | None = None
    latency: Latency | None = None
    throughput_per_s: float | None = None
    joules_per_item: float | None = Field(
        default=None,
        description="that the machine's counters saw during the slots, whoever spent it; None: nothing here counts energy",
    )
    load: LoadSummary | None = Field(default=None, description="of the scenarios that LoadGen drives")
    generation: Generation | None = Field(default=None, description="of language models")
    stages: Stages | None = Field(default=None, description="of detectors")
    memory: Memory | None = None
    roofline_fraction: float | None = Field(
        default=None,
        description="larger of FLOPs / peak and bytes / peak bandwidth, divided by p50; above 1 "
        "where the ceilings were measured on a slower moment",
    )
    roofline_bound: Literal["compute", "memory"] | None = None
    accuracy: Accuracy | None = None
    quality: Quality | None = Field(default=None, description="of language models")
    check: Check | None = None
    evidence: Evidence | None = None
    noise: NoiseSummary | None = None
    verdict: Verdict | None = None
    error: CaseError | None = None
    forks: int = 0
    seed: int | None = None
    group: int | None = Field(
        default=None, description="cases of one run with the same number took turns; None: not written down"
    )
    wall_s: float | None = None
    samples_file: str | None = Field(
        default=None, pattern=r"^samples/[\w-]+\.json\.gz$", description="relative to the run's folder"
    )


def record_from_data(data: Any) -> Record:
    """From a line's JSON, parsed. Raises NotARecordError."""
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "record"
        raise NotARecordError(f"not a record ({place}: {first['msg']})") from None


def summarise_noise(noises: list[Noise]) -> NoiseSummary:
    """Fold the slots' noise into one line.

    Args:
        noises: one entry a slot, in any order.
    """

    def known(name: str) -> list[float]:
        return sorted(v for n in noises if (v := getattr(n, name)) is not None)

    foreign, steal, parent = known("foreign_cpu"), known("steal"), known("parent_cpu")
    switches, throttled = known("involuntary_switches"), known("throttled_s")
    return NoiseSummary(
        slots=len(noises),
        slots_contended=sum(v > CONTENDED_CPU for v in foreign),
        slots_apart=len(apart(noises)),
        foreign_cpu_max=foreign[-1] if foreign else None,
        foreign_cpu_median=foreign[len(foreign) // 2] if foreign else None,
        steal_max=steal[-1] if steal else None,
        parent_cpu_max=parent[-1] if parent else None,
        throttled_s=sum(throttled) if throttled else None,
        involuntary_switches=int(sum(switches)) if switches else None,
    )
