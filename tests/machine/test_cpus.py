from __future__ import annotations

from pathlib import Path

import pytest

from zoobench.machine import cpus


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", {0}), ("0-3", {0, 1, 2, 3}), ("0-1,8,10-11", {0, 1, 8, 10, 11}), ("", set())],
)
def test_cpu_lists_are_read_as_the_kernel_writes_them(text: str, expected: set[int]) -> None:
    assert cpus.parse_cpu_list(text) == expected


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("max 100000", 8), ("150000 100000", 1), ("50000 100000", 1), ("1600000 100000", 8), ("400000", 4)],
)
def test_a_v2_quota_is_rounded_down_and_bounded_by_affinity(
    tmp_path: Path, cpu_max: str, expected: int
) -> None:
    write(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": cpu_max})
    assert cpus.usable_cpu_count(tmp_path, range(8)) == expected


def test_the_tightest_quota_among_the_ancestors_binds(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/slice/leaf",
            "sys/fs/cgroup/slice/cpu.max": "200000 100000",
            "sys/fs/cgroup/slice/leaf/cpu.max": "600000 100000",
        },
    )
    assert cpus.cgroup_cpu_quota(tmp_path) == 2.0


def test_a_container_that_sees_only_its_own_part_of_the_tree(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"proc/self/cgroup": "0::/kubepods/pod1/c1", "sys/fs/cgroup/cpu.max": "300000 100000"},
    )
    assert cpus.cgroup_cpu_quota(tmp_path) == 3.0


def test_v1_quota_and_memory_limit(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/job\n3:cpu,cpuacct:/job",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "250000",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "1073741824",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert cpus.usable_cpu_count(tmp_path, range(8)) == 2
    assert cpus.cgroup_memory_limit(tmp_path) == 1 << 30


def test_v1_without_limits_is_no_limit(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert cpus.cgroup_cpu_quota(tmp_path) is None
    assert cpus.cgroup_memory_limit(tmp_path) is None


def test_siblings_are_grouped_by_core_within_the_usable_cpus(tmp_path: Path) -> None:
    lists = {0: "0,4", 4: "0,4", 1: "1,5", 2: "2,6"}
    write(
        tmp_path,
        {f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": text for n, text in lists.items()},
    )
    assert cpus.hyperthread_siblings([0, 1, 2, 4, 9], tmp_path) == [{0, 4}, {1}, {2}, {9}]


X86 = """processor : 0
vendor_id : GenuineIntel
cpu family : 6
model : 143
model name : Xeon X
cpu MHz : 2000.0
flags : fpu {}"""


def test_x86_model_and_flags(tmp_path: Path) -> None:
    both = (
        X86.format("avx2 amx_int8 avx512_vnni")
        + "\n\n"
        + X86.format("avx2 avx512_vnni").replace(": 0", ": 1")
    )
    write(tmp_path, {"proc/cpuinfo": both})
    assert cpus.cpu_model(tmp_path) == ("Xeon X", "GenuineIntel 6/143")
    assert cpus.isa_flags(tmp_path) == ("avx2", "avx512_vnni"), "a flag that one core lacks does not count"
    assert cpus.frequency_mhz([0], tmp_path) == 2000.0


def test_arm_has_no_model_name_but_parts(tmp_path: Path) -> None:
    block = "processor : 0\nCPU implementer : 0x41\nCPU part : {}\nFeatures : fp asimd asimddp"
    write(tmp_path, {"proc/cpuinfo": block.format("0xd0c") + "\n\n" + block.format("0xd4f")})
    assert cpus.cpu_model(tmp_path)[0] == "Arm Neoverse-N1 + Neoverse-V2"
    assert cpus.isa_flags(tmp_path) == ("asimd", "asimddp")


def test_nothing_readable_is_unknown_not_an_error(tmp_path: Path) -> None:
    assert cpus.cpu_model(tmp_path) == (None, None)
    assert cpus.isa_flags(tmp_path) == ()
    assert cpus.governors([0], tmp_path) == ()
    assert cpus.boost(tmp_path) is None
    assert cpus.frequency_mhz([0], tmp_path) is None
    assert cpus.numa_nodes([0], tmp_path) == ()
    assert cpus.host_cpu_count(tmp_path) >= 1


def test_governor_boost_frequency_and_numa(tmp_path: Path) -> None:
    base = "sys/devices/system"
    write(
        tmp_path,
        {
            f"{base}/cpu/online": "0-63",
            f"{base}/cpu/cpu0/cpufreq/scaling_governor": "performance",
            f"{base}/cpu/cpu1/cpufreq/scaling_governor": "powersave",
            f"{base}/cpu/cpu0/cpufreq/scaling_cur_freq": "3000000",
            f"{base}/cpu/intel_pstate/no_turbo": "1",
            f"{base}/node/node0/cpulist": "0-31",
            f"{base}/node/node1/cpulist": "32-63",
        },
    )
    assert cpus.governors([0, 1], tmp_path) == ("performance", "powersave")
    assert cpus.boost(tmp_path) is False
    assert cpus.frequency_mhz([0], tmp_path) == 3000.0
    assert cpus.numa_nodes([0, 40], tmp_path) == (0, 1)
    assert cpus.host_cpu_count(tmp_path) == 64


def test_this_machine_answers() -> None:
    assert 1 <= cpus.usable_cpu_count() <= len(cpus.usable_cpus()) <= cpus.host_cpu_count()
    assert frozenset().union(*cpus.hyperthread_siblings(cpus.usable_cpus())) == set(cpus.usable_cpus())


def test_free_memory_is_the_kernels_estimate_within_the_cgroups_limit(tmp_path: Path) -> None:
    assert cpus.free_memory_bytes(tmp_path) is None
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert cpus.free_memory_bytes(tmp_path) == 8000 * 1024
    (tmp_path / "proc/self/cgroup").write_text("0::/job\n")
    (tmp_path / "sys/fs/cgroup/job").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/job/memory.max").write_text("5000000\n")
    assert cpus.free_memory_bytes(tmp_path) == 5000000
