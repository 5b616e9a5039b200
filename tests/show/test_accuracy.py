"""Accuracy in a report: the columns, and what a dash means."""

from __future__ import annotations

from pathlib import Path

from tests.show.records import make_accuracy, make_record, write_results

from zoobench.results.record import Record
from zoobench.results.row import row_of
from zoobench.show.accuracy import accuracy_section
from zoobench.show.console import run_blocks, short_head
from zoobench.show.report import write_report
from zoobench.show.tables import top1_cell


def zoo() -> list[Record]:
    """Two models in two precisions; int8 of the second loses too much."""
    made = [
        ("resnet18", "fp32", 9.5, make_accuracy(760)),
        ("resnet18", "int8", 3.2, make_accuracy(755, lost=14, won=9)),
        ("mobilenetv2_100", "fp32", 2.4, make_accuracy(770)),
        ("mobilenetv2_100", "int8", 1.2, make_accuracy(640, lost=140, won=10, agree=800)),
    ]
    return [
        make_record(model, "onnx_cpu", p50, precision=precision, batch=batch, accuracy=found)
        for model, precision, p50, found in made
        for batch in (1, 8)
    ]


def markdown(folder: Path, records: list[Record]) -> str:
    write_results(folder / "results", records)
    files = write_report(folder / "results", folder / "RESULTS.md")
    assert not files.problems
    return files.report.read_text()


def test_the_report_has_one_line_for_each_artifact(tmp_path):
    text = markdown(tmp_path, zoo())
    part = text.split("### Accuracy")[1].split("###")[0]
    assert part.count("| resnet18 | onnx_cpu | int8 |") == 1
    assert "1000 pictures of timm/mini-imagenet@" in part and "the argmax runs over all 1000 classes." in part
    [line] = [line for line in part.splitlines() if "| mobilenetv2_100 | onnx_cpu | int8 |" in line]
    assert "64.0 [61.0, 66.9]" in line and "13.00 [" in line and "&#60; 0.001" in line and "❌ fail" in line
    [line] = [line for line in part.splitlines() if "| resnet18 | onnx_cpu | int8 |" in line]
    assert "⚠ inconclusive (≈ " in line and "pictures would decide)" in line
    assert "![Top-1 with its 95% interval against median latency" in text


def test_the_documented_table_has_the_column_and_leaves_it_empty(tmp_path):
    assert "Top-1 (%)" in markdown(tmp_path / "with", zoo()).split("### Accuracy")[0]
    without = markdown(tmp_path / "without", [make_record()])
    assert "### Accuracy" not in without
    [line] = [
        line for line in without.splitlines() if line.startswith("| resnet18 | onnx_cpu |") and "46.8" in line
    ]
    assert " | — | 46.8 |" in line, "left empty, never invented"
    heads = [
        [short_head(column) for column in run_blocks(records)[1].columns]
        for records in (zoo(), [make_record()])
    ]
    assert [any("Top-1" in str(head) for head in row) for row in heads] == [True, False]


def test_what_is_not_claimed_is_a_dash_with_its_reason(tmp_path):
    record = make_record(weights="random", accuracy=make_accuracy(None, lost=3, won=1))
    row = row_of(record)
    assert top1_cell(row) == "—" and row.agreement == 0.97
    text = markdown(tmp_path, [record])
    assert "no accuracy is claimed: random weights" in text


def test_masked_and_published_figures_have_columns_of_their_own():
    rows = [row_of(make_record(accuracy=make_accuracy(760, masked=850, published_top1=71.5)))]
    *_, table = accuracy_section(rows)
    heads = [column.head for column in table.columns]
    assert {"Top-1 masked (%)", "Published (%)"} <= set(heads)


def test_the_terminal_says_whether_the_drop_passes_and_the_report_by_which_margin(tmp_path):
    [_, table, *_] = run_blocks(zoo())
    [at] = [i for i, column in enumerate(table.columns) if column.head == "Drop"]
    assert {row[at] for row in table.rows} == {"—", "⚠ inconclusive", "❌ fail"}
    assert "passes where its whole interval lies below 1 point," in markdown(tmp_path, zoo())


def test_what_loses_too_much_is_not_the_fastest_and_an_open_drop_is_said(tmp_path):
    text = markdown(tmp_path, zoo())
    assert "fastest: mobilenetv2_100 · onnx_cpu · fp32 · batch 1" in text, "its int8 fails"
    only = [r for r in zoo() if r.case.model == "resnet18"]
    assert "int8 · batch 1, 3.20 ms (drop of top-1 against fp32: ⚠ inconclusive)" in markdown(
        tmp_path / "b", only
    )
