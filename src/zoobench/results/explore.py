"""What a person looks for in results: cells that fit, in an order, one cell over time, one record with its samples. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from zoobench.errors import UsageError
from zoobench.outcome import Slot
from zoobench.results.query import Cell
from zoobench.results.record import Record
from zoobench.results.row import Row
from zoobench.results.schema import SchemaError, upgrade
from zoobench.results.store import RECORDS, StoreError, samples_of
from zoobench.terms import Status

ANY = "all"


def verdict_word(row: Row) -> str:
    """`valid`, `unstable`, `invalid`; of a cell without numbers how it ended."""
    if row.status is not Status.OK:
        return row.status.value.replace("_", " ")
    return row.verdict.value if row.verdict else "not judged"


ASPECTS: dict[str, Callable[[Row], str]] = {
    "task": attrgetter("task"),
    "backend": attrgetter("backend"),
    "precision": attrgetter("precision"),
    "batch": lambda row: str(row.batch),
    "verdict": verdict_word,
}
"""What cells are filtered by → its word for a row."""


def values_of(cells: Iterable[Cell], aspect: str) -> list[str]:
    """Each word that some cell has, numbers by size and words by the alphabet."""
    word = ASPECTS[aspect]
    return sorted(
        set(map(word, map(attrgetter("row"), cells))),
        key=lambda w: (float(w) if w.isdecimal() else math.inf, w),
    )


@dataclass(frozen=True)
class Filters:
    """Which cells are wanted.

    Attributes:
        words: aspect → the words that will do; an aspect without words takes all.
        model: what the model's name must hold, in upper or lower case.
        most_bytes: the largest artifact; one whose size is not known is left out then.
    """

    words: dict[str, frozenset[str]]
    model: str = ""
    most_bytes: float | None = None

    def apply(self, cells: Iterable[Cell]) -> list[Cell]:
        """The cells that fit, in their order."""
        tests: list[Callable[[Row], bool]] = []
        for aspect, wanted in self.words.items():
            if wanted:
                tests.append(_one_of(ASPECTS[aspect], wanted))
        text = self.model.casefold().strip()
        if text:
            tests.append(lambda row: text in row.model.casefold() or text in (row.hf_id or "").casefold())
        most = self.most_bytes
        if most is not None:
            tests.append(lambda row: 0 < (row.size_bytes or 0) <= most)
        found = list(cells)
        for test in tests:
            found = [cell for cell in found if test(cell.row)]
        return found


def _one_of(word: Callable[[Row], str], wanted: frozenset[str]) -> Callable[[Row], bool]:
    return lambda row: word(row) in wanted


def _less(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else value


def _more(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else -value


ORDERS: dict[str, Callable[[Row], float | str]] = {
    "latency": lambda row: _less(row.p50_ms),
    "p95": lambda row: _less(row.p95_ms),
    "throughput": lambda row: _more(row.throughput_per_s),
    "accuracy": lambda row: _more(row.map if row.is_detector else row.top1),
    "size": lambda row: _less(row.size_bytes or None),
    "memory": lambda row: _less(row.peak_bytes),
    "model": lambda row: row.model,
}
"""What cells may be ordered by → the key; the best first, what is not known last."""


def in_order_of(cells: Iterable[Cell], order: str) -> list[Cell]:
    """By one figure; whatever it is, what cannot be believed stands below what can."""
    key = ORDERS[order]
    return sorted(
        cells, key=lambda c: (not c.row.is_believable, key(c.row), c.row.median if c.row.is_measured else 0.0)
    )


def failing(cells: Iterable[Cell]) -> list[Cell]:
    """Cells without numbers, and those whose later attempt brought none."""
    return [cell for cell in cells if cell.row.status is not Status.OK or cell.later is not None]


def history(rows: Iterable[Row], of: Row) -> list[Row]:
    """Every record of the cell, oldest first: one machine, one case.

    Args:
        rows: oldest first.
    """
    # Most rows are of another model: the whole key is made only of those that may fit.
    asked = (of.model, of.backend, of.batch, of.fingerprint)
    cell = of.cell
    return [
        row
        for row in rows
        if (row.model, row.backend, row.batch, row.fingerprint) == asked and row.cell == cell
    ]


def find_record(run_folder: Path, measurement_key: str) -> Record:
    """One record, without reading the others of its run.

    Raises:
        UsageError: the file cannot be read, or holds no such record any more.
    """
    file = run_folder / RECORDS
    wanted = measurement_key.encode(errors="surrogatepass")
    found: Record | None = None
    try:
        with file.open("rb") as lines:
            for line in lines:
                if wanted in line:
                    record = _record(line)
                    # Of two with one key the later wins.
                    found = record if record and record.measurement_key == measurement_key else found
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
    if found is None:
        raise UsageError(f"{file}: holds no record {measurement_key!r} any more")
    return found


def _record(line: bytes) -> Record | None:
    try:
        return Record.model_validate(upgrade(json.loads(line)))
    except (ValueError, SchemaError, RecursionError):
        return None


def slots_of(run_folder: Path, record: Record) -> tuple[Sequence[Slot], str | None]:
    """The record's slots, and why there are none where there are none."""
    if record.samples_file is None:
        return (), "no samples were kept of this record"
    try:
        return samples_of(run_folder, record.samples_file), None
    except StoreError as error:
        return (), str(error)


def milliseconds(slots: Iterable[Slot]) -> list[float]:
    """Every timed call, in the order in which they were made."""
    return [sample / 1e6 for slot in slots for sample in slot.samples_ns]
