from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoobench.doctor import host
from zoobench.doctor.finding import Finding
from zoobench.machine import Machine

GIB = 2**30
MACHINE = Machine(
    cpu_model="AMD EPYC",
    cpu_id="AuthenticAMD 25/17",
    isa=("avx2", "avx512_vnni"),
    cpus_usable=2,
    cpus_affinity=2,
    cores_usable=2,
    cpus_host=2,
    memory_bytes=16 * GIB,
    memory_host_bytes=16 * GIB,
)


def cpu(tmp_path: Path, **change: object) -> dict[str, Finding]:
    findings = host.cpu_findings(MACHINE.model_copy(update=change), tmp_path)
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize(
    ("isa", "level"),
    [(("avx2", "avx512_vnni"), "ok"), (("asimd", "asimddp"), "ok"), (("avx2",), "info"), ((), "warning")],
)
def test_instruction_sets(tmp_path: Path, isa: tuple[str, ...], level: str) -> None:
    assert cpu(tmp_path, isa=isa)["instruction sets"].level == level


def test_usable_cpus_against_the_host(tmp_path: Path) -> None:
    assert cpu(tmp_path)["usable CPUs"].level == "ok"
    masked = cpu(tmp_path, cpus_host=64)["usable CPUs"]
    assert "2 of the host's 64 (by the affinity mask)" in masked.text
    quota = cpu(tmp_path, cpus_host=64, cpus_affinity=64)["usable CPUs"]
    assert "cgroup quota" in quota.text
    assert "cpuset" in str(quota.advice)


def test_hyperthreads_of_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "usable_cpus", lambda: (0, 1))
    monkeypatch.setattr(host, "hyperthread_siblings", lambda cpus, root: [frozenset({0, 1})])
    finding = cpu(tmp_path)["hyperthreads"]
    assert finding.level == "warning"
    assert "taskset -c 0 " in str(finding.advice)


@pytest.mark.parametrize(
    ("governor", "level"),
    [(None, "info"), ("performance", "ok"), ("powersave", "warning"), ("performance, ondemand", "warning")],
)
def test_governor(tmp_path: Path, governor: str | None, level: str) -> None:
    assert cpu(tmp_path, governor=governor)["governor"].level == level


@pytest.mark.parametrize(("boost", "level"), [(None, "info"), (False, "ok"), (True, "info")])
def test_turbo(tmp_path: Path, boost: bool | None, level: str) -> None:
    assert cpu(tmp_path, boost=boost)["turbo"].level == level


@pytest.mark.parametrize(("foreign", "level"), [(0.0, "ok"), (0.05, "warning"), (0.3, "problem")])
def test_load(foreign: float, level: str) -> None:
    finding = host.load_findings(host.Activity(foreign, 0.0, ((42, "stress", 0.6),)))[0]
    assert finding.level == level
    assert "stress (pid 42) 60% of one" in finding.text


def test_load_from_beyond_the_container() -> None:
    assert "does not show" in host.load_findings(host.Activity(0.3, 0.0))[0].text


def test_steal() -> None:
    assert [f.name for f in host.load_findings(host.Activity(0.0, 0.2))] == ["other processes", "steal"]


def test_a_busy_stranger_is_seen_and_our_own_child_is_not() -> None:
    spin = [sys.executable, "-c", "import time\nwhile time.process_time() < 10: pass"]
    # The stranger's parent ends at once, so that it is nobody's child here.
    launch = f"import subprocess as s; print(s.Popen({spin!r}, stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    stranger = int(
        subprocess.run([sys.executable, "-c", launch], capture_output=True, text=True, check=True).stdout
    )
    own = subprocess.Popen(spin)
    try:
        activity = host.watch(0.4)
    finally:
        own.kill()
        own.wait()
        os.kill(stranger, 9)
    pids = {pid for pid, _, _ in activity.processes}
    assert stranger in pids
    assert own.pid not in pids
    assert 0 < activity.foreign <= 1


def test_our_own_work_is_taken_off_and_steal_is_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two CPUs over one second: 1.5 s busy, 1.0 s of it ours; 0.2 s stolen; CPU 2 is not ours to use."""
    ticks = {"user": 0.0, "nice": 0.0, "system": 0.0, "irq": 0.0, "softirq": 0.0, "steal": 0.0}

    def cpu(**used: float) -> SimpleNamespace:
        return SimpleNamespace(**{**ticks, **used})

    looks = iter([[cpu()] * 3, [cpu(user=0.9, steal=0.2), cpu(nice=0.4, system=0.2), cpu(user=1.0)]])
    processes = iter(
        [
            {(1, 0.0): (5.0, "ours"), (2, 0.0): (7.0, "theirs"), (3, 0.0): (0.0, "idle")},
            {(1, 0.0): (6.0, "ours"), (2, 0.0): (7.5, "theirs"), (3, 9.0): (9.0, "pid used again")},
        ]
    )
    clock = iter([100.0, 101.0])
    monkeypatch.setattr(host, "usable_cpus", lambda: (0, 1))
    monkeypatch.setattr(host, "_own_tree", lambda: {1})
    monkeypatch.setattr(host, "_cpu_seconds", lambda: next(processes))
    monkeypatch.setattr(host, "psutil", SimpleNamespace(cpu_times=lambda percpu: next(looks)))
    monkeypatch.setattr(host, "time", SimpleNamespace(sleep=lambda _: None, monotonic=lambda: next(clock)))
    activity = host.watch()
    assert activity.foreign == pytest.approx(0.25)
    assert activity.steal == pytest.approx(0.1)
    assert activity.processes == ((2, "theirs", pytest.approx(0.5)),)


def test_memory_and_swap() -> None:
    assert [f.level for f in host.memory_findings(MACHINE, 8 * GIB, 0)] == ["ok"]
    assert [f.level for f in host.memory_findings(MACHINE, 2 * GIB, GIB)] == ["warning", "warning"]
    assert [f.level for f in host.memory_findings(MACHINE, GIB // 2, 0)] == ["problem"]
    small = MACHINE.model_copy(update={"memory_bytes": 2 * GIB})
    finding = host.memory_findings(small, 8 * GIB, 0)[0]
    assert finding.level == "warning"
    assert "cgroup limit" in finding.text


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results"
    file.write_text("")
    missing = tmp_path / "deep" / "down"
    found = host.disk_findings({"a file": file, "to be made": missing})
    assert found[0].level == "problem"
    assert str(missing) in found[1].text
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=GIB // 2))
    assert host.disk_findings({"full": tmp_path})[0].level == "problem"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "cannot be written" in host.disk_findings({"locked": tmp_path})[0].text
