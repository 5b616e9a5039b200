"""What a gate decided: for a terminal, for programs, for GitHub, and for whatever reads JUnit's XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoobench.errors import printable
from zoobench.judge import Decision, Finding
from zoobench.show.document import Block, Column, Heading, Items, Paragraph, Table, plain, to_markdown
from zoobench.show.numbers import format_ms
from zoobench.show.tables import MARKED

if TYPE_CHECKING:
    from zoobench.judge.compare import Change, Comparison

_MARKS = {
    Decision.PASS: "✓",
    Decision.FAIL: "✗",
    Decision.INCONCLUSIVE: "?",
    Decision.INVALID: "!",
    Decision.NOT_COMPARABLE: "≠",
    Decision.SKIPPED: "–",
}
_RATIO_COLUMNS = ("Case", "Decision", "Head ÷ base", "Interval", "Copy ÷ base", "Base (ms)", "Head (ms)")
_LIMIT_COLUMNS = ("Case", "Decision", "Measured (ms)", "Interval", "Limit (ms)", "Calls over")
_ANNOTATIONS = {
    Decision.FAIL: "error",
    Decision.INVALID: "error",
    Decision.NOT_COMPARABLE: "error",
    Decision.INCONCLUSIVE: "warning",
    Decision.SKIPPED: "notice",
}


def word(decision: Decision) -> str:
    """The decision as tables show it: a mark beside the word, so that colour is never needed."""
    return f"{_MARKS[decision]} {decision.value.replace('_', ' ')}"


def headline(findings: Sequence[Finding]) -> str:
    """One line: how many cases came out how."""
    tally = [
        f"{count} {decision.value.replace('_', ' ')}"
        for decision in _MARKS
        if (count := sum(finding.decision is decision for finding in findings))
    ]
    return (
        f"{len(findings)} case{'' if len(findings) == 1 else 's'}: {', '.join(tally) or 'nothing was judged'}"
    )


def _columns(findings: Sequence[Finding]) -> tuple[str, ...]:
    return _LIMIT_COLUMNS if any("limit_ms" in finding.figures for finding in findings) else _RATIO_COLUMNS


def _cells(finding: Finding, columns: tuple[str, ...]) -> list[str]:
    f = finding.figures
    if columns is _LIMIT_COLUMNS:
        calls = f"{f['calls_over']} of {f['calls']}" if "calls" in f else "—"
        figures = [_ms(f, "measured_ms"), _span(f, "low_ms", "high_ms"), _ms(f, "limit_ms"), calls]
    else:
        figures = [_ratio(f, "ratio"), _span(f, "ratio_low", "ratio_high"), _ratio(f, "copy_ratio")]
        figures += [_ms(f, "base_ms"), _ms(f, "head_ms")]
    return [finding.name, word(finding.decision), *figures]


def _number(figures: Mapping[str, Any], key: str) -> float | None:
    value = figures.get(key)
    return value if isinstance(value, int | float) else None


def _ms(figures: Mapping[str, Any], key: str) -> str:
    return format_ms(_number(figures, key))


def _ratio(figures: Mapping[str, Any], key: str) -> str:
    value = _number(figures, key)
    return "—" if value is None else f"{value:.3f}"


def _span(figures: Mapping[str, Any], low: str, high: str) -> str:
    ends = _number(figures, low), _number(figures, high)
    if ends[0] is None or ends[1] is None:
        return "—"
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]"


def findings_table(findings: Sequence[Finding]) -> Table:
    """A line a case, with its decision and its figures."""
    columns = _columns(findings)
    heads = tuple(Column(head, "left" if number < 2 else "right") for number, head in enumerate(columns))
    return Table(heads, [_cells(finding, columns) for finding in findings])


def sentences(findings: Sequence[Finding]) -> Iterator[str]:
    """Each case with what was seen, one line a case, and its warnings."""
    for finding in findings:
        yield printable(f"{_MARKS[finding.decision]} {finding.name}: {finding.message}")
        yield from (f"    {printable(warning)}" for warning in finding.warnings)


def as_data(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """For programs: `--json`."""
    return [
        {
            "case": finding.name,
            "decision": finding.decision.value,
            "message": finding.message,
            "figures": dict(finding.figures),
            "warnings": list(finding.warnings),
        }
        for finding in findings
    ]


def step_summary(title: str, findings: Sequence[Finding], about: Sequence[tuple[str, str]]) -> str:
    """Markdown for a job's page on GitHub, or a comment.

    Args:
        about: what was compared: term and text.
    """
    blocks: list[Block] = [
        Heading(2, title),
        Paragraph(headline(findings), strong=True),
        findings_table(findings),
        Items(tuple((finding.name, finding.message) for finding in findings)),
        *([Items(tuple(about))] if about else []),
    ]
    return to_markdown(blocks)


def workflow_commands(findings: Sequence[Finding]) -> Iterator[str]:
    """GitHub's workflow commands, one line for each case that did not pass."""
    for finding in findings:
        level = _ANNOTATIONS.get(finding.decision)
        if level:
            title = _workflow_property(f"zoobench: {finding.decision.value.replace('_', ' ')}")
            yield f"::{level} title={title}::{_workflow_data(f'{finding.name}: {finding.message}')}"


def _workflow_data(text: str) -> str:
    """As the runner decodes it: a line break in a name would start a command of its own."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _workflow_property(text: str) -> str:
    return _workflow_data(text).replace(":", "%3A").replace(",", "%2C")


def junit_xml(suite: str, findings: Sequence[Finding]) -> bytes:
    """JUnit's XML, as CI servers read it: fail is a failure, invalid and not comparable are errors.

    An inconclusive case is an error too (nothing was shown), a skipped one is skipped.
    """
    root = ET.Element("testsuites")
    counts: dict[str, str] = {
        "tests": str(len(findings)),
        "failures": str(sum(f.decision is Decision.FAIL for f in findings)),
        "errors": str(sum(f.decision in _ERRORS for f in findings)),
        "skipped": str(sum(f.decision is Decision.SKIPPED for f in findings)),
    }
    body = ET.SubElement(root, "testsuite", {"name": plain(suite), **counts})
    for finding in findings:
        case = ET.SubElement(body, "testcase", classname=plain(suite), name=plain(finding.name))
        tag = (
            "failure"
            if finding.decision is Decision.FAIL
            else "error"
            if finding.decision in _ERRORS
            else None
        )
        if finding.decision is Decision.SKIPPED:
            ET.SubElement(case, "skipped", message=plain(finding.message))
        elif tag:
            ET.SubElement(case, tag, type=finding.decision.value, message=plain(finding.message))
        out = "\n".join(plain(line) for line in (finding.message, *finding.warnings))
        ET.SubElement(case, "system-out").text = out
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


_ERRORS = (Decision.INVALID, Decision.NOT_COMPARABLE, Decision.INCONCLUSIVE)


_CHANGE_MARKS = {"faster": "▼", "slower": "▲", "same": "=", "inconclusive": "?", "not_comparable": "≠"}


# A batch size does not mend another, nor does a quiet hour a busy one: what is known is which side has no number.
_WITHOUT = {"fixed": "no number in A", "newly_failing": "no number in {}", "failing": "no number in either"}


def change_word(change: Change, second: str = "B") -> str:
    """What became of a case, a mark beside the word, so that colour is never needed.

    Args:
        second: how the second of the two is called.
    """
    word = _WITHOUT.get(change.value, change.value.replace("_", " ")).format(second)
    return f"{_CHANGE_MARKS.get(change.value, '!')} {word}"


def comparison_blocks(found: Sequence[Comparison], names: tuple[str, str]) -> list[Block]:
    """Two results side by side.

    Args:
        names: what A and B are.
    """
    heads = ("Case", "Outcome", "B ÷ A", "Interval", "A p50 (ms)", "B p50 (ms)")
    rows = [
        (
            one.name,
            change_word(one.change),
            "—" if one.ratio is None else f"{one.ratio:.3f}",
            "—" if one.interval is None else f"[{one.interval[0]:.3f}, {one.interval[1]:.3f}]",
            format_ms(one.a_ms) + " ⚠" * ("A" in one.unstable),
            format_ms(one.b_ms) + " ⚠" * ("B" in one.unstable),
        )
        # What has no ratio says nothing of speed, and is often most of them.
        for one in sorted(found, key=lambda one: one.ratio is None)
    ]
    columns = tuple(Column(head, "left" if number < 2 else "right") for number, head in enumerate(heads))
    marked = [Paragraph(MARKED)] if any(one.unstable for one in found) else []
    return [Heading(3, f"A: {names[0]}   B: {names[1]}"), Table(columns, rows), *marked]


def comparisons_data(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """For programs: `compare --json`."""
    from dataclasses import asdict

    return [{**asdict(one), "change": one.change.value} for one in found]
