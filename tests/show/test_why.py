"""The words say what the numbers say, and nothing that there is no number for; the tables stand behind them."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from tests.judge.profiled import PLAIN, against, evidence, fp32, int8, rung
from tests.show.records import make_accuracy, make_record, write_results

from zoobench.judge.explain import explain
from zoobench.results.record import Record
from zoobench.show.document import LONGEST_TEXT, Table, to_markdown
from zoobench.show.explanation import explanation_blocks, explanation_data
from zoobench.show.report import write_report
from zoobench.show.why import paragraph, sentences
from zoobench.terms import VerdictValue


def told(record: Record, other: Record | None = None) -> dict[str, str]:
    return dict(sentences(against(record, other) if other else explain(record)))


def test_a_precision_that_does_not_pay_is_explained() -> None:
    said = told(int8(rungs=[rung("plain")]), fp32())
    assert said["Does it pay:"].startswith(
        "int8 does not pay: it is slower than fp32. It takes 1.35 [1.31, 1.39]"
    )
    assert "0.740× its speed (from the two medians' intervals)" in said["Does it pay:"]
    assert said["Faster than in fp32:"] == "convolution 5.00 → 3.20 ms, layout 0.700 → 0.0600 ms."
    assert said["Slower than in fp32:"] == "conversions 0 → 3.70 ms, activation and scaling 1.50 → 2.60 ms."
    assert said["What computes nothing:"] == (
        "181 nodes only convert, for 37.0% of the time; they stand around what runs on floats: Mul (65 nodes), "
        "Sigmoid (65 nodes), ReduceMean (17 nodes)."
    )
    assert "29.0% of the time runs on floats: Mul (65 nodes, 14.0%)" in said["What stays in floats:"]
    assert "ReduceMean has no int8 kernel." in said["What stays in floats:"]
    assert (
        "Mul and Sigmoid could run on bytes, but the recipe does not name them."
        in said["What stays in floats:"]
    )
    assert said["What was tried:"].startswith(
        "plain 0.760× fp32's speed, 97.0% of its classes. plain was chosen"
    )
    assert said["What to try next:"] == (
        "As it is, fp32 is the faster one on this backend. "
        "A recipe that also quantizes Mul and Sigmoid would save conversions."
    )
    assert "compute limit alone would take 42.0% of the p50" in said["How far from the limit:"]
    assert "0.400 ms of the p50 of 10.4 ms (3.85%) lie outside of kernels." in said["Where the time goes:"]


def test_one_that_pays_gets_no_advice_that_no_number_calls_for() -> None:
    whole = [(op.replace("Mul", "QLinearMul"), "int8", n, us) for op, _, n, us in PLAIN[:1] + PLAIN[3:4]]
    said = told(int8(5.0, evidence=evidence(whole)), fp32())
    assert said["Does it pay:"].startswith("int8 pays. It takes 0.649")
    assert not {
        "What computes nothing:",
        "What stays in floats:",
        "What to try next:",
        "What was tried:",
    } & set(said)
    assert "0.400 ms of the p50" in said["Where the time goes:"]


def test_what_was_tried_already_is_not_advised_and_a_faster_rung_is_named() -> None:
    rungs = [rung("plain"), rung("mul_sigmoid", "Mul", "Sigmoid", speed=1.25)]
    said = told(int8(rungs=rungs), fp32())
    assert "also quantizes" not in said["What to try next:"]
    assert "mul_sigmoid was faster (1.25×) and less faithful" in said["What to try next:"]
    assert "mul_sigmoid 1.25× fp32's speed" in said["What was tried:"]
    half = told(int8(rungs=[rung("plain"), rung("mul", "Mul")]), fp32())
    assert "also quantizes Sigmoid would" in half["What to try next:"], "only what is left to try"


def test_doubts_and_what_is_not_known_are_said() -> None:
    shaky = {
        "verdict": VerdictValue.UNSTABLE,
        "reasons": [("drift", "it got slower by 9%; close other programs")],
    }
    said = told(int8(20.0, **shaky), fp32())
    assert said["Can it be believed:"] == "p50 is unstable: it got slower by 9%."
    assert "or in what made p50 unstable" in said["Where the time goes:"]
    assert "larger batch" not in said["What to try next:"]
    assert "larger batch" in told(int8(20.0), fp32())["What to try next:"]
    assert "There is no fp32 record of this cell" in told(int8())["Does it pay:"]
    assert (
        "they differ in versions"
        in told(int8(), fp32(versions={"onnxruntime": "1.0"}))["Does it pay:"].lower()
    )
    assert "Does it pay:" not in told(fp32())
    assert "profiling has an overhead" in told(int8(9.0))["Where the time goes:"]


def test_a_runtime_without_kernels() -> None:
    layers = evidence(
        [], runtime="openvino", version="2026.4.1-22982-abc", details={"layers": {"i8": 66, "f32": 5}}
    )
    record = make_record("effnet", "openvino", precision="int8", evidence=layers, roofline_fraction=None)
    said = told(record, make_record("effnet", "openvino"))
    assert said["Where the time goes:"] == (
        "The profile of openvino 2026.4.1 tells no kernels. What is known: 2 threads, precision int8. "
        "Its layers by precision: 66 in i8, 5 in f32."
    )
    assert said["How far from the limit:"].startswith("Not known: no ceiling was measured for int8. In fp32")
    blocks = explanation_blocks(against(record, make_record("effnet", "openvino")))
    assert not [block for block in blocks if isinstance(block, Table)]


def test_a_detectors_recipes_keep_boxes_and_not_classes() -> None:
    record = int8(rungs=[rung("chain")])
    record.artifact.ladder["alike"] = "boxes"
    assert "97.0% of its boxes" in told(record, fp32())["What was tried:"]
    text = to_markdown(explanation_blocks(against(record, fp32())))
    assert "Same boxes as fp32" in text and "Same class as fp32" not in text


def test_tables_and_json_hold_every_number() -> None:
    found = against(int8(rungs=[rung("plain")]), fp32())
    text = html.unescape(to_markdown(explanation_blocks(found)))
    assert "| conversions | 0 | 3700 | +3700 | 0 → 181 | — → DequantizeLinear, QuantizeLinear |" in text
    assert "| outside of kernels: p50 − profile | 200 | 400 | +200 | — | — |" in text
    assert "| p50 | 7700 | 10400 | +2700 | — | — |" in text, "the differences add up to p50's"
    assert "| DequantizeLinear | converting | 115 | 2600 | 26.0% |" in text
    assert "| plain | 0.760× | 97.0% | chosen |" in text
    data = json.loads(json.dumps(explanation_data(found)))
    assert (data["versus"]["pays"], data["kinds"][1]["us"], data["ladder"]["rungs"][0]["name"]) == (
        "costs",
        3700,
        "plain",
    )
    assert data["words"]["Does it pay:"].startswith("int8 does not pay")


def test_a_paragraph_is_never_cut_in_the_middle() -> None:
    long = [(f"Operator{'x' * 60}{i}", "float", 1, 900.0) for i in range(6)]
    text = paragraph(against(int8(evidence=evidence([*PLAIN, *long])), fp32()))
    assert len(text) <= LONGEST_TEXT
    assert text.endswith(".")


@pytest.mark.parametrize(("p50", "is_told"), [(10.4, True), (7.7, True), (5.0, False)])
def test_the_report_says_why_where_a_precision_does_not_pay(
    p50: float, is_told: bool, tmp_path: Path
) -> None:
    results = write_results(tmp_path / "results", [fp32(), int8(p50)])
    text = write_report(results, tmp_path / "RESULTS.md").report.read_text("utf-8")
    assert ("\neffnet · onnx_cpu · int8 · batch 1 (valid):" in text) is is_told
    assert ("All of them pay" in text) is not is_told
    beside = text[text.index("### Precisions against fp32") :]
    row = next(line for line in beside.splitlines() if line.startswith("| effnet"))
    assert ("| yes |" in row) is not is_told, row
    assert (f"zoobench explain run-1 effnet onnx_cpu int8 batch=1 --results-dir {results}" in text) is is_told


def test_a_renamed_run_is_explained_and_named_as_it_is_called_now(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", [fp32(), int8(10.4)])
    (results / "runs/run-1").rename(results / "runs/kept")
    text = write_report(results, tmp_path / "RESULTS.md").report.read_text("utf-8")
    assert "zoobench explain kept effnet onnx_cpu int8 batch=1" in text


def test_the_worst_comes_first_in_a_report_and_an_ambiguous_cell_goes_by_its_id(tmp_path: Path) -> None:
    other = {"options": {"graph_optimization": "basic"}}
    cells = [fp32(), int8(7.7), fp32(**other), int8(12.0, **other)]
    text = write_report(write_results(tmp_path / "r", cells), tmp_path / "R.md").report.read_text("utf-8")
    why = text[text.index("\neffnet · ") :]
    assert why.index("does not pay") < why.index("undecided")
    assert f"zoobench explain run-1 {cells[3].case.id} --results-dir" in why


def test_of_very_many_precisions_the_first_are_held_against_fp32_and_the_rest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoobench.show.explanation.MOST_BESIDE", 2)
    records = [
        make_record(f"m{n}", precision=precision, p50=5.0 + n)
        for n in range(5)
        for precision in ("fp32", "int8")
    ]
    write_results(tmp_path / "results", records)
    text = write_report(tmp_path / "results", tmp_path / "R.md").report.read_text()
    part = text.split("### Precisions against fp32")[1].split("###")[0]
    assert part.count("| int8 |") == 2 and "3 more rows are in results.csv" in part


def test_what_it_costs_in_accuracy_is_said() -> None:
    said = told(int8(5.0, accuracy=make_accuracy(755, lost=14, won=9)), fp32())["What it gets right:"]
    assert said.startswith("Top-1 is 75.50 [72.74, 78.06]% of 1000 pictures of timm/mini-imagenet@")
    assert "gives fp32's class to 97.0% of them, with a cosine of 0.9700 at least" in said
    assert "The drop against fp32 is 0.50 [-0.46, 1.46] points with 1 allowed: inconclusive (about " in said
    assert "--dataset tells" in told(int8(5.0), fp32())["What it gets right:"]
    unclaimed = told(int8(5.0, accuracy=make_accuracy(None, lost=3)), fp32())["What it gets right:"]
    assert unclaimed.startswith("No accuracy is claimed: random weights") and "points" not in unclaimed
