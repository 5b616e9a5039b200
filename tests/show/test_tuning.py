"""What was tried, what was dropped and why, and the defaults against the best: as a pipe gets it."""

from __future__ import annotations

from zoobench.judge.ratio import Ratio
from zoobench.search.space import Configuration
from zoobench.search.tuning import Fresh, Trial, TunedCell, Tuning, nothing_faster, sentence, too_few
from zoobench.show.console import text_lines
from zoobench.show.tuning import curve_line, tuning_blocks

DEFAULTS = Configuration(2)
BEST, WRONG, SLOW = (Configuration(2, (("a", value),)) for value in ("best", "wrong", "slow"))
RATIO = Ratio(0.8, (0.78, 0.82), 0.81, (0.8, 0.79, 0.81), 12, "over_forks")
TRIALS = (
    Trial(SLOW, 1, 1.2, (1.1, 1.3), "slower than the defaults: 1.200 [1.100, 1.300] of the defaults' time"),
    Trial(WRONG, 1, None, None, "its outputs cannot be used: they are constant"),
    Trial(BEST, 2, 0.79, (0.77, 0.81), None),
)
NAME = "<img src=x onerror=alert(1)>|**x**[red]\x1b[2J"


def fresh(ratio: Ratio | None = RATIO, doubt: str | None = None) -> Fresh:
    return Fresh(BEST, ratio, 5.0, 4.0, 200.0, 250.0, 0.79, doubt)


def shown(*found: Tuning) -> str:
    return "\n".join(text_lines([*tuning_blocks(found)]))


def test_the_table_has_every_trial_with_its_rung_its_figures_and_why_it_left() -> None:
    told = sentence(fresh(), DEFAULTS, 3)
    cell = TunedCell(1, DEFAULTS, TRIALS, 2, fresh(), BEST, told)
    text = shown(Tuning("m", "fake", "fp32", curve={1: 200.0}, cells=(cell,)))
    lines = [line for line in text.splitlines() if "threads=2" in line]
    assert "the defaults, the yardstick" in lines[0]
    assert "a=best" in lines[1] and "0.790" in lines[1] and "[0.770, 0.810]" in lines[1]
    assert "a=slow" in lines[2] and lines[2].count("1.200") == 1 and "slower than the defaults" in lines[2]
    assert "a=wrong" in lines[3] and "its outputs cannot be used: they are constant" in lines[3]
    assert "takes 0.800 [0.780, 0.820] of the defaults' time, measured afresh over 3 processes" in text
    assert "Measured afresh, in turns" in text and "items/s; the knee" not in text


def test_a_name_is_text_and_never_markup() -> None:
    text = shown(Tuning(NAME, "fake", "fp32", skipped=f"why {NAME}"))
    assert text.count("<img src=x onerror=alert(1)>|**x**[red][2J") == 2 and "\x1b" not in text


def test_the_knee_is_told_where_several_batches_were_measured() -> None:
    told = curve_line(Tuning("m", "fake", "fp32", curve={1: 100.0, 8: 104.0}, knee=1))
    assert told == (
        "with the defaults 100 at batch 1, 104 at batch 8 items/s; the knee is at batch 1: larger ones bring less than a tenth more"
    )
    assert "above batch 8, if there is one" in curve_line(Tuning("m", "fake", "fp32", curve={1: 1.0, 8: 9.0}))


def test_the_sentence_says_gained_luck_or_undecided() -> None:
    even = Ratio(0.99, (0.97, 1.01), 0.99, (0.99,) * 5, 20, "over_forks")
    assert not fresh(even).gained and fresh().gained
    assert "nothing was gained, the defaults stand" in sentence(fresh(even), DEFAULTS, 3)
    assert "looked like 0.790 in the search, as the best of 3 is partly luck" in sentence(
        fresh(even), DEFAULTS, 3
    )
    assert not fresh(doubt="disturbed twice").gained
    assert "it decides nothing (disturbed twice)" in sentence(fresh(doubt="disturbed twice"), DEFAULTS, 3)
    assert too_few(None, 5) == "there were not turns enough" and too_few(fresh().ratio, 5) is None
    # The smallest calls are faster and the medians are not.
    half = Ratio(0.9, (0.88, 0.92), 1.01, (0.9,) * 5, 20, "over_forks")
    assert not fresh(half).gained
    assert "its smallest calls are faster, and the middle ones are not" in sentence(fresh(half), DEFAULTS, 3)


def test_nothing_faster_is_decided_where_all_were_compared_or_do_not_work() -> None:
    assert nothing_faster(TRIALS[:2], DEFAULTS) == (
        "nothing is faster than the defaults (threads=2), of 2 other configurations", True,
    )  # fmt: skip
    near = Trial(BEST, 1, 1.012, (0.92, 1.113), None)
    told, decided = nothing_faster([TRIALS[0], near], DEFAULTS)
    assert decided and told.endswith(
        "; the nearest, threads=2 a=best, takes 1.012 [0.920, 1.113] of their time"
    )
    disturbed = Trial(BEST, 1, None, None, "disturbed twice: others", open=True)
    told, decided = nothing_faster([TRIALS[0], disturbed], DEFAULTS)
    assert not decided and "1 was disturbed twice; tune again on a quiet machine" in told
    lonely = Trial(BEST, 1, None, None, "it did not fit beside the defaults", open=True)
    told, decided = nothing_faster([TRIALS[0], lonely], DEFAULTS)
    assert not decided and "as far as can be told: 1 could not be compared: it did not fit" in told


def test_where_nothing_was_compared_nothing_is_decided() -> None:
    told, decided = nothing_faster([TRIALS[1]], DEFAULTS)
    assert not decided
    assert told == (
        "none of 1 other configuration could be compared with the defaults (threads=2): its outputs cannot be used: they are constant"
    )


def test_a_fresh_measurement_needs_three_processes_with_turns_of_both() -> None:
    few = Ratio(0.8, (0.7, 0.9), 0.8, (0.8, 0.8), 6, "within_process")
    assert too_few(few, 5) == "only 2 of 5 processes had turns of both"
