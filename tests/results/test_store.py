"""The store: nothing measured is ever lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zoobench.errors import UsageError
from zoobench.outcome import Slot
from zoobench.results.query import load_records
from zoobench.results.record import MachineInfo, ModelInfo, Record
from zoobench.results.store import (
    RunWriter,
    StoreError,
    append_record,
    check_results_dir,
    read_samples,
    unfinished,
)
from zoobench.spec import Case
from zoobench.terms import Status

SLOTS = (
    Slot(fork=0, round=0, position=0, settling_ns=9, samples_ns=(5, 6, 7)),
    Slot(fork=0, round=1, position=1, settling_ns=8, samples_ns=(4, 4)),
)


def a_record(run_id: str = "r", batch: int = 1, status: Status = Status.OK) -> Record:
    case = Case(model="m", backend="fake", batch=batch, threads=1)
    return Record(
        run_id=run_id,
        recorded_at="2026-01-01T00:00:00.000+00:00",
        status=status,
        case=case,
        measurement_key=f"key{batch}",
        effort="quick",
        model=ModelInfo(name="m"),
        machine=MachineInfo(fingerprint="f"),
    )


def test_a_record_and_its_samples_come_back_as_they_were(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, {"argv": ["x"]})
    written = writer.write(a_record(writer.run_id), SLOTS)
    writer.close()
    loaded = load_records(tmp_path)
    assert loaded.records == [written] and not loaded.problems
    assert written.samples_file is not None
    assert read_samples(writer.folder / written.samples_file) == SLOTS
    assert json.loads((writer.folder / "manifest.json").read_text())["argv"] == ["x"]


def test_a_torn_last_line_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, {"argv": []})
    writer.write(a_record(writer.run_id, 1))
    writer.write(a_record(writer.run_id, 2))
    file = writer.folder / "records.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    loaded = load_records(tmp_path)
    assert [record.case.batch for record in loaded.records] == [1]
    assert len(loaded.problems) == 1 and "records.jsonl" in loaded.problems[0]


def test_the_journal_survives_its_writer_and_goes_once_the_record_stands(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, {})
    skeleton = a_record(writer.run_id, status=Status.INTERRUPTED)
    for slot in SLOTS:
        writer.journal(skeleton, slot)
    assert not list(unfinished(tmp_path)), "a run that is being written is nobody else's"
    writer.close()
    [(again, cases)] = [(w, list(c)) for w, c in unfinished(tmp_path)]
    assert [(c.skeleton, c.slots) for c in cases] == [(skeleton, SLOTS)]
    again.write(skeleton, SLOTS)
    assert not list(unfinished(tmp_path))


def test_a_case_whose_record_stands_is_not_unfinished(tmp_path: Path) -> None:
    """A crash may come between the record and the end of its journal."""
    writer = RunWriter.create(tmp_path, {"argv": []})
    for batch in (1, 2):
        writer.journal(a_record(writer.run_id, batch), SLOTS[0])
    append_record(writer.folder / "records.jsonl", a_record(writer.run_id, 1))
    writer.close()
    [(_, left)] = [(w, list(cases)) for w, cases in unfinished(tmp_path)]
    assert [one.skeleton.case.batch for one in left] == [2]
    assert len(list((writer.folder / "journal").iterdir())) == 1


def test_a_torn_journal_loses_only_the_slot_in_work(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, {})
    for slot in SLOTS:
        writer.journal(a_record(writer.run_id), slot)
    journal = next((writer.folder / "journal").iterdir())
    journal.write_bytes(journal.read_bytes()[:-5])
    writer.close()
    [(_, cases)] = [(w, list(c)) for w, c in unfinished(tmp_path)]
    assert cases[0].slots == SLOTS[:1]


def test_a_writer_killed_outright_frees_its_run(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from zoobench.results.store import RunWriter\n"
        "from tests.results.test_store import SLOTS, a_record\n"
        "w = RunWriter.create(Path(sys.argv[1]), {})\n"
        "w.journal(a_record(w.run_id), SLOTS[0])\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=env)
    assert child.stdout and child.stdout.readline() == b"ready\n"
    assert not list(unfinished(tmp_path))
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert len(list(unfinished(tmp_path))) == 1


def test_a_results_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        check_results_dir(tmp_path / "f")


def test_a_full_disk_is_one_line_that_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RunWriter.create(tmp_path, {})
    writer.write(a_record(writer.run_id, 1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device.*run again to continue"):
        writer.write(a_record(writer.run_id, 2))
    monkeypatch.undo()
    assert 1 in [record.case.batch for record in load_records(tmp_path).records]


@pytest.mark.parametrize("content", [b"", b"junk", b"\x1f\x8b\x08\x00truncated"])
def test_damaged_samples_are_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.json.gz").write_bytes(content)
    with pytest.raises(StoreError, match="the samples cannot be read"):
        read_samples(tmp_path / "s.json.gz")


def test_a_disk_that_takes_half_a_line_keeps_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nearly full disk accepts a part of a write without an error and refuses the next one."""
    import io

    writer = RunWriter.create(tmp_path, {"argv": []})
    writer.write(a_record(writer.run_id, 1))
    calls: list[int] = []

    class HalfFull(io.FileIO):
        def write(self, data: object) -> int:
            calls.append(len(bytes(data)))  # type: ignore[call-overload]
            if len(calls) > 1:
                raise OSError(28, "No space left on device")
            return super().write(bytes(data)[:50])  # type: ignore[call-overload]

    original = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda p, mode="r", *a, **k: HalfFull(p, "a+") if mode == "a+b" else original(p, mode, *a, **k),
    )
    with pytest.raises(StoreError, match="No space left"):
        writer.write(a_record(writer.run_id, 2), SLOTS)
    monkeypatch.undo()
    assert len(calls) == 2
    loaded = load_records(tmp_path)
    assert [r.case.batch for r in loaded.records] == [1] and not loaded.problems
    writer.write(a_record(writer.run_id, 2))
    assert [r.case.batch for r in load_records(tmp_path).records] == [1, 2]


def test_a_record_is_not_drawn_into_a_torn_line(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, {"argv": []})
    (writer.folder / "records.jsonl").write_bytes(b'{"schema_version": 1, "torn')
    writer.write(a_record(writer.run_id, 2))
    loaded = load_records(tmp_path)
    assert [r.case.batch for r in loaded.records] == [2] and len(loaded.problems) == 1


@pytest.mark.parametrize("place", ["journal/x.jsonl", "records.jsonl", "lock", "manifest.json"])
def test_a_folder_or_a_pipe_where_a_file_belongs_stops_nothing(tmp_path: Path, place: str) -> None:
    writer = RunWriter.create(tmp_path, {"argv": []})
    writer.journal(a_record(writer.run_id), SLOTS[0])
    writer.close()
    target = writer.folder / place
    target.unlink(missing_ok=True)
    os.mkfifo(target) if place == "records.jsonl" else target.mkdir()
    list(unfinished(tmp_path))
    loaded = load_records(tmp_path)
    assert not loaded.records
    assert any("records.jsonl" in problem for problem in loaded.problems) == (place == "records.jsonl")


def test_a_journal_of_rubbish_is_set_aside_and_reported_once(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, {"argv": []})
    (writer.folder / "journal" / "x.jsonl").write_bytes(b"\x00\xff rubbish")
    writer.close()
    assert [len(list(cases)) for _, cases in unfinished(tmp_path)] == [0]
    assert not list(unfinished(tmp_path))


def test_samples_of_a_stranger_stay_inside_their_run_and_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    from zoobench.results import store

    run, secret = tmp_path / "runs" / "a", tmp_path / "secret.json.gz"
    (run / "samples").mkdir(parents=True)
    secret.write_bytes(gzip.compress(b'{"slots": []}'))
    (run / "samples" / "link.json.gz").symlink_to(secret)
    for name in ("../../secret.json.gz", str(secret), "samples/link.json.gz"):
        with pytest.raises(store.StoreError, match="outside the run"):
            store.samples_of(run, name)
    (run / "samples" / "deep.json.gz").write_bytes(gzip.compress(b"[" * 200_000))
    with pytest.raises(store.StoreError, match="cannot be read"):
        store.samples_of(run, "samples/deep.json.gz")
    monkeypatch.setattr(store, "MOST_SAMPLES_BYTES", 1000)
    (run / "samples" / "bomb.json.gz").write_bytes(gzip.compress(b" " * 100_000))
    with pytest.raises(store.StoreError, match="unpack to more"):
        store.samples_of(run, "samples/bomb.json.gz")
