"""What earlier runs found, for a search that asks again and again: each run is read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from zoobench.results.query import load_run, run_folders
from zoobench.results.record import Record
from zoobench.results.store import RECORDS


class Earlier:
    """The records of one model in a results folder. A run that grew since it was read is read again; the others are not."""

    def __init__(self, results_dir: Path, model: str) -> None:
        self._results_dir, self._model = results_dir, model
        self._known: dict[Path, tuple[int, list[Record]]] = {}

    def runs(self) -> Iterator[Sequence[Record]]:
        """Of each run its records, oldest first."""
        for folder in run_folders(self._results_dir) if self._results_dir.is_dir() else ():
            file = folder / RECORDS
            size = file.stat().st_size if file.is_file() else 0
            if folder not in self._known or self._known[folder][0] != size:
                found = [r for r in load_run(folder).records if r.case.model == self._model] if size else []
                self._known[folder] = size, found
            yield self._known[folder][1]
