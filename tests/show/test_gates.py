"""What a gate decided, everywhere where somebody looks."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from zoobench.judge import Decision, Finding
from zoobench.judge.compare import Change, Comparison
from zoobench.show import gates
from zoobench.show.console import console_blocks, text_lines
from zoobench.show.document import Block

RATIO = {
    "ratio": 1.2345,
    "ratio_low": 1.2,
    "ratio_high": 1.27,
    "copy_ratio": 1.001,
    "base_ms": 9.53,
    "head_ms": 11.76,
}
LIMIT = {
    "limit_ms": 50.0,
    "measured_ms": 61.2,
    "low_ms": 60.1,
    "high_ms": 63.4,
    "calls": 150,
    "calls_over": 149,
}
SHOWN = [decision for decision in Decision if decision is not Decision.MORE]
EVERY = [Finding(f"case {number}", decision, f"said {decision}") for number, decision in enumerate(SHOWN)]
HOSTILE = "evil\x00\x1b[31m\x08\ufffe\ud800\u202e\n::error::gotcha\r\n| <b>&amp;\"']]> @user % %0A"


def rendered(*blocks: Block) -> str:
    console = Console(width=160, file=io.StringIO(), color_system=None)
    for one in console_blocks(blocks):
        console.print(one)
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def test_a_ratio_has_its_interval_its_control_and_both_times() -> None:
    text = rendered(gates.findings_table([Finding("resnet18", Decision.FAIL, "slower", RATIO)]))
    assert "Head ÷ base" in text and "Limit" not in text
    (row,) = [line for line in text.splitlines() if "resnet18" in line]
    assert row.split() == ["resnet18", "✗", "fail", "1.234", "[1.200,", "1.270]", "1.001", "9.53", "11.8"]


def test_a_limit_has_what_was_measured_and_the_calls_over_it() -> None:
    text = rendered(gates.findings_table([Finding("resnet18", Decision.FAIL, "over", LIMIT)]))
    assert "Limit (ms)" in text and "Head" not in text
    (row,) = [line for line in text.splitlines() if "resnet18" in line]
    assert row.split() == ["resnet18", "✗", "fail", "61.2", "[60.100,", "63.400]", "50.0", "149", "of", "150"]


def test_a_figure_that_is_not_there_is_a_dash() -> None:
    for figures in ({}, dict.fromkeys(RATIO), {"limit_ms": None}, {"ratio": "a lot", "ratio_low": 1.0}):
        text = rendered(gates.findings_table([Finding("resnet18", Decision.INVALID, "no", figures)]))
        (row,) = [line for line in text.splitlines() if "resnet18" in line]
        assert set(row.split()[3:]) == {"—"}, figures


def test_colour_is_never_needed() -> None:
    words = [gates.word(decision) for decision in SHOWN]
    assert words == ["✓ pass", "✗ fail", "? inconclusive", "! invalid", "≠ not comparable", "– skipped"]


def test_a_headline_counts_every_decision() -> None:
    assert gates.headline(EVERY) == (
        "6 cases: 1 pass, 1 fail, 1 inconclusive, 1 invalid, 1 not comparable, 1 skipped"
    )
    assert gates.headline(EVERY[:1] * 3) == "3 cases: 3 pass"
    assert gates.headline(EVERY[:1]) == "1 case: 1 pass"
    assert gates.headline([]) == "0 cases: nothing was judged"


def test_a_sentence_a_case_with_its_warnings_below() -> None:
    findings = [
        Finding("a", Decision.PASS, "fine", warnings=("one fork",)),
        Finding("b", Decision.FAIL, "slow"),
    ]
    assert list(gates.sentences(findings)) == ["✓ a: fine", "    one fork", "✗ b: slow"]


def test_nothing_that_a_stranger_named_moves_the_cursor() -> None:
    finding = Finding(HOSTILE, Decision.FAIL, HOSTILE, warnings=(HOSTILE,))
    lines = list(gates.sentences([finding]))
    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    compared = Comparison(HOSTILE, Change.SLOWER, "slower")
    blocks = [gates.findings_table([finding]), *gates.comparison_blocks([compared], (HOSTILE, "[/]"))]
    for text in (rendered(*blocks), "\n".join(text_lines(blocks)).replace("\n", "")):
        assert not set("\x00\x1b\x08\u202e\r") & set(text)


def test_programs_get_every_field() -> None:
    found = gates.as_data([Finding("a", Decision.NOT_COMPARABLE, "no", {"ratio": 1.0}, ("w",))])
    assert json.loads(json.dumps(found)) == [
        {
            "case": "a",
            "decision": "not_comparable",
            "message": "no",
            "figures": {"ratio": 1.0},
            "warnings": ["w"],
        }
    ]


def test_a_summary_is_a_table_the_sentences_and_what_was_compared() -> None:
    text = gates.step_summary(
        "main against HEAD",
        [Finding("resnet18", Decision.FAIL, "23% slower", RATIO)],
        [("machine", "two CPUs")],
    )
    page = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    assert page.startswith("<h2>main against HEAD</h2>\n<p><strong>1 case: 1 fail</strong></p>\n<table>")
    assert page.count("<tr>") == 2 and ">✗ fail</td>" in page and ">1.234</td>" in page
    assert "<strong>resnet18</strong> 23% slower" in page
    assert "<strong>machine</strong> two CPUs" in page


def test_a_summary_takes_no_markup_from_names() -> None:
    text = gates.step_summary(HOSTILE, [Finding(HOSTILE, Decision.FAIL, HOSTILE)], [(HOSTILE, HOSTILE)])
    page = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    assert "<b>" not in page and "@user" not in page
    assert page.count("<tr>") == 2 and page.count("<td") == 7 and page.count("<li>") == 2
    assert "\n::" not in text


def test_every_case_that_did_not_pass_is_an_annotation() -> None:
    assert list(gates.workflow_commands(EVERY)) == [
        "::error title=zoobench%3A fail::case 1: said fail",
        "::warning title=zoobench%3A inconclusive::case 2: said inconclusive",
        "::error title=zoobench%3A invalid::case 3: said invalid",
        "::error title=zoobench%3A not comparable::case 4: said not_comparable",
        "::notice title=zoobench%3A skipped::case 5: said skipped",
    ]


def test_no_name_begins_a_workflow_command_of_its_own() -> None:
    (line,) = gates.workflow_commands(
        [Finding("50%\n::error::x", Decision.FAIL, "a\r\n::stop-commands::y %0A")]
    )
    assert "\n" not in line and "\r" not in line
    assert line.endswith("::50%25%0A::error::x: a%0D%0A::stop-commands::y %250A")
    data = line.split("::", 2)[2]
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        data = data.replace(code, character)
    assert data == "50%\n::error::x: a\r\n::stop-commands::y %0A"


def test_junit_counts_and_says_why() -> None:
    root = ET.fromstring(gates.junit_xml("guard", EVERY))
    (suite,) = root
    assert suite.attrib == {"name": "guard", "tests": "6", "failures": "1", "errors": "3", "skipped": "1"}
    told = {case.get("name"): [(child.tag, child.get("message")) for child in case] for case in suite}
    assert told == {
        "case 0": [("system-out", None)],
        "case 1": [("failure", "said fail"), ("system-out", None)],
        "case 2": [("error", "said inconclusive"), ("system-out", None)],
        "case 3": [("error", "said invalid"), ("system-out", None)],
        "case 4": [("error", "said not_comparable"), ("system-out", None)],
        "case 5": [("skipped", "said skipped"), ("system-out", None)],
    }
    assert {case.get("classname") for case in suite} == {"guard"}
    assert [error.get("type") for error in suite.iter("error")] == [
        "inconclusive",
        "invalid",
        "not_comparable",
    ]


def test_junit_keeps_warnings() -> None:
    root = ET.fromstring(
        gates.junit_xml("guard", [Finding("a", Decision.PASS, "fine", warnings=("one", "two"))])
    )
    assert root.findtext(".//system-out") == "fine\none\ntwo"


@pytest.mark.parametrize("decision", SHOWN)
def test_junit_is_xml_whatever_the_names(decision: Decision) -> None:
    finding = Finding(HOSTILE, decision, HOSTILE, warnings=(HOSTILE,))
    data = gates.junit_xml(HOSTILE, [finding])
    text = data.decode("utf-8")
    forbidden = [c for c in text if (ord(c) < 32 and c not in "\n\t\r") or c in "\ufffe\uffff"]
    assert forbidden == []
    (suite,) = ET.fromstring(data)
    assert suite[0].get("name", "").startswith("evil")
    assert "]]>" in (suite.findtext(".//system-out") or "")


def test_junit_of_nothing_is_an_empty_suite() -> None:
    (suite,) = ET.fromstring(gates.junit_xml("guard", []))
    assert (suite.get("tests"), len(suite)) == ("0", 0)


def test_what_has_no_number_on_one_side_is_neither_fixed_nor_broken_by_the_other() -> None:
    assert gates.change_word(Change.FIXED) == "! no number in A"
    assert gates.change_word(Change.FAILING, "C") == "! no number in either"
    assert gates.change_word(Change.NOT_COMPARABLE) == "≠ not comparable"


def test_a_comparison_side_by_side() -> None:
    found = [
        Comparison("resnet18", Change.SLOWER, "slower", 1.25, (1.2, 1.3), "turns", 8.0, 10.0),
        Comparison("resnet50", Change.NEWLY_FAILING, "failed"),
    ]
    text = rendered(*gates.comparison_blocks(found, ("run [1]", "latest")))
    assert "A: run [1]   B: latest" in text
    rows = [line.split() for line in text.splitlines() if "resnet" in line]
    assert rows == [
        ["resnet18", "▲", "slower", "1.250", "[1.200,", "1.300]", "8.00", "10.0"],
        ["resnet50", "!", "no", "number", "in", "B", "—", "—", "—", "—"],
    ]
    shaky = Comparison("vit", Change.SAME, "", 1.0, (0.99, 1.01), "turns", 8.0, 8.0, unstable=("B",))
    text = rendered(*gates.comparison_blocks([*reversed(found), shaky], ("run-1", "run-2")))
    lines = [line.split()[0] for line in text.splitlines() if "resnet" in line or "vit" in line]
    assert lines == ["resnet18", "vit", "resnet50"]
    assert next(line for line in text.splitlines() if "vit" in line).split()[-3:] == ["8.00", "8.00", "⚠"]
    assert "⚠: the cell is unstable" in text
    data = json.loads(json.dumps(gates.comparisons_data(found)))
    assert [one["change"] for one in data] == ["slower", "newly_failing"]
    assert (data[0]["interval"], data[1]["ratio"]) == ([1.2, 1.3], None)
