"""What the guard says of cases that not every arm has."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.show.records import make_failure, make_record

from zoobench.driver.contest import Bout, Contest
from zoobench.judge import Decision, NotComparableError
from zoobench.judge.gate import BASE, COPY, HEAD, Margin
from zoobench.results.record import Record
from zoobench.search.guard import guard_contest
from zoobench.terms import Status

BROKEN = make_failure()
ABSENT = make_failure(status=Status.SKIPPED)
READY = make_record()


def decided(**arms: Record) -> Decision:
    """Of one bout: an arm is ready, refused, or does not know the case."""
    ready = {arm: record for arm, record in arms.items() if record.status is Status.OK}
    refused = {arm: record for arm, record in arms.items() if record.status is not Status.OK}
    seats: Mapping[str, Any] = dict.fromkeys(ready)
    bout = Bout("a case", seats, ready, refused)
    # Beside it one that fails, so that there is something to tell of both.
    newly = Bout("another", cast("Any", {BASE: None, COPY: None}), {}, {HEAD: BROKEN})
    contest = cast("Contest", SimpleNamespace(bouts=[bout, newly]))
    return {found.name: found.decision for found in guard_contest(contest, Margin())}["a case"]


@pytest.mark.parametrize(
    ("arms", "decision"),
    [
        ({BASE: READY, COPY: READY, HEAD: BROKEN}, Decision.FAIL),
        ({BASE: READY, COPY: READY, HEAD: ABSENT}, Decision.FAIL),
        ({BASE: READY, COPY: READY}, Decision.NOT_COMPARABLE),
        ({BASE: BROKEN, COPY: BROKEN, HEAD: READY}, Decision.NOT_COMPARABLE),
        ({BASE: READY, COPY: BROKEN, HEAD: READY}, Decision.NOT_COMPARABLE),
        ({BASE: BROKEN, COPY: BROKEN, HEAD: BROKEN}, Decision.NOT_COMPARABLE),
        ({HEAD: READY}, Decision.SKIPPED),
        ({BASE: ABSENT, COPY: ABSENT, HEAD: READY}, Decision.SKIPPED),
        ({BASE: ABSENT, COPY: ABSENT, HEAD: ABSENT}, Decision.SKIPPED),
    ],
)
def test_a_case_that_not_every_arm_has(arms: dict[str, Record], decision: Decision) -> None:
    assert decided(**arms) is decision


def test_nothing_to_compare_at_all() -> None:
    bout = Bout("a case", {}, {}, {BASE: BROKEN, HEAD: BROKEN})
    with pytest.raises(NotComparableError, match="a case: base could not be made ready"):
        list(guard_contest(cast("Contest", SimpleNamespace(bouts=[bout])), Margin()))
