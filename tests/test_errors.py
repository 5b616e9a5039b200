"""A library's error becomes the line of it that says something."""

from __future__ import annotations

import pytest

from zoobench.errors import first_line


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("\n  no such weight\nmore", "no such weight"),
        (
            "Exception from src/core.cpp:84:\nFrontEnd API failed with GeneralFailure:\nCheck 'a(b, c)' failed at src/x.cpp:9:\nno file",
            "no file",
        ),
        ("Exception from src/core.cpp:84:\n", "Exception from src/core.cpp:84:"),
        ("", "ValueError"),
        ("x" * 301, "x" * 299 + "…"),
    ],
)
def test_the_line_is_the_first_that_is_more_than_a_place(said: str, told: str) -> None:
    assert first_line(ValueError(said)) == told
