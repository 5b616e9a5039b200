"""What the machine's own counters say a slot cost, joules.

CPU packages count by RAPL (Intel and AMD, `/sys/class/powercap/intel-rapl:N`), which most systems let only root read and most
virtual machines do not show; an NVIDIA GPU of Volta and later counts by NVML. A counter is of all that runs on its package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoobench.machine.cpus import ROOT, read_text
from zoobench.outcome import Slot


@dataclass(frozen=True)
class Reading:
    """A counter's value in joules, and where it begins anew; None: it does not."""

    joules: float
    range_joules: float | None = None

    def since(self, before: Reading) -> float:
        """Joules between two readings, of which the counter passed its end at most once."""
        spent = self.joules - before.joules
        return spent + self.range_joules if spent < 0 and self.range_joules else max(0.0, spent)


Energy = dict[str, Reading]
"""Readings by the counter's name."""


def read_energy(gpu_joules: Callable[[], float | None] | None = None, root: Path = ROOT) -> Energy:
    """Every counter that can be read now: of the GPU where one is asked about, else of the CPU packages."""
    if gpu_joules is not None:
        spent = gpu_joules()
        return {} if spent is None else {"nvml": Reading(spent)}
    found: Energy = {}
    for folder in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        # Their parts, such as intel-rapl:0:0, are in the packages' own counts.
        if folder.name.count(":") != 1:
            continue
        count, most = read_text(folder / "energy_uj"), read_text(folder / "max_energy_range_uj")
        if count and count.strip().isdigit():
            limit = int(most) / 1e6 if most and most.strip().isdigit() else None
            found[folder.name] = Reading(int(count) / 1e6, limit)
    return found


def spent_joules(now: Energy, before: Energy) -> float | None:
    """Of all counters together; None where there is none, or one is gone."""
    if not before or now.keys() != before.keys():
        return None
    return sum(reading.since(before[name]) for name, reading in now.items())


def joules_per_item(batch: int, slots: Sequence[Slot]) -> float | None:
    """Σ joules of the slots / Σ items that were run in them, the settling calls among them.

    None where no counter was read, and of LoadGen's tests and of requests of language models, which have a count of their own.
    """
    spent = [slot.noise.energy_j for slot in slots if slot.load is None and not slot.token_ns]
    known = [joules for joules in spent if joules is not None]
    if not slots or len(known) < len(slots):
        return None
    calls = sum(1 + len(slot.samples_ns) * slot.inner_loops for slot in slots)
    return sum(known) / (batch * calls)
