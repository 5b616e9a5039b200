"""Judging: measurements in, decisions out. Pure; nothing here measures, reads or prints.

A judge that needs more evidence says so (`Decision.MORE`) and leaves the measuring to whoever asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from zoobench.errors import ZoobenchError

REGRESSION_EXIT, UNDECIDED_EXIT, NOT_COMPARABLE_EXIT = 3, 4, 5


class Decision(StrEnum):
    """What the evidence says about one case. `more` never leaves a gate: it asks for another measurement."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    NOT_COMPARABLE = "not_comparable"
    SKIPPED = "skipped"
    MORE = "more"


class Undecided(StrEnum):
    """What an inconclusive case counts as."""

    REPORT = "report"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"


class NotComparableError(ZoobenchError):
    """Two things that were to be compared cannot be: another machine, nothing in common, an arm that does not build."""

    exit_code = NOT_COMPARABLE_EXIT


@dataclass(frozen=True)
class Finding:
    """The decision about one case.

    Attributes:
        name: the case, as a person names it.
        message: one sentence that holds the figures and what they were held against.
        figures: the same for programs; None where there is no figure.
        warnings: what weakens the decision without changing it.
    """

    name: str
    decision: Decision
    message: str
    figures: Mapping[str, float | int | str | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


_EXITS = {
    Decision.FAIL: REGRESSION_EXIT,
    Decision.INVALID: NOT_COMPARABLE_EXIT,
    Decision.NOT_COMPARABLE: NOT_COMPARABLE_EXIT,
    Decision.INCONCLUSIVE: UNDECIDED_EXIT,
}


def exit_code(findings: Iterable[Finding], undecided: Undecided = Undecided.REPORT) -> int:
    """0 pass, 3 regression, 4 undecided, 5 not comparable or invalid: the first of 3, 5, 4 that any case calls for.

    Args:
        undecided: `pass` and `fail` turn an inconclusive case into 0 and 3. Invalid ones stay what they are.
    """
    codes = {_EXITS.get(finding.decision, 0) for finding in findings}
    if UNDECIDED_EXIT in codes and undecided is not Undecided.REPORT:
        codes.remove(UNDECIDED_EXIT)
        codes.add(REGRESSION_EXIT if undecided is Undecided.FAIL else 0)
    return next((code for code in (REGRESSION_EXIT, NOT_COMPARABLE_EXIT, UNDECIDED_EXIT) if code in codes), 0)
