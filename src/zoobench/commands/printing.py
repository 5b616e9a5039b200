"""Results go to stdout: as JSON for programs, as tables for people."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoobench.show.document import Block


def print_json(value: Any) -> None:
    """Indented JSON, which knows no infinity and no NaN: they are null."""
    print(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def print_rich(*renderables: Any) -> None:
    """Tables and text of rich, as wide as the terminal."""
    from rich.console import Console

    console = Console()
    # A file or a pipe has no width of its own; 80 would cut the table.
    if not console.is_terminal:
        console = Console(width=140)
    console.print(*renderables)


def print_blocks(blocks: Sequence[Block]) -> None:
    """A document. A command is printed as it is, however wide: broken over lines it could not be copied."""
    from zoobench.errors import printable
    from zoobench.show.console import console_blocks, text_lines
    from zoobench.show.document import Command, Heading

    on_terminal = sys.stdout.isatty()
    after_command = False
    pending: list[Block] = []
    for block in (*blocks, Command(())):
        if not isinstance(block, Command):
            pending.append(block)
            continue
        if after_command and pending and isinstance(pending[0], Heading):
            print()
        if on_terminal:
            for renderable in console_blocks(pending):
                # Each by itself: what is printed together is joined in one line.
                print_rich(renderable)
        else:
            for line in text_lines(pending):
                print(line)
        pending = []
        after_command = True
        for line in block.lines:
            print(f"  {printable(line)}")


@contextlib.contextmanager
def to_whoever_listens() -> Iterator[None]:
    """Print within it where the exit code is the answer: a reader that has gone (head), or a full disk, changes nothing."""
    try:
        yield
        sys.stdout.flush()
    except (OSError, SystemExit):
        # rich ends the process on a broken pipe. What is still in the buffer would fail once more at the very end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
