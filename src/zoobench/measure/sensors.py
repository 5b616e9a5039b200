"""What disturbed a slot: a snapshot before, a snapshot after, and the difference.

Linux only; what a system does not show is None. Nothing here polls: it reads a dozen small files on each side, and
before the slot it looks where the CPUs are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from zoobench.machine.cpus import ROOT, cgroup_folders, frequency_mhz, read_text, usable_cpus
from zoobench.measure.energy import Energy, read_energy, spent_joules
from zoobench.measure.gpu_sensor import GpuSensor
from zoobench.measure.placement import Crossing, Placement
from zoobench.outcome import Noise

TICK_S = 0.01
"""USER_HZ is 100 on every Linux: /proc/stat counts in hundredths of a second."""
_IDLE, _IOWAIT, _STEAL = 3, 4, 7


def _own_pids() -> set[int]:
    """This process and all that it started: the other workers of a group hold the GPU too, idle."""
    return _with_children(os.getpid())


def _with_children(pid: int) -> set[int]:
    import psutil

    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.NoSuchProcess:
        return {pid}


def process_cpu_s(pid: int) -> float | None:
    """CPU seconds that a process has used, all its threads together, to the nanosecond; None when it is gone.

    The clock id is what clock_getcpuclockid(3) makes of a pid.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except (OSError, AttributeError):
        return None


def timer_resolution_ns(clock: Callable[[], int] = time.perf_counter_ns, readings: int = 2000) -> float:
    """The smallest step between two readings of the clock that were made one after the other, nanoseconds.

    That holds the cost of a reading too, which is what a timed call sees.
    """
    stamps = [clock() for _ in range(readings)]
    steps = [b - a for a, b in pairwise(stamps) if b > a]
    return float(min(steps)) if steps else time.get_clock_info("perf_counter").resolution * 1e9


@dataclass(frozen=True)
class Snapshot:
    """Counters at one moment. Seconds, summed over the CPUs that are watched; None: not shown here."""

    at_s: float
    counted_s: float | None
    unused_s: float
    steal_s: float
    parent_s: float
    worker_s: float | None
    pressure_s: float | None
    throttled_s: float | None
    switches: dict[str, int] = field(default_factory=dict)
    crossing: Crossing | None = None
    energy: Energy = field(default_factory=dict)


class Sensors:
    """Looks at the machine around the slots of one worker.

    CPU figures are for the CPUs that this process may use, and their sum over those is 1.

    /proc/stat counts in ticks of 10 ms, cut off and not rounded, so the difference of two readings is wrong by
    up to one tick for each row that is read. Where we may use all CPUs the row of the sum is read, which is
    one; else one a CPU. Half a tick for each is taken off what seems foreign: what is cut off idle time then
    never shows as more than 2% in a slot of 0.25 s, and never hides more than three times that.

    Args:
        worker_pid: the process whose turn it is. Other workers of the same run count as foreign: they must be
            idle, and when they are not they disturb just the same.
        cpus: those to watch; None: this process's affinity mask.
        placement: looks how far the CPUs are from each other; None: that does not matter.
        gpu_index: the NVIDIA device to watch, in NVML's order; None: none.
        root: of the file system, so that a test can show another machine.
        clock: seconds, monotonic.
        parent_cpu: CPU seconds of this process.
        worker_cpu: CPU seconds of a process, None when it is gone.
    """

    def __init__(
        self,
        worker_pid: int | None = None,
        cpus: Iterable[int] | None = None,
        *,
        placement: Placement | None = None,
        gpu_index: int | None = None,
        root: Path = ROOT,
        clock: Callable[[], float] = time.perf_counter,
        parent_cpu: Callable[[], float] = time.process_time,
        worker_cpu: Callable[[int], float | None] = process_cpu_s,
    ) -> None:
        self.worker_pid, self.root = worker_pid, root
        self.cpus = frozenset(usable_cpus() if cpus is None else cpus)
        self._clock, self._parent_cpu, self._worker_cpu = clock, parent_cpu, worker_cpu
        self._placement = placement
        self._rows = self._choose_rows()
        self._throttle_files = [
            (folder / "cpu.stat", *(("throttled_usec", 1e-6) if version == 2 else ("throttled_time", 1e-9)))
            for version, folder in cgroup_folders("cpu", root)
        ]
        self._gpu = None if gpu_index is None else GpuSensor.open(gpu_index)

    def before(self) -> Snapshot:
        """A snapshot taken just before a slot; what it costs itself falls before it."""
        crossing = self._placement.now() if self._placement else None
        switches, energy = self._switches(), self._energy()
        return replace(self._snapshot(switches), crossing=crossing, energy=energy)

    def after(self, snapshot: Snapshot, worker_cpu_s: float | None = None) -> Noise:
        """What happened since `snapshot`.

        Args:
            worker_cpu_s: CPU seconds that the worker itself counted around its calls. It stands in where the
                process's own clock cannot be read, which also sees what the worker did around them.
        """
        now, energy = self._snapshot({}), self._energy()
        elapsed = now.at_s - snapshot.at_s
        if elapsed <= 0:
            return Noise()
        capacity = elapsed * max(len(self.cpus), 1)
        parent = max(0.0, now.parent_s - snapshot.parent_s)
        seen = _difference(now.worker_s, snapshot.worker_s)
        worker = max(seen or 0.0, worker_cpu_s or 0.0)
        pressure = _difference(now.pressure_s, snapshot.pressure_s)
        readable = bool(_difference(now.counted_s, snapshot.counted_s))
        steal = now.steal_s - snapshot.steal_s
        busy = capacity - (now.unused_s - snapshot.unused_s) - steal
        foreign = busy - worker - parent - 0.5 * TICK_S * len(self._rows)
        return Noise(
            foreign_cpu=_share(foreign, capacity) if readable else None,
            steal=_share(steal, capacity) if readable else None,
            parent_cpu=parent / elapsed,
            pressure=None if pressure is None else _share(pressure, elapsed),
            throttled_s=_difference(now.throttled_s, snapshot.throttled_s),
            involuntary_switches=self._new_switches(snapshot.switches),
            cpu_mhz=frequency_mhz(self.cpus, self.root),
            load_1m=self._load(),
            cpu_crossing=snapshot.crossing.now if snapshot.crossing else None,
            cpu_crossing_best=snapshot.crossing.best if snapshot.crossing else None,
            energy_j=spent_joules(energy, snapshot.energy),
            gpu=self._gpu.read(_own_pids()) if self._gpu else None,
        )

    def gpu_bytes(self) -> int | None:
        """Bytes that the worker and what it started hold on the GPU now; None: no GPU, or the driver does not tell."""
        if self._gpu is None or self.worker_pid is None:
            return None
        return self._gpu.held_bytes(_with_children(self.worker_pid))

    def _energy(self) -> Energy:
        return read_energy(self._gpu.energy_j if self._gpu else None, self.root)

    def _snapshot(self, switches: dict[str, int]) -> Snapshot:
        pressure, throttled = self._pressure_s(), self._throttled_s()
        worker = None if self.worker_pid is None else self._worker_cpu(self.worker_pid)
        parent, at = self._parent_cpu(), self._clock()
        counted, unused, steal = self._cpu_times()
        return Snapshot(at, counted, unused, steal, parent, worker, pressure, throttled, switches)

    def _stat_rows(self) -> dict[str, list[int]]:
        """The rows of /proc/stat that count CPU time, in ticks, by name: `cpu` is the sum, `cpu0` a CPU."""
        text = read_text(self.root / "proc/stat") or ""
        lines = (line.split() for line in text.splitlines() if line.startswith("cpu"))
        return {words[0]: [int(word) for word in words[1:]] for words in lines}

    def _choose_rows(self) -> tuple[str, ...]:
        wanted = {f"cpu{cpu}" for cpu in self.cpus}
        shown = {name for name in self._stat_rows() if name != "cpu"}
        return ("cpu",) if shown == wanted else tuple(sorted(wanted & shown))

    def _cpu_times(self) -> tuple[float | None, float, float]:
        """Seconds counted in all states, without work (idle and waiting for disks), and stolen.

        Busy time is what is left of the elapsed time. The kernel measures idleness with a clock but samples the
        busy states at its ticks, which is off by several percent in a short slot.
        """
        rows = self._stat_rows()
        ours = [rows[name] for name in self._rows if len(rows.get(name, ())) > _STEAL]
        if not ours:
            return None, 0.0, 0.0
        counted = sum(sum(row[: _STEAL + 1]) for row in ours) * TICK_S
        unused = sum(row[_IDLE] + row[_IOWAIT] for row in ours) * TICK_S
        return counted, unused, sum(row[_STEAL] for row in ours) * TICK_S

    def _pressure_s(self) -> float | None:
        """Seconds in which some task waited for a CPU: the `some` line's total."""
        for line in (read_text(self.root / "proc/pressure/cpu") or "").splitlines():
            if line.startswith("some"):
                return int(line.rpartition("total=")[2]) / 1e6
        return None

    def _throttled_s(self) -> float | None:
        """Seconds for which quotas held us back, in our own cgroup and those above it."""
        found = None
        for file, key, unit in self._throttle_files:
            for line in (read_text(file) or "").splitlines():
                name, _, value = line.partition(" ")
                if name == key:
                    found = (found or 0.0) + int(value) * unit
        return found

    def _switches(self) -> dict[str, int]:
        """How often each thread of the worker was made to leave its CPU; empty when that is not shown."""
        if self.worker_pid is None:
            return {}
        folder = self.root / f"proc/{self.worker_pid}/task"
        try:
            threads = os.listdir(folder)  # noqa: PTH208 - a Path for each of many threads costs more than the read
        except OSError:
            return {}
        found = {}
        for thread in threads:
            _, _, count = (read_text(folder / thread / "status") or "").rpartition(
                "nonvoluntary_ctxt_switches:"
            )
            if count.strip().isdigit():
                found[thread] = int(count)
        return found

    def _new_switches(self, before: dict[str, int]) -> int | None:
        now = self._switches()
        return sum(count - before.get(thread, 0) for thread, count in now.items()) if now else None

    def _load(self) -> float | None:
        text = read_text(self.root / "proc/loadavg")
        return float(text.split()[0]) if text else None


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else max(0.0, now - before)


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole))
