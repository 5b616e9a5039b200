"""The store: append-only, one writer a run, nothing measured is ever lost.

results/runs/<run_id>/manifest.json        who measured what with which command
                     /records.jsonl        one line a case, fsynced as soon as it is done
                     /samples/<case>.json.gz
                     /journal/<case>.jsonl slots as they arrive; gone once the record stands
                     /lock                 held by the writer, so a crash frees it
"""

from __future__ import annotations

import gzip
import json
import os
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoobench.errors import UsageError, ZoobenchError
from zoobench.outcome import Slot
from zoobench.results.record import Record
from zoobench.results.schema import SCHEMA_VERSION

RUNS, MANIFEST, RECORDS, SAMPLES, JOURNAL, LOCK = (
    "runs",
    "manifest.json",
    "records.jsonl",
    "samples",
    "journal",
    "lock",
)


class StoreError(ZoobenchError):
    """Results cannot be written or read."""


@dataclass(frozen=True)
class Unfinished:
    """A case whose run ended before its record stood: the record's skeleton and the slots that were journalled."""

    skeleton: Record
    slots: tuple[Slot, ...]
    journal: Path


def check_results_dir(results_dir: Path) -> None:
    """Make sure that results can go there.

    Raises:
        UsageError: it is a file, or cannot be written.
    """
    try:
        if results_dir.exists() and not results_dir.is_dir():
            raise UsageError(f"--results-dir {results_dir} is a file; name a folder")
        (results_dir / RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--results-dir {results_dir} cannot be written: {error.strerror}") from error
    if not os.access(results_dir / RUNS, os.W_OK):
        raise UsageError(f"--results-dir {results_dir} cannot be written by this user")


def now() -> str:
    """UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class RunWriter:
    """The only writer of one run."""

    def __init__(self, folder: Path, lock: FileLock) -> None:
        self.folder, self._lock = folder, lock
        self.run_id = folder.name

    @classmethod
    def create(cls, results_dir: Path, manifest: dict[str, Any]) -> RunWriter:
        """A new run's folder with its manifest.

        Args:
            manifest: argv, config, machine, versions, git commit: whatever the caller knows.
        """
        check_results_dir(results_dir)
        # Microseconds, because readers take runs in the order of their names, and the later one wins.
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(2)}"
        folder = results_dir / RUNS / run_id
        with _disk_errors(folder):
            (folder / SAMPLES).mkdir(parents=True)
            (folder / JOURNAL).mkdir()
            lock = FileLock(folder / LOCK)
            lock.acquire(timeout=0)
            body = {"schema_version": SCHEMA_VERSION, "run_id": run_id, "started_at": now(), **manifest}
            _write_whole(folder / MANIFEST, json.dumps(body, indent=1).encode())
        return cls(folder, lock)

    def journal(self, skeleton: Record, slot: Slot) -> None:
        """Append one slot; the first one is preceded by the skeleton that makes a record of it after a crash."""
        file = self.folder / JOURNAL / f"{skeleton.case.id}.jsonl"
        with _disk_errors(file), file.open("ab") as out:
            if out.tell() == 0:
                out.write(skeleton.model_dump_json().encode() + b"\n")
            out.write(slot.model_dump_json().encode() + b"\n")

    def write(self, record: Record, slots: Sequence[Slot] = ()) -> Record:
        """Write the samples, then the record's line, then drop the journal. Returns the record as written."""
        if slots:
            record = record.model_copy(update={"samples_file": f"{SAMPLES}/{record.case.id}.json.gz"})
            write_samples(self.folder / SAMPLES / f"{record.case.id}.json.gz", record, slots)
        append_record(self.folder / RECORDS, record)
        (self.folder / JOURNAL / f"{record.case.id}.jsonl").unlink(missing_ok=True)
        return record

    def close(self) -> None:
        """Let go of the run."""
        self._lock.release()


def append_record(file: Path, record: Record) -> None:
    """One whole line, on the disk before this returns, or nothing."""
    line = record.model_dump_json().encode() + b"\n"
    with _disk_errors(file), file.open("a+b", buffering=0) as out:
        size = out.seek(0, os.SEEK_END)
        if size and os.pread(out.fileno(), 1, size - 1) != b"\n":
            # A crash tore the last line; what follows must not be drawn into it.
            line = b"\n" + line
        try:
            # A full disk takes a part of the line without an error, and refuses only the next write.
            rest = memoryview(line)
            while rest:
                rest = rest[out.write(rest) :]
            os.fsync(out.fileno())
        except OSError:
            out.truncate(size)
            raise


def write_samples(file: Path, record: Record, slots: Sequence[Slot]) -> None:
    """Every sample of a case: nanoseconds, slot by slot, with the noise beside them."""
    body = {
        "schema_version": SCHEMA_VERSION,
        "case": record.case.model_dump(mode="json"),
        "slots": [slot.model_dump(mode="json", exclude_none=True) for slot in slots],
    }
    with _disk_errors(file):
        _write_whole(
            file, gzip.compress(json.dumps(body, separators=(",", ":")).encode(), compresslevel=5, mtime=0)
        )


MOST_SAMPLES_BYTES = 256 << 20
"""A samples file that unpacks to more is not read: a hundred times what a thorough run of a language model keeps."""


def read_samples(file: Path) -> tuple[Slot, ...]:
    """The slots of a samples file.

    Raises:
        StoreError: it is missing or damaged.
    """
    try:
        # Opening a pipe would wait for ever.
        if file.exists() and not file.is_file():
            raise StoreError(f"{file}: the samples are not a regular file")
        with gzip.open(file) as packed:
            text = packed.read(MOST_SAMPLES_BYTES + 1)
        if len(text) > MOST_SAMPLES_BYTES:
            raise ValueError(f"they unpack to more than {MOST_SAMPLES_BYTES >> 20} MiB")
        body = json.loads(text)
        return tuple(Slot.model_validate(slot) for slot in body["slots"])
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{file}: the samples cannot be read ({error})") from error


def samples_of(run_folder: Path, samples_file: str) -> tuple[Slot, ...]:
    """The slots that a record of this run names.

    Raises:
        StoreError: the file lies outside the run's folder (a results folder may come from anybody), is missing or damaged.
    """
    try:
        file = (run_folder / samples_file).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have, or links in a ring
        raise StoreError(f"the samples file {samples_file!r} is no file ({error})") from error
    if not file.is_relative_to(run_folder.resolve()):
        raise StoreError(f"the samples file {samples_file!r} lies outside the run")
    return read_samples(file)


def unfinished(results_dir: Path) -> Iterator[tuple[RunWriter, list[Unfinished]]]:
    """Runs that nobody is writing any more but that left journals behind, each with a writer that may finish them."""
    runs = results_dir / RUNS
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        journals = sorted(file for file in (folder / JOURNAL).glob("*.jsonl") if file.is_file())
        if not journals:
            continue
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            # Somebody is writing it, or it cannot be written at all: either way it is not ours to finish.
            continue
        writer = RunWriter(folder, lock)
        try:
            # A crash between a record and its journal's end leaves both: the record stands.
            done = _recorded(folder / RECORDS)
            for journal in [journal for journal in journals if journal.stem in done]:
                journal.unlink()
                journals.remove(journal)
            yield writer, [found for journal in journals if (found := _read_journal(journal))]
        finally:
            writer.close()


def _recorded(file: Path) -> set[str]:
    """Ids of the cases whose record stands; lines that cannot be read have none."""
    found: set[str] = set()
    # Opening a pipe would wait for ever.
    if not file.is_file():
        return found
    with suppress(OSError):
        for line in file.read_bytes().splitlines():
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                found.add(str(json.loads(line)["case"]["id"]))
    return found


def _read_journal(file: Path) -> Unfinished | None:
    """None when not even the skeleton is whole; the file is set aside then, so that it is reported once.

    A torn last line is the slot that was in work.
    """
    lines = file.read_bytes().split(b"\n")
    try:
        skeleton = Record.model_validate_json(lines[0])
    except ValueError:
        file.rename(file.with_suffix(".damaged"))
        return None
    slots = []
    for line in lines[1:]:
        try:
            slots.append(Slot.model_validate_json(line))
        except ValueError:
            break
    return Unfinished(skeleton, tuple(slots), file)


def _write_whole(file: Path, data: bytes) -> None:
    """All of the file or none of it."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or name another --results-dir, "
            "then run again to continue: what was measured before is kept"
        ) from error
