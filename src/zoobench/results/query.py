"""Reading results back: every record under a results folder, and which of them are shown.

A folder of results is `runs/<run_id>/records.jsonl`, one record a line. What cannot be read is named with its
file and line and left out; it never stops the rest. Every query sees records of today's schema only.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from zoobench.errors import UsageError
from zoobench.outcome import Check, Evidence, Status
from zoobench.results.record import SCHEMA_VERSION, ArtifactInfo, NoiseSummary, Record, SchemaError, upgrade
from zoobench.spec import Case, Validation


class _SizeOfArtifact(ArtifactInfo):
    """An artifact of which only identity, format and size were read."""

    validation: Validation | None = Field(default=None, validation_alias="unread_validation")
    made_with: dict[str, str] = Field(default_factory=dict, validation_alias="unread_made_with")
    notes: tuple[str, ...] = Field(default=(), validation_alias="unread_notes")


class _WithoutProof(Record):
    """A record whose proof was not read: nothing on disk has these aliases for keys, so the parts stay empty.

    They are half of a record's bytes and no table shows them; leaving them out halves the time of reading.
    """

    artifact: _SizeOfArtifact | None = None
    evidence: Evidence | None = Field(default=None, validation_alias="unread_evidence")
    check: Check | None = Field(default=None, validation_alias="unread_check")
    noise: NoiseSummary | None = Field(default=None, validation_alias="unread_noise")


class Parts(Enum):
    """How much of each record is read."""

    ALL = Record
    """Everything."""
    FOR_TABLES = _WithoutProof
    """Without `evidence`, `check`, `noise` and how the artifact was made: for reports over thousands of records."""


@dataclass(frozen=True)
class Run:
    """One run as its manifest tells it; what the manifest does not say is empty."""

    run_id: str
    argv: tuple[str, ...] = ()


@dataclass
class Loaded:
    """What a results folder held.

    Attributes:
        records: oldest first.
        problems: one line for each thing that could not be read, naming file and line.
        runs: the runs that hold records, oldest first.
    """

    records: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's cycle collector: records hold no cycles, yet scanning thousands takes seconds."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_records(results_dir: Path, parts: Parts = Parts.ALL) -> Loaded:
    """Read every record of every run under `results_dir`.

    Raises:
        UsageError: `results_dir` is not there, is not a folder, or cannot be listed.
    """
    loaded = Loaded()
    with collector_paused():
        for folder in _run_folders(results_dir):
            before = len(loaded.records)
            _read_records(folder / "records.jsonl", parts.value, loaded)
            if len(loaded.records) > before:
                loaded.runs.append(_read_manifest(folder, loaded.problems))
        loaded.records.sort(key=lambda r: r.recorded_at)
        first = {r.run_id: r.recorded_at for r in reversed(loaded.records)}
        loaded.runs.sort(key=lambda run: first.get(run.run_id, ""))
    return loaded


def _run_folders(results_dir: Path) -> list[Path]:
    if not results_dir.exists():
        raise UsageError(
            f"no results folder '{results_dir}'; measure first with `zoobench run` or name another"
        )
    if not results_dir.is_dir():
        raise UsageError(
            f"'{results_dir}' is a file, not a results folder; name the folder that holds `runs`"
        )
    runs = results_dir / "runs"
    try:
        return sorted(p for p in runs.iterdir() if p.is_dir()) if runs.is_dir() else []
    except OSError as error:
        raise UsageError(f"cannot read '{runs}': {error.strerror}; check its permissions") from None


def _read_records(file: Path, model: type[Record], loaded: Loaded) -> None:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.isspace():
                    _read_line(line, f"{file}:{number}", model, loaded)
    except FileNotFoundError:
        return
    except OSError as error:
        loaded.problems.append(f"{file}: cannot be read: {error.strerror}")


def _read_line(line: bytes, where: str, model: type[Record], loaded: Loaded) -> None:
    """Today's schema goes straight through pydantic's own parser; the rest goes the way that explains."""
    try:
        record = model.model_validate_json(line)
        is_todays = record.schema_version == SCHEMA_VERSION and "schema_version" in record.model_fields_set
    except ValidationError:
        is_todays = False
    if is_todays:
        loaded.records.append(record)
    else:
        _read_other_line(line, where, model, loaded)


def _read_other_line(line: bytes, where: str, model: type[Record], loaded: Loaded) -> None:
    try:
        data = json.loads(line)
        if not isinstance(data, dict):
            raise ValueError("not a JSON object")
        loaded.records.append(model.model_validate(upgrade(data)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "record"
        loaded.problems.append(f"{where}: not a record ({place}: {first['msg']}); left out")
    except SchemaError as error:
        loaded.problems.append(f"{where}: {error}; left out")
    except (ValueError, RecursionError):
        why = "not a JSON object" if line.endswith(b"\n") else "cut short by an interruption"
        loaded.problems.append(f"{where}: {why}; left out")


def _read_manifest(folder: Path, problems: list[str]) -> Run:
    file = folder / "manifest.json"
    try:
        data: Any = json.loads(file.read_bytes())
        argv = data["argv"]
        if not (isinstance(argv, list) and all(isinstance(word, str) for word in argv)):
            raise TypeError("argv is not a list of words")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problems.append(f"{file}: cannot be read ({type(error).__name__}); the run's command is unknown")
        return Run(folder.name)
    return Run(folder.name, tuple(argv))


@dataclass(frozen=True)
class Cell:
    """The record that stands for one case on one machine.

    Attributes:
        record: what is shown.
        later: a later attempt that brought no numbers, when `record` is an older one that did.
    """

    record: Record
    later: Record | None = None


def latest_cells(records: Iterable[Record]) -> list[Cell]:
    """One cell for each (case, machine), in the order in which the cells first appear.

    Of several records the latest `ok` one is shown; without any, the latest. A later attempt that failed,
    timed out, was skipped or interrupted brought no numbers, so it does not replace older ones, but it does
    not vanish either: it stands in `later`, for the report to say.

    Args:
        records: oldest first, as `load_records` gives them. One of two with equal measurement keys is merely
            the later one: equal keys have equal cases and machines.
    """
    shown: dict[Hashable, Cell] = {}
    for record in records:
        key = (record.machine.fingerprint, *_identity(record.case))
        before = shown.get(key)
        if before is not None and before.record.status is Status.OK and record.status is not Status.OK:
            shown[key] = Cell(before.record, later=record)
        else:
            shown[key] = Cell(record)
    return list(shown.values())


def latest(records: Iterable[Record]) -> list[Record]:
    """The records that `latest_cells` shows."""
    return [cell.record for cell in latest_cells(records)]


def _identity(case: Case) -> tuple[Hashable, ...]:
    """Equal exactly where `case.id` is, without a hash for each of many thousand cases."""
    fields = dict(case.__dict__)
    options = fields.pop("options")
    return (*fields.values(), *sorted((k, type(v).__name__, v) for k, v in options.items()))


def by_machine(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Fingerprint → its records, in the order of first appearance: two machines never share a ranking."""
    machines: dict[str, list[Record]] = {}
    for record in records:
        machines.setdefault(record.machine.fingerprint, []).append(record)
    return machines
