"""Results folders that are looked at again and again, while a run may be writing into one of them.

Looking costs a few `stat` calls; only the runs whose files changed are read again. What nobody changed is the very same
object as before, so that what is derived from it can be kept too.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from threading import Lock

from zoobench.errors import UsageError
from zoobench.results.explore import ASPECTS, values_of
from zoobench.results.query import (
    Cell,
    Loaded,
    Run,
    collector_paused,
    latest_cells,
    load_run_rows,
    run_folders,
)
from zoobench.results.row import RankedRow, Row
from zoobench.results.store import LOCK, MANIFEST, RECORDS, RUNS

_LOCKS = Path("/proc/locks")
_TORN = "cut short by an interruption; left out"
_MANY = 1000
"""Rows, read at once, that the collector of cycles is kept away from."""
_Stamp = tuple[tuple[int, int] | None, ...]
"""Size and time of change of each file that a run's rows come from; None where it is not there."""


class State(StrEnum):
    """What a folder turned out to be."""

    FILLED = "filled"
    EMPTY = "empty"
    DAMAGED = "damaged"
    NEWER = "newer"
    FOREIGN = "foreign"
    A_RUN = "a_run"
    FILE = "file"
    MISSING = "missing"
    CLOSED = "closed"


@dataclass(frozen=True)
class Progress:
    """A run that somebody is writing just now.

    Attributes:
        done: cells that are recorded.
        cells: how many it set out to record; None: not known.
    """

    run_id: str
    done: int
    cells: int | None


@dataclass(frozen=True, eq=False)
class Folder:
    """What one results folder held when it was looked at.

    Attributes:
        rows: oldest first.
        problems: what could not be read, a line each.
        runs: run id → what its manifest tells.
        running: the runs that are being written.
    """

    path: Path
    state: State
    rows: tuple[Row, ...] = ()
    problems: tuple[str, ...] = ()
    runs: dict[str, Run] | None = None
    running: tuple[Progress, ...] = ()


@dataclass(frozen=True)
class Machine:
    """The cells of one machine, real ones or those of the `fake` backend: what may be ranked together.

    Attributes:
        key: what names it in an address.
        cells: in the order in which they first appeared.
    """

    key: str
    fake: bool
    cells: tuple[Cell, ...]

    @cached_property
    def newest(self) -> Row:
        """Its latest row."""
        return max((cell.row for cell in self.cells), key=lambda row: row.recorded_at)

    @cached_property
    def values(self) -> dict[str, list[str]]:
        """Aspect → the words that some cell has."""
        return {aspect: values_of(self.cells, aspect) for aspect in ASPECTS}


class Holdings:
    """Everything that some folders hold together; what is derived is made once."""

    def __init__(self, folders: Sequence[Folder]) -> None:
        """Take what the folders held. A run that lies in two of them counts once."""
        self.folders = tuple(folders)
        self._home: dict[str, Folder] = {}
        for folder in self.folders:
            for run_id in folder.runs or ():
                self._home.setdefault(run_id, folder)

    @cached_property
    def rows(self) -> list[Row]:
        """Every record's row, oldest first."""
        if len(self.folders) == 1:
            return list(self.folders[0].rows)
        found = [r for folder in self.folders for r in folder.rows if self._home.get(r.run_id) is folder]
        return sorted(found, key=lambda row: row.recorded_at)

    @cached_property
    def machines(self) -> list[Machine]:
        """Each machine with its latest cells, real ones before fake ones, the one that measured last first."""
        found: dict[tuple[bool, str], list[Cell]] = {}
        with collector_paused():
            for cell in latest_cells(self.rows):
                found.setdefault((cell.row.is_fake, cell.row.fingerprint), []).append(cell)
        machines = [
            Machine(f"{fingerprint}{'-fake' if fake else ''}", fake, tuple(cells))
            for (fake, fingerprint), cells in found.items()
        ]
        machines.sort(key=lambda machine: machine.newest.recorded_at, reverse=True)
        return sorted(machines, key=lambda machine: machine.fake)

    @cached_property
    def by_reference(self) -> dict[str, Row]:
        """`reference` → its row."""
        return {reference(row): row for row in self.rows}

    def of_machine(self, machine: Machine) -> Loaded[RankedRow]:
        """Every record of one machine, and the runs, for who ranks them."""
        fingerprint, fake = machine.newest.fingerprint, machine.fake
        mine = [row for row in self.rows if row.fingerprint == fingerprint and row.is_fake == fake]
        runs = [run for folder in self.folders for run in (folder.runs or {}).values()]
        return Loaded(records=list(mine), runs=runs)

    def run(self, run_id: str) -> Run:
        """What the run's manifest tells."""
        runs = self._home[run_id].runs if run_id in self._home else None
        return (runs or {}).get(run_id) or Run(run_id)

    def results_of(self, run_id: str) -> Path:
        """The results folder in which the run lies; the first one where it lies nowhere here."""
        return self._home.get(run_id, self.folders[0]).path

    def run_folder(self, run_id: str) -> Path | None:
        """Where the run's files lie, whatever that folder is called by now."""
        return self.run(run_id).folder


def reference(row: Row) -> str:
    """What names one record in an address: the run, and the start of the measurement key."""
    return f"{row.run_id}/{row.measurement_key[:16]}"


class Watch:
    """Keeps what was read of some folders. Several threads may look at once."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Nothing is read before the first `look`."""
        self._paths = tuple(folders)
        self._lock = Lock()
        self._read: dict[Path, tuple[_Stamp, Loaded[Row]]] = {}
        self._folders: dict[Path, tuple[object, Folder]] = {}
        self._holdings: dict[tuple[int, ...], Holdings] = {}

    def look(self) -> tuple[Folder, ...]:
        """Every folder as it is now; the same object as before where nothing changed."""
        with self._lock:
            held = _held_files()
            return tuple(self._look(path, held) for path in self._paths)

    def holdings(self, folders: Sequence[Folder]) -> Holdings:
        """What these hold together; the same object as long as the folders are the same."""
        with self._lock:
            key = tuple(map(id, folders))
            if key not in self._holdings:
                current = {id(folder) for _, folder in self._folders.values()}
                self._holdings = {
                    ids: known for ids, known in self._holdings.items() if current.issuperset(ids)
                }
                self._holdings[key] = Holdings(folders)
            return self._holdings[key]

    def _look(self, path: Path, held: _Held) -> Folder:
        try:
            runs = run_folders(path)
        except UsageError as error:
            empty = Folder(path, _unlisted(path), problems=(str(error),))
            return self._kept(path, str(error), lambda: empty)
        stamps = {run: _stamp(run) for run in runs}
        running = tuple(run for run in runs if _is_held(run / LOCK, held))
        shape = (tuple(stamps.items()), running, (path / RUNS).is_dir())
        return self._kept(path, shape, lambda: self._fold(path, stamps, running))

    def _kept(self, path: Path, shape: object, make: Callable[[], Folder]) -> Folder:
        known = self._folders.get(path)
        if known is None or known[0] != shape:
            known = self._folders[path] = (shape, make())
        return known[1]

    def _fold(self, path: Path, stamps: dict[Path, _Stamp], running: tuple[Path, ...]) -> Folder:
        loaded = []
        fresh = 0
        for run, stamp in stamps.items():
            known = self._read.get(run)
            if known is None or known[0] != stamp:
                known = self._read[run] = (stamp, load_run_rows(run))
                fresh += len(known[1].records)
            loaded.append((run, known[1]))
        if fresh > _MANY:
            _set_aside()
        rows = [row for _, one in loaded for row in one.records]
        if len(loaded) > 1:
            rows.sort(key=lambda row: row.recorded_at)
        # A line that is being written looks as if it had been torn.
        problems = tuple(
            problem
            for run, one in loaded
            for problem in one.problems
            if not (run in running and problem.endswith(_TORN))
        )
        known_runs = {run.run_id: run for _, one in reversed(loaded) for run in one.runs}
        progress = tuple(
            Progress(
                run.name,
                len(self._read[run][1].records),
                next((known.cells for known in self._read[run][1].runs), None),
            )
            for run in running
        )
        state = _state(path, rows, problems, sum(one.newer for _, one in loaded))
        return Folder(path, state, tuple(rows), problems, known_runs, progress)


def _set_aside() -> None:
    """Keep the collector of cycles away from rows: they stay and hold none, and looking through 20,000 takes as long as a page.

    `gc.freeze` takes all that lives, cycles that nobody holds any more among it. They would stay for ever, and more at each
    re-reading, so what an earlier one set aside is looked through before.
    """
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
    gc.freeze()


def _unlisted(path: Path) -> State:
    """Why its runs cannot be listed."""
    try:
        return State.MISSING if not path.exists() else State.FILE if path.is_file() else State.CLOSED
    except OSError:
        return State.CLOSED


def _state(path: Path, rows: Sequence[Row], problems: Sequence[str], newer: int) -> State:
    if rows:
        return State.FILLED
    if problems:
        return (
            State.NEWER if newer == len([p for p in problems if f"/{MANIFEST}:" not in p]) else State.DAMAGED
        )
    try:
        if (path / RUNS).is_dir():
            return State.EMPTY
        if (path / RECORDS).is_file():
            return State.A_RUN
        return State.FOREIGN if any(path.iterdir()) else State.EMPTY
    except OSError:
        return State.CLOSED


def _stamp(run: Path) -> _Stamp:
    return tuple(_size_and_time(run / name) for name in (RECORDS, MANIFEST))


def _size_and_time(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116  (thousands of runs: a Path's own stat takes twice as long)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


_Held = Mapping[int, Collection[tuple[int, int]]]
"""Inode → the devices, by major and minor number, on which a file of that number is locked."""


def _is_held(file: Path, held: _Held) -> bool:
    try:
        found = file.stat()
    except OSError:
        return False
    own = os.major(found.st_dev), os.minor(found.st_dev)
    # A file system of layers has a number without a driver (major 0), and may tell another one than the kernel's table does: there
    # the inode alone decides.
    return any(device == own or 0 in (device[0], own[0]) for device in held.get(found.st_ino, ()))


def _held_files() -> _Held:
    """Files on which this host's processes hold a lock. Trying the lock would take it from a run that is just beginning."""
    try:
        lines = _LOCKS.read_text().splitlines()
    except (OSError, ValueError):
        return {}
    found: dict[int, set[tuple[int, int]]] = {}
    for words in map(str.split, lines):
        # Such as fe:00:4260931; `<none>:0` where the file is of another namespace.
        place = words[5].split(":") if len(words) > 5 and words[1] == "FLOCK" else ()
        if len(place) == 3:
            found.setdefault(int(place[2]), set()).add((int(place[0], 16), int(place[1], 16)))
    return found
