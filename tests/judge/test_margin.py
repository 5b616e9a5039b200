"""Another margin judges the counts that are stored, and nothing is measured again."""

from __future__ import annotations

from pathlib import Path

from tests.show.records import make_accuracy, make_record, write_results

from zoobench.judge.margin import judged_record, judged_row
from zoobench.measure.accuracy import DROP_CODES, drop_warnings
from zoobench.results.record import Record
from zoobench.results.row import row_of
from zoobench.show.report import write_report
from zoobench.terms import DropDecision, VerdictValue


def with_drop(max_drop: float) -> Record:
    found = make_accuracy(755, lost=14, won=9, max_drop=max_drop)
    assert found.fidelity is not None
    told = list(drop_warnings(found.fidelity.drop))
    return make_record(
        precision="int8",
        accuracy=found,
        verdict=VerdictValue.VALID,
        warnings=[(w.code, w.message) for w in told],
    )


def test_a_record_and_its_row_become_what_they_would_have_been() -> None:
    strict, loose = with_drop(0.01), with_drop(0.03)
    decisions = [r.accuracy.fidelity.drop.decision for r in (strict, loose)]  # type: ignore[union-attr]
    assert decisions == [DropDecision.INCONCLUSIVE, DropDecision.PASS]
    assert judged_record(strict, 0.03) == loose
    assert judged_record(loose, 0.01) == strict
    assert judged_row(row_of(strict), 0.03) == row_of(loose)
    assert judged_row(row_of(loose), 0.01) == row_of(strict)
    assert {w.code for w in row_of(strict).warnings} <= DROP_CODES


def test_what_has_no_drop_stays() -> None:
    for record in (make_record(), make_record(accuracy=make_accuracy(760)), with_drop(0.01)):
        assert judged_record(record, 0.01) is record
    assert judged_row(row := row_of(make_record()), 0.01) is row


def test_a_report_judges_by_the_margin_that_is_given(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", [make_record(accuracy=make_accuracy(760)), with_drop(0.01)])
    own = write_report(results, tmp_path / "own.md").report.read_text("utf-8")
    other = write_report(results, tmp_path / "other.md", max_drop=0.03).report.read_text("utf-8")
    assert "⚠ inconclusive (≈ " in own and "lies below 1 point," in own
    assert "inconclusive (" not in other and "lies below 3 points," in other and "| pass |" in other
    assert "--output " + str(tmp_path / "other.md") + " --max-drop 3%" in other
