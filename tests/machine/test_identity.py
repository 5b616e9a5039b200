from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoobench.machine import SOFT_KEYS, Machine, comparable, describe, soft_differences
from zoobench.machine.gpus import Gpus
from zoobench.machine.identity import container, hypervisor
from zoobench.results.record import MachineInfo

MACHINE = Machine(
    cpu_model="AMD EPYC",
    cpu_id="AuthenticAMD 25/17",
    isa=("avx2", "avx512_vnni"),
    cpus_usable=2,
    cpus_affinity=2,
    cores_usable=2,
    cpus_host=64,
    memory_bytes=int(23.5 * 2**30),
    memory_host_bytes=int(23.5 * 2**30),
    kernel="6.1",
    python="3.12.1",
)


@pytest.mark.parametrize(
    "change",
    [
        {"cpu_model": "AMD EPYC 9"},
        {"cpu_id": "AuthenticAMD 26/2"},
        {"isa": ("avx2",)},
        {"cpus_usable": 1},
        {"cpus_affinity": 4},
        {"cores_usable": 1},
        {"gpus": ("NVIDIA L4",)},
        {"gpu_driver": "580.1"},
        {"cuda": "13.0"},
    ],
)
def test_every_hard_key_changes_the_fingerprint_and_refuses(change: dict[str, object]) -> None:
    other = MACHINE.model_copy(update=change)
    assert other.fingerprint != MACHINE.fingerprint
    assert comparable(MACHINE.hard(), other.hard()) == list(change)
    assert comparable(MACHINE.hard(), other.hard(), varying=tuple(change)) == []


@pytest.mark.parametrize("key", sorted(SOFT_KEYS))
def test_a_soft_key_warns_and_leaves_the_fingerprint(key: str) -> None:
    other = MACHINE.model_copy(update={key: "different"})
    assert other.fingerprint == MACHINE.fingerprint
    a, b = {**MACHINE.hard(), key: 1}, {**other.hard(), key: 2}
    assert comparable(a, b) == []
    assert soft_differences(a, b) == [key]


def test_the_fingerprint_is_stable_over_time() -> None:
    assert MACHINE.fingerprint == "44d8b5a1fda0"


def test_keys_nobody_thought_of_and_keys_on_one_side_refuse() -> None:
    assert comparable({"batch": 1, "novel": 1}, {"batch": 1, "novel": 2}) == ["novel"]
    assert comparable({"batch": 1}, {}) == ["batch"]
    assert comparable({"batch": None}, {}) == ["batch"]


def test_a_tuple_that_went_through_json_is_no_difference() -> None:
    assert comparable({"shape": (3, 224, 224)}, {"shape": [3, 224, 224]}) == []


def test_info_holds_exactly_what_a_record_keeps() -> None:
    info = MACHINE.info()
    assert set(info) == set(MachineInfo.model_fields)
    assert MachineInfo(**info).fingerprint == MACHINE.fingerprint


def test_short_names_the_machine() -> None:
    assert MACHINE.short == "AMD EPYC, 2 CPUs, 23.5 GiB"
    one = MACHINE.model_copy(update={"cpus_usable": 1, "gpus": ("NVIDIA L4",)})
    assert one.short == "AMD EPYC, 1 CPU, 23.5 GiB, NVIDIA L4"


def test_describe_this_machine_twice_gives_one_fingerprint() -> None:
    first, second = describe(gpus=Gpus()), describe(gpus=Gpus())
    assert first.fingerprint == second.fingerprint
    assert first.memory_bytes > 0
    assert Machine.model_validate_json(first.model_dump_json()) == first


def test_a_container_limit_is_the_memory_that_counts(tmp_path: Path) -> None:
    for name, text in {
        "proc/meminfo": "MemTotal:  8388608 kB",
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/memory.max": str(2 << 30),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = describe(tmp_path, Gpus())
    assert (machine.memory_bytes, machine.memory_host_bytes) == (2 << 30, 8 << 30)


def test_containers_and_hypervisors_are_told(tmp_path: Path) -> None:
    assert container(tmp_path, {}) is None
    assert container(tmp_path, {"container": "lxc"}) == "lxc"
    assert container(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) == "kubernetes"
    (tmp_path / ".dockerenv").touch()
    assert container(tmp_path, {}) == "docker"
    assert hypervisor(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("flags : fpu hypervisor\n")
    assert hypervisor(tmp_path) == "unknown"
    (tmp_path / "sys/class/dmi/id").mkdir(parents=True)
    (tmp_path / "sys/class/dmi/id/sys_vendor").write_text("Amazon EC2\n")
    assert hypervisor(tmp_path) == "kvm"
    (tmp_path / "proc/cpuinfo").write_text("flags : fpu\n")
    assert hypervisor(tmp_path) is None, "a bare-metal instance of the same vendor is no guest"


def test_the_parent_imports_no_runtime_with_it() -> None:
    code = (
        "import sys, zoobench.machine\n"
        "heavy = {'torch', 'onnxruntime', 'openvino', 'transformers', 'timm', 'numpy', 'rich', 'pynvml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
