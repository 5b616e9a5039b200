"""Limits as people keep them: a TOML file beside the code, or the catalog's own entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zoobench import toml_files
from zoobench.errors import UsageError
from zoobench.judge.limits import DEFAULT_PERCENTILE, PERCENTILES, Limit
from zoobench.shell import command_line, flag_words
from zoobench.spec import ModelSpec
from zoobench.terms import Precision
from zoobench.units import duration_ms

_MOST = 1_000_000
_KEYS = ("model", "backend", "precision", "batch", "threads", "options", "machine", "note", *PERCENTILES)


def read_limits(file: Path) -> list[Limit]:
    """The limits of a file.

    Raises:
        UsageError: it cannot be read, or an entry is not valid; the message names the entry.
    """
    command = command_line(["zoobench", "guard", *flag_words("--set-limits", str(file))])
    entries = toml_files.read_tables(file, "limit", said=f"--limits {file}", advice=f"`{command}` writes one")
    return [
        limit
        for number, entry in enumerate(entries, 1)
        for limit in _limits(entry, f"{file}, limit {number}")
    ]


def _limits(entry: Any, where: str) -> list[Limit]:
    """One entry may limit several percentiles."""
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: a table is needed")
    for key in entry:
        if key not in _KEYS:
            raise UsageError(f"{where}: unknown key {key!r}; the keys are {', '.join(_KEYS)}")
    for key in ("model", "backend"):
        if not isinstance(entry.get(key), str):
            raise UsageError(f"{where}: {key} is missing or no text")
    for key in ("batch", "threads"):
        number = entry.get(key, 1)
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= _MOST:
            told = number if not isinstance(number, int) or abs(number) <= _MOST else "too large"
            raise UsageError(f"{where}: {key} {told!r}; a whole number of at least 1 is needed")
    options = entry.get("options", {})
    if not toml_files.is_options(options):
        raise UsageError(f'{where}: options {options!r}; write options = {{name = "value"}}')
    if not isinstance(entry.get("note", ""), str):
        raise UsageError(f"{where}: note {entry['note']!r}; text is needed")
    machine = entry.get("machine")
    if machine is not None and not isinstance(machine, str):
        raise UsageError(
            f"{where}: machine {machine!r}; the fingerprint is text, `zoobench doctor` prints it"
        )
    try:
        precision = Precision(entry.get("precision", "fp32"))
    except ValueError:
        raise UsageError(
            f"{where}: precision {entry['precision']!r}; one of {', '.join(Precision)}"
        ) from None
    asked = [name for name in PERCENTILES if name in entry]
    if not asked:
        raise UsageError(f'{where}: it limits nothing; add {DEFAULT_PERCENTILE} = "50ms"')
    return [
        Limit(
            model=entry["model"],
            backend=entry["backend"],
            limit_ms=duration_ms(entry[name], f"{where}: {name} ="),
            percentile=name,
            precision=precision,
            batch=entry.get("batch", 1),
            machine=machine,
            threads=entry.get("threads"),
            options=tuple(sorted(options.items())),
            note=entry.get("note", ""),
            where=where,
        )
        for name in asked
    ]


def catalog_limits(models: Iterable[ModelSpec]) -> list[Limit]:
    """What the entries of a registry say under `latency_limits_ms`: p95 at batch 1 in fp32, by backend."""
    return [
        Limit(model.name, backend, limit_ms, where=f"registry entry {model.name!r}")
        for model in models
        for backend, limit_ms in model.latency_limits_ms.items()
    ]


def check_once(limits: Iterable[Limit]) -> None:
    """Raise UsageError where two limits are about the same: only one can be meant."""
    seen: dict[tuple[object, ...], Limit] = {}
    for limit in limits:
        first = seen.setdefault(limit.key, limit)
        if first is not limit:
            raise UsageError(f"{limit.where}: {limit.name} is limited by {first.where} already; delete one")


def check_writable(file: Path) -> Path:
    """The file that `write_limits` will write, links followed.

    Raises:
        UsageError: it is no regular file, or its folder cannot be written.
    """
    return toml_files.check_writable(file, "--set-limits")


def merged(old: Sequence[Limit], new: Sequence[Limit]) -> list[Limit]:
    """The old limits, with those replaced that the new ones are about: other models' and machines' stay."""
    fresh, found = {limit.key: limit for limit in new}, {}
    for limit in [*old, *new]:
        found[limit.key] = fresh.get(limit.key, limit)
    return list(found.values())


def write_limits(file: Path, limits: Sequence[Limit]) -> None:
    """Write a file that `read_limits` reads, in one step: a file that is there stays whole or is replaced.

    Raises:
        UsageError: it cannot be written.
    """
    lines = [
        "# Latency limits for `zoobench guard --limits`. An entry without a machine holds on every machine;",
        "# precision is fp32 and batch 1 where they are left out. Percentiles: "
        + ", ".join(PERCENTILES)
        + ".",
    ]
    for limit in limits:
        lines += ["", "[[limit]]"]
        lines += [f"model = {toml_files.text(limit.model)}", f"backend = {toml_files.text(limit.backend)}"]
        lines += [f'precision = "{limit.precision.value}"', f"batch = {limit.batch}"]
        lines += [f'{limit.percentile} = "{limit.limit_ms:.4g}ms"']
        if limit.threads is not None:
            lines.append(f"threads = {limit.threads}")
        if limit.options:
            lines.append(f"options = {toml_files.options(limit.options)}")
        if limit.machine is not None:
            lines.append(f"machine = {toml_files.text(limit.machine)}")
        if limit.note:
            lines.append(f"note = {toml_files.text(limit.note)}")
    toml_files.write(file, lines, "--set-limits")
