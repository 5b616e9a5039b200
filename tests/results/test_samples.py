"""The calls behind a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.show.records import make_record, with_samples

from zoobench.results.row import changed, row_of
from zoobench.results.samples import call_times_ms, kept_slots


def test_every_timed_call_in_its_order_and_no_settling_one(tmp_path: Path) -> None:
    record = with_samples(tmp_path, make_record(), [[5.0, 5.5], [4.5]])
    problems: list[str] = []
    assert call_times_ms(tmp_path / "runs/run-1", row_of(record), problems) == [5.0, 5.5, 4.5]
    assert call_times_ms(tmp_path / "runs/run-1", row_of(make_record()), problems) == []
    assert problems == []


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    row = changed(row_of(make_record()), samples_file="samples/gone.json.gz")
    problems: list[str] = []
    assert call_times_ms(tmp_path / "runs/run-1", row, problems) == []
    assert len(problems) == 1 and "cannot be read" in problems[0]


def test_slots_are_read_where_they_are_and_else_there_are_none(tmp_path: Path) -> None:
    record = with_samples(tmp_path, make_record(), [[5.0, 5.5], [4.5]])
    slots_of = kept_slots({"run-1": tmp_path / "runs/run-1"})
    row = row_of(record)
    assert [slot.samples_ns for slot in slots_of(row)] == [(5_000_000, 5_500_000), (4_500_000,)]
    strange = ("samples/gone.json.gz", "../../etc/passwd", "a\0b", None)
    assert not any(slots_of(changed(row, samples_file=file)) for file in strange)
    assert not slots_of(changed(row, run_id="run-2"))


@pytest.mark.parametrize("file", ["../run-2/samples/x.json.gz", "/etc/passwd"])
def test_no_row_leads_out_of_its_run(tmp_path: Path, file: str) -> None:
    row = changed(row_of(make_record()), samples_file=file)
    problems: list[str] = []
    assert call_times_ms(tmp_path / "runs/run-1", row, problems) == []
    assert len(problems) == 1 and "outside the run" in problems[0]
