"""Tasks of lm-evaluation-harness: from what a person writes to what a worker runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from zoobench.errors import UsageError
from zoobench.spec import TextTask

_ENDINGS = (".yaml", ".yml")
_LONGEST_NAME = 250
"""Bytes."""


def text_tasks(said: Sequence[str], limit: int | None = None) -> tuple[TextTask, ...]:
    """What was asked for; nothing is imported or downloaded.

    Args:
        said: names that the harness knows, or paths to YAML files.
        limit: questions of each task; None: all.

    Raises:
        UsageError: a file that is not there, or no whole number of questions.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--lm-eval-limit {limit}: at least 1 question is needed")
    return tuple(dict.fromkeys(_task(one, limit) for one in said))


def _task(said: str, limit: int | None) -> TextTask:
    if not said.endswith(_ENDINGS):
        if not said.strip() or "/" in said:
            raise UsageError(f"--lm-eval {said!r}: the name of a task, or a path that ends in .yaml")
        return TextTask(name=said, limit=limit)
    file = Path(said).expanduser().resolve()
    try:
        return TextTask(name=str(file), limit=limit, sha256=_content(file))
    except OSError as error:
        raise UsageError(f"--lm-eval {said}: {error.strerror}; give a task's YAML file") from error


def _content(file: Path) -> str:
    """sha256 over the file and every file that it names: its data may change without it."""
    text = file.read_bytes()
    digest = hashlib.sha256(text)
    words = re.findall(r"[^\s'\",\[\]{}]+", text.decode("utf-8", "replace"))
    # `!function utils.answer` is of utils.py. Longer than a file's name may be is a prompt in a language without spaces.
    short = [word for word in words if len(word.encode()) < _LONGEST_NAME]
    named = {file.parent / name for word in short for name in (word, f"{word.partition('.')[0]}.py")}
    for beside in sorted(path for path in named if path.is_file() and path != file):
        digest.update(beside.name.encode() + b"\0" + beside.read_bytes())
    return digest.hexdigest()
