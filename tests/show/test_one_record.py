"""Everything about one record."""

from __future__ import annotations

from tests.show.records import make_failure, make_record

from zoobench.results.query import Run
from zoobench.results.row import row_of
from zoobench.show.document import to_markdown
from zoobench.show.one_record import environment_blocks, headline, history_table, latency_blocks
from zoobench.terms import VerdictValue


def test_the_verdict_is_told_in_full() -> None:
    unstable = make_record(
        verdict=VerdictValue.UNSTABLE,
        reasons=[("drift", "slower by 4%")],
        warnings=[("one_fork", "one process")],
    )
    text = to_markdown(headline(row_of(unstable)))
    for part in ("drift:", "slower by 4%", "one_fork (a warning):", "9.53"):
        assert part in text
    failed = to_markdown(headline(row_of(make_failure())))
    assert "failed (load):" in failed
    assert "export it again" in failed


def test_what_is_not_known_of_a_record_is_left_out() -> None:
    record = make_failure()
    assert latency_blocks(record) == []
    text = to_markdown(environment_blocks(row_of(record), record, Run("run-1")))
    assert "What really ran" not in text
    assert "Fingerprint" in text


def test_the_command_and_the_commit_stand_there() -> None:
    record = make_record()
    run = Run("run-1", ("/home/me/.venv/bin/zoobench", "run", "--models", "a b"), "c0ffee")
    text = to_markdown(environment_blocks(row_of(record), record, run))
    assert "zoobench run --models 'a b'" in text
    assert "/home/me" not in text
    assert "c0ffee" in text


def test_history_says_what_changed_and_begins_with_the_newest() -> None:
    rows = [
        row_of(make_record(run_id="a")),
        row_of(make_record(run_id="b", versions={"onnxruntime": "2"})),
        row_of(make_failure("resnet18", run_id="c", versions={"onnxruntime": "2"})),
    ]
    table = history_table(rows, {"b": Run("b", git_commit="c" * 40)})
    assert [line[-1] for line in table.rows] == ["c", "b", "a"]
    assert [line[5] for line in table.rows] == ["nothing", "onnxruntime 1.32.0 → 2", "first record"]
    assert table.rows[0][3] == "failed (load)"
    assert table.rows[1][6] == "c" * 12
