"""The language between the parent and a worker: JSON lines over a pipe of its own, with a version handshake.

The parent sends requests, one at a time:  {"id": 7, "verb": "slot", "args": {...}}
The worker answers each with any number of events and then one reply:
    {"id": 7, "event": "progress", "data": {...}}
    {"id": 7, "ok": true, "result": {...}}      or      {"id": 7, "ok": false, "error": {...}}

The runtime's own chatter on stdout and stderr goes to a log file, never into this pipe.
"""

from __future__ import annotations

import json
from typing import Any, Literal, TypedDict

WORKER_PROTOCOL = 1
"""The handshake refuses any other number: two arms may run two versions of the package."""


class Request(TypedDict):
    """Parent to worker."""

    id: int
    verb: str
    args: dict[str, Any]


class ErrorBody(TypedDict, total=False):
    """Why a verb failed. `kind` lets the parent choose the status of the record."""

    kind: Literal["error", "usage", "hub", "hub_unreachable", "prepare", "out_of_memory"]
    type: str
    message: str
    stage: str
    traceback: str


class Message(TypedDict, total=False):
    """Worker to parent: an event or a reply."""

    id: int
    event: str
    data: Any
    ok: bool
    result: Any
    error: ErrorBody


def encode(message: Any) -> bytes:
    """One line. Raises ValueError for NaN and infinities, which are not JSON."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> Any:
    """Parse one line. Raises ValueError when it is not JSON."""
    return json.loads(line)
