"""What the machine is, in keys that must match (hard) and keys that are only worth a warning (soft)."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from zoobench.machine import cpus as cpu
from zoobench.machine.gpus import Gpus, read_gpus
from zoobench.spec import Frozen, stable_hash

SOFT_KEYS = frozenset(
    {
        "kernel",
        "container",
        "hypervisor",
        "python",
        "governor",
        "boost",
        "libc",
        "memory_bytes",
        "cpus_host",
        "numa_nodes",
    }
)
"""Keys whose difference is a warning. Every other key is hard, so that one nobody thought of refuses."""

HYPERVISORS = {
    "kvm": "kvm",
    "qemu": "qemu",
    "amazon ec2": "kvm",
    "google": "kvm",
    "microsoft corporation": "hyper-v",
    "vmware": "vmware",
    "xen": "xen",
    "innotek": "virtualbox",
    "apple": "apple",
}


class Machine(Frozen):
    """One machine as one process sees it. `hard()` decides whether results compare."""

    cpu_model: str | None
    cpu_id: str | None
    isa: tuple[str, ...]
    cpus_usable: int
    cpus_affinity: int
    affinity: tuple[int, ...] | None = None
    cores_usable: int
    cpus_host: int
    memory_bytes: int
    memory_host_bytes: int
    gpus: tuple[str, ...] = ()
    gpu_driver: str | None = None
    cuda: str | None = None
    gpu_reason: str | None = None
    kernel: str | None = None
    libc: str | None = None
    python: str | None = None
    container: str | None = None
    hypervisor: str | None = None
    governor: str | None = None
    boost: bool | None = None
    frequency_mhz: float | None = None
    numa_nodes: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """The fingerprint, and which CPUs of the machine are used where that is not all of them: a file's name."""
        if self.affinity is None:
            return self.fingerprint
        return f"{self.fingerprint}-{stable_hash(list(self.affinity))[:8]}"

    def hard(self) -> dict[str, Any]:
        """The keys that must match before two results are compared, JSON-ready."""
        return {
            "cpu_model": self.cpu_model,
            "cpu_id": self.cpu_id,
            "isa": list(self.isa),
            "cpus_usable": self.cpus_usable,
            "cpus_affinity": self.cpus_affinity,
            "cores_usable": self.cores_usable,
            "gpus": list(self.gpus),
            "gpu_driver": self.gpu_driver,
            "cuda": self.cuda,
        }

    def soft(self) -> dict[str, Any]:
        """The keys whose difference is a warning, JSON-ready."""
        return self.model_dump(mode="json", include=set(SOFT_KEYS))

    @property
    def fingerprint(self) -> str:
        """First 12 hexadecimal digits of the sha256 over the hard keys."""
        return stable_hash(self.hard())[:12]

    @property
    def short(self) -> str:
        """How a table names it, such as `AMD EPYC, 2 CPUs, 23.5 GiB`."""
        plural = "" if self.cpus_usable == 1 else "s"
        parts = [
            self.cpu_model or "unknown CPU",
            f"{self.cpus_usable} CPU{plural}",
            f"{self.memory_bytes / 2**30:.1f} GiB",
            *self.gpus,
        ]
        return ", ".join(parts)

    def info(self) -> dict[str, Any]:
        """What a record keeps of the machine; the names are those of `results.record.MachineInfo`."""
        passing = {"memory_host_bytes", "frequency_mhz", "gpu_reason"}
        return {"fingerprint": self.fingerprint, **self.model_dump(exclude=passing)}


def describe(root: Path = cpu.ROOT, gpus: Gpus | None = None) -> Machine:
    """Look at this machine. Some files and one NVML call: tens of milliseconds, so call it once a run."""
    usable = cpu.usable_cpus()
    model, numbers = cpu.cpu_model(root)
    seen = read_gpus() if gpus is None else gpus
    host_memory = _memory_total(root)
    return Machine(
        cpu_model=model,
        cpu_id=numbers,
        isa=cpu.isa_flags(root),
        cpus_usable=cpu.usable_cpu_count(root, usable),
        cpus_affinity=len(usable),
        affinity=usable if len(usable) < cpu.host_cpu_count(root) else None,
        cores_usable=len(cpu.hyperthread_siblings(usable, root)),
        cpus_host=cpu.host_cpu_count(root),
        memory_bytes=min(host_memory, cpu.cgroup_memory_limit(root) or host_memory),
        memory_host_bytes=host_memory,
        gpus=seen.names,
        gpu_driver=seen.driver,
        cuda=seen.cuda,
        gpu_reason=seen.reason,
        kernel=platform.release(),
        libc=_libc(),
        python=platform.python_version(),
        container=container(root),
        hypervisor=hypervisor(root),
        governor=", ".join(cpu.governors(usable, root)) or None,
        boost=cpu.boost(root),
        frequency_mhz=cpu.frequency_mhz(usable, root),
        numa_nodes=cpu.numa_nodes(usable, root),
    )


def comparable(a: Mapping[str, Any], b: Mapping[str, Any], varying: Collection[str] = ()) -> list[str]:
    """Names of hard keys in which `a` and `b` differ without being meant to, sorted; empty: they compare.

    Args:
        a, b: flat dicts. A key that only one of them has counts as a difference.
        varying: keys that are the thing under test.
    """
    return [key for key in _differing(a, b) if key not in SOFT_KEYS and key not in varying]


def soft_differences(a: Mapping[str, Any], b: Mapping[str, Any], varying: Collection[str] = ()) -> list[str]:
    """Names of soft keys in which `a` and `b` differ, sorted: worth a warning, not a refusal."""
    return [key for key in _differing(a, b) if key in SOFT_KEYS and key not in varying]


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*a, *b} if key not in a or key not in b or _plain(a[key]) != _plain(b[key]))


def _plain(value: Any) -> Any:
    """Tuples become lists when a record goes through JSON; that is no difference."""
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _memory_total(root: Path) -> int:
    for line in (cpu.read_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None


def container(root: Path = cpu.ROOT, environment: Mapping[str, str] = os.environ) -> str | None:
    """The kind of container this process runs in, or None when nothing points to one."""
    if (root / "run/.containerenv").exists():
        return "podman"
    if "KUBERNETES_SERVICE_HOST" in environment:
        return "kubernetes"
    if (root / ".dockerenv").exists():
        return "docker"
    cgroup = cpu.read_text(root / "proc/1/cgroup") or ""
    for mark, name in (
        ("kubepods", "kubernetes"),
        ("docker", "docker"),
        ("lxc", "lxc"),
        ("containerd", "containerd"),
    ):
        if mark in cgroup:
            return name
    return environment.get("container") or None


def hypervisor(root: Path = cpu.ROOT) -> str | None:
    """The hypervisor this machine is a guest of, `unknown` when only the CPU tells, None on bare metal."""
    if xen := cpu.read_text(root / "sys/hypervisor/type"):
        return xen
    if "microsoft" in (cpu.read_text(root / "proc/version") or "").lower():
        return "wsl"
    dmi = root / "sys/class/dmi/id"
    names = [cpu.read_text(dmi / name) or "" for name in ("sys_vendor", "product_name", "bios_vendor")]
    marked = "hypervisor" in cpu.cpu_flags(root)
    for mark, name in HYPERVISORS.items():
        if any(mark in text.lower() for text in names) and (marked or mark in ("kvm", "qemu")):
            return name
    return "unknown" if marked else None
