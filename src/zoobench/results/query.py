"""Reading results back: every record under a results folder, and which of them are shown.

A folder of results is `runs/<run_id>/records.jsonl`, one record a line. What cannot be read is named with its
file and line and left out; it never stops the rest. Every query sees records of today's schema only.
"""

from __future__ import annotations

import gc
import json
import math
import re
import stat
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from zoobench.errors import UsageError, unreadable
from zoobench.results.row import (
    R,
    RankedRow,
    Row,
    ranked_row_from_data,
    ranked_row_from_json,
    row_from_data,
    row_from_json,
    row_of,
)
from zoobench.results.schema import SCHEMA_VERSION, NewerSchemaError, NotARecordError, SchemaError, upgrade
from zoobench.terms import Status

if TYPE_CHECKING:
    from zoobench.results.record import Record

T = TypeVar("T")

_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True)
class Run:
    """One run as its manifest tells it; what the manifest does not say is empty.

    Attributes:
        run_id: as its records have it, whatever its folder is called by now.
        git_commit: of the folder in which the command was typed.
        cells: how many cells it set out to record; None: not written down.
        folder: where its files lie; None: nowhere here.
    """

    run_id: str
    argv: tuple[str, ...] = ()
    git_commit: str | None = None
    cells: int | None = None
    folder: Path | None = None


@dataclass
class Loaded(Generic[T]):
    """What a results folder held.

    Attributes:
        records: oldest first.
        problems: one line for each thing that could not be read, naming file and line.
        runs: the runs that hold records, oldest first.
        newer: how many of the problems are records of a newer schema.
    """

    records: list[T] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    newer: int = 0

    def folders(self) -> dict[str, Path]:
        """Run id → its folder; of two copies of a run the first."""
        return {run.run_id: run.folder for run in reversed(self.runs) if run.folder is not None}


@dataclass(frozen=True)
class _Reader(Generic[T]):
    """How a line becomes a record or a row; `version` is None where the line has none."""

    from_json: Callable[[bytes], T]
    from_data: Callable[[Any], T]
    version: Callable[[T], int | None]
    when: Callable[[T], tuple[str, str]]


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


def load_records(results_dir: Path) -> Loaded[Record]:
    """Read every record of every run under `results_dir`.

    Raises:
        UsageError: `results_dir` is not there, is not a folder, or cannot be listed.
    """
    return _load(run_folders(results_dir), _of_records())


def load_run(folder: Path, keys: Collection[str] | None = None) -> Loaded[Record]:
    """Read every record of one run's folder, wherever it lies and whatever it is called by now.

    Args:
        keys: pass over lines that name another measurement key: to validate a line takes far longer than to look at it.
    """
    return _load([folder], _of_records(), keys)


def load_rows(results_dir: Path) -> Loaded[Row]:
    """Read what tables show of every record: several times as fast as `load_records`, and as small.

    Only what a row holds is validated. Raises as `load_records` does.
    """
    return _load(run_folders(results_dir), _ROWS)


def load_ranked_rows(results_dir: Path) -> Loaded[RankedRow]:
    """`load_rows` for who ranks and chooses: less of each record, and in less time."""
    return _load(run_folders(results_dir), _RANKED_ROWS)


def load_run_rows(folder: Path) -> Loaded[Row]:
    """`load_rows` of one run's folder."""
    return _load([folder], _ROWS)


def _load(folders: Iterable[Path], reader: _Reader[T], keys: Collection[str] | None = None) -> Loaded[T]:
    loaded: Loaded[T] = Loaded()
    begun: dict[str, str] = {}
    with collector_paused():
        for folder in folders:
            before = len(loaded.records)
            _read_lines(folder / "records.jsonl", reader, loaded, keys)
            if len(loaded.records) > before:
                run = _read_manifest(folder, loaded.problems)
                # The folder may have been renamed since: which run it is, its records say.
                named: dict[str, str] = {}
                for at, name in map(reader.when, loaded.records[before:]):
                    if at < named.setdefault(name, at):
                        named[name] = at
                loaded.runs += [replace(run, run_id=name) for name in named]
                begun |= named
        loaded.records.sort(key=attrgetter("recorded_at"))
        loaded.runs.sort(key=lambda run: begun[run.run_id])
    return loaded


def _of_records() -> _Reader[Record]:
    # Who reads rows alone is answered before the record's many classes are made.
    from zoobench.results.record import Record, record_from_data

    def written_version(record: Record) -> int | None:
        return record.schema_version if "schema_version" in record.model_fields_set else None

    return _Reader(
        Record.model_validate_json, record_from_data, written_version, attrgetter("recorded_at", "run_id")
    )


_ROWS = _Reader[Row](
    row_from_json, row_from_data, attrgetter("schema_version"), attrgetter("recorded_at", "run_id")
)
_RANKED_ROWS = _Reader[RankedRow](
    ranked_row_from_json,
    ranked_row_from_data,
    attrgetter("schema_version"),
    attrgetter("recorded_at", "run_id"),
)


def run_folders(results_dir: Path) -> list[Path]:
    """The folder of every run, oldest first.

    Raises:
        UsageError: `results_dir` is not there, is not a folder, or cannot be listed.
    """
    runs = results_dir / "runs"
    try:
        # A link that leads to itself is no missing folder, and `exists` would say so.
        if not stat.S_ISDIR(results_dir.stat().st_mode):
            raise UsageError(
                f"'{results_dir}' is a file, not a results folder; name the folder that holds `runs`"
            )
        return sorted(p for p in runs.iterdir() if p.is_dir()) if runs.is_dir() else []
    except FileNotFoundError:
        raise UsageError(
            f"no results folder '{results_dir}'; measure first with `zoobench run` or name another"
        ) from None
    except OSError as error:
        # A closed folder above lets nobody even ask whether there is one.
        raise UsageError(f"cannot read '{runs}': {unreadable(error)}") from None
    except ValueError as error:
        raise UsageError(f"cannot read {str(results_dir)!r}: {error}") from None


def _read_lines(
    file: Path, reader: _Reader[T], loaded: Loaded[T], keys: Collection[str] | None = None
) -> None:
    from_json, version, keep = reader.from_json, reader.version, loaded.records.append
    passed_over = _other_than(keys) if keys is not None else None
    try:
        if file.exists() and not file.is_file():
            # Opening a pipe would wait for ever.
            loaded.problems.append(f"{file}: is not a regular file; left out")
            return
        # Lines are longer than the usual buffer.
        with file.open("rb", buffering=_BUFFER_BYTES) as lines:
            for number, line in enumerate(lines, 1):
                if passed_over and passed_over(line):
                    continue
                # Today's schema goes straight through the reader's own parser; the rest goes the way that explains.
                try:
                    record = from_json(line)
                    if version(record) == SCHEMA_VERSION:
                        keep(record)
                        continue
                except (ValueError, RecursionError):
                    # Both parsers' own errors are ValueErrors.
                    pass
                if not line.isspace():
                    _read_other_line(line, f"{file}:{number}", reader, loaded)
    except FileNotFoundError:
        return
    except OSError as error:
        loaded.problems.append(f"{file}: cannot be read: {unreadable(error)}")


_KEY = b'"measurement_key"'
_QUOTED = re.compile(rb'\s*:\s*"([^"\\]*)"')


def _other_than(keys: Collection[str]) -> Callable[[bytes], bool]:
    """Whether a line plainly has another measurement key than these."""
    wanted = {key.encode() for key in keys}

    def passed_over(line: bytes) -> bool:
        key = _QUOTED.match(line, line.find(_KEY) + len(_KEY))
        return key is not None and key[1] not in wanted

    return passed_over


def _read_other_line(line: bytes, where: str, reader: _Reader[T], loaded: Loaded[T]) -> None:
    try:
        data = json.loads(line, parse_constant=_not_a_number, parse_float=_finite)
        if not isinstance(data, dict):
            raise ValueError("not a JSON object")
        loaded.records.append(reader.from_data(upgrade(data)))
    except (SchemaError, NotARecordError) as error:
        loaded.problems.append(f"{where}: {error}; left out")
        loaded.newer += isinstance(error, NewerSchemaError)
    except (ValueError, RecursionError):
        why = "not a JSON object" if line.endswith(b"\n") else "cut short by an interruption"
        loaded.problems.append(f"{where}: {why}; left out")


def _not_a_number(word: str) -> NoReturn:
    raise NotARecordError(f"not a record ({word} is no number)")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotARecordError(f"not a record ({digits[:12]} is beyond all numbers)")
    return number


def _read_manifest(folder: Path, problems: list[str]) -> Run:
    file = folder / "manifest.json"
    try:
        if not file.is_file():
            raise FileNotFoundError(file)
        data: Any = json.loads(file.read_bytes())
        argv = data["argv"]
        if not (isinstance(argv, list) and all(isinstance(word, str) for word in argv)):
            raise TypeError("argv is not a list of words")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problems.append(f"{file}: cannot be read ({type(error).__name__}); the run's command is unknown")
        return Run(folder.name, folder=folder)
    commit, cells = data.get("git_commit"), data.get("cells")
    return Run(
        folder.name,
        tuple(argv),
        commit if isinstance(commit, str) else None,
        cells if isinstance(cells, int) and cells > 0 else None,
        folder,
    )


def latest_attempts(
    items: Iterable[T], cell: Callable[[T], Hashable], worth: Callable[[T], int]
) -> list[tuple[T, T | None]]:
    """One item for each cell, in the order in which the cells first appear, with a later attempt where there is one.

    Of several the latest that says something of what was run is shown. A later attempt that failed, timed out, was skipped or
    interrupted brought no numbers, and one that was disturbed brought the machine's moment: neither replaces older ones, and
    neither vanishes: it comes second, for the report to say.

    Args:
        items: oldest first. One of two with equal measurement keys is merely the later one: equal keys have
            equal cases and machines.
        cell: equal for items of one case on one machine.
        worth: what an item is worth beside others of its cell; an older one gives way to one that is worth no less.
    """
    shown: dict[Hashable, tuple[T, T | None]] = {}
    for item in items:
        key = cell(item)
        before = shown.get(key)
        if before is not None and worth(item) < worth(before[0]):
            shown[key] = (before[0], item)
        else:
            shown[key] = (item, None)
    return list(shown.values())


def _worth(row: RankedRow) -> int:
    """Numbers that say something of what was run; numbers; none."""
    return 0 if row.status is not Status.OK else 1 if row.is_disturbed else 2


@dataclass(frozen=True, slots=True)
class Cell:
    """What tables show for one case on one machine.

    Attributes:
        row: the latest with numbers of what was run, else the latest.
        later: a later attempt that brought none, or was disturbed, when `row` is an older one that did better.
    """

    row: Row
    later: Row | None = None


def latest_rows(rows: Iterable[R]) -> list[tuple[R, R | None]]:
    """`latest_attempts` of rows."""
    return latest_attempts(rows, attrgetter("cell"), _worth)


def latest_cells(rows: Iterable[Row]) -> list[Cell]:
    """The same for tables."""
    return [Cell(*pair) for pair in latest_rows(rows)]


def latest_pairs(records: Iterable[Record]) -> list[tuple[Record, Record | None]]:
    """`latest_attempts` of records."""
    rows = [(row_of(record), record) for record in records]
    pairs = latest_attempts(rows, lambda one: one[0].cell, lambda one: _worth(one[0]))
    return [(record, later and later[1]) for (_, record), later in pairs]


def latest(records: Iterable[Record]) -> list[Record]:
    """The record that stands for each case on each machine, as `latest_attempts` has it."""
    return [record for record, _ in latest_pairs(records)]


def by_machine(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Fingerprint → its records, in the order of first appearance: two machines never share a ranking."""
    machines: dict[str, list[Record]] = {}
    for record in records:
        machines.setdefault(record.machine.fingerprint, []).append(record)
    return machines
