"""The errors that a user may see: one line that says what, where, and what to do."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

USAGE_EXIT = 2
SOFTWARE_EXIT = 70
"""What nobody foresaw, as sysexits.h numbers it: 1 is an answer of most commands."""
INTERRUPTED_EXIT = 130
_PLACE = re.compile(r"(Exception from|Check '.*' failed at) \S+:\d+:|FrontEnd API failed with \w+:")
_LONGEST = 300


def printable(text: str) -> str:
    """One line in which names from strangers (a Hub, a file, a lock) can neither move the cursor nor begin a new one."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def pip_install(*packages: str) -> str:
    """The command that adds packages to this very environment, wherever it is typed."""
    return _pip("install", packages)


def pip_uninstall(*packages: str) -> str:
    """The command that takes packages out of this environment, without asking back."""
    return _pip("uninstall", packages)


def install_extra(extra: str) -> str:
    """The command that adds an extra of zoobench. A checkout is named by its place: no index may know it."""
    return pip_install(f"{_checkout() or 'zoobench'}[{extra}]")


def _pip(verb: str, packages: Sequence[str]) -> str:
    """An environment that uv made has no pip of its own, and the next one on PATH is another environment's."""
    import shutil
    from importlib.util import find_spec

    from zoobench.shell import command_line

    if find_spec("pip"):
        return command_line(["pip", verb, *(["-y"] if verb == "uninstall" else []), *packages])
    # `make install` brings one where there is none.
    own = Path(sys.prefix).parent / ".uv/bin/uv"
    uv = str(own) if own.exists() and not shutil.which("uv") else "uv"
    return command_line([uv, "pip", verb, "--python", sys.executable, *packages])


def _checkout() -> Path | None:
    """Where this code was installed from, or runs from: a folder, when it still is one."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote, urlsplit

    beside = Path(__file__).resolve().parents[2]
    if (beside / "pyproject.toml").is_file():
        return beside
    try:
        told = json.loads(distribution("zoobench").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return None
    url = urlsplit(told.get("url", ""))
    folder = Path(unquote(url.path))
    return folder if url.scheme == "file" and (folder / "pyproject.toml").is_file() else None


def unreadable(error: OSError) -> str:
    """Why the system does not read a file or a folder, and what to do about it where that is known."""
    said, advice = error.strerror or str(error), _ADVICE.get(error.errno or 0)
    return f"{said}; {advice}" if advice else said


_ADVICE = {
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.ELOOP: "a link in it leads to itself",
    errno.ENAMETOOLONG: "name a shorter one",
}


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


def first_line(error: BaseException) -> str:
    """The error's first line that says something, at most 300 characters, else its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # OpenVINO's begin with where in its own source they arose.
    telling = [line for line in lines if not _PLACE.fullmatch(line)]
    text = next(iter(telling or lines), type(error).__name__)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


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
