"""What the flags of several commands have in common."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from zoobench.errors import UsageError

Names = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
"""Words after one flag: `--models a b c`."""

Numbers = Annotated[list[int] | None, Parameter(consume_multiple=True, negative=())]
"""Whole numbers after one flag: `--batch-sizes 1 4 8`."""

Flag = Annotated[bool, Parameter(negative=())]
"""A switch that has no `--no-…`."""

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
"""`--json`, on every command that prints."""

Strays = Annotated[str, Parameter(show=False)]
"""Words that belong to no flag, of a command that takes none: caught so that `refuse` can say what to write."""


def refuse(strays: Sequence[str]) -> None:
    """A results folder is the one thing that people name without its flag: `dashboard` and `compare` take it so.

    Raises:
        UsageError: there are any.
    """
    if strays:
        word = shlex.quote(strays[0])
        raise UsageError(
            f"{strays[0]!r} belongs to no flag; to name a results folder write --results-dir {word}"
        )
