"""A table that a terminal cannot hold is told in lines, and no name is broken into letters."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from zoobench.show.console import console_blocks, text_lines
from zoobench.show.document import Column, Heading, Items, Paragraph, Table

HEADS = ("p50 (ms)", "p95 (ms)", "Top-1 (%)", "Peak memory (MB)", "Size (MB)")
TABLE = Table(
    (
        Column(""),
        Column("Model"),
        Column("Backend"),
        *(Column(head, "right") for head in HEADS),
        Column("Verdict"),
    ),
    [
        (
            "ship",
            "mobilenetv2_100",
            "onnx_cpu",
            "6.80 [6.70, 6.90]",
            "7.48 [7.33, 8.23]",
            "—",
            "137",
            "14.0",
            "valid",
        ),
        (
            "",
            "[red]resnet18\x1b[2J",
            "pytorch",
            "25.0 [24.6, 25.4]",
            "27.5 [27.0, 30.3]",
            "70.0",
            "990",
            "46",
            "valid",
        ),
    ],
)


def shown(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    for one in console_blocks([Heading(2, "The best"), TABLE]):
        console.print(one)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_wide_terminal_gets_a_table() -> None:
    text = shown(140)
    assert "Peak MB" in text and any(
        "mobilenetv2_100" in line and "14.0" in line for line in text.splitlines()
    )


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_one_gets_lines_that_name_the_figures(width: int) -> None:
    lines = shown(width).splitlines()
    assert max(map(len, lines)) <= width and lines[0].strip() == "The best"
    assert "  ship mobilenetv2_100 · onnx_cpu" in [line.rstrip() for line in lines]
    assert "       [red]resnet18[2J · pytorch" in [line.rstrip() for line in lines], "a name is text"
    told = " ".join(" ".join(lines).split())
    assert "p50 (ms) 6.80 [6.70, 6.90]" in told and "Peak MB 137 · MB 14.0 · Verdict valid" in told
    assert "Top-1 (%) —" not in told


def test_in_a_pipe_a_row_is_a_line_however_wide() -> None:
    reason = "the runtime has no kernel for it; " * 9
    wide = Table(
        (Column("Model"), Column("p50 (ms)", "right"), Column("Why")),
        [("a🟢", "1", reason), ("long", "12.5", "")],
    )
    lines = [
        *text_lines(
            [
                Heading(1, "What"),
                Paragraph("Said."),
                Heading(2, "Cells"),
                wide,
                Items((("Note:", "x\x1b[2J"),)),
            ]
        )
    ]
    assert lines[:5] == ["What", "Said.", "", "Cells", ""]
    head, rule, first, second = lines[5:9]
    assert head == " Model  p50 (ms)  Why" and set(rule.strip()) == {"─"}
    assert first.startswith(" a🟢           1  the runtime") and first.endswith(reason.rstrip()), (
        "a wide sign takes two columns"
    )
    assert second == " long       12.5", "and nothing is left behind the last word"
    assert lines[-2:] == ["  Note: x[2J", ""] and len(rule) == len(head), "a rule is no longer than the heads"
