"""Which parquet files are which config and split, told from their names or from the dataset's card. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from zoobench.errors import UsageError, printable

DEFAULT_CONFIG = "default"
_DEFAULT_SPLIT = "train"
_SHARD = re.compile(r"(?P<split>\w+(\.\w+)*)-\d{5}-of-\d{5}.*")
_NO_CONFIG = frozenset(("", "data"))
_KEYWORDS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "eval": "test",
} | dict.fromkeys(("val", "valid", "validation", "dev"), "validation")

Parts = Mapping[tuple[str, str], Sequence[str]]
"""(config, split) → names of its files, sorted."""


def parts_of(names: Sequence[str], card: Mapping[str, Any]) -> Parts:
    """As the card's `configs` say, else by the conventions for file names that the Hub has.

    Args:
        names: of the parquet files, relative to the dataset, with slashes.
        card: front matter of the dataset's README.md.
    """
    return _as_stated(names, card) or _as_named(names)


def choose(what: str, parts: Parts, config: str | None, split: str | None) -> tuple[str, str]:
    """The config and split that are meant: those asked for, or the only ones.

    Raises:
        UsageError: there is no such one, or there are several and none was asked for; says which there are.
    """
    configs = sorted({name for name, _ in parts})
    config = _one(what, "config", "--dataset-config", configs, config)
    return config, _one(what, "split", "--split", sorted(s for c, s in parts if c == config), split)


def _one(what: str, noun: str, flag: str, there: Sequence[str], asked: str | None) -> str:
    listed = printable(", ".join(there[:10])) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
    if asked is not None:
        if asked in there:
            return asked
        raise UsageError(f"{what} has no {noun} {printable(asked)!r}: it has {listed}")
    if len(there) == 1:
        return there[0]
    raise UsageError(f"{what} has several {noun}s, {listed}: say which with {flag}")


def _as_stated(names: Sequence[str], card: Mapping[str, Any]) -> Parts:
    """`configs` of the card: a list of tables with `config_name` and `data_files`, which has globs."""
    parts: dict[tuple[str, str], list[str]] = {}
    for config in _tables(card.get("configs")):
        stated = config.get("data_files")
        entries = stated if isinstance(stated, list) else [stated]
        for entry in entries:
            table = entry if isinstance(entry, dict) else {"split": _DEFAULT_SPLIT, "path": entry}
            globs = table.get("path")
            key = str(config.get("config_name", DEFAULT_CONFIG)), str(table.get("split", _DEFAULT_SPLIT))
            for glob in globs if isinstance(globs, list) else [globs]:
                if isinstance(glob, str):
                    parts.setdefault(key, []).extend(n for n in names if fnmatch.fnmatchcase(n, glob))
    return {key: sorted(set(files)) for key, files in parts.items() if files}


def _as_named(names: Sequence[str]) -> Parts:
    parts: dict[tuple[str, str], list[str]] = {}
    for name in sorted(names):
        parts.setdefault(_told_from(PurePosixPath(name)), []).append(name)
    return parts


def _told_from(path: PurePosixPath) -> tuple[str, str]:
    """`[config/]split-00000-of-00002`, `config/split/0000` (the Hub's conversion), or a word in the name."""
    above = [part for part in path.parent.parts if part not in _NO_CONFIG]
    if shard := _SHARD.fullmatch(path.stem):
        split = shard["split"]
    elif path.stem.isdigit() and above:
        split = above.pop().removeprefix("partial-")
    elif above and above[-1].lower() in _KEYWORDS:
        split = _KEYWORDS[above.pop().lower()]
    else:
        words = re.split(r"[^a-z]+", path.stem.lower())
        split = next((_KEYWORDS[word] for word in words if word in _KEYWORDS), _DEFAULT_SPLIT)
    return (above[0] if above else DEFAULT_CONFIG), split


def card_features(card: Mapping[str, Any], config: str) -> dict[str, Any]:
    """Column → its type, or all that is said of one that holds others, from the card's `dataset_info`: a table, or a list with one for each config."""
    tables = _tables(card.get("dataset_info"))
    own = [table for table in tables if table.get("config_name", DEFAULT_CONFIG) == config]
    for table in own or (tables if len(tables) == 1 else []):
        return {
            str(feature["name"]): feature.get("dtype", feature)
            for feature in _tables(table.get("features"))
            if "name" in feature
        }
    return {}


def class_names(stated: Any) -> tuple[str, ...] | None:
    """Names by label index of a `class_label`: a list, or a table whose keys are the numbers."""
    if isinstance(stated, dict):
        try:
            numbered = {int(key): str(name) for key, name in stated.items()}
        except ValueError:
            return None
        stated = [numbered.get(index) for index in range(len(numbered))]
    if isinstance(stated, list) and stated and all(isinstance(name, (str, int)) for name in stated):
        return tuple(str(name) for name in stated)
    return None


def _tables(value: Any) -> list[dict[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [table for table in values if isinstance(table, dict)]
