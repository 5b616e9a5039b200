"""TOML files that people keep: read without trust, written in one step. Limits and tuned options are such files."""

from __future__ import annotations

import json
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoobench.errors import UsageError
from zoobench.terms import OptionValue


def read_tables(file: Path, name: str, *, said: str, advice: str) -> list[Any]:
    """The tables `[[name]]` of a file, which must hold nothing else.

    Args:
        said: how the user named the file, to begin a message with.
        advice: what to do where there is no such file.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    try:
        # Opening a pipe would wait for ever.
        if file.exists() and not file.is_file():
            raise UsageError(f"{said}: not a regular file; give a .toml")
        body = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{said}: {error.strerror}; {advice}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{said}: not valid TOML ({error})") from error
    entries = body.pop(name, None)
    if body or not isinstance(entries, list) or not entries:
        unknown = f"it has {', '.join(map(repr, body))}; " if body else ""
        raise UsageError(f"{said}: {unknown}a list of [[{name}]] tables is needed, at least one")
    return entries


def check_writable(file: Path, flag: str) -> Path:
    """The file that `write` will write, links followed.

    Raises:
        UsageError: it is no regular file, or its folder cannot be written.
    """
    try:
        file = file.resolve()
        # Opening a pipe would wait for ever.
        if file.exists() and not file.is_file():
            raise UsageError(f"{flag} {file}: not a regular file; name a .toml")
        # Who only asks makes no folder.
        there = next(folder for folder in file.parents if folder.exists())
        with tempfile.TemporaryFile(dir=there):
            return file
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"{flag} {file}: cannot be written ({getattr(error, 'strerror', error)})") from error


def write(file: Path, lines: Sequence[str], flag: str) -> None:
    """In one step: a file that is there stays whole or is replaced.

    Raises:
        UsageError: it cannot be written.
    """
    file = check_writable(file, flag)
    draft: Path | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=f".{file.stem}-", delete=False
        ) as out:
            draft = Path(out.name)
            out.write("\n".join(lines) + "\n")
        draft.chmod(mode)
        draft.replace(file)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "a name in it is no Unicode"
        raise UsageError(f"{flag} {file}: cannot be written ({why})") from error
    finally:
        # On a full disk it is the writing that fails, and nothing must be left of it.
        if draft is not None:
            draft.unlink(missing_ok=True)


def text(value: str) -> str:
    """A TOML basic string: JSON's, without its surrogate pairs; TOML wants the delete character escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def options(pairs: Sequence[tuple[str, OptionValue]]) -> str:
    """An inline table of runtime options."""
    said = (f"{text(name)} = {text(v) if isinstance(v, str) else json.dumps(v)}" for name, v in pairs)
    return f"{{{', '.join(said)}}}"


def is_options(value: object) -> bool:
    """Whether what stands in a file can be runtime options, and nothing that no runtime could take."""
    return isinstance(value, dict) and all(map(_is_option, value.values()))


def _is_option(value: object) -> bool:
    return isinstance(value, bool | str) or (
        isinstance(value, int | float) and abs(value) <= sys.float_info.max
    )
