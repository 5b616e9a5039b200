"""The samples behind a row."""

from __future__ import annotations

from pathlib import Path, PurePath

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
