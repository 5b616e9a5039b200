"""Which stored results a person means by a word."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from tests.show.records import make_failure, make_record, write_results

from zoobench.errors import UsageError
from zoobench.outcome import Slot
from zoobench.results.record import Record
from zoobench.results.select import select
from zoobench.results.store import write_samples

SLOT = Slot(fork=0, round=0, position=0, settling_ns=9, samples_ns=(5_000_000, 5_100_000))
OLD, NEW = "20261123T203700.000001-aaaa", "20261124T090000.000001-bbbb"


def records() -> list[Record]:
    """One model before and after, and one that only the first run has; all of them say that they have samples."""
    old = [make_record(run_id=OLD, p50=9.0), make_record("resnet50", run_id=OLD)]
    new = [make_record(run_id=NEW, p50=8.0, at="2026-11-24T09:00:00+00:00")]
    return [r.model_copy(update={"samples_file": f"samples/{r.case.id}.json.gz"}) for r in old + new]


def samples_file(results: Path, record: Record) -> Path:
    assert record.samples_file
    file = results / "runs" / record.run_id / record.samples_file
    file.parent.mkdir(exist_ok=True)
    return file


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = write_results(tmp_path / "results", records())
    for record in records():
        write_samples(samples_file(folder, record), record, [SLOT])
    return folder


def test_a_results_folder_is_the_latest_of_every_case(results: Path) -> None:
    chosen = select(str(results), Path("elsewhere"))
    assert [(r.case.model, r.run_id) for r in chosen.records] == [("resnet18", NEW), ("resnet50", OLD)]
    assert len(chosen.all) == 3
    assert [tuple(chosen.slots(r)) for r in chosen.records] == [(SLOT,), (SLOT,)]
    assert chosen.problems == []


def test_a_renamed_run_keeps_its_samples_among_all_of_a_results_folder(results: Path) -> None:
    (results / "runs" / OLD).rename(results / "runs" / "kept")
    chosen = select(str(results), results)
    assert [tuple(chosen.slots(r)) for r in chosen.records] == [(SLOT,), (SLOT,)]


@pytest.mark.parametrize("word", [OLD, "20261123", f"results/runs/{OLD}", f"results/runs/{OLD}/"])
def test_a_run_by_its_id_the_beginning_of_it_or_its_folder(results: Path, word: str) -> None:
    chosen = select(word, Path("results"))
    assert [(r.case.model, r.run_id) for r in chosen.records] == [("resnet18", OLD), ("resnet50", OLD)]
    assert chosen.name == word
    assert tuple(chosen.slots(chosen.records[0])) == (SLOT,)


def test_a_runs_folder_may_be_copied_renamed_and_linked(results: Path, tmp_path: Path) -> None:
    run = results / "runs" / OLD
    shutil.copytree(run, tmp_path / "downloaded")
    (tmp_path / "link").symlink_to(run)
    run.rename(run.with_name("before"))
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(run.with_name("before"))
    for word in ("downloaded", "link", "before", "results/runs/before"):
        chosen = select(word, results)
        assert [r.run_id for r in chosen.records] == [OLD, OLD], word
        assert tuple(chosen.slots(chosen.records[0])) == (SLOT,), word


def test_a_run_does_not_complain_of_others(results: Path) -> None:
    (results / "runs" / NEW / "records.jsonl").write_text("garbage\n")
    assert select(OLD, results).problems == []
    assert len(select(str(results), results).problems) == 1


def test_latest_is_the_last_run_that_has_records(results: Path) -> None:
    (results / "runs" / "20261125T000000.000001-cccc").mkdir()
    (results / "runs" / "a-file").touch()
    assert {r.run_id for r in select("latest", results).records} == {NEW}


def test_a_beginning_that_several_runs_have_is_refused(results: Path) -> None:
    with pytest.raises(UsageError) as caught:
        select("202611", results)
    assert (
        str(caught.value).startswith("2 runs in ") and OLD in str(caught.value) and NEW in str(caught.value)
    )


def test_a_whole_id_is_not_ambiguous(results: Path) -> None:
    write_results(results, [make_record(run_id="run-1"), make_record(run_id="run-10")])
    assert {r.run_id for r in select("run-1", results).records} == {"run-1"}


@pytest.mark.parametrize("word", ["gone", "", "x" * 300, "nul\x00", "../results/none", f"{OLD}x"])
def test_a_word_that_names_nothing_is_a_usage_error(results: Path, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(word, results)
    assert len(word) > 255 or f"the last one is {NEW}" in str(caught.value)


def test_no_word_is_not_this_folder(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results)
    with pytest.raises(UsageError, match="there is no run ''"):
        select("", results)


def test_without_a_results_folder_the_message_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"'latest' is no results folder, and there is no --results-dir .*none"
    ):
        select("latest", tmp_path / "none")


def test_nothing_recorded_is_said_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty" / "runs").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"empty' holds no records$"):
        select(str(tmp_path / "empty"), tmp_path)
    with pytest.raises(UsageError, match="there is no run 'latest'"):
        select("latest", tmp_path / "empty")
    write_results(tmp_path, [make_record()])
    (tmp_path / "runs" / "run-1" / "records.jsonl").write_text("garbage\n")
    with pytest.raises(UsageError, match=r"'run-1' holds no records: .*records.jsonl:1: not a JSON object"):
        select("run-1", tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"no gzip",
        gzip.compress(b"not json", mtime=0),
        gzip.compress(b"[]", mtime=0),
        gzip.compress(b'{"slots": [{"fork": 0}]}', mtime=0),
        gzip.compress(b'{"slots": []}' * 99, mtime=0)[:40],
        gzip.compress(b"x" * 999, mtime=0)[:10] + b"\xff" * 40,
    ],
)
def test_samples_that_are_damaged_are_a_problem_and_no_end(results: Path, damage: bytes) -> None:
    chosen = select(NEW, results)
    samples_file(results, chosen.records[0]).write_bytes(damage)
    assert chosen.slots(chosen.records[0]) == ()
    assert len(chosen.problems) == 1 and "the samples cannot be read" in chosen.problems[0]


def test_samples_that_are_gone_or_never_were(results: Path) -> None:
    chosen = select(NEW, results)
    samples_file(results, chosen.records[0]).unlink()
    assert chosen.slots(chosen.records[0]) == ()
    assert len(chosen.problems) == 1
    assert chosen.slots(make_failure()) == () and len(chosen.problems) == 1


def test_of_a_case_that_failed_later_the_numbers_stand(tmp_path: Path) -> None:
    good = make_record("resnet50", run_id="run-1")
    write_results(tmp_path, [good, make_failure("resnet50", run_id="run-2", at="2026-11-25T00:00:00+00:00")])
    assert select(str(tmp_path), tmp_path).records == [good]
