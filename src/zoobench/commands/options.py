"""Runtime options as people type them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from zoobench.errors import UsageError
from zoobench.scenarios.load import FLAGS
from zoobench.terms import OptionValue

_INF = float("inf")

_FLAGS_OF_OPTIONS = {
    "gap_ms": "--gap",
    "io_binding": "--io-binding",
    "inputs_sha256": "--inputs",
    "endpoint": "--endpoint",
    "prompt_tokens": "--prompt-tokens",
    "new_tokens": "--new-tokens",
    "concurrency": "--concurrency",
    "ttft_limit_ms": "--max-ttft",
    "tpot_limit_ms": "--max-tpot",
    **FLAGS,
}


def tuned_file(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """The `name=value` pairs, and the file of tuned options if one of the words is a name that ends in .toml."""
    files = [word for word in words if word.endswith(".toml") and "=" not in word]
    if len(files) > 1:
        raise UsageError(f"--options {' '.join(files)}: one file of tuned options at a time")
    return [word for word in words if word not in files], Path(files[0]) if files else None


def runtime_options(
    pairs: Sequence[str], *, gap_ms: float = 0.0, io_binding: bool = False
) -> dict[str, OptionValue]:
    """`name=value` pairs, typed as TOML would type them."""
    found: dict[str, OptionValue] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name or not text:
            raise UsageError(f"--options {pair!r}: write name=value")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        if not isinstance(value, bool | int | float | str) or value != value or value in (_INF, -_INF):
            raise UsageError(f"--options {pair!r}: a number, true, false or a word is needed")
        if name in _FLAGS_OF_OPTIONS:
            raise UsageError(f"--options {pair!r}: use {_FLAGS_OF_OPTIONS[name]} for that")
        found[name] = value
    if gap_ms:
        found["gap_ms"] = gap_ms
    if io_binding:
        found["io_binding"] = True
    return found
