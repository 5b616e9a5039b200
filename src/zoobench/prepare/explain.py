"""One line out of whatever a library raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zoobench.errors import PrepareError

_LONGEST = 300


def first_line(error: BaseException) -> str:
    """The error's first line that says something, at most 300 characters, else its type."""
    for line in str(error).splitlines():
        if line.strip():
            text = line.strip()
            return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return type(error).__name__


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever a library raises inside into one PrepareError line that begins with `what`.

    Libraries raise every type there is for a file that they cannot use. Running out of memory stays what it
    is, because it has a status of its own.
    """
    try:
        yield
    except (PrepareError, MemoryError):
        raise
    except Exception as error:
        raise PrepareError(f"{what}: {first_line(error)}") from error
