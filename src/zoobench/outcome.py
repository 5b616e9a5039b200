"""What measuring a case produced. Samples are kept, statistics are derived from them.

Times are nanoseconds in samples (`_ns`) and milliseconds in statistics (`_ms`); sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from zoobench.spec import Frozen


class Status(StrEnum):
    """How a cell ended. A failure is a result too."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


class VerdictValue(StrEnum):
    """Whether the number can be believed."""

    VALID = "valid"
    UNSTABLE = "unstable"
    INVALID = "invalid"


UNSTABLE_CODES = frozenset({"no_steady_state", "drift", "too_few_samples", "interval_too_wide", "cpus_apart"})
"""Reasons that make a cell `unstable`; every other reason makes it `invalid`."""
NOISE_CODES = frozenset({"cpu_contended", "throttled"})
"""Reasons of `invalid` that lie in the machine's moment; every other one lies in what was run."""


class Reason(Frozen):
    """Why a verdict is not `valid`, or a warning beside one that is: a stable code and a line with advice."""

    code: str
    message: str


class Verdict(Frozen):
    """`valid`, `unstable` or `invalid`, each with its reasons; `warnings` never change the value."""

    value: VerdictValue
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()


def wrong_answers(verdict: Verdict | None) -> tuple[Reason, ...]:
    """The reasons of an `invalid` verdict that lie in what was run; none where only the moment was bad."""
    if verdict is None or verdict.value is not VerdictValue.INVALID:
        return ()
    return tuple(reason for reason in verdict.reasons if reason.code not in NOISE_CODES | UNSTABLE_CODES)


class CaseError(Frozen):
    """Where and why a case stopped."""

    stage: str = Field(description="prepare, start, load, first_call, check, warm_up, slot, memory, profile")
    message: str
    type: str | None = None
    stderr_tail: str | None = None


Interval = tuple[float, float]


class Latency(Frozen):
    """Statistics of one case's timed calls. A percentile that n does not support is None, and so is its interval."""

    n: int
    n_eff: float
    vif: float | None = Field(
        description="variance inflation of the p50 indicator; None: fewer than 10 blocks"
    )
    mean_ms: float
    stdev_ms: float
    min_ms: float
    max_ms: float
    p50_ms: float | None
    p50_interval_ms: Interval | None
    p95_ms: float | None
    p95_interval_ms: Interval | None
    p99_ms: float | None
    p99_interval_ms: Interval | None
    p90_early_stop_ms: float | None = Field(default=None, description="LoadGen's one-sided 99% bound")
    p95_early_stop_ms: float | None = None
    p99_early_stop_ms: float | None = None
    interval_kind: Literal["within_process", "over_forks"]
    confidence: float = 0.95
    outliers: int = Field(description="calls with |x - median| / MAD > 14.8; counted, never removed")
    drift: float | None = Field(description="median of the second half / median of the first half - 1")


CONTENDED_CPU = 0.10
"""Share of our CPUs above which what others used contends with what is measured."""
NOTABLE_STEAL = 0.01
"""Share of our CPUs' time that the hypervisor may take before it is worth a word."""
APART = 1.35
"""Factor over the machine's best crossing above which the CPUs count as apart: seen were 1.1 near, 1.8 apart."""


class Noise(Frozen):
    """What the sensors saw during one slot. CPU figures are shares of the CPUs that this process may use, 0 to 1."""

    foreign_cpu: float | None = Field(
        default=None, description="used by others than the tool's own process tree"
    )
    steal: float | None = Field(default=None, description="taken by the hypervisor")
    parent_cpu: float | None = Field(
        default=None, description="of one core, used by zoobench's own parent process"
    )
    pressure: float | None = Field(default=None, description="share of time some task waited for a CPU (PSI)")
    throttled_s: float | None = Field(default=None, description="cgroup quota throttling")
    involuntary_switches: int | None = None
    cpu_mhz: float | None = None
    load_1m: float | None = None
    cpu_crossing: float | None = Field(
        default=None,
        description="time to read what another of our CPUs has just written / what the reader wrote itself, just "
        "before the slot",
    )
    cpu_crossing_best: float | None = Field(
        default=None, description="the least that was seen on this machine until then"
    )
    gpu: dict[str, Any] | None = None


def apart(noises: Sequence[Noise]) -> list[Noise]:
    """The slots before which our CPUs were on cores that share no cache.

    All are held against the least crossing that any of them knew, so that the order in which they came does not
    matter.
    """
    best = min((n.cpu_crossing_best for n in noises if n.cpu_crossing_best is not None), default=None)
    if best is None:
        return []
    return [n for n in noises if n.cpu_crossing is not None and n.cpu_crossing > APART * best]


class Slot(Frozen):
    """One turn of one case: a settling call, then the timed calls."""

    fork: int
    round: int
    position: int = Field(description="place in the round's order, 0 first")
    inner_loops: int = Field(
        default=1, description="calls per timed sample; above 1 the call is near the timer's grain"
    )
    settling_ns: int
    samples_ns: tuple[int, ...]
    noise: Noise = Noise()


class WarmUp(Frozen):
    """How the warm-up went."""

    calls: int
    seconds: float
    steady: bool
    window_medians_ms: tuple[float, ...]


class Memory(Frozen):
    """Resident memory of the worker process, bytes."""

    after_import_bytes: int | None = None
    after_load_bytes: int | None = None
    peak_bytes: int | None = Field(default=None, description="VmHWM: the highest resident set")
    pss_anonymous_bytes: int | None = None
    pss_file_bytes: int | None = None
    gpu_bytes: int | None = None


class Check(Frozen):
    """What the session's outputs looked like on the check inputs, against the reference."""

    finite: bool
    constant: bool
    denormal: bool
    compared: bool
    max_abs: float | None = None
    max_rel: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None
    tolerance: float | None = None
    passed: bool | None = None


class Evidence(Frozen):
    """What really ran. `provider_time` and `provider_nodes` are shares from the runtime's own profile."""

    runtime: str
    version: str | None = None
    device: str
    precision: str | None = None
    threads: int | None = None
    provider_nodes: dict[str, float] = Field(default_factory=dict)
    provider_time: dict[str, float] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)


class CaseResult(Frozen):
    """All that a worker and the conductor found out about one case."""

    case_id: str
    status: Status
    error: CaseError | None = None
    worker_start_s: float | None = None
    load_s: float | None = None
    compile_s: float | None = Field(
        default=None, description="engine build or compile time, where it is apart"
    )
    first_call_ms: float | None = None
    warm_up: WarmUp | None = None
    slots: tuple[Slot, ...] = ()
    latency: Latency | None = None
    throughput_per_s: float | None = Field(default=None, description="items per second: batch / mean latency")
    memory: Memory | None = None
    check: Check | None = None
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    forks: int = 0
    wall_s: float = Field(default=0.0, description="this case's share of the group's wall time")
    seed: int | None = Field(default=None, description="of the order of turns")
