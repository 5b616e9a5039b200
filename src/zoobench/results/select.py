"""Which stored results a person means by a word: a run, a run's folder, or a results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoobench.errors import UsageError, unreadable
from zoobench.outcome import Slot
from zoobench.results.query import Loaded, latest, load_records, load_run, run_folders
from zoobench.results.record import Record
from zoobench.results.store import RECORDS, RUNS, StoreError, read_samples


class Selection:
    """Records with the way to their samples.

    Attributes:
        name: what the person wrote.
        records: one a case and machine, the latest with numbers.
        problems: what could not be read.
    """

    def __init__(self, name: str, loaded: Loaded[Record], results_dir: Path, run: Path | None) -> None:
        """Take what was loaded from `run`, or, where that is None, from every run of `results_dir`."""
        self.name, self._results_dir, self._run = name, results_dir, run
        self._folders = loaded.folders()
        self.all = loaded.records
        self.records = latest(self.all)
        self.problems = list(loaded.problems)

    def slots(self, record: Record) -> Sequence[Slot]:
        """The record's slots; none where its samples are gone or damaged."""
        if record.samples_file is None:
            return ()
        try:
            run_id = record.run_id
            folder = self._run or self._folders.get(run_id) or self._results_dir / RUNS / run_id
            return read_samples(folder / record.samples_file)
        except StoreError as error:
            self.problems.append(str(error))
            return ()


def select(word: str, results_dir: Path) -> Selection:
    """The results that `word` names.

    Args:
        word: a results folder, a run's folder (a copy will do), a run's id (its beginning will do) in
            `results_dir`, or `latest`: the last run there that has records.

    Raises:
        UsageError: it names none, or several.
    """
    folder = Path(word)
    try:
        if word and (folder / RUNS).is_dir():
            return _selection(word, folder, None)
        if word and (folder / RECORDS).is_file():
            return _selection(word, folder, folder)
    except OSError as error:
        raise UsageError(f"{word!r} cannot be read: {unreadable(error)}") from error
    runs = results_dir / RUNS
    known = [folder.name for folder in _listed(word, results_dir)]
    # A run that is just beginning, or was stopped before its first case, has none.
    recorded = [name for name in known if (runs / name / RECORDS).is_file()]
    if word == "latest" and recorded:
        return _selection(word, results_dir, runs / recorded[-1])
    fitting = [word] if word in known else [name for name in known if word and name.startswith(word)]
    if len(fitting) > 1:
        raise UsageError(
            f"{len(fitting)} runs in {runs} begin with {word!r}: {', '.join(fitting[:3])}; write more of it"
        )
    if not fitting:
        last = f"; the last one is {known[-1]}" if known else ""
        raise UsageError(f"there is no run {word!r} in {runs}, and no results folder of that name{last}")
    return _selection(word, results_dir, runs / fitting[0])


def _listed(word: str, results_dir: Path) -> list[Path]:
    try:
        if results_dir.is_dir():
            return run_folders(results_dir)
    except OSError as error:
        raise UsageError(f"--results-dir {results_dir} cannot be read: {unreadable(error)}") from error
    raise UsageError(
        f"{word!r} is no results folder, and there is no --results-dir {results_dir} to look in; "
        "`zoobench run` makes one"
    )


def _selection(word: str, results_dir: Path, run: Path | None) -> Selection:
    loaded = load_records(results_dir) if run is None else load_run(run)
    found = Selection(word, loaded, results_dir, run)
    if not found.records:
        problem = f": {found.problems[0]}" if found.problems else ""
        raise UsageError(f"{word!r} holds no records{problem}")
    return found
