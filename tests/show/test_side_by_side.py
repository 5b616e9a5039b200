"""Cells beside each other."""

from __future__ import annotations

from tests.show.records import make_record

from zoobench.judge.compare import Change, Comparison
from zoobench.results.row import row_of
from zoobench.show.document import Items, Table
from zoobench.show.side_by_side import comparison_blocks, figures_table
from zoobench.terms import VerdictValue

ROWS = [row_of(make_record(name, verdict=VerdictValue.UNSTABLE)) for name in ("one", "two", "three")]


def test_a_figure_that_none_has_is_left_out_and_what_names_a_cell_never() -> None:
    table = figures_table(ROWS)
    names = [line[0] for line in table.rows]
    assert names[:4] == ["Model", "Backend", "Precision", "Batch"]
    assert "Latency, p50 (ms)" in names
    assert "TTFT (ms)" not in names
    assert [column.head for column in table.columns] == ["Figure", "A", "B", "C"]


def test_each_is_held_against_the_first_and_called_by_its_own_letter() -> None:
    found = [
        Comparison(
            "two",
            Change.SLOWER,
            "B takes 1.2 of A's time",
            1.2,
            (1.15, 1.25),
            "turns",
            differences=("B is unstable: drift",),
        ),
        Comparison("three", Change.NEWLY_FAILING, "A has a number, B has none: killed"),
    ]
    blocks = comparison_blocks(ROWS, found)
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert [tuple(line[:4]) for line in table.rows] == [
        ("B ÷ A", "▲ slower", "1.20", "[1.15, 1.25]"),
        ("C ÷ A", "! no number in C", "—", "—"),
    ]
    (items,) = [block for block in blocks if isinstance(block, Items)]
    assert items.items == (
        ("B:", "B is unstable: drift"),
        ("C:", "A has a number, C has none: killed"),
    )
