"""What the flags of several commands have in common."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Names = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
"""Words after one flag: `--models a b c`."""

Numbers = Annotated[list[int] | None, Parameter(consume_multiple=True, negative=())]
"""Whole numbers after one flag: `--batch-sizes 1 4 8`."""

Flag = Annotated[bool, Parameter(negative=())]
"""A switch that has no `--no-…`."""

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
"""`--json`, on every command that prints."""
