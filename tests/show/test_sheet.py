"""The table as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any, get_args

import pytest
from tests.show.records import make_failure, make_record

from zoobench.results.columns import column_types
from zoobench.results.query import Cell
from zoobench.results.row import Row, changed, row_of
from zoobench.show.sheet import COLUMNS, csv_text
from zoobench.terms import Reason, VerdictValue

RUNS = "=1+1\n@x"


def written(row: Row) -> dict[str, str]:
    (told,) = csv.DictReader(io.StringIO(csv_text([Cell(row)]), newline=""))
    return told


def test_no_spreadsheet_runs_what_a_stranger_wrote_wherever_it_stands() -> None:
    texts = [name for name, kind in column_types(Row).items() if str in (kind, *get_args(kind))]
    hostile: dict[str, Any] = {**dict.fromkeys(texts, RUNS), "options": {RUNS: RUNS}}
    told = written(changed(row_of(make_record()), **hostile, reasons=(Reason(RUNS, RUNS),)))
    assert not [name for name, text in told.items() if text.startswith(("=", "@", "+", "-"))]
    told_as_text = {name for name, text in told.items() if text.startswith("'=1+1 @x")}
    assert told_as_text >= {"machine", "data", "options", "reasons", *texts} & set(COLUMNS)


@pytest.mark.parametrize(
    "hidden", ["\n", "\x00", "\x7f", "\u200b", "\u202e", "\ufeff", "\u00a0", "\u3000", " "]
)
def test_what_is_left_out_of_a_text_hides_no_formula(hidden: str) -> None:
    told = written(row_of(make_record(f"{hidden}=1+1", reasons=[(f"{hidden}@x", "")])))
    assert told["model"].startswith("'") and told["model"].endswith("=1+1")
    assert told["reasons"].startswith("'")


def test_the_later_attempt_says_what_became_of_it() -> None:
    noisy = make_record(verdict=VerdictValue.INVALID, reasons=[("cpu_contended", "busy")])
    row = row_of(make_record())
    text = csv_text([Cell(row, row_of(noisy)), Cell(row, row_of(make_failure()))])
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert (first["later_attempt"], second["later_attempt"]) == ("disturbed", "failed")


def test_a_column_stands_where_its_name_does() -> None:
    row = row_of(make_record(p50=1 / 3))
    told = written(row)
    assert tuple(told) == COLUMNS
    assert row.p50_interval_ms is not None
    assert float(told["p50_ms"]) == 1 / 3
    assert (float(told["p50_low_ms"]), float(told["p50_high_ms"])) == row.p50_interval_ms
    assert told["top1"] == told["later_attempt"] == ""
