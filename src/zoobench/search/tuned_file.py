"""Tuned options as they are kept: a TOML file that `zoobench tune` writes and `zoobench run --options FILE` reads."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobench import toml_files
from zoobench.backends import BACKENDS
from zoobench.errors import UsageError
from zoobench.plan import MAX_BATCH, Request, Variant
from zoobench.shell import command_line, flag_words
from zoobench.terms import OptionValue, Precision

if TYPE_CHECKING:
    from zoobench.search.tuning import Tuning

_KEYS = ("model", "backend", "precision", "batch", "threads", "options", "machine", "note")
_MOST_THREADS = 65_536


@dataclass(frozen=True)
class Tuned:
    """The options that were found for one cell.

    Attributes:
        threads, options: those of the defaults where nothing was gained.
        machine: fingerprint of where it was found; None: it is not said.
        note: what it gained, for a person.
    """

    model: str
    backend: str
    precision: Precision
    batch: int
    threads: int
    options: tuple[tuple[str, OptionValue], ...] = ()
    machine: str | None = None
    note: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal where two entries are about the same."""
        return self.model, self.backend, self.precision, self.batch, self.machine

    @property
    def label(self) -> str:
        """The cell, as a person names it."""
        return f"{self.model} · {self.backend} · {self.precision.value} · batch {self.batch}"

    def variant(self) -> Variant:
        """For a request."""
        return Variant(dict(self.options), self.threads, self.model, self.backend, self.precision, self.batch)


def read_tuned(file: Path, flag: str = "--options") -> list[Tuned]:
    """The entries of a file.

    Args:
        flag: by which the user named it.

    Raises:
        UsageError: it cannot be read, or an entry is not valid; the message names the entry.
    """
    command = command_line(["zoobench", "tune", "MODEL", *flag_words("--output", str(file))])
    entries = toml_files.read_tables(file, "tuned", said=f"{flag} {file}", advice=f"`{command}` writes one")
    found = [_entry(entry, f"{file}, entry {number}") for number, entry in enumerate(entries, 1)]
    seen: dict[tuple[object, ...], int] = {}
    for number, one in enumerate(found, 1):
        if (first := seen.setdefault(one.key, number)) != number:
            raise UsageError(f"{file}: entries {first} and {number} are both about {one.label}; delete one")
    return found


def _entry(entry: Any, where: str) -> Tuned:
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: a table is needed")
    for key in entry:
        if key not in _KEYS:
            raise UsageError(f"{where}: unknown key {key!r}; the keys are {', '.join(_KEYS)}")
    for key in ("model", "backend", "precision"):
        if not isinstance(entry.get(key), str):
            raise UsageError(f"{where}: {key} is missing or no text")
    for key, most in (("batch", MAX_BATCH), ("threads", _MOST_THREADS)):
        number = entry.get(key)
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
            raise UsageError(f"{where}: {key} is missing or no whole number from 1 to {most}")
    for key in ("machine", "note"):
        if not isinstance(entry.get(key, ""), str):
            raise UsageError(f"{where}: {key} is no text")
    backend, precision = entry["backend"], entry["precision"]
    if backend not in BACKENDS:
        raise UsageError(f"{where}: unknown backend {backend!r}; there are {', '.join(BACKENDS)}")
    if precision not in list(Precision):
        raise UsageError(f"{where}: precision {precision!r}; one of {', '.join(Precision)}")
    options = entry.get("options", {})
    if not toml_files.is_options(options):
        raise UsageError(
            f'{where}: options must be a table of numbers, true, false or text: {{name = "value"}}'
        )
    for name in options:
        if name not in BACKENDS[backend].options:
            known = ", ".join(BACKENDS[backend].options) or "none"
            raise UsageError(f"{where}: {backend} has no option {name!r}; it has {known}")
    return Tuned(
        entry["model"],
        backend,
        Precision(precision),
        entry["batch"],
        entry["threads"],
        tuple(sorted(options.items())),
        entry.get("machine"),
        entry.get("note", ""),
    )


def fitting(tuned: Sequence[Tuned], request: Request, fingerprint: str) -> list[Tuned]:
    """The entries about cells of `request`: of several machines' this one's, else the last one's in the file."""
    models = {model.name for model in request.models}
    found: dict[tuple[object, ...], Tuned] = {}
    for one in tuned:
        asked = (
            one.model in models
            and one.backend in request.backends
            and one.precision in request.precisions
            and one.batch in request.batch_sizes
        )
        before = found.get(one.key[:-1])
        if asked and (before is None or before.machine != fingerprint):
            found[one.key[:-1]] = one
    return list(found.values())


def remarks(tuned: Sequence[Tuned], request: Request, fingerprint: str, short: str) -> list[str]:
    """What a reader of the run should know: entries of another machine, and cells that have none.

    Args:
        fingerprint, short: of this machine, and how a table names it.
    """
    fit = fitting(tuned, request, fingerprint)
    lines = [
        f"{one.label}: its options were tuned on another machine ({one.machine}), this is {fingerprint} ({short}); what is faster "
        f"there may be slower here, and `{_tune(one)}` finds out"
        for one in fit
        if one.machine not in (None, fingerprint)
    ]
    known = {one.key[:-1] for one in fit}
    for model, backend, precision, batch in itertools.product(
        request.models, request.backends, request.precisions, request.batch_sizes
    ):
        if (model.name, backend, precision, batch) not in known:
            cell = f"{model.name} · {backend} · {precision.value} · batch {batch}"
            lines.append(f"{cell}: the file has no options for it, so it runs with the defaults")
    return lines


def _tune(one: Tuned) -> str:
    """The command that tunes the same cell."""
    words = ["zoobench", "tune", one.model, "--backends", one.backend]
    words += ["--precision", one.precision.value] if one.precision is not Precision.FP32 else []
    words += ["--batch-sizes", str(one.batch)] if one.batch != 1 else []
    return command_line(words)


def with_tuned(request: Request, tuned: Sequence[Tuned], fingerprint: str, cpus: int) -> Request:
    """The request with the entries that are about its cells, the defaults beside them.

    Raises:
        UsageError: none is.
    """
    fit = fitting(tuned, request, fingerprint)
    if not fit:
        raise UsageError(
            f"the tuned options are for {tuned[0].label}{' and other cells' * (len(tuned) > 1)}, of which none is asked for; "
            "leave the file out of --options, or `zoobench tune` these"
        )
    return dataclasses.replace(request, variants=beside_defaults(fit, cpus))


def entries_of(found: Iterable[Tuning], fingerprint: str) -> list[Tuned]:
    """What was found on this machine; what could not be decided is no entry."""
    return [
        Tuned(
            one.model,
            one.backend,
            Precision(one.precision),
            cell.batch,
            cell.best.threads,
            cell.best.options,
            fingerprint,
            f"{cell.message}; all with {one.held}" if one.held else cell.message,
        )
        for one in found
        for cell in one.cells
        if cell.decided
    ]


def beside_defaults(tuned: Iterable[Tuned], cpus: int) -> list[Variant]:
    """Variants that measure each entry's cell with its options and, in turns, with the defaults."""
    return [
        variant
        for one in tuned
        for variant in (
            Variant({}, cpus, one.model, one.backend, one.precision, one.batch),
            one.variant(),
        )
    ]


def merged(old: Sequence[Tuned], new: Sequence[Tuned]) -> list[Tuned]:
    """The old entries, with those replaced that the new ones are about: other models' and machines' stay."""
    fresh = {one.key: one for one in new}
    return [*(one for one in old if one.key not in fresh), *new]


def check_writable(file: Path) -> Path:
    """The file that `write_tuned` will write, links followed.

    Raises:
        UsageError: it is no regular .toml file, or its folder cannot be written.
    """
    if file.suffix.lower() != ".toml":
        raise UsageError(f"--output {file}: the file is TOML; end its name in .toml")
    if "=" in str(file):
        raise UsageError(
            f"--output {file}: `run --options` reads a word with = as an option; name it without"
        )
    return toml_files.check_writable(file, "--output")


def write_tuned(file: Path, tuned: Sequence[Tuned]) -> None:
    """Write a file that `read_tuned` reads, in one step: a file that is there stays whole or is replaced.

    Raises:
        UsageError: it cannot be written.
    """
    lines = [
        "# Runtime options that `zoobench tune` found; `zoobench run --options FILE` measures with them and, in turns, with",
        "# the defaults. An entry is about one cell on one machine; one without options found nothing faster.",
    ]
    for one in tuned:
        lines += [
            "",
            "[[tuned]]",
            f"model = {toml_files.text(one.model)}",
            f"backend = {toml_files.text(one.backend)}",
        ]
        lines += [f'precision = "{one.precision.value}"', f"batch = {one.batch}", f"threads = {one.threads}"]
        lines.append(f"options = {toml_files.options(one.options)}")
        if one.machine is not None:
            lines.append(f"machine = {toml_files.text(one.machine)}")
        if one.note:
            lines.append(f"note = {toml_files.text(one.note)}")
    toml_files.write(check_writable(file), lines, "--output")
