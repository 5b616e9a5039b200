"""The calls behind a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.show.records import make_record, with_samples

from zoobench.results.row import changed, row_of
from zoobench.results.samples import call_times_ms


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


@pytest.mark.parametrize("file", ["../run-2/samples/x.json.gz", "/etc/passwd"])
def test_no_row_leads_out_of_its_run(tmp_path: Path, file: str) -> None:
    row = changed(row_of(make_record()), samples_file=file)
    problems: list[str] = []
    assert call_times_ms(tmp_path / "runs/run-1", row, problems) == []
    assert len(problems) == 1 and "outside the run" in problems[0]
