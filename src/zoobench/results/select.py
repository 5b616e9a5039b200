"""Which stored results a person means by a word: a run, a run's folder, or a results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoobench.errors import UsageError
from zoobench.outcome import Slot
from zoobench.results.query import Loaded, latest, load_records
from zoobench.results.record import Record
from zoobench.results.store import StoreError, read_samples


class Selection:
    """Records with the way to their samples.

    Attributes:
        name: what the person wrote.
        records: one a case and machine, the latest with numbers.
        problems: what could not be read.
    """

    def __init__(self, name: str, results_dir: Path, loaded: Loaded[Record], run_id: str | None) -> None:
        self.name, self._results_dir = name, results_dir
        self.all = [r for r in loaded.records if run_id in (None, r.run_id)]
        self.records = latest(self.all)
        self.problems = list(loaded.problems)

    def slots(self, record: Record) -> Sequence[Slot]:
        """The record's slots; none where its samples are gone or damaged."""
        if record.samples_file is None:
            return ()
        try:
            return read_samples(self._results_dir / "runs" / record.run_id / record.samples_file)
        except StoreError as error:
            self.problems.append(str(error))
            return ()


def select(word: str, results_dir: Path) -> Selection:
    """The results that `word` names.

    Args:
        word: a results folder, a run's folder, or a run's id (its beginning will do) in `results_dir`.

    Raises:
        UsageError: it names none, or several.
    """
    folder = Path(word)
    if (folder / "runs").is_dir():
        return _selection(word, folder, None)
    if (folder / "records.jsonl").is_file():
        run = folder.resolve()
        return _selection(word, run.parent.parent, run.name)
    if not results_dir.is_dir():
        raise UsageError(
            f"{word!r} is no results folder, and there is no --results-dir {results_dir} to look in"
        )
    runs = results_dir / "runs"
    known = sorted(p.name for p in runs.iterdir() if p.is_dir()) if runs.is_dir() else []
    if word == "latest" and known:
        return _selection(word, results_dir, known[-1])
    fitting = [name for name in known if word and name.startswith(word)]
    if len(fitting) > 1:
        raise UsageError(
            f"{len(fitting)} runs in {runs} begin with {word!r}: {', '.join(fitting[:3])}; write more of it"
        )
    if not fitting:
        last = f"; the last one is {known[-1]}" if known else ""
        raise UsageError(f"there is no run {word!r} in {runs}, and no results folder of that name{last}")
    return _selection(word, results_dir, fitting[0])


def _selection(word: str, results_dir: Path, run_id: str | None) -> Selection:
    found = Selection(word, results_dir, load_records(results_dir), run_id)
    if not found.records:
        problem = f": {found.problems[0]}" if found.problems else ""
        raise UsageError(f"{word!r} holds no records{problem}")
    return found
