"""The samples behind a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePath

from zoobench.outcome import Slot
from zoobench.results.row import Row
from zoobench.results.store import StoreError, samples_of


def call_times_ms(run_folder: Path, row: Row, problems: list[str]) -> list[float]:
    """Milliseconds of every timed call, in the order in which they were made; empty where no samples were kept.

    Warm-up and settling calls are no part of them. Where the call was near the timer's grain, each is the mean of several.

    Args:
        problems: gets what could not be read.
    """
    if row.samples_file is None:
        return []
    file = PurePath(row.samples_file)
    if file.is_absolute() or ".." in file.parts:
        # A results folder may come from anybody.
        problems.append(f"{row.label}: its samples file {row.samples_file!r} lies outside the run; left out")
        return []
    try:
        slots = samples_of(run_folder, row.samples_file)
    except StoreError as error:
        problems.append(str(error))
        return []
    return [ns / 1e6 for slot in slots for ns in slot.samples_ns]


def kept_slots(folders: Mapping[str, Path]) -> Callable[[Row], Sequence[Slot]]:
    """What reads the slots behind a row; it gives none where none were kept or they cannot be read.

    Args:
        folders: run id → its folder.
    """

    # One cell is held against many: the last files are remembered.
    @lru_cache(maxsize=32)
    def read(folder: Path, samples_file: str) -> Sequence[Slot]:
        try:
            return samples_of(folder, samples_file)
        except StoreError:
            return ()

    def slots_of(row: Row) -> Sequence[Slot]:
        folder = folders.get(row.run_id)
        return read(folder, row.samples_file) if folder and row.samples_file else ()

    return slots_of
