"""The host as a place to measure on: processor, clocks, who else is at work, memory and disks."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from zoobench.doctor.finding import Finding, Level
from zoobench.machine import Machine, hyperthread_siblings, usable_cpus
from zoobench.machine.cpus import ROOT
from zoobench.outcome import CONTENDED_CPU

SAMPLE_S = 0.5
"""Share of the usable CPUs that, used by others, makes a measurement invalid."""
NOTICED = 0.03
_BUSY = ("user", "nice", "system", "irq", "softirq")
GIB = 2**30
MEMORY_FLOOR, MEMORY_COMFORT = 1 * GIB, 4 * GIB
DISK_FLOOR, DISK_COMFORT = 1 * GIB, 5 * GIB


@dataclass(frozen=True)
class Activity:
    """What others did with our CPUs over a short while.

    Attributes:
        foreign: share of the usable CPUs, 0 to 1, used by processes outside this one's tree.
        steal: share taken by the hypervisor.
        processes: the busiest foreign processes, as (pid, name, share of one CPU), busiest first.
    """

    foreign: float
    steal: float
    processes: tuple[tuple[int, str, float], ...] = field(default=())


def cpu_findings(machine: Machine, root: Path = ROOT) -> list[Finding]:
    """Instruction sets, usable CPUs, hyperthreads, governor and turbo."""
    return [
        _isa_finding(machine),
        _count_finding(machine),
        *_core_findings(machine, hyperthread_siblings(usable_cpus(), root)),
        _governor_finding(machine),
        _boost_finding(machine),
    ]


def _isa_finding(machine: Machine) -> Finding:
    flags = set(machine.isa)
    have = ", ".join(machine.isa) or "none of the instruction sets that matter"
    text = f"{machine.cpu_model or 'unknown CPU'}: {have}"
    if flags & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}:
        return Finding(area="cpu", name="instruction sets", level="ok", text=text)
    if flags & {"avx2", "asimd"}:
        return Finding(
            area="cpu",
            name="instruction sets",
            level="info",
            text=f"{text}; no dot-product instructions, so int8 gains little here",
        )
    return Finding(
        area="cpu",
        name="instruction sets",
        level="warning",
        text=f"{text}; runtimes fall back to slow kernels",
        advice="measure on the kind of machine that will serve the model",
    )


def _count_finding(machine: Machine) -> Finding:
    if machine.cpus_usable == machine.cpus_host:
        text = f"all {machine.cpus_host} CPUs of the host"
        return Finding(area="cpu", name="usable CPUs", level="ok", text=text)
    why = (
        "the affinity mask"
        if machine.cpus_usable == machine.cpus_affinity
        else f"a cgroup quota, over {machine.cpus_affinity} in the affinity mask"
    )
    return Finding(
        area="cpu",
        name="usable CPUs",
        level="info",
        text=f"{machine.cpus_usable} of the host's {machine.cpus_host} (by {why}); "
        f"cases run with {machine.cpus_usable} threads",
        advice="a quota throttles in bursts and widens the tail; pin CPUs instead (docker run --cpuset-cpus)"
        if machine.cpus_usable < machine.cpus_affinity
        else None,
    )


def _core_findings(machine: Machine, cores: list[frozenset[int]]) -> list[Finding]:
    shared = [core for core in cores if len(core) > 1]
    if not shared:
        text = f"{len(cores)} usable CPUs on as many cores"
        return [Finding(area="cpu", name="hyperthreads", level="ok", text=text)]
    one_each = ",".join(str(min(core)) for core in cores)
    return [
        Finding(
            area="cpu",
            name="hyperthreads",
            level="warning" if len(cores) == 1 else "info",
            text=f"{machine.cpus_affinity} usable CPUs are hyperthreads of {len(cores)} cores",
            advice=f"for one thread a core: taskset -c {one_each} zoobench run …",
        )
    ]


def _governor_finding(machine: Machine) -> Finding:
    if machine.governor is None:
        text = "not readable here (usual in virtual machines and containers)"
        return Finding(area="cpu", name="governor", level="info", text=text)
    if machine.governor == "performance":
        return Finding(area="cpu", name="governor", level="ok", text="performance")
    return Finding(
        area="cpu",
        name="governor",
        level="warning",
        text=f"{machine.governor}: the clock changes while it is measured",
        advice="sudo cpupower frequency-set -g performance",
    )


def _boost_finding(machine: Machine) -> Finding:
    if machine.boost is None:
        return Finding(area="cpu", name="turbo", level="info", text="not readable here")
    if not machine.boost:
        return Finding(area="cpu", name="turbo", level="ok", text="off: clocks are steady")
    return Finding(
        area="cpu",
        name="turbo",
        level="info",
        text="on: the first seconds of a run can be faster than the rest",
        advice="for steady clocks, switch it off (…/intel_pstate/no_turbo or …/cpufreq/boost under "
        "/sys/devices/system/cpu)",
    )


def watch(seconds: float = SAMPLE_S) -> Activity:
    """Look at /proc twice, `seconds` apart, and say what others did in between. Blocks for that long."""
    cpus = usable_cpus()
    ours = _own_tree()
    times_before, used_before = psutil.cpu_times(percpu=True), _cpu_seconds()
    start = time.monotonic()
    time.sleep(seconds)
    wall = time.monotonic() - start
    times_after, used_after = psutil.cpu_times(percpu=True), _cpu_seconds()
    capacity = wall * len(cpus)
    busy = steal = 0.0
    for cpu in cpus:
        if cpu < min(len(times_before), len(times_after)):
            before, after = times_before[cpu], times_after[cpu]
            busy += sum(getattr(after, n) - getattr(before, n) for n in _BUSY)
            steal += after.steal - before.steal
    own = sum(
        used_after[key][0] - used_before[key][0]
        for key in used_after
        if key in used_before and key[0] in ours
    )
    shares = [
        (key[0], name, (used - used_before[key][0]) / wall)
        for key, (used, name) in used_after.items()
        if key in used_before and key[0] not in ours
    ]
    busiest = sorted((s for s in shares if s[2] >= NOTICED), key=lambda s: -s[2])[:5]
    return Activity(
        foreign=min(1.0, max(0.0, busy - own) / capacity),
        steal=min(1.0, max(0.0, steal) / capacity),
        processes=tuple(busiest),
    )


def _own_tree() -> set[int]:
    me = psutil.Process()
    return {me.pid, *(child.pid for child in me.children(recursive=True))}


def _cpu_seconds() -> dict[tuple[int, float], tuple[float, str]]:
    """CPU seconds and name of every visible process, by (pid, start time): a pid may be used again."""
    found = {}
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                times = process.cpu_times()
                key = (process.pid, process.create_time())
                found[key] = (times.user + times.system, process.name())
        except psutil.Error:
            continue  # it ended, or belongs to somebody who hides it
    return found


def load_findings(activity: Activity) -> list[Finding]:
    """Who else is at work, and whether the hypervisor takes time away."""
    level = _level(activity.foreign)
    text = f"others use {activity.foreign:.0%} of the usable CPUs"
    if activity.processes:
        named = ", ".join(f"{name} (pid {pid}) {share:.0%} of one" for pid, name, share in activity.processes)
        text += f": {named}"
    elif level != "ok":
        text += ": many small ones, or processes that this container does not show"
    advice = "stop them before a run; what is measured beside more than 10% is marked invalid"
    findings = [
        Finding(
            area="load",
            name="other processes",
            level=level,
            text=text,
            advice=None if level == "ok" else advice,
        )
    ]
    if activity.steal > 0.01:
        findings.append(
            Finding(
                area="load",
                name="steal",
                level="warning",
                text=f"the hypervisor takes {activity.steal:.0%} of our CPU time for other guests",
                advice="use a machine with dedicated CPUs; burstable ones do this when out of credits",
            )
        )
    return findings


def _level(foreign: float) -> Level:
    if foreign > CONTENDED_CPU:
        return "problem"
    return "warning" if foreign > NOTICED else "ok"


def memory_findings(machine: Machine, available: int, swap_used: int) -> list[Finding]:
    """Memory that is free for models, and swap in use. All in bytes."""
    free = min(available, machine.memory_bytes)
    of = f"{free / GIB:.1f} GiB free of {machine.memory_bytes / GIB:.1f} GiB"
    if machine.memory_bytes < machine.memory_host_bytes:
        of += f" (cgroup limit; the host has {machine.memory_host_bytes / GIB:.1f} GiB)"
    level: Level = "problem" if free < MEMORY_FLOOR else "warning" if free < MEMORY_COMFORT else "ok"
    advice = "free some, or expect out_of_memory on larger models and batches" if level != "ok" else None
    findings = [Finding(area="memory", name="memory", level=level, text=of, advice=advice)]
    if swap_used > 0:
        findings.append(
            Finding(
                area="memory",
                name="swap",
                level="warning" if level != "ok" else "info",
                text=f"{swap_used / GIB:.1f} GiB is swapped out; swapping shows as slow calls",
                advice="sudo swapoff -a, where memory allows" if level == "ok" else advice,
            )
        )
    return findings


def disk_findings(folders: Mapping[str, Path]) -> list[Finding]:
    """Free space and the right to write, for each named folder or the nearest one above it that exists."""
    return [_disk_finding(name, folder) for name, folder in folders.items()]


def _disk_finding(name: str, folder: Path) -> Finding:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        return Finding(
            area="disk",
            name=name,
            level="problem",
            text=f"{there} is a file, not a folder",
            advice="move it away, or choose another folder",
        )
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            area="disk",
            name=name,
            level="problem",
            text=f"{folder} cannot be written by this user",
            advice=f"sudo chown $USER {there}, or choose another folder",
        )
    free = shutil.disk_usage(there).free
    level: Level = "problem" if free < DISK_FLOOR else "warning" if free < DISK_COMFORT else "ok"
    return Finding(
        area="disk",
        name=name,
        level=level,
        text=f"{free / GIB:.1f} GiB free at {folder}",
        advice=None
        if level == "ok"
        else "free some space (zoobench cache prune --everything), or choose another folder",
    )
