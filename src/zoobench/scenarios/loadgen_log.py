"""What LoadGen wrote about one test: its result, its reasons and advice, and every query's times."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PREFIX = "mlperf_log_"
_MARK = ":::MLLOG "
_SAMPLE = re.compile(
    rb'"name":"Sample".*?"ph":"b".*?"ts":(-?[\d.]+),"args":\{.*?"query_seq":(\d+).*?"complete_ns":(\d+)'
)
_SECTIONS = ("Recommendations:", "Early Stopping Result:")


@dataclass(frozen=True)
class Queries:
    """Queries in the order of their schedule; nanoseconds on LoadGen's own clock.

    Attributes:
        scheduled_ns: when each should have come; closed loops issue a query as soon as the last one is done.
        completed_ns: when its last sample was done.
    """

    scheduled_ns: tuple[int, ...] = ()
    completed_ns: tuple[int, ...] = ()

    @property
    def latencies_ns(self) -> list[int]:
        """From the schedule to the completion."""
        return [done - due for due, done in zip(self.scheduled_ns, self.completed_ns, strict=True)]


@dataclass(frozen=True)
class Log:
    """One test as LoadGen tells it.

    Attributes:
        results: `result_*`, `early_stopping_*` and the like, by LoadGen's own names.
        advice: the conditions that were not met, then recommendations, early stopping and errors.
        queries: empty where no trace was asked for.
    """

    results: Mapping[str, Any]
    advice: tuple[str, ...]
    queries: Queries

    @property
    def valid(self) -> bool:
        """LoadGen's `Result is: VALID`."""
        return bool(self.results.get("result_validity") == "VALID")


def read_log(folder: Path) -> Log:
    """Read the files that a test left in `folder`.

    Raises:
        OSError: they are not there.
    """
    entries = [
        json.loads(line.removeprefix(_MARK))
        for line in (folder / f"{_PREFIX}detail.txt").read_text("utf-8").splitlines()
        if line.startswith(_MARK)
    ]
    errors = [str(entry["value"]) for entry in entries if entry["metadata"]["is_error"]]
    advice = [*_advice((folder / f"{_PREFIX}summary.txt").read_text("utf-8")), *errors]
    trace = folder / f"{_PREFIX}trace.json"
    return Log(
        results={entry["key"]: entry["value"] for entry in entries},
        advice=tuple(advice),
        queries=_queries(trace.read_bytes()) if trace.is_file() else Queries(),
    )


def _advice(summary: str) -> list[str]:
    """What the summary says under its result: unmet conditions first, each item on one line."""
    found: list[str] = []
    section = False
    for line in summary.splitlines():
        text = " ".join(line.split())
        if text.endswith(("satisfied : NO", "satisfied: NO")):
            found.append(text.replace(" :", ":"))
        elif text.endswith(_SECTIONS):
            section = True
        elif not text:
            section = False
        elif section and text.startswith("* "):
            found.append(text.removeprefix("* "))
        elif section and found:
            found[-1] += f" {text}"
    return found


def _queries(trace: bytes) -> Queries:
    """The trace is not quite JSON, hence by pattern. A query of several samples is done with the last of them."""
    due: dict[int, int] = {}
    done: dict[int, int] = {}
    for line in trace.splitlines():
        found = _SAMPLE.search(line)
        if found:
            query, scheduled = int(found[2]), round(float(found[1]) * 1e3)
            due[query] = scheduled
            done[query] = max(done.get(query, scheduled), scheduled + int(found[3]))
    order = sorted(due, key=lambda query: (due[query], query))
    return Queries(tuple(due[q] for q in order), tuple(done[q] for q in order))
