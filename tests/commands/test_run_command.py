"""What a run says at its end."""

from __future__ import annotations

import pytest
from tests.show.records import make_record

from zoobench.commands.run import _doubt
from zoobench.terms import VerdictValue

AGAIN = "--on-existing rerun measures again"


@pytest.mark.parametrize(
    ("value", "codes", "helps"),
    [
        (VerdictValue.UNSTABLE, ["drift"], True),
        (VerdictValue.INVALID, ["cpu_contended", "drift"], True),
        (VerdictValue.INVALID, ["differs_from_reference"], False),
        (VerdictValue.INVALID, ["differs_from_reference", "drift"], False),
    ],
)
def test_to_measure_again_is_offered_where_it_may_help(
    value: VerdictValue, codes: list[str], helps: bool
) -> None:
    doubtful = make_record(verdict=value, reasons=[(code, "why") for code in codes])
    told = _doubt([make_record(), doubtful])
    assert told is not None
    assert told.startswith(f"1 {value.value} of 2 cells: the notes say why")
    assert (AGAIN in told) == helps


def test_one_that_may_pass_is_enough_and_none_at_all_is_silent() -> None:
    lasting, passing = (
        make_record(verdict=VerdictValue.INVALID, reasons=[(code, "why")])
        for code in ("differs_from_reference", "throttled")
    )
    assert AGAIN in (_doubt([lasting, passing]) or "")
    assert _doubt([make_record()]) is None
