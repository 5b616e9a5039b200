"""The language between the parent and a worker: JSON lines over a pipe of its own, with a version handshake.

The parent sends requests, one at a time:  {"id": 7, "verb": "slot", "args": {...}}
The worker answers each with any number of events and then one reply:
    {"id": 7, "event": "progress", "data": {...}}
    {"id": 7, "ok": true, "result": {...}}      or      {"id": 7, "ok": false, "error": {...}}

The runtime's own chatter on stdout and stderr goes to a log file, never into this pipe.
"""

from __future__ import annotations

import json
import traceback
from typing import Any, Literal, TypedDict

from zoobench.errors import HubError, HubUnreachableError, PrepareError, ZoobenchError

WORKER_PROTOCOL = 1
"""The handshake refuses any other number: two arms may run two versions of the package."""


ErrorKind = Literal["error", "usage", "hub", "hub_unreachable", "prepare", "out_of_memory"]

_KINDS: tuple[tuple[type[Exception], ErrorKind], ...] = (
    (HubUnreachableError, "hub_unreachable"),
    (HubError, "hub"),
    (PrepareError, "prepare"),
    (ZoobenchError, "usage"),
)
_OUT_OF_MEMORY_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "failed to allocate",
)


class Request(TypedDict):
    """Parent to worker."""

    id: int
    verb: str
    args: dict[str, Any]


class ErrorBody(TypedDict, total=False):
    """Why a verb failed. `kind` lets the parent choose the status of the record."""

    kind: ErrorKind
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


def describe_error(error: Exception) -> ErrorBody:
    """What the parent needs to know to choose a status and to show one line."""
    text = str(error).strip()
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in _OUT_OF_MEMORY_SIGNS):
        kind: ErrorKind = "out_of_memory"
    else:
        kind = next((name for cls, name in _KINDS if isinstance(error, cls)), "error")
    return {
        "kind": kind,
        "type": type(error).__name__,
        "message": (text.splitlines()[0] if text else type(error).__name__)[:1000],
        "traceback": "".join(traceback.format_exception(error))[-8000:],
    }
