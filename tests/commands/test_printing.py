"""What commands print is what others can read."""

from __future__ import annotations

import json

import pytest

from zoobench.commands.printing import print_json


def test_json_holds_no_infinity_and_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("inf"), (float("nan"), 1.5)], "b": {"c": -float("inf")}, "d": True, "e": 10**400})

    def refuse(word: str) -> None:
        raise AssertionError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found == {"a": [None, [None, 1.5]], "b": {"c": None}, "d": True, "e": 10**400}
