"""Accuracies are compared on the same pictures, and what is asked for would tell more."""

from __future__ import annotations

from typing import Any

from tests.judge.rows import cell
from tests.show.records import make_accuracy

from zoobench.judge.asks import Carried, Gap
from zoobench.judge.pictures import Judged
from zoobench.judge.recommend import recommend
from zoobench.judge.wanted import Wanted
from zoobench.outcome import Accuracy
from zoobench.results.row import Row


def on(pictures: str, right: int, n: int = 1000, **more: Any) -> Accuracy:
    """An accuracy on a set of pictures, by the letter of its sha256."""
    accuracy = make_accuracy(right, n, **more)
    data = accuracy.data.model_copy(update={"content_sha256": pictures * 64, "label": f"set {pictures}"})
    return accuracy.model_copy(update={"data": data})


def judged(name: str, accuracy: Accuracy, day: int = 1, **more: Any) -> Row:
    at = f"2026-11-{day:02}T00:00:00+00:00"
    return cell(name, accuracy=accuracy, artifact_sha256=name * 64, at=at, run_id=f"run-{day}", **more)


def gap(kind: str, rows: list[Row], wanted: Wanted, **carried: Carried) -> Gap | None:
    given = {name.replace("_", "-"): one for name, one in carried.items()}
    return next((one for one in recommend(rows, wanted, carried=given).gaps if one.kind == kind), None)


GIVEN = Carried.of(["zoobench", "run", "--dataset", "./mine", "--samples", "500", "--split", "test"])
HIGH = Wanted(min_accuracy=0.8)


def test_a_newer_pass_over_other_pictures_hides_no_older_one_over_those_that_count() -> None:
    rows = [
        judged("a", on("1", 900), day=1, p50=5),
        judged("b", on("1", 910), day=1, p50=9),
        judged("a", on("2", 700), day=2, p50=5),
    ]
    found = recommend(rows, HIGH)
    assert found.best is not None and (found.best.model, found.best.top1) == ("a", 0.9)
    assert found.asides == ()


def test_what_was_judged_on_other_pictures_only_is_told_and_claims_no_accuracy() -> None:
    rows = [judged("a", on("1", 900)), judged("b", on("1", 910)), judged("c", on("2", 990), p50=1)]
    found = recommend(rows, HIGH)
    assert found.best is not None and found.best.model in "ab"
    assert (
        "the accuracy of 1 configuration, judged on other pictures than those that count (set 1"
        in found.asides[0]
    )


def test_files_that_are_no_more_decide_nothing() -> None:
    """Three older exports of a model outnumber the two of today."""
    older = [judged("a", on("1", 900)) for _ in range(3)]
    older = [row for at, row in enumerate(older) for row in [_with_file(row, f"{at}" * 64)]]
    newer = [judged("a", on("2", 900), day=2), judged("b", on("2", 910), day=2)]
    assert Judged.of([*older, *newer], newer).common == "2" * 64


def _with_file(row: Row, sha: str) -> Row:
    from zoobench.results.row import changed

    return changed(row, artifact_sha256=sha)


def test_of_two_sets_with_as_many_files_the_larger_counts() -> None:
    small = [judged(name, on("1", 450, 500), day=2) for name in "ab"]
    large = [judged(name, on("2", 4500, 5000), day=1) for name in "ab"]
    assert Judged.of([*large, *small], small).common == "2" * 64


def test_a_drop_is_told_by_most_pictures_and_an_accuracy_by_the_same_ones() -> None:
    few = judged("a", on("1", 760, lost=1, won=1), day=2, precision="int8")
    many = judged("a", on("2", 7600, 10_000, lost=30, won=10), day=1, precision="int8")
    other = judged("b", on("1", 800))
    found = Judged.of([many, few, other], [few, other]).applied(few, 0.004)
    assert (found.top1, found.pictures) == (0.76, 1000)
    assert (found.drop, found.max_drop) == (0.002, 0.004)


def test_pictures_that_count_are_asked_for_with_the_words_of_their_run() -> None:
    rows = [judged("a", on("1", 900)), judged("b", on("1", 900)), judged("c", on("2", 990), day=2, p50=1)]
    found = gap("accuracy", rows, HIGH, run_1=GIVEN, run_2=Carried.of(["--dataset", "./others"]))
    assert found is not None and "of 1 cell is not known on the pictures that count (set 1)" in found.what
    [ask] = found.asks
    assert ask.models == ("c",)
    assert " ".join(ask.rest) == "--dataset ./mine --samples 500 --split test"


def test_where_the_words_are_not_known_no_run_is_invented() -> None:
    """From Python there is no command; another dataset would be no comparison."""
    rows = [judged("a", on("1", 900)), cell("c", p50=1)]
    assert gap("accuracy", rows, HIGH) is None
    found = gap("pictures", rows, HIGH)
    assert found is not None and found.asks == () and "--dataset is not written down" in found.what
    few = gap("open", [judged("a", on("1", 410, 500))], HIGH)
    assert few is not None and few.asks == () and "open with so few pictures" in few.what


def test_an_open_accuracy_asks_for_enough_pictures_of_every_file_that_is_compared() -> None:
    """More pictures of one file alone would be other pictures than those of the rest."""
    rows = [
        judged("a", on("1", 410, 500), p50=5),
        judged("b", on("1", 300, 500)),
        judged("b", on("1", 300, 500), batch=8),
    ]
    found = gap("open", rows, HIGH, run_1=GIVEN)
    assert found is not None and found.what == "top-1 of 1 cell is open with so few pictures"
    [ask] = found.asks
    assert ask.models == ("a", "b") and ask.batches == (1,)
    count = int(ask.rest[ask.rest.index("--samples") + 1])
    enough = make_accuracy(round(0.82 * count), count).top1
    assert enough is not None and enough.interval[0] >= 0.8 and 500 < count < 2000
    # The larger set then has as many files, and counts.
    fresh = [judged("a", on("2", round(0.82 * count), count), 2, p50=5), judged("b", on("2", 900, count), 2)]
    after = recommend([*rows, *fresh], HIGH)
    assert after.best is not None and after.best.model == "a"


def test_what_no_more_pictures_would_decide_is_said_without_a_command() -> None:
    on_the_limit = judged("a", on("1", 400, 500))
    assert gap("open", [on_the_limit], HIGH, run_1=GIVEN) is None
    found = gap("undecided", [on_the_limit], HIGH, run_1=GIVEN)
    assert found is not None and found.asks == () and "more pictures would not decide" in found.what
    # All that the folder has were judged: nobody said how many, and it had fewer than are taken then.
    whole = Carried.of(["zoobench", "run", "--dataset", "./mine"])
    assert gap("undecided", [judged("a", on("1", 410, 500))], HIGH, run_1=whole) is not None


def test_a_drop_is_judged_at_any_margin_by_its_own_pictures() -> None:
    """Its top-1 counts on a thousand others, of which so many cannot have been lost."""
    rows = [
        judged("a", on("1", 3000, 4000, lost=900, won=850), day=1, precision="int8"),
        judged("a", on("2", 700, 1000, lost=30, won=20), day=2, precision="int8"),
        *(judged(name, on("2", 700, 1000), day=2, p50=20) for name in "bc"),
    ]
    tight = recommend(rows[:2], Wanted(max_drop=0.005))
    assert tight.best is None, "1.25 points were lost"
    (relaxed,) = tight.relax
    (change,) = relaxed.changes
    assert 0.0125 < change.bound < 0.05 and relaxed.row.drop == 0.0125
    wide = recommend(rows, Wanted(max_drop=change.bound))
    (int8,) = (row for row in wide.shown if row.precision == "int8")
    assert (int8.drop, int8.drop_n, int8.pictures) == (0.0125, 4000, 1000)
