"""What a search for runtime options finds: the nouns that `tune` fills and that are shown, written and printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from zoobench.judge.ratio import Ratio
from zoobench.search.space import Configuration
from zoobench.terms import Interval


class Goal(StrEnum):
    """What is to be small: the time of a call, or of an item, for which the batch is sought too."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried.

    Attributes:
        rung: the last in which it was measured, from 1.
        estimate, interval: its time / the defaults' in that rung; None: it had none that counts.
        why: why it did not go on; None: it was there to the end.
        open: whether that says nothing about it: it was disturbed, or had nothing to be compared with.
    """

    configuration: Configuration
    rung: int
    estimate: float | None
    interval: Interval | None
    why: str | None
    open: bool = False


@dataclass(frozen=True)
class Fresh:
    """The best of the search against the defaults, measured anew.

    Attributes:
        ratio: its time / the defaults' time.
        default_ms, best_ms: medians of their calls.
        default_per_s, best_per_s: items a second.
        searched: what the search had thought of it.
        doubt: why the numbers decide nothing; None: they can be believed.
        unstable: whether a verdict is `unstable`.
    """

    configuration: Configuration
    ratio: Ratio | None
    default_ms: float | None
    best_ms: float | None
    default_per_s: float | None
    best_per_s: float | None
    searched: float
    doubt: str | None = None
    unstable: bool = False

    @property
    def gained(self) -> bool:
        """The interval lies below 1, and the slots' medians say so too."""
        ratio = self.ratio
        return (
            self.doubt is None and ratio is not None and ratio.interval[1] < 1 and ratio.median_estimate < 1
        )


@dataclass(frozen=True)
class TunedCell:
    """What was found for one batch size.

    Attributes:
        rungs: how many there were.
        fresh: None: nothing was left to hold against the defaults.
        best: what to run it with: the defaults where nothing was gained.
        message: a sentence that holds the figures; the cell is not named in it.
        decided: whether it says anything; else the machine was too busy, or had too little memory.
    """

    batch: int
    defaults: Configuration
    trials: tuple[Trial, ...]
    rungs: int
    fresh: Fresh | None
    best: Configuration
    message: str
    decided: bool = True


@dataclass(frozen=True)
class Tuning:
    """What was found for one backend.

    Attributes:
        skipped: why nothing was tried; None: something was.
        curve: items a second with the defaults, by batch size.
        knee: from which batch on larger ones buy less than a tenth; None: not found, or only one batch was measured.
        notes: what a reader of it must know.
        held: options that all configurations share, the defaults too, because the user decided them; as a person would type them.
    """

    model: str
    backend: str
    precision: str
    skipped: str | None = None
    curve: Mapping[int, float] = dataclasses.field(default_factory=dict)
    knee: int | None = None
    cells: tuple[TunedCell, ...] = ()
    notes: tuple[str, ...] = ()
    held: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        body = dataclasses.asdict(self)
        for cell, found in zip(body["cells"], self.cells, strict=True):
            for place in (
                cell["defaults"],
                cell["best"],
                *(trial["configuration"] for trial in cell["trials"]),
            ):
                place["options"] = dict(place["options"])
            if found.fresh is not None:
                cell["fresh"]["configuration"]["options"] = dict(found.fresh.configuration.options)
                cell["fresh"]["gained"] = found.fresh.gained
        return body


DISTURBED = "disturbed twice"
"""How the reason begins why a configuration is out that only had bad luck with the moment."""


def nothing_faster(trials: Sequence[Trial], defaults: Configuration) -> tuple[str, bool]:
    """What to say where nothing was left that looked faster, and whether that decides it.

    It does where something was compared, and nothing is open.
    """
    tried = f"{len(trials)} other configuration{'s' * (len(trials) != 1)}"
    still_open = [one for one in trials if one.open]
    why = next((one.why for one in (*still_open, *trials) if one.why is not None), "")
    if all(one.estimate is None for one in trials):
        return f"none of {tried} could be compared with the defaults ({defaults.label}): {why}", False
    said = f"nothing is faster than the defaults ({defaults.label}), of {tried}"
    if near := [one for one in trials if one.why is None and one.estimate and one.interval]:
        nearest = min(near, key=lambda one: one.estimate or 0.0)
        assert nearest.interval is not None
        low, high = nearest.interval
        said += f"; the nearest, {nearest.configuration.label}, takes {nearest.estimate:.3f} [{low:.3f}, {high:.3f}] of their time"
    if not still_open:
        return said, True
    disturbed = sum(one.why is not None and one.why.startswith(DISTURBED) for one in still_open)
    if disturbed == len(still_open):
        why = f"{disturbed} {'was' if disturbed == 1 else 'were'} disturbed twice; tune again on a quiet machine"
    else:
        why = f"{len(still_open)} could not be compared: {why}"
    return f"{said}, as far as can be told: {why}", False


def too_few(ratio: Ratio | None, forks: int) -> str | None:
    """Why a fresh measurement decides nothing: too few of its processes had turns together; None: enough had."""
    if ratio is None:
        return "there were not turns enough"
    if ratio.kind != "over_forks":
        return f"only {len(ratio.by_fork)} of {forks} processes had turns of both"
    return None


def sentence(fresh: Fresh, defaults: Configuration, count: int) -> str:
    """What came of the fresh measurement, with its figures.

    Args:
        count: how many configurations the search had to choose from.
    """
    best, ratio = fresh.configuration.label, fresh.ratio
    if fresh.doubt is not None or ratio is None:
        return f"{best} looked best, but measured afresh it decides nothing ({fresh.doubt}); the defaults stand, tune again"
    low, high = ratio.interval
    figures = f"{ratio.estimate:.3f} [{low:.3f}, {high:.3f}] of the defaults' time"
    if fresh.gained:
        return (
            f"{best} takes {figures}, measured afresh over {len(ratio.by_fork)} processes "
            f"({fresh.best_ms:.3g} ms instead of {fresh.default_ms:.3g} ms with {defaults.label})"
        )
    if high < 1:
        figures += ": its smallest calls are faster, and the middle ones are not"
    return (
        f"nothing was gained, the defaults stand: {best} looked like {fresh.searched:.3f} in the search, as the best of {count} is "
        f"partly luck, and measured afresh takes {figures}"
    )
