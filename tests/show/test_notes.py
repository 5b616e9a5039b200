"""What is told of the reasons behind marks."""

from __future__ import annotations

from tests.show.records import make_record

from zoobench.results.row import row_of
from zoobench.show.notes import notes_table
from zoobench.show.tables import Notes
from zoobench.terms import VerdictValue


def told(*messages: str) -> tuple[str, ...]:
    notes = Notes()
    for n, message in enumerate(messages):
        record = make_record(f"m{n}", verdict=VerdictValue.UNSTABLE, reasons=[("drift", message)])
        notes.mark(row_of(record))
    (row,) = notes_table(notes).rows
    return row[3:]


def test_the_worst_case_is_told_with_the_mildest() -> None:
    drift = [f"the second half of the calls was {share}% slower than the first" for share in (5, 3.5, 623.5)]
    assert told(*drift) == ("3", "the second half of the calls was 3.5 to 623.5% slower than the first")
    assert told(drift[0], drift[0]) == ("2", drift[0])


def test_other_words_stand_apart_and_not_without_end() -> None:
    assert told("4% slower", "3% faster", "9% slower")[1] == "4 to 9% slower | 3% faster"
    assert told(*(f"cannot read /data/{n}.png" for n in range(9)))[1].endswith(" | and 6 other wordings")


def test_numbers_in_names_are_no_amounts() -> None:
    assert told("of resnet18: 4", "of resnet50: 4")[1] == "of resnet18: 4 | of resnet50: 4"
    assert told("with 1.2.0", "with 1.3.0", "on cpu-1")[1] == "with 1.2.0 | with 1.3.0 | on cpu-1"
    assert told("n " + "9" * 400, "n 1")[1] == f"n 1 to {'9' * 400}"
