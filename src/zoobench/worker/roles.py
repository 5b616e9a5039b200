"""The roles a worker can play. A role maps verbs to methods and imports only what it needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast

Emit = Callable[[str, Any], None]
"""Send an event to the parent: its name and its data."""


class Role(Protocol):
    """What a worker does."""

    def handle(self, verb: str, args: dict[str, Any], emit: Emit) -> Any:
        """Do `verb` and return its JSON-able result."""
        ...


ROLES: dict[str, str] = {
    "probe": "zoobench.worker.probe:ProbeRole",
    "prepare": "zoobench.worker.prepare:PrepareRole",
    "session": "zoobench.worker.session:SessionRole",
}


def open_role(name: str) -> Role:
    """Import and make the role called `name`."""
    module, _, attribute = ROLES[name].partition(":")
    return cast("Role", getattr(importlib.import_module(module), attribute)())
