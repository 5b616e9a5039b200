"""What the recommendation says in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.judge.rows import cell

from zoobench.judge.asks import Ask, Gap
from zoobench.judge.payback import Payback, Pays
from zoobench.judge.recommend import recommend
from zoobench.judge.wanted import Wanted
from zoobench.results.row import changed
from zoobench.show.document import Command, to_markdown
from zoobench.show.recommendation import _gaps, _payback, answer, recommendation_blocks
from zoobench.terms import VerdictValue


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
        ([shaky], "and is unstable: at twice its time it would not do, so valid ones come first"),
        ([unknown, shaky], "and are unstable or have no verdict: at twice their time they would not do, so"),
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
    blocks = [*_gaps([Gap("untried", "never tried", there, asks)], Path("results"))]
    (command,) = [block for block in blocks if isinstance(block, Command)]
    assert len(command.lines) == shown
    assert ("more command" in to_markdown(blocks)) is bool(said) and said in to_markdown(blocks)
