"""Reading results back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.show.records import (
    OTHER_MACHINE,
    full_run,
    make_accuracy,
    make_failure,
    make_record,
    write_results,
)

from zoobench.errors import UsageError
from zoobench.outcome import LoadSummary
from zoobench.results import schema as schema_module
from zoobench.results.query import (
    Cell,
    Loaded,
    by_machine,
    latest,
    latest_cells,
    latest_pairs,
    load_ranked_rows,
    load_records,
    load_rows,
    load_run,
)
from zoobench.results.record import ModelInfo, Record
from zoobench.results.row import Row, changed, row_of
from zoobench.results.schema import SCHEMA_VERSION
from zoobench.results.select import select
from zoobench.results.watch import State, Watch
from zoobench.terms import Status, VerdictValue

Load = Callable[[Path], Loaded[Any]]


def write_lines(folder: Path, *lines: bytes) -> Path:
    run = folder / "runs" / "run-1"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"argv": ["zoobench", "run"]}))
    (run / "records.jsonl").write_bytes(b"".join(lines))
    return folder


def line(**changes: Any) -> bytes:
    return json.dumps({**make_record().model_dump(mode="json"), **changes}).encode() + b"\n"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A results folder below one that lets nobody in; root, whom that would not stop, is somebody else meanwhile."""
    results = write_results(tmp_path / "closed" / "results", [make_record()])
    results.parent.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield results
    finally:
        os.seteuid(user)
        results.parent.chmod(0o700)


def test_a_closed_folder_is_told_in_one_line_and_what_to_do(closed: Path) -> None:
    with pytest.raises(UsageError, match=r"^cannot read '.*runs': Permission denied; check its permissions$"):
        load_rows(closed)
    with pytest.raises(UsageError, match="Permission denied; check its permissions"):
        select("latest", closed)
    (folder,) = Watch([closed]).look()
    assert folder.state is State.CLOSED and "Permission denied" in folder.problems[0]


def test_a_link_that_leads_to_itself_is_not_said_to_be_missing(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(UsageError, match=r"cannot read .*Too many levels of symbolic links"):
        load_rows(loop)
    with pytest.raises(UsageError, match="no results folder"):
        load_rows(tmp_path / "nowhere")


def test_what_was_written_is_read_back_oldest_first(tmp_path: Path) -> None:
    newer = make_record(run_id="run-a", at="2026-11-24T00:00:00+00:00")
    older = make_record("resnet50", run_id="run-b", at="2026-11-23T00:00:00+00:00")
    loaded = load_records(write_results(tmp_path, [newer, older]))
    assert loaded.records == [older, newer]
    assert loaded.problems == []
    assert [run.run_id for run in loaded.runs] == ["run-b", "run-a"]
    assert loaded.runs[0].argv == ("zoobench", "run", "--models", "resnet18")


@pytest.mark.parametrize("load", [load_records, load_rows])
def test_a_torn_last_line_is_named_and_the_others_are_kept(tmp_path: Path, load: Load) -> None:
    loaded = load(write_lines(tmp_path, line(), b"\n", line()[:200]))
    assert len(loaded.records) == 1
    assert len(loaded.problems) == 1
    assert "records.jsonl:3: cut short by an interruption" in loaded.problems[0]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"garbage\n", "not a JSON object"),
        (b"[1, 2]\n", "not a JSON object"),
        (b"[" * 100_000 + b"\n", "not a JSON object"),
        (b"\xff\xfe\x00\n", "not a JSON object"),
        (line(status="splendid"), "status"),
        (line(schema_version=SCHEMA_VERSION + 1), f"schema version {SCHEMA_VERSION + 1}"),
        (line(schema_version="one"), "schema_version"),
        (b'{"run_id": "x"}\n', "no usable schema_version"),
    ],
)
@pytest.mark.parametrize("load", [load_records, load_rows])
def test_a_bad_line_is_named_with_its_place_and_does_not_stop_the_rest(
    tmp_path: Path, bad: bytes, why: str, load: Load
) -> None:
    loaded = load(write_lines(tmp_path, line(), bad, line()))
    assert len(loaded.records) == 2
    assert len(loaded.problems) == 1
    assert "records.jsonl:2" in loaded.problems[0]
    assert why in loaded.problems[0]


def test_a_record_without_a_version_is_refused_even_where_it_looks_like_todays(tmp_path: Path) -> None:
    data = make_record().model_dump(mode="json")
    del data["schema_version"]
    loaded = load_records(write_lines(tmp_path, json.dumps(data).encode() + b"\n"))
    assert loaded.records == []
    assert "no usable schema_version" in loaded.problems[0]


def test_an_older_record_is_lifted_on_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lift(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "effort": "lifted", "schema_version": 2}

    monkeypatch.setattr(schema_module, "SCHEMA_VERSION", 2)
    monkeypatch.setattr("zoobench.results.query.SCHEMA_VERSION", 2)
    monkeypatch.setitem(schema_module.UPGRADES, 1, lift)
    loaded = load_records(write_lines(tmp_path, line(schema_version=1), line(schema_version=2)))
    assert [r.effort for r in loaded.records] == ["lifted", "quick"]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_no_bytes_in_a_records_file_raise(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    write_lines(folder, *lines)
    assert load_records(folder).records == load_rows(folder).records == []


def test_a_row_read_from_disk_is_the_row_of_its_record(tmp_path: Path) -> None:
    records = [
        *full_run(),
        make_record(options={"gap_ms": 5, "io_binding": True}, warnings=[("one_fork", "x")], p95=10.2),
    ]
    write_results(tmp_path, records)
    assert load_rows(tmp_path).records == [row_of(r) for r in load_records(tmp_path).records]


OF_TOKENS = set(Row.__struct_fields__) & {
    *(f"{what}_{value}_ms" for what in ("ttft", "itl", "tpot") for value in ("p50", "p95", "p99", "interval")),
    "prefill_tokens_per_s", "decode_tokens_per_s", "requests", "prompt_tokens", "new_tokens", "concurrency", "made_s", "requests_per_s",
    "tokens_per_s", "mean_in_flight", "joules_per_token", "good", "goodput_per_s", "chunks", "after_import_bytes",
    "after_load_bytes", "kv_used_bytes", "kv_reserved_bytes", "perplexity", "kl_mean", "kl_p99", "token_agreement",
    "quality_gate", "quality_passed", "quality_tokens", "quality_source",
}  # fmt: skip


OF_DETECTORS = {
    "preprocessing_p50_ms", "stage_model_p50_ms", "postprocessing_p50_ms", "postprocessing_p95_ms", "end_to_end_p50_ms",
    "end_to_end_interval_ms", "end_to_end_p95_ms", "stage_rounds", "stage_pictures", "score_threshold", "iou_threshold", "boxes",
    "map", "map_interval", "map50", "map75", "map_small", "map_medium", "map_large", "objects", "crowds", "map_score_threshold",
    "map_most", "map_evaluator", "boxes_found", "boxes_extra", "drop_pictures", "reference_boxes", "same_score", "same_iou", "iou_mean", "iou_min",
}  # fmt: skip
NOT_OF_CLASSIFIERS = OF_TOKENS | OF_DETECTORS


def test_a_row_holds_what_its_record_holds() -> None:
    record = make_record(p95=10.2, reasons=[("drift", "x")], verdict=VerdictValue.UNSTABLE)
    row = row_of(record)
    latency, memory, warm_up = record.latency, record.memory, record.warm_up
    assert latency and memory and warm_up and record.artifact and record.verdict
    assert (row.p50_ms, row.p50_interval_ms, row.p95_ms) == (latency.p50_ms, latency.p50_interval_ms, 10.2)
    assert (row.peak_bytes, row.size_bytes) == (memory.peak_bytes, record.artifact.size_bytes)
    assert (row.warm_up_calls, row.warm_up_s, row.warm_up_steady) == (109, 1.02, True)
    assert (row.verdict, row.reasons) == (record.verdict.value, record.verdict.reasons)
    assert (row.fingerprint, row.cpu_model) == (record.machine.fingerprint, record.machine.cpu_model)
    assert row.label == record.case.label
    unknown = [name for name in row.__struct_fields__ if getattr(row, name) is None]
    unknown = [name for name in unknown if not name.startswith("load_") and name not in NOT_OF_CLASSIFIERS]
    not_asked = {
        "shape", "licence", "compile_s", "p99_ms", "p99_interval_ms", "joules_per_item", "gpu_bytes", "samples_file",
        "error_stage", "error_message", "group", "derived_from",
    }  # fmt: skip
    assert not_asked <= set(unknown)
    accuracy = make_accuracy(760, lost=30, won=12, masked=850, published_top1=76.1)
    row = row_of(record.model_copy(update={"accuracy": accuracy}))
    unknown = [name for name in row.__struct_fields__ if getattr(row, name) is None]
    unknown = [name for name in unknown if not name.startswith("load_") and name not in NOT_OF_CLASSIFIERS]
    assert set(unknown) == not_asked | {"unclaimed"}
    assert accuracy.top1 and accuracy.fidelity and accuracy.fidelity.drop
    assert (row.top1, row.top1_interval, row.top1_masked) == (0.76, accuracy.top1.interval, 0.85)
    assert (row.drop_lost, row.drop_won, row.images_needed) == (30, 12, accuracy.fidelity.drop.images_needed)


def test_a_row_holds_what_loadgen_said() -> None:
    load = LoadSummary(
        tests=4, valid_tests=3, completed_qps=49, latency_percentile=99, percentile_ms=21, scheduled_qps=50,
        mean_in_flight=2,
    )  # fmt: skip
    row = row_of(make_record(scenario="server", load=load))
    assert (row.load_tests, row.load_valid_tests, row.load_percentile, row.load_percentile_ms) == (
        4,
        3,
        99,
        21,
    )
    assert (row.load_scheduled_qps, row.load_mean_in_flight) == (50, 2)
    assert row_of(make_record()).load_tests is None


def test_a_folder_that_is_missing_or_a_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="zoobench run"):
        load_records(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        load_records(tmp_path / "file")


def test_an_empty_folder_and_a_broken_manifest_are_no_errors(tmp_path: Path) -> None:
    assert load_records(tmp_path).records == []
    write_results(tmp_path, [make_record()])
    (tmp_path / "runs" / "run-1" / "manifest.json").write_text("{")
    loaded = load_records(tmp_path)
    assert len(loaded.records) == 1
    assert loaded.runs[0].argv == ()
    assert "manifest.json" in loaded.problems[0]


def test_the_later_of_two_records_of_one_cell_is_shown() -> None:
    first, second = make_record(p50=9.0), make_record(p50=8.0, run_id="run-2")
    assert latest([first, second]) == [second]


def test_of_a_run_only_the_records_that_are_asked_for_are_read(tmp_path: Path) -> None:
    close = json.dumps(json.loads(line(measurement_key="b")), separators=(",", ":")).encode() + b"\n"
    unasked = line(measurement_key="c").replace(b'"status": "ok"', b'"status": "no such status"')
    nameless = b'{"what": "is this"}\n'
    results = write_lines(tmp_path, line(measurement_key="a"), close, unasked, nameless)
    loaded = load_run(results / "runs" / "run-1", {"a", "b"})
    assert [record.measurement_key for record in loaded.records] == ["a", "b"]
    # What does not say whose it is might have been asked for.
    (problem,) = loaded.problems
    assert "records.jsonl:4:" in problem
    assert len(load_run(results / "runs" / "run-1").problems) == 2


def test_other_options_batches_machines_and_local_files_are_other_cells() -> None:
    def local(content: str) -> Record:
        model = ModelInfo(name="resnet18", weights="local", revision=content * 40)
        return make_record().model_copy(update={"model": model})

    records = [
        make_record(),
        make_record(batch=4),
        make_record(options={"io_binding": True}),
        make_record(options={"io_binding": 1}),
        make_record(machine=OTHER_MACHINE),
        local("a"),
        local("b"),
    ]
    assert latest(records) == records
    assert len({row_of(r).cell for r in records}) == len(records)


@pytest.mark.parametrize("status", [Status.FAILED, Status.INTERRUPTED, Status.TIMEOUT, Status.SKIPPED])
def test_a_later_failure_neither_hides_older_numbers_nor_vanishes(status: Status) -> None:
    good = make_record("resnet50")
    bad = make_failure("resnet50", status=status, run_id="run-2")
    assert latest_pairs([good, bad]) == [(good, bad)]
    assert latest_cells(map(row_of, [good, bad])) == [Cell(row_of(good), row_of(bad))]
    better = make_record("resnet50", p50=8.0, run_id="run-3")
    assert latest_pairs([good, bad, better]) == [(better, None)]


NOISE = ("cpu_contended", "another process")


@pytest.mark.parametrize("code", ["cpu_contended", "throttled"])
def test_a_disturbed_attempt_replaces_no_numbers_of_what_was_run(code: str) -> None:
    good = make_record("resnet50", p50=8.0)
    reasons = [(code, "the machine was busy"), ("drift", "it drifted")]
    noisy = make_record("resnet50", p50=30.0, run_id="run-2", verdict=VerdictValue.INVALID, reasons=reasons)
    assert latest_pairs([good, noisy]) == [(good, noisy)]
    failed = make_failure("resnet50", run_id="run-3")
    assert latest_pairs([noisy, failed]) == [(noisy, failed)]
    assert latest([noisy, good]) == [good]
    # Another reason beside it lies in what was run, and is news.
    wrong = make_record(
        "resnet50",
        run_id="run-4",
        verdict=VerdictValue.INVALID,
        reasons=[NOISE, ("differs_from_reference", "")],
    )
    assert latest_pairs([good, wrong]) == [(wrong, None)]


def test_of_failures_alone_the_latest_is_shown() -> None:
    first, second = make_failure(message="one"), make_failure(message="two")
    assert latest([first, second]) == [second]


def test_machines_are_kept_apart() -> None:
    here, there = make_record(), make_record(machine=OTHER_MACHINE)
    assert by_machine([here, there]) == {
        here.machine.fingerprint: [here],
        there.machine.fingerprint: [there],
    }


def test_a_manifest_tells_commit_and_cells_where_it_knows_them(tmp_path: Path) -> None:
    folder = write_results(tmp_path, [make_record(), make_record(run_id="run-2")])
    told = {"argv": ["zoobench"], "git_commit": "c0ffee", "cells": 12}
    (folder / "runs/run-1/manifest.json").write_text(json.dumps(told))
    odd = {"argv": ["zoobench"], "git_commit": 7, "cells": "many"}
    (folder / "runs/run-2/manifest.json").write_text(json.dumps(odd))
    first, second = load_rows(folder).runs
    assert (first.git_commit, first.cells) == ("c0ffee", 12)
    assert (second.git_commit, second.cells) == (None, None)


def test_records_of_a_newer_schema_are_counted(tmp_path: Path) -> None:
    folder = write_lines(tmp_path, line(), line(schema_version=SCHEMA_VERSION + 1), b"{torn\n")
    loaded = load_rows(folder)
    assert (len(loaded.records), len(loaded.problems), loaded.newer) == (1, 2, 1)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
@pytest.mark.parametrize("load", [load_records, load_rows, load_ranked_rows])
def test_what_is_no_number_is_no_record(tmp_path: Path, number: bytes, load: Load) -> None:
    bad = re.sub(rb'"p50_ms": [0-9.]+', b'"p50_ms": ' + number, line(), count=1)
    assert number in bad
    loaded = load(write_lines(tmp_path, line(), bad))
    assert len(loaded.records) == 1
    assert "records.jsonl:2: not a record (" in loaded.problems[0]


def test_a_case_that_says_only_what_it_must_is_read_alike_everywhere(tmp_path: Path) -> None:
    case = {"model": "resnet18", "backend": "onnx_cpu", "threads": 2}
    folder = write_lines(tmp_path, line(case=case))
    [record], [row], [ranked] = (load(folder).records for load in (load_records, load_rows, load_ranked_rows))
    assert changed(row, options={}) == row_of(record)
    assert (ranked.device, ranked.precision, ranked.batch, ranked.scenario, ranked.arm) == (
        "cpu", "fp32", 1, "single_stream", "base",
    )  # fmt: skip


@pytest.mark.parametrize("value", [0, -1, 10**400])
def test_a_batch_that_cannot_be_is_no_row(tmp_path: Path, value: int) -> None:
    case = make_record().case.model_dump(mode="json")
    loaded = load_rows(write_lines(tmp_path, line(case={**case, "batch": value})))
    assert loaded.records == [] and len(loaded.problems) == 1
