"""The errors that a user may see: one line that says what, where, and what to do."""

from __future__ import annotations

USAGE_EXIT = 2
INTERRUPTED_EXIT = 130


def printable(text: str) -> str:
    """One line in which names from strangers (a Hub, a file, a lock) can neither move the cursor nor begin a new one."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


class ZoobenchError(Exception):
    """Something the user can act on. `str(error)` is the whole line that is printed.

    Attributes:
        exit_code: what the command line exits with when this reaches it.
    """

    exit_code = USAGE_EXIT


class UsageError(ZoobenchError):
    """The request cannot be meant: unknown names, impossible numbers, files that are not what they should be."""


class PrepareError(ZoobenchError):
    """A model could not be made ready to run: download, weights, export or validation."""


class HubError(PrepareError):
    """The Hub refused, or could not be reached."""


class HubUnreachableError(HubError):
    """No answer from the Hub at all (no network, refused connection, time-out): the offline fallback may step in."""


class BusyError(ZoobenchError):
    """Another measurement holds this machine."""
