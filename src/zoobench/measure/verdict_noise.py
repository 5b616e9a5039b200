"""Verdict rules on the machine: what else ran, where the CPUs were, what held them back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from zoobench.outcome import CONTENDED_CPU, NOTABLE_STEAL, Noise, apart
from zoobench.spec import Case
from zoobench.terms import Reason

CONTENDED_SLOTS = 0.25
THROTTLED_SHARE = 0.01
MAX_PARENT_CPU = 0.01
FREQUENCY_DROP = 0.10
GPU_THROTTLES = frozenset({"hw_slowdown", "hw_thermal", "sw_thermal", "power_brake"})


def _contended(noises: Sequence[Noise]) -> list[float]:
    return [n.foreign_cpu for n in noises if n.foreign_cpu is not None and n.foreign_cpu > CONTENDED_CPU]


def contention(noises: Sequence[Noise]) -> Iterator[Reason]:
    """Other processes used the CPUs."""
    contended = _contended(noises)
    if len(contended) > CONTENDED_SLOTS * len(noises):
        yield Reason(
            code="cpu_contended",
            message=f"other processes used up to {max(contended):.0%} of the CPUs in {len(contended)} of "
            f"{len(noises)} slots; stop them, or run when the machine is quiet",
        )


def _far(case: Case, noises: Sequence[Noise]) -> list[Noise]:
    """The slots in which threads were far from each other; one thread is near itself."""
    return apart(noises) if case.threads > 1 else []


def placement(case: Case, noises: Sequence[Noise]) -> Iterator[Reason]:
    """The CPUs were far from each other for much of the time."""
    far = _far(case, noises)
    if len(far) > CONTENDED_SLOTS * len(noises):
        best = min(n.cpu_crossing_best for n in noises if n.cpu_crossing_best is not None)
        factor = median(n.cpu_crossing for n in far if n.cpu_crossing is not None) / best
        yield Reason(
            code="cpus_apart",
            message=f"in {len(far)} of {len(noises)} slots the CPUs were on cores without a common cache (data took "
            f"{factor:.1f} times as long from one to the other as at best on this machine), which slows work on "
            "several threads; measure again later (--on-existing rerun), or pin the virtual CPUs",
        )


def placement_warnings(case: Case, noises: Sequence[Noise]) -> Iterator[Reason]:
    """The CPUs were far from each other now and then."""
    far = _far(case, noises)
    if far and len(far) <= CONTENDED_SLOTS * len(noises):
        yield Reason(
            code="cpus_moved",
            message=f"in {len(far)} of {len(noises)} slots the CPUs were on cores without a common cache, which slows "
            "work on several threads; p95 and the mean hold those calls: look at p50, or pin the virtual CPUs",
        )


def throttling(noises: Sequence[Noise], timed_s: float) -> Iterator[Reason]:
    """A quota or a GPU held the case back."""
    throttled = sum(n.throttled_s or 0.0 for n in noises)
    if throttled > 0 and throttled > THROTTLED_SHARE * timed_s:
        yield Reason(
            code="throttled",
            message=f"the cgroup's CPU quota held the process back for {throttled:.2g} s; raise the quota, or set "
            "--threads no higher than it",
        )
    seen = {reason for n in noises for reason in _gpu_reasons(n)} & GPU_THROTTLES
    if seen:
        yield Reason(
            code="throttled",
            message=f"the GPU lowered its clock ({', '.join(sorted(seen))}); let it cool down, or lock a clock it "
            "can hold with `nvidia-smi -lgc`",
        )


def _gpu_reasons(noise: Noise) -> list[str]:
    return list((noise.gpu or {}).get("clock_event_reasons") or ())


def noise_warnings(noises: Sequence[Noise], timed_s: float) -> Iterator[Reason]:
    """Noise that is told and forgiven."""
    contended = _contended(noises)
    if contended and len(contended) <= CONTENDED_SLOTS * len(noises):
        yield Reason(
            code="contended_slots",
            message=f"other processes used up to {max(contended):.0%} of the CPUs in {len(contended)} of "
            f"{len(noises)} slots; stop them, or raise --effort",
        )
    if noises and all(n.foreign_cpu is None for n in noises):
        yield Reason(
            code="noise_unseen",
            message="this system does not show what other processes used; make sure that it is quiet",
        )
    steal = [n.steal for n in noises if n.steal is not None]
    if steal and sum(steal) / len(steal) > NOTABLE_STEAL:
        yield Reason(
            code="steal",
            message=f"the hypervisor took {sum(steal) / len(steal):.1%} of the CPUs' time ({max(steal):.0%} in the "
            "worst slot); use a machine with CPUs of its own",
        )
    throttled = sum(n.throttled_s or 0.0 for n in noises)
    if 0 < throttled <= THROTTLED_SHARE * timed_s:
        yield Reason(
            code="throttled_briefly",
            message=f"the cgroup's CPU quota held the process back for {throttled:.2g} s; raise the quota, or set "
            "--threads no higher than it",
        )
    parent = sorted(n.parent_cpu for n in noises if n.parent_cpu is not None)
    if parent and parent[len(parent) // 2] > MAX_PARENT_CPU:
        yield Reason(
            code="parent_busy",
            message=f"zoobench's own process used {parent[len(parent) // 2]:.1%} of a core during slots; redirect "
            "stderr to a file, so that it draws no progress",
        )


def machine_warnings(noises: Sequence[Noise], hyperthreads: bool) -> Iterator[Reason]:
    """What of the machine itself disturbs."""
    if hyperthreads:
        yield Reason(
            code="hyperthread_siblings",
            message="two of the CPUs are hyperthreads of one core and slow each other down; set --threads to the "
            "number of cores",
        )
    clocks = [n.cpu_mhz for n in noises if n.cpu_mhz]
    if clocks and min(clocks) < (1 - FREQUENCY_DROP) * max(clocks):
        yield Reason(
            code="cpu_clock_varied",
            message=f"the CPU clock went from {max(clocks):.0f} to {min(clocks):.0f} MHz between slots; fix it with "
            "the governor `performance`, or let the machine cool down",
        )
    if any("sw_power_cap" in _gpu_reasons(n) for n in noises):
        yield Reason(
            code="gpu_power_capped",
            message="the GPU ran at its power limit, so its clock is not the highest; that is how it behaves under "
            "this load, or raise the limit with `nvidia-smi -pl`",
        )
    foreign = {pid for n in noises for pid in (n.gpu or {}).get("foreign_pids") or ()}
    if foreign:
        yield Reason(
            code="gpu_shared",
            message=f"other processes hold the GPU too (pid {', '.join(map(str, sorted(foreign)))}); stop them",
        )
