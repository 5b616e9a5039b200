"""The sensors on invented machines for exact figures, and on this one for what a kernel really shows."""

import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoobench.measure.gpu_sensor import GpuSensor
from zoobench.measure.placement import Placement
from zoobench.measure.sensors import Sensors, process_cpu_s, timer_resolution_ns
from zoobench.outcome import Noise

WORKER = 4242


class FakeMachine:
    """Two CPUs (of `shown`) under a folder of our own, with clocks that a test sets. Times in seconds."""

    def __init__(self, root, shown=2):
        self.root, self.shown = root, shown
        self.now, self.parent, self.worker = 100.0, 1.0, 5.0
        self.busy, self.steal, self.iowait = [10.0] * shown, [0.0] * shown, [0.0] * shown
        self.pressure, self.started = 0.0, 100.0 - 50.0
        self.switches = {WORKER: 3, WORKER + 1: 4}
        self.write("proc/self/cgroup", "0::/job\n")
        self.write("proc/loadavg", "1.25 0.5 0.1 1/100 4242\n")
        self.write(
            "proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2000.0\n\nprocessor\t: 1\ncpu MHz\t\t: 3000.0\n"
        )
        self.throttle(0)
        self.flush()

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def throttle(self, usec):
        self.write("sys/fs/cgroup/job/cpu.stat", f"usage_usec 1\nnr_throttled 0\nthrottled_usec {usec}\n")

    def row(self, name, cpus):
        busy, steal, wait = (sum(v[i] for i in cpus) for v in (self.busy, self.steal, self.iowait))
        idle = (self.now - self.started) * len(cpus) - busy - steal - wait
        ticks = [int(s * 100 + 1e-6) for s in (busy, 0, 0, idle, wait, 0, 0, steal)]
        return f"{name} {' '.join(map(str, ticks))} 0 0\n"

    def flush(self):
        every = range(self.shown)
        rows = [self.row("cpu", every), *(self.row(f"cpu{i}", [i]) for i in every)]
        self.write("proc/stat", "".join(rows) + "intr 1 2 3\n")
        self.write("proc/pressure/cpu", f"some avg10=0.00 total={int(self.pressure * 1e6)}\nfull total=9\n")
        for thread, count in self.switches.items():
            text = f"voluntary_ctxt_switches:\t99\nnonvoluntary_ctxt_switches:\t{count}\n"
            self.write(f"proc/{WORKER}/task/{thread}/status", text)

    def sensors(self, cpus=(0, 1), placement=None):
        return Sensors(
            WORKER,
            cpus,
            placement=placement,
            root=self.root,
            clock=lambda: self.now,
            parent_cpu=lambda: self.parent,
            worker_cpu=lambda pid: self.worker,
        )

    def slot(self, seconds, worker=0.0, foreign=0.0, parent=0.0, reported=None, sensors=None):
        """Let time pass; CPU time is spread evenly over the CPUs."""
        sensors = sensors or self.sensors()
        before = sensors.before()
        self.now += seconds
        self.parent += parent
        self.worker += worker
        self.busy = [b + (worker + foreign + parent) / self.shown for b in self.busy]
        self.flush()
        return sensors.after(before, reported)


@pytest.fixture
def machine(tmp_path):
    return FakeMachine(tmp_path)


def test_what_we_use_ourselves_is_not_foreign(machine):
    noise = machine.slot(1.0, worker=1.9, parent=0.01)
    assert noise.foreign_cpu == 0.0
    assert noise.parent_cpu == pytest.approx(0.01)


def test_what_others_use_is_a_share_of_our_cpus(machine):
    # 0.4 of 2 CPU seconds, less half a tick.
    assert machine.slot(1.0, worker=1.0, foreign=0.4).foreign_cpu == pytest.approx(0.2 - 0.0025)


def test_a_worker_whose_clock_cannot_be_read_reports_its_own(machine):
    sensors = Sensors(
        None, (0, 1), root=machine.root, clock=lambda: machine.now, parent_cpu=lambda: machine.parent
    )
    assert machine.slot(1.0, worker=1.0, reported=1.0, sensors=sensors).foreign_cpu == 0.0
    assert machine.slot(1.0, worker=1.0, reported=None, sensors=sensors).foreign_cpu > 0.49


def test_the_larger_account_of_the_worker_counts(machine):
    assert machine.slot(1.0, worker=1.0, reported=0.6).foreign_cpu == 0.0


def test_where_the_cpus_are_is_looked_at_before_the_slot(tmp_path):
    machine, looked = FakeMachine(tmp_path), []

    def look(writer, reader):
        looked.append(machine.now)
        machine.parent += 0.5  # what it costs is not the slot's
        return 1.8

    sensors = machine.sensors(placement=Placement([0, 1], look=look))
    began = machine.now
    noise = machine.slot(1.0, worker=1.0, sensors=sensors)
    assert looked == [began]
    assert (noise.cpu_crossing, noise.cpu_crossing_best, noise.parent_cpu) == (1.8, 1.8, 0.0)
    assert machine.slot(1.0).cpu_crossing is None


def test_only_our_cpus_are_watched(tmp_path):
    machine = FakeMachine(tmp_path, shown=4)
    sensors = machine.sensors(cpus=(1, 2))
    before = sensors.before()
    machine.now += 1.0
    machine.busy[0] += 0.9
    machine.busy[2] += 0.4
    machine.flush()
    # Two rows, so twice half a tick.
    assert sensors.after(before).foreign_cpu == pytest.approx(0.2 - 0.005)


def test_steal_is_seen_apart_and_waiting_for_disks_is_not_work(machine):
    sensors = machine.sensors()
    before = sensors.before()
    machine.now += 1.0
    machine.steal[0] += 0.3
    machine.iowait[1] += 0.5
    machine.flush()
    noise = sensors.after(before)
    assert noise.steal == pytest.approx(0.15)
    assert noise.foreign_cpu == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(("cpus", "shown"), [((0, 1), 2), ((0, 1), 3)])
def test_the_grain_of_the_counters_is_never_taken_for_another_process(tmp_path, cpus, shown):
    machine, rng = FakeMachine(tmp_path, shown), random.Random(7)
    sensors = machine.sensors(cpus)
    seen = []
    for _ in range(200):
        machine.now += rng.random() / 100
        machine.busy = [b + rng.random() / 500 for b in machine.busy]
        machine.flush()
        before = sensors.before()
        work = rng.uniform(0.1, 0.25)
        machine.now += 0.25
        machine.worker += 2 * work
        machine.busy = [b + work for b in machine.busy]
        machine.flush()
        seen.append(sensors.after(before).foreign_cpu)
    assert max(seen) <= 0.02


def test_pressure_throttling_switches_clock_and_load(machine):
    sensors = machine.sensors()
    before = sensors.before()
    machine.now += 2.0
    machine.pressure += 0.5
    machine.throttle(120_000)
    machine.switches = {WORKER: 10, WORKER + 2: 5}
    machine.flush()
    noise = sensors.after(before)
    assert noise.pressure == pytest.approx(0.25)
    assert noise.throttled_s == pytest.approx(0.12)
    # 7 more in a thread that was there, 0 in the one that did not run, 5 in a new one.
    assert noise.involuntary_switches == 12
    assert noise.cpu_mhz == 2500
    assert noise.load_1m == 1.25


def test_throttling_in_the_older_cgroups_is_in_nanoseconds(tmp_path):
    machine = FakeMachine(tmp_path)
    machine.write("proc/self/cgroup", "3:cpu,cpuacct:/job\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.stat", "nr_periods 1\nthrottled_time 1000000000\n")
    sensors = machine.sensors()
    before = sensors.before()
    machine.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.stat", "nr_periods 1\nthrottled_time 1500000000\n")
    machine.now += 1.0
    assert sensors.after(before).throttled_s == pytest.approx(0.5)


def test_a_system_that_shows_nothing_gives_none(tmp_path):
    sensors = Sensors(WORKER, (0, 1), root=tmp_path, worker_cpu=lambda pid: None)
    noise = sensors.after(sensors.before(), 0.0)
    hidden = noise.model_copy(update={"parent_cpu": None})
    assert hidden == Noise()


def test_counters_that_stand_still_are_not_taken_for_a_busy_machine(tmp_path):
    # Some sandboxes show a /proc/stat of zeros.
    machine = FakeMachine(tmp_path)
    machine.write(
        "proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n"
    )
    sensors = machine.sensors()
    before = sensors.before()
    machine.now += 1.0
    assert sensors.after(before).foreign_cpu is None


def test_a_worker_that_died_meanwhile_leaves_a_reading(machine):
    sensors = machine.sensors()
    before = sensors.before()
    machine.now += 1.0
    machine.flush()
    sensors._worker_cpu = lambda pid: None
    assert sensors.after(before).foreign_cpu == 0.0


# --- this machine


@pytest.fixture
def spinner():
    code = "print(1, flush=True)\nwhile True: pass"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child.stdout.readline()
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_the_clock_of_another_process_runs_with_its_work(spinner):
    before = process_cpu_s(spinner.pid)
    deadline = time.monotonic() + 20
    while process_cpu_s(spinner.pid) < before + 0.05:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process_cpu_s(2**22 + 1) is None


@linux
def test_a_busy_process_is_foreign_unless_it_is_the_worker(spinner):
    ours, others = Sensors(spinner.pid), Sensors(None)
    gaps = []
    for _ in range(5):
        before_ours, before_others, cpu = ours.before(), others.before(), process_cpu_s(spinner.pid)
        begin = time.perf_counter()
        time.sleep(0.25)
        noise_others, noise_ours = others.after(before_others), ours.after(before_ours)
        used = (process_cpu_s(spinner.pid) - cpu) / (time.perf_counter() - begin) / len(ours.cpus)
        gaps.append(noise_others.foreign_cpu - noise_ours.foreign_cpu - used)
    # Whatever else runs is in both, so the difference is what the process itself used.
    assert statistics.median(gaps) == pytest.approx(0.0, abs=0.04)
    assert noise_others.foreign_cpu > 0.25 / len(ours.cpus)


@linux
def test_looking_is_cheap():
    """A dozen small files on each side: no more than reading as many files several times over."""

    def cost(look):
        begin = time.process_time()
        look()
        return time.process_time() - begin

    sensors = Sensors(os.getpid())
    files = [Path("/proc/stat"), *[Path(f"/proc/self/task/{os.getpid()}/status")] * 23]
    reading = min(cost(lambda: [file.read_text() for file in files]) for _ in range(30))
    looking = min(cost(lambda: sensors.after(sensors.before())) for _ in range(30))
    assert looking < 10 * reading


def test_the_timer_is_finer_than_a_microsecond_and_never_zero():
    assert 0 < timer_resolution_ns() < 1000
    steps = iter([0, 0, 100, 100, 140, 300])
    assert timer_resolution_ns(lambda: next(steps), readings=6) == 40
    assert timer_resolution_ns(lambda: 5) > 0


# --- GPUs


class NvmlError(Exception):
    pass


def fake_nvml(**replaced):
    def refuse(*_):
        raise NvmlError("not supported")

    answers = {
        "NVMLError": NvmlError,
        "NVML_CLOCK_SM": 1,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: f"gpu{index}",
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x01 | 0x04 | 0x40,
        "nvmlDeviceGetClockInfo": lambda handle, kind: 1410,
        "nvmlDeviceGetTemperature": lambda handle, kind: 61,
        "nvmlDeviceGetPowerUsage": lambda handle: 250_500,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [
            SimpleNamespace(pid=9, usedGpuMemory=3_000),
            SimpleNamespace(pid=7, usedGpuMemory=500),
        ],
    }
    return SimpleNamespace(**{**answers, **{k: v or refuse for k, v in replaced.items()}})


def test_a_gpu_tells_its_clock_its_heat_and_its_guests():
    sensor = GpuSensor.open(0, fake_nvml)
    assert sensor.read({7, None}) == {
        "clock_event_reasons": ["sw_power_cap", "hw_thermal"],
        "sm_clock_mhz": 1410,
        "temperature_c": 61,
        "power_w": 250.5,
        "foreign_pids": [9],
    }


def test_a_gpu_tells_who_holds_its_memory():
    sensor = GpuSensor.open(0, fake_nvml)
    assert sensor.held_bytes({7, 9}) == 3_500
    assert sensor.held_bytes({7}) == 500
    assert sensor.held_bytes({1}) is None, "not shown is not nothing"
    hidden = fake_nvml(
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [SimpleNamespace(pid=7, usedGpuMemory=None)]
    )
    assert GpuSensor.open(0, lambda: hidden).held_bytes({7}) is None
    assert Sensors(worker_pid=7).gpu_bytes() is None


def test_what_a_gpu_does_not_tell_is_none():
    nvml = fake_nvml(nvmlDeviceGetPowerUsage=None, nvmlDeviceGetComputeRunningProcesses=None)
    read = GpuSensor.open(0, lambda: nvml).read(set())
    assert (read["power_w"], read["foreign_pids"], read["temperature_c"]) == (None, None, 61)


def test_without_a_driver_there_is_no_gpu_sensor():
    def missing():
        raise ImportError("pynvml")

    assert GpuSensor.open(0, missing) is None
    assert GpuSensor.open(0, lambda: fake_nvml(nvmlInit=None)) is None


@pytest.mark.gpu
def test_a_real_gpu_answers():
    read = GpuSensor.open(0).read({os.getpid()})
    assert read["sm_clock_mhz"] > 0
    assert read["temperature_c"] > 0
