"""Who measured: what the machine is, whether two of them compare, how fast it could be, who holds it.

Everything here runs in the parent process: standard library and NVML only. The ceilings are measured by
`zoobench.ceilings`, which imports runtimes and therefore runs in a worker.
"""

from zoobench.machine.cpus import (
    free_memory_bytes,
    host_cpu_count,
    hyperthread_siblings,
    usable_cpu_count,
    usable_cpus,
)
from zoobench.machine.identity import SOFT_KEYS, Machine, comparable, describe, soft_differences
from zoobench.machine.lock import measurement_lock
from zoobench.machine.roofline import (
    Ceilings,
    cache_folder,
    ceilings_path,
    combine,
    load_ceilings,
    roofline,
    save_ceilings,
)

__all__ = [
    "SOFT_KEYS",
    "Ceilings",
    "Machine",
    "cache_folder",
    "ceilings_path",
    "combine",
    "comparable",
    "describe",
    "free_memory_bytes",
    "host_cpu_count",
    "hyperthread_siblings",
    "load_ceilings",
    "measurement_lock",
    "roofline",
    "save_ceilings",
    "soft_differences",
    "usable_cpu_count",
    "usable_cpus",
]
