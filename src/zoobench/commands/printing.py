"""Results go to stdout: as JSON for programs, as tables for people."""

from __future__ import annotations

import json
from typing import Any


def print_json(value: Any) -> None:
    """Indented JSON."""
    print(json.dumps(value, indent=1))


def print_rich(*renderables: Any) -> None:
    """Tables and text of rich, as wide as the terminal."""
    from rich.console import Console

    console = Console()
    # A file or a pipe has no width of its own; 80 would cut the table.
    if not console.is_terminal:
        console = Console(width=140)
    console.print(*renderables)
