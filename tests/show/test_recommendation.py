"""What the recommendation says in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.judge.rows import cell

from zoobench.judge.asks import Ask, Gap
from zoobench.judge.measures import MEMORY, throughput_of
from zoobench.judge.payback import Payback, Pays
from zoobench.judge.recommend import recommend
from zoobench.judge.wanted import LatencyLimit, Limit, Wanted
from zoobench.results.row import changed
from zoobench.show.document import Command, to_markdown
from zoobench.show.recommendation import _payback, answer, recommendation_blocks
from zoobench.show.recommendation_tables import _far, gap_blocks
from zoobench.terms import VerdictValue

RATE = Limit("--min-throughput", throughput_of("image_classification"), 100.0, at_least=True)


@pytest.mark.parametrize(
    ("made_s", "load_s", "said"),
    [(5.94, -0.01, "5.93 s once (file), and"), (4.0, 2.0, "6.00 s once (file 4.00, load 2.00), and")],
)
def test_the_parts_of_a_payback_add_up(made_s: float, load_s: float, said: str) -> None:
    one = cell()
    pays = Payback(one, Pays.AFTER, made_s=made_s, load_s=load_s, saving_ms=13.6, calls=435)
    assert said in _payback(pays, one, None)


def test_what_has_no_verdict_is_not_called_unstable() -> None:
    unknown = changed(cell(backend="openvino", p50=5), verdict=None)
    shaky = cell(backend="pytorch", p50=6, verdict=VerdictValue.UNSTABLE)
    for rows, said in (
        ([unknown], "**No verdict:** resnet18 · openvino"),
        (
            [shaky],
            "and is unstable: such a one comes before valid ones only where it would win at twice its measured time",
        ),
        ([unknown, shaky], "and are unstable or have no verdict: such a one comes before valid ones only"),
    ):
        found = recommend([cell(), *rows], Wanted())
        text = to_markdown(recommendation_blocks(found, Path("results")))
        assert said in text
        assert ("nstable" in text.partition("## The best")[0]) is (shaky in rows)
    assert "(no verdict)" in answer(recommend([unknown], Wanted()))


def test_equals_on_the_front_are_not_said_to_be_better() -> None:
    found = recommend([cell(), cell(backend="openvino")], Wanted())
    assert len(found.front) == 2
    text = to_markdown(recommendation_blocks(found, Path("results")))
    assert "None is beaten" in text and "better than every other" not in text


@pytest.mark.parametrize(("there", "shown", "said"), [(3, 3, ""), (4, 4, ""), (5, 3, "And 2 more commands")])
def test_a_line_that_counts_takes_the_place_of_more_than_one(there: int, shown: int, said: str) -> None:
    asks = tuple(Ask((f"m{number}",), ("onnx_cpu",), ("fp32",), (1,), ()) for number in range(there))
    blocks = [*gap_blocks([Gap("untried", "never tried", there, asks)], Path("results"))]
    (command,) = [block for block in blocks if isinstance(block, Command)]
    assert len(command.lines) == shown
    assert ("more command" in to_markdown(blocks)) is bool(said) and said in to_markdown(blocks)


def test_what_is_recommended_and_not_on_the_front_is_told_why() -> None:
    shaky = cell(backend="openvino", p50=9.0, peak_bytes=1, verdict=VerdictValue.UNSTABLE)
    text = to_markdown(recommendation_blocks(recommend([cell(p50=10.0), shaky], Wanted()), Path("results")))
    assert "The Pareto front" in text
    assert (
        "is not on it: resnet18 · openvino · fp32 · batch 1 (⚠ unstable) is no worse in any of these" in text
    )


def test_a_relaxed_limit_says_what_it_lets_in() -> None:
    shaky = cell(p50=11.0, verdict=VerdictValue.UNSTABLE)
    told = answer(recommend([shaky], Wanted(latency=(LatencyLimit(50, 10.0),))))
    assert told.endswith("would recommend resnet18 · onnx_cpu · fp32 · batch 1 (⚠ unstable).")


@pytest.mark.parametrize(
    ("limit", "known", "said"),
    [
        (Limit("--max-memory", MEMORY, 100e6), {"peak_bytes": 138_000_000}, "38% above"),
        (Limit("--max-memory", MEMORY, 100e6), {"peak_bytes": 383_000_000}, "3.83 × the limit"),
        (RATE, {"throughput_per_s": 63.8}, "36% below"),
        (RATE, {"throughput_per_s": 10.0}, "90% below"),
        (RATE, {"throughput_per_s": 99.9}, "0.100% below"),
    ],
)
def test_how_far_off_is_in_words_of_the_limit(limit: Limit, known: dict[str, float], said: str) -> None:
    assert _far(limit, changed(cell(), **known)) == said
