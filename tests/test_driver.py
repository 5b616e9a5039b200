"""The driver on the fake backend: resume, refusal, interruption, recovery. A virtual clock, so it takes no time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from zoobench import api, machine
from zoobench.driver import Settings, execute
from zoobench.driver.recorder import measurement_key, work
from zoobench.driver.recovery import recover
from zoobench.errors import BusyError, UsageError
from zoobench.executors import Preparation
from zoobench.executors.local import LocalExecutor, fake_artifact
from zoobench.outcome import Slot
from zoobench.results.query import load_records
from zoobench.results.record import Record
from zoobench.results.store import read_samples
from zoobench.spec import Case, ModelSpec
from zoobench.terms import Effort, OnExisting, Precision, Status, VerdictValue


def measure(folder: Path, *, observer: api.Quiet | None = None, **changes: object) -> list[Record]:
    settings = {
        k: changes.pop(k)
        for k in ("on_existing", "max_case_time_s", "seed", "inputs", "sequential")
        if k in changes
    }
    return api.run(
        changes.pop("models", ["resnet18"]),
        backends=changes.pop("backends", ["fake"]),
        settings=Settings(results_dir=folder, **settings),
        observer=observer,
        **changes,
    )


def runs(folder: Path) -> list[Path]:
    return sorted((folder / "runs").iterdir())


def test_a_record_holds_the_keys_that_scripts_rely_on(tmp_path: Path) -> None:
    measure(tmp_path)
    [line] = (runs(tmp_path)[0] / "records.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert {
        "schema_version",
        "status",
        "measurement_key",
        "throughput_per_s",
        "load_s",
        "first_call_ms",
    } <= set(record)
    assert {"roofline_fraction", "error", "artifact", "machine", "model"} <= set(record)
    case_keys = {"id", "model", "backend", "device", "precision", "batch", "threads", "scenario", "arm"}
    assert case_keys <= set(record["case"])
    assert {"hf_id", "revision", "weights"} <= set(record["model"])
    artifact_keys = {"sha256", "size_bytes", "opset_asked", "opset", "export_rung", "validation"}
    assert artifact_keys <= set(record["artifact"])
    latency_keys = {"n", "mean_ms", "p50_ms", "p95_ms", "p99_ms"}
    interval_keys = {"p50_interval_ms", "p95_interval_ms", "p99_interval_ms"}
    assert latency_keys | interval_keys <= set(record["latency"])
    assert "peak_bytes" in record["memory"] and {"value", "reasons"} <= set(record["verdict"])
    assert "fingerprint" in record["machine"]


def test_samples_are_kept_and_statistics_are_derived_from_them(tmp_path: Path) -> None:
    [record] = measure(tmp_path)
    assert record.samples_file and record.latency
    slots = read_samples(runs(tmp_path)[0] / record.samples_file)
    samples = sorted(ns for slot in slots for ns in slot.samples_ns)
    assert len(samples) == record.latency.n
    assert samples[len(samples) // 2] / 1e6 == record.latency.p50_ms


def test_the_fake_backends_truth_comes_out(tmp_path: Path) -> None:
    [record] = measure(tmp_path, options={"fake_p50_ms": 7.0, "fake_sigma": 0.01}, effort="standard")
    assert record.latency and record.latency.p50_interval_ms
    low, high = record.latency.p50_interval_ms
    assert low <= 7.0 <= high and abs(record.latency.p50_ms - 7.0) < 0.02


def test_a_record_says_with_whom_it_took_turns(tmp_path: Path) -> None:
    asked = {"precisions": ["fp32", "int8"], "batch_sizes": [1, 2]}
    together = {(r.case.batch, r.case.precision.value): r.group for r in measure(tmp_path / "a", **asked)}
    assert together == {(1, "fp32"): 0, (1, "int8"): 0, (2, "fp32"): 1, (2, "int8"): 1}
    assert len({r.group for r in measure(tmp_path / "b", sequential=True, **asked)}) == 4


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    first = measure(tmp_path, batch_sizes=[1, 2])
    again = measure(tmp_path, batch_sizes=[1, 2, 3])
    assert [r.case.batch for r in again] == [1, 2, 3]
    assert again[:2] == first
    assert [len((run / "records.jsonl").read_text().splitlines()) for run in runs(tmp_path)] == [2, 1]
    measure(tmp_path, batch_sizes=[1, 2, 3])
    assert len(runs(tmp_path)) == 2, "with nothing left to do there is no new run"


def test_more_effort_measures_again_and_less_does_not(tmp_path: Path) -> None:
    measure(tmp_path, effort="standard")
    assert measure(tmp_path, effort="quick")[0].effort == "standard"
    assert measure(tmp_path, effort="thorough")[0].effort == "thorough"


def test_more_time_measures_again_and_less_does_not(tmp_path: Path) -> None:
    measure(tmp_path, max_case_time_s=5.0)
    assert measure(tmp_path, max_case_time_s=1.0)[0].max_case_time_s == 5.0
    assert measure(tmp_path)[0].max_case_time_s == 20.0
    assert len(runs(tmp_path)) == 2


def test_an_invalid_number_is_measured_again_and_an_unstable_one_stays(tmp_path: Path) -> None:
    for value, count in ((VerdictValue.UNSTABLE, 1), (VerdictValue.INVALID, 2)):
        [record] = measure(tmp_path)
        file = runs(tmp_path)[-1] / "records.jsonl"
        verdict = record.verdict.model_copy(update={"value": value})
        file.write_text(record.model_copy(update={"verdict": verdict}).model_dump_json() + "\n")
        measure(tmp_path)
        assert len(runs(tmp_path)) == count, value


def test_another_commit_machine_or_version_is_another_measurement(tmp_path: Path) -> None:
    case = Case(model="m", backend="fake", threads=1)
    artifact = fake_artifact(ModelSpec(name="m", library="fake"))
    keys = {
        measurement_key(case, artifact, {"torch": "1"}, "here"),
        measurement_key(case, artifact, {"torch": "2"}, "here"),
        measurement_key(case, artifact, {"torch": "1"}, "there"),
        measurement_key(case, artifact.model_copy(update={"sha256": "f"}), {"torch": "1"}, "here"),
        measurement_key(case, artifact.model_copy(update={"commit": "c"}), {"torch": "1"}, "here"),
        measurement_key(case.model_copy(update={"batch": 2}), artifact, {"torch": "1"}, "here"),
        measurement_key(case, artifact, {"torch": "1"}, "here", (0, 1)),
        measurement_key(case, artifact, {"torch": "1"}, "here", (0, 8)),
    }
    assert len(keys) == 8


def test_rerun_measures_again_and_fail_refuses(tmp_path: Path) -> None:
    measure(tmp_path)
    measure(tmp_path, on_existing=OnExisting.RERUN)
    assert len(load_records(tmp_path).records) == 2
    with pytest.raises(UsageError, match="holds results for 1 of these cells"):
        measure(tmp_path, on_existing=OnExisting.FAIL)


@pytest.mark.parametrize(
    ("fault", "status", "stage"),
    [
        ("load", Status.FAILED, "load"),
        ("slot", Status.FAILED, "slot"),
        ("memory", Status.OUT_OF_MEMORY, "load"),
    ],
)
def test_a_failure_is_a_record_and_is_tried_again(
    tmp_path: Path, fault: str, status: Status, stage: str
) -> None:
    [record] = measure(tmp_path, options={"fake_fault": fault})
    assert (record.status, record.error and record.error.stage) == (status, stage)
    assert record.verdict is None
    [again] = measure(tmp_path, options={"fake_fault": fault})
    assert again.run_id != record.run_id


@pytest.mark.parametrize("fault", ["nan", "constant"])
def test_outputs_that_mean_nothing_are_invalid(tmp_path: Path, fault: str) -> None:
    [record] = measure(tmp_path, options={"fake_fault": fault})
    assert record.status is Status.OK and record.verdict and record.verdict.value == "invalid"


def test_a_skip_is_a_record_with_its_reason(tmp_path: Path) -> None:
    records = measure(tmp_path, backends=["fake"], precisions=["fp32", "tf32"])
    assert {r.case.precision.value: r.status for r in records} == {"fp32": Status.OK, "tf32": Status.SKIPPED}
    # Who looks on while it runs is told how many will come, skips and all.
    assert json.loads((runs(tmp_path)[0] / "manifest.json").read_text())["cells"] == 2


class Interrupter(api.Quiet):
    """Presses Ctrl-C when a cell reaches a stage."""

    def __init__(self, stage: str, batch: int) -> None:
        self.stage, self.batch = stage, batch

    def working(self, case: Case, stage: str) -> None:
        if (stage, case.batch) == (self.stage, self.batch):
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["load", "warm_up", "slot", "evidence"])
def test_an_interruption_keeps_what_was_measured_and_a_second_run_continues(
    tmp_path: Path, stage: str
) -> None:
    records = measure(tmp_path, batch_sizes=[1, 2, 3], observer=Interrupter(stage, 2))
    assert [(r.case.batch, r.status) for r in records] == [(1, Status.OK), (2, Status.INTERRUPTED)]
    assert (records[1].latency is not None) == (stage == "evidence")
    again = measure(tmp_path, batch_sizes=[1, 2, 3])
    assert [r.status for r in again] == [Status.OK] * 3
    assert again[0] == records[0]


def test_a_run_that_was_killed_leaves_interrupted_records(tmp_path: Path) -> None:
    class Killed(BaseException):
        """Nothing catches it: as when the process is gone."""

    slots: list[Slot] = []

    class Watcher(api.Quiet):
        def working(self, case: Case, stage: str) -> None:
            journals = list(tmp_path.glob("runs/*/journal/*.jsonl"))
            if journals and len(journals[0].read_text().splitlines()) > 2:
                raise Killed

    with pytest.raises(Killed):
        measure(tmp_path, observer=Watcher())
    [record] = recover(tmp_path, api.Quiet())
    assert record.status is Status.INTERRUPTED and record.latency and record.latency.n >= 20
    assert record.throughput_per_s and record.samples_file
    slots = list(read_samples(tmp_path / "runs" / record.run_id / record.samples_file))
    assert sum(len(slot.samples_ns) for slot in slots) == record.latency.n
    assert not recover(tmp_path, api.Quiet()), "once is enough"


def test_a_model_that_cannot_be_prepared_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoobench.executors import Preparation

    def prepare(
        self: LocalExecutor, models: list[tuple[ModelSpec, list[str]]], **_: object
    ) -> list[Preparation]:
        good, bad = (model for model, _ in models)
        return [Preparation(good, {"fake": fake_artifact(good)}), Preparation(bad, error="the Hub said no")]

    monkeypatch.setattr(LocalExecutor, "prepare", prepare)
    records = measure(tmp_path, models=["resnet18", "resnet34"])
    by_model = {r.case.model: r for r in records}
    assert by_model["resnet18"].status is Status.OK
    failed = by_model["resnet34"]
    assert failed.error and (failed.error.stage, failed.error.message) == ("prepare", "the Hub said no")


def test_the_users_tensors_are_part_of_what_was_asked(tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "x.npz", np.zeros((2, 4), np.float32))
    [plain] = measure(tmp_path / "r")
    [own] = measure(tmp_path / "r", inputs=tmp_path / "x.npz")
    assert own.case.id != plain.case.id
    np.savez(tmp_path / "x.npz", np.ones((2, 4), np.float32))
    [other] = measure(tmp_path / "r", inputs=tmp_path / "x.npz")
    assert other.case.id != own.case.id
    with pytest.raises(UsageError, match=r"--inputs .*gone.npz: No such file"):
        measure(tmp_path / "r", inputs=tmp_path / "gone.npz")


def test_work_counts_weights_once_and_inputs_for_each_item() -> None:
    artifact = fake_artifact(ModelSpec(name="m", library="fake")).model_copy(
        update={"flops": 100, "parameters": 10, "bytes_moved": 40 + 7}
    )
    assert work(artifact, 1) == (100, 47)
    assert work(artifact, 8) == (800, 40 + 8 * 7)
    assert work(artifact, 8, Precision.BF16) == (800, 20 + 8 * 7), "half the width, half the weights"
    assert work(artifact.model_copy(update={"flops": None, "bytes_moved": None}), 8) == (None, None)


def test_only_what_runs_on_a_real_clock_takes_the_machines_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []
    original: Callable[..., object] = machine.measurement_lock
    monkeypatch.setattr(machine, "measurement_lock", lambda **k: taken.append(True) or original(**k))
    measure(tmp_path)
    assert not taken


def test_what_could_not_be_exported_fails_and_the_rest_is_measured(tmp_path: Path) -> None:
    class Half(LocalExecutor):
        def probe(self, backends: Sequence[str]) -> dict[str, str | None]:
            return dict.fromkeys(backends)

        def prepare(
            self, models: Sequence[tuple[ModelSpec, Sequence[str]]], **_: object
        ) -> Iterator[Preparation]:
            for model, _formats in models:
                made = {"fake": fake_artifact(model)}
                yield Preparation(model, made, failed={"onnx": "no room left"})

    request = api.request(["resnet18"], backends=["fake", "onnx_cpu"])
    settings = Settings(results_dir=tmp_path / "r")
    records = list(execute(request, settings, Half(tmp_path / "c"), api.Quiet()))
    found = {r.case.backend: (r.status, r.error and r.error.message) for r in records}
    assert found == {"fake": (Status.OK, None), "onnx_cpu": (Status.FAILED, "no room left")}


def test_a_busy_machine_is_left_alone_by_preparing_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOBENCH_LOCK", str(tmp_path / "lock"))

    def prepare(*_: object, **__: object) -> None:
        raise AssertionError("an export would spoil what the other run measures")

    executor = LocalExecutor()
    monkeypatch.setattr(executor, "prepare", prepare)
    request = api.request(["resnet18"], backends=["fake"], options={"fake_clock": "wall"})
    with machine.measurement_lock(), pytest.raises(BusyError, match="another measurement"):
        list(execute(request, Settings(results_dir=tmp_path / "r"), executor, api.Quiet()))


def test_execute_yields_each_record_once_it_stands_on_disk(tmp_path: Path) -> None:
    request = dataclasses.replace(
        api.request(["resnet18"], backends=["fake"], batch_sizes=[1, 2, 3]), effort=Effort.QUICK
    )
    for count, record in enumerate(
        execute(request, Settings(results_dir=tmp_path), LocalExecutor(), api.Quiet()), start=1
    ):
        stored = load_records(tmp_path).records
        assert len(stored) == count and stored[-1] == record
