"""Folders that are looked at while a run writes: what changed is read again, and nothing else."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import weakref
from pathlib import Path

import pytest
from tests.show.records import OTHER_MACHINE, make_failure, make_record, write_results

from zoobench.results import watch as watch_module
from zoobench.results.watch import Folder, Holdings, State, Watch, reference


def look(*paths: Path) -> Folder:
    return Watch(paths).look()[0]


def test_what_did_not_change_is_the_same_object_and_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(tmp_path, [make_record(run_id="run-a"), make_record("resnet50", run_id="run-b")])
    read: list[str] = []
    load = watch_module.load_run_rows
    monkeypatch.setattr(watch_module, "load_run_rows", lambda run: read.append(run.name) or load(run))  # type: ignore[func-returns-value]
    watch = Watch([tmp_path])
    first = watch.look()
    assert watch.look()[0] is first[0]
    assert watch.holdings(first) is watch.holdings(watch.look())
    assert read == ["run-a", "run-b"]
    write_results(tmp_path, [make_record("vit", run_id="run-b")])
    later = watch.look()
    assert read == ["run-a", "run-b", "run-b"]
    assert [row.model for row in later[0].rows] == ["resnet18", "resnet50", "vit"]
    assert watch.holdings(later) is not watch.holdings(first)


def test_a_folder_is_known_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "foreign" / "photos").mkdir(parents=True)
    (tmp_path / "empty" / "runs").mkdir(parents=True)
    (tmp_path / "bare").mkdir()
    filled = write_results(tmp_path / "filled", [make_record()])
    damaged = write_results(tmp_path / "damaged", [make_record()])
    (damaged / "runs/run-1/records.jsonl").write_text('{"torn')
    newer = write_results(tmp_path / "newer", [make_record()])
    later = {**make_record().model_dump(mode="json"), "schema_version": 99}
    (newer / "runs/run-1/records.jsonl").write_text(json.dumps(later) + "\n")
    states = {
        name: look(tmp_path / name).state
        for name in ("missing", "file", "foreign", "empty", "bare", "filled", "damaged", "newer")
    }
    assert states == {
        "missing": State.MISSING,
        "file": State.FILE,
        "foreign": State.FOREIGN,
        "empty": State.EMPTY,
        "bare": State.EMPTY,
        "filled": State.FILLED,
        "damaged": State.DAMAGED,
        "newer": State.NEWER,
    }
    assert look(filled / "runs/run-1").state is State.A_RUN
    assert "schema version 99" in look(newer).problems[0]


def test_a_run_that_is_being_written_says_how_far_it_is_and_its_last_line_is_no_problem(
    tmp_path: Path,
) -> None:
    write_results(tmp_path, [make_record(), make_record("resnet50")])
    run = tmp_path / "runs/run-1"
    (run / "manifest.json").write_text(json.dumps({"argv": ["zoobench"], "cells": 5}))
    (run / "lock").touch()
    with (run / "records.jsonl").open("ab") as file:
        file.write(b'{"half a li')
    watch = Watch([tmp_path])
    assert watch.look()[0].running == ()
    assert len(watch.look()[0].problems) == 1
    with (run / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if os.fstat(held.fileno()).st_ino not in watch_module._held_files():
            pytest.skip("this kernel does not tell who holds a lock")
        (found,) = watch.look()
        assert [(one.run_id, one.done, one.cells) for one in found.running] == [("run-1", 2, 5)]
        assert found.problems == ()
    assert watch.look()[0].running == ()


def test_an_equal_inode_on_another_device_is_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(tmp_path, [make_record()])
    lock = tmp_path / "runs/run-1/lock"
    lock.touch()
    found = lock.stat()
    major, minor = os.major(found.st_dev), os.minor(found.st_dev)
    table = tmp_path / "locks"
    monkeypatch.setattr(watch_module, "_LOCKS", table)

    def running(device: str) -> bool:
        table.write_text(
            f"1: FLOCK  ADVISORY  WRITE 1 {device}:{found.st_ino} 0 EOF\n2: FLOCK  ADVISORY  WRITE 1 <none>:0 0 EOF\n"
        )
        return bool(Watch([tmp_path]).look()[0].running)

    assert running(f"{major:02x}:{minor:02x}")
    assert running("00:2f"), "a file system of layers"
    if major:
        assert not running(f"{major:02x}:{minor + 1:02x}")


def test_holdings_part_machines_and_count_a_run_in_two_folders_once(tmp_path: Path) -> None:
    fake = make_record("resnet18", "fake", weights="fake", run_id="run-3")
    other = make_record(machine=OTHER_MACHINE, run_id="run-2", at="2026-11-25T00:00:00+00:00")
    one = write_results(tmp_path / "a", [make_record(), fake])
    two = write_results(tmp_path / "b", [make_record(), other])
    watch = Watch([one, two])
    holdings = watch.holdings(watch.look())
    assert len(holdings.rows) == 3
    assert [machine.key for machine in holdings.machines] == [
        "ffee9c21b7d84e66",
        "0f3a9c21b7d84e66",
        "0f3a9c21b7d84e66-fake",
    ]
    assert holdings.run_folder("run-2") == two / "runs/run-2"
    assert holdings.run_folder("nobody") is None
    assert holdings.run("run-2").argv[:2] == ("zoobench", "run")
    for row in holdings.rows:
        assert holdings.by_reference[reference(row)] is row


class _Node:
    """Something that holds itself."""

    def __init__(self) -> None:
        self.me = self


def test_what_a_re_reading_sets_aside_does_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_MANY", 0)
    write_results(tmp_path, [make_record()])
    watch = Watch([tmp_path])
    gone = []
    try:
        for number in range(3):
            node = _Node()
            gone.append(weakref.ref(node))
            del node
            write_results(tmp_path, [make_record(f"model_{number}")])
            watch.look()
            assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
    assert [one() is None for one in gone[:2]] == [True, True], "the last is collected with the next"


def test_a_run_whose_folder_was_renamed_is_the_same_run(tmp_path: Path) -> None:
    one, two = (write_results(tmp_path / name, [make_record(run_id=f"run-{name}")]) for name in "ab")
    kept = (one / "runs/run-a").rename(one / "runs/before the upgrade")
    holdings = Holdings(Watch([one, two]).look())
    assert {row.run_id for row in holdings.rows} == {"run-a", "run-b"}
    assert holdings.run_folder("run-a") == kept
    assert holdings.run("run-a").argv[:2] == ("zoobench", "run")


def test_a_failure_after_a_number_does_not_hide_it(tmp_path: Path) -> None:
    later = make_failure("resnet18", run_id="run-9", at="2026-11-30T00:00:00+00:00")
    write_results(tmp_path, [make_record(), later])
    (machine,) = Holdings(Watch([tmp_path]).look()).machines
    (cell,) = machine.cells
    assert cell.row.p50_ms == 9.53
    assert cell.later is not None
    assert machine.values["verdict"] == ["valid"]
