"""The processor: which CPUs this process may use, what they can do, and how their clock is governed.

Every function takes the root of the file system, so that tests can show it another machine. Linux only.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path("/")

X86_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "amx_fp16",
)
ARM_FLAGS = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2")
ISA_FLAGS = X86_FLAGS + ARM_FLAGS
"""Instruction sets that change which kernels a runtime picks, as /proc/cpuinfo spells them."""

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Any of them means that the hardware multiplies bfloat16."""

ARM_PARTS = {
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
    "0xd84": "Neoverse-V3",
    "0xd8e": "Neoverse-N3",
}
"""MIDR part numbers of Arm's own designs; Arm kernels give no model name."""


def read_text(path: Path) -> str | None:
    """The file's text without surrounding space, or None when it is absent or may not be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def parse_cpu_list(text: str) -> frozenset[int]:
    """Parse the kernel's list format, such as `0-3,8,10-11`."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def usable_cpus() -> tuple[int, ...]:
    """The CPUs of this process's affinity mask, ascending."""
    return tuple(sorted(os.sched_getaffinity(0)))


def usable_cpu_count(root: Path = ROOT, affinity: Iterable[int] | None = None) -> int:
    """How many CPUs this process may keep busy: the affinity mask, or the cgroup quota.

    Part of a CPU is none: a thread more than the quota holds would be throttled.
    """
    count = len(tuple(affinity if affinity is not None else usable_cpus()))
    quota = cgroup_cpu_quota(root)
    return count if quota is None else max(1, min(count, math.floor(quota)))


def host_cpu_count(root: Path = ROOT) -> int:
    """CPUs that are online on the host, whether or not this process may use them."""
    online = read_text(root / "sys/devices/system/cpu/online")
    return len(parse_cpu_list(online)) if online else os.cpu_count() or 1


def cgroup_folders(controller: str, root: Path = ROOT) -> list[tuple[int, Path]]:
    """Folders whose limits bind this process, as (cgroup version, folder): its own cgroup and every ancestor.

    A container often mounts only its own part of the tree, so folders that do not exist are left out.
    """
    mount = root / "sys/fs/cgroup"
    found: list[tuple[int, Path]] = []
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            bases = [(2, mount), (2, mount / "unified")]
        elif controller in controllers.split(","):
            bases = [(1, mount / controllers), (1, mount / controller)]
        else:
            continue
        relative = Path(path.lstrip("/"))
        for version, base in bases:
            folders = [base / part for part in (relative, *relative.parents)]
            found += [(version, folder) for folder in folders if folder.is_dir()]
    return list(dict.fromkeys(found))


def cgroup_cpu_quota(root: Path = ROOT) -> float | None:
    """The tightest cgroup CPU quota in CPUs (v2 `cpu.max`, v1 `cpu.cfs_quota_us`), or None without one."""
    quotas = []
    for version, folder in cgroup_folders("cpu", root):
        if version == 2:
            quota, _, period = (read_text(folder / "cpu.max") or "max").partition(" ")
        else:
            quota = read_text(folder / "cpu.cfs_quota_us") or "-1"
            period = read_text(folder / "cpu.cfs_period_us") or ""
        if quota.isdigit() and int(quota) > 0:
            quotas.append(int(quota) / int(period or 100_000))
    return min(quotas, default=None)


def free_memory_bytes(root: Path = ROOT) -> int | None:
    """Memory that processes may take now without swapping, as the kernel estimates it; None where it does not tell."""
    for line in (read_text(root / "proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            free = int(value.split()[0]) * 1024
            return min(free, cgroup_memory_limit(root) or free)
    return None


def cgroup_memory_limit(root: Path = ROOT) -> int | None:
    """The tightest cgroup memory limit in bytes, or None without one."""
    limits = []
    for version, folder in cgroup_folders("memory", root):
        text = read_text(folder / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
        # v1 writes "no limit" as the largest whole number of pages below 2^63.
        if text and text.isdigit() and int(text) < 1 << 62:
            limits.append(int(text))
    return min(limits, default=None)


def hyperthread_siblings(cpus: Iterable[int], root: Path = ROOT) -> list[frozenset[int]]:
    """Group `cpus` by physical core: one set a core, holding only CPUs out of `cpus`.

    A CPU whose topology cannot be read is taken for a core of its own.
    """
    wanted = frozenset(cpus)
    cores: set[frozenset[int]] = set()
    for cpu in wanted:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        text = read_text(topology / "core_cpus_list") or read_text(topology / "thread_siblings_list")
        cores.add((parse_cpu_list(text) & wanted if text else frozenset()) | {cpu})
    return sorted(cores, key=min)


def _cpuinfo(root: Path) -> list[dict[str, str]]:
    """/proc/cpuinfo, one dict a processor."""
    blocks = re.split(r"\n\s*\n", read_text(root / "proc/cpuinfo") or "")
    lines = ([line.partition(":") for line in block.splitlines()] for block in blocks)
    return [{key.strip(): value.strip() for key, _, value in block} for block in lines]


def cpu_model(root: Path = ROOT) -> tuple[str | None, str | None]:
    """The processor's name as a person knows it, and its vendor's numbers (`vendor family/model`).

    Hypervisors blur the name (`AMD EPYC`), and the numbers still tell the generations apart.
    """
    processors = _cpuinfo(root)
    first = processors[0] if processors else {}
    if "model name" in first and "CPU part" not in first:
        numbers = f"{first.get('vendor_id', '?')} {first.get('cpu family', '?')}/{first.get('model', '?')}"
        return first["model name"], numbers
    parts = sorted({(p.get("CPU implementer", "?"), p["CPU part"]) for p in processors if "CPU part" in p})
    if not parts:
        return None, None
    names = [ARM_PARTS.get(part, part) if maker == "0x41" else f"{maker} {part}" for maker, part in parts]
    return "Arm " + " + ".join(names), " ".join(f"{maker}/{part}" for maker, part in parts)


def cpu_flags(root: Path = ROOT) -> frozenset[str]:
    """All feature flags that every processor has."""
    sets = [frozenset((p.get("flags") or p.get("Features") or "").split()) for p in _cpuinfo(root)]
    sets = [flags for flags in sets if flags]
    return frozenset.intersection(*sets) if sets else frozenset()


def isa_flags(root: Path = ROOT) -> tuple[str, ...]:
    """Those of `ISA_FLAGS` that every processor has, in that order."""
    flags = cpu_flags(root)
    return tuple(flag for flag in ISA_FLAGS if flag in flags)


def governors(cpus: Iterable[int], root: Path = ROOT) -> tuple[str, ...]:
    """The frequency governors in force on `cpus`; empty where there are none to read (most guests)."""
    base = root / "sys/devices/system/cpu"
    found = {read_text(base / f"cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus}
    return tuple(sorted(filter(None, found)))


def boost(root: Path = ROOT) -> bool | None:
    """Whether turbo / boost clocks are allowed; None where it is not readable."""
    base = root / "sys/devices/system/cpu"
    if (no_turbo := read_text(base / "intel_pstate/no_turbo")) is not None:
        return no_turbo == "0"
    if (allowed := read_text(base / "cpufreq/boost")) is not None:
        return allowed == "1"
    return None


def frequency_mhz(cpus: Iterable[int], root: Path = ROOT) -> float | None:
    """Mean clock of `cpus` now, MHz, from cpufreq or else /proc/cpuinfo; None where it is not readable."""
    wanted = frozenset(cpus)
    base = root / "sys/devices/system/cpu"
    texts = [read_text(base / f"cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in sorted(wanted)]
    clocks = [int(text) / 1000 for text in texts if text and text.isdigit()]
    if not clocks:
        clocks = [
            float(p["cpu MHz"])
            for p in _cpuinfo(root)
            if "cpu MHz" in p and p.get("processor", "").isdigit() and int(p["processor"]) in wanted
        ]
    return sum(clocks) / len(clocks) if clocks else None


def numa_nodes(cpus: Iterable[int], root: Path = ROOT) -> tuple[int, ...]:
    """The NUMA nodes on which `cpus` lie; empty where the kernel shows none."""
    wanted = frozenset(cpus)
    nodes = (root / "sys/devices/system/node").glob("node[0-9]*")
    found = [node for node in nodes if parse_cpu_list(read_text(node / "cpulist") or "") & wanted]
    return tuple(sorted(int(node.name.removeprefix("node")) for node in found))
