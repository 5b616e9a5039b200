"""Holes: cells that others have and one lacks, and backends and precisions that nobody tried. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from zoobench.judge.asks import Carried, Gap, cover, wish_of
from zoobench.judge.measures import Measure
from zoobench.judge.pictures import Judged, with_pictures
from zoobench.judge.scope import own_options
from zoobench.judge.wanted import Goal, Wanted
from zoobench.results.row import RankedRow
from zoobench.terms import TEXT

MOST_MODELS, MOST_BATCHES = 50, 64
"""Of how many models, the best first, and at how many batches, the smallest first, holes of the grid are looked for."""
Runs = Mapping[str, Carried]
"""Run id → what a run of the same models needs too."""


@dataclass(frozen=True)
class Offer:
    """A backend that could be run: its device class, and which precisions and tasks it has."""

    device: str
    precisions: tuple[str, ...]
    tasks: tuple[str, ...]


def _grid(rows: Iterable[RankedRow]) -> list[RankedRow]:
    """The cells of the newest thread count without options of the runtime's own, of one client, whatever came of them."""
    plain = [
        row
        for row in rows
        if not row.options
        or (not own_options(row) and row.options.get("concurrency", 1) == 1 and row.device != "remote")
    ]
    if len({row.threads for row in plain}) <= 1:
        return plain
    newest = max(plain, key=attrgetter("recorded_at", "threads"))
    return [row for row in plain if row.threads == newest.threads]


def absent_cells(
    rows: Sequence[RankedRow], believable: Sequence[RankedRow], goal: Measure, wanted: Wanted, carried: Runs
) -> Gap | None:
    """Cells that other models, or other batches, have and this one lacks."""
    grid = _grid(rows)
    # What ran for nobody here is no hole in the grid of what does.
    pairs = set[tuple[str, str]]()
    for row in grid:
        if (row.backend, row.precision) not in pairs and row.is_measured:
            pairs.add((row.backend, row.precision))
    batches = sorted({row.batch for row in grid})[:MOST_BATCHES]
    if not _wants_rate(wanted):
        # A larger batch takes longer and more memory: it can only win where throughput counts.
        batches = batches[:1]
    foremost = _foremost({row.model for row in grid}, believable, goal)
    # Of each model the newest, whatever came of it.
    examples: dict[str, RankedRow] = {}
    there = set[tuple[str, str, str, int]]()
    wanted_ones = set(foremost)
    for row in grid:
        model = row.model
        if model in wanted_ones:
            there.add((model, row.backend, row.precision, row.batch))
            if model not in examples or row.recorded_at >= examples[model].recorded_at:
                examples[model] = row
    wishes = [
        wish_of(examples[model], carried, backend=backend, precision=precision, batch=batch)
        for model in foremost
        for (backend, precision), batch in itertools.product(sorted(pairs), batches)
        if (model, backend, precision, batch) not in there
    ]
    if not wishes:
        return None
    count = len(wishes)
    what = (
        f"{count:,} cell{'' if count == 1 else 's'} of the grid of models, backends, precisions and batches "
        f"{'was' if count == 1 else 'were'} never tried"
    )
    return Gap("cells", what, count, cover(wishes))


def _wants_rate(wanted: Wanted) -> bool:
    return wanted.min_throughput is not None or wanted.minimize in (Goal.COST, Goal.ENERGY)


def _foremost(models: Iterable[str], believable: Sequence[RankedRow], goal: Measure) -> list[str]:
    """The models by their lowest figure; those without any come last, by name."""
    figures = dict.fromkeys(models, math.inf)
    for model, value in zip(map(attrgetter("model"), believable), map(goal.value, believable), strict=True):
        if value is not None and value < figures.get(model, -math.inf):
            figures[model] = value
    return sorted(figures, key=lambda name: (figures[name], name))[:MOST_MODELS]


def never_tried(
    rows: Sequence[RankedRow],
    believable: Sequence[RankedRow],
    best: RankedRow | None,
    goal: Measure,
    wanted: Wanted,
    offers: Mapping[str, Offer],
    carried: Runs,
    judged: Judged,
) -> Gap | None:
    """Backends and precisions that nobody tried here, for the model that is recommended, or that leads."""
    leads = [best] if best else sorted(believable, key=_by(goal))[:1]
    if not leads or leads[0].is_fake or leads[0].device == "remote":
        return None
    (lead,) = leads
    tried = {(row.backend, row.precision) for row in rows}
    classes = {"cpu", *(["cuda"] if lead.gpus else [])}
    pairs = [
        (name, precision)
        for name, offer in offers.items()
        if offer.device in classes and lead.task in offer.tasks
        for precision in offer.precisions
        if (name, precision) not in tried
    ]
    if not pairs:
        return None
    pictures = lead.task != TEXT and (wanted.max_drop is not None or wanted.min_accuracy is not None)
    examples = (
        (with_pictures(lead, carried, judged, backend=backend, precision=precision) if pictures else None)
        or wish_of(lead, carried, backend=backend, precision=precision)
        for backend, precision in pairs
    )
    by_backend = {
        name: ", ".join(precision for other, precision in pairs if other == name) for name, _ in pairs
    }
    told = ", ".join(f"{name} ({precisions})" for name, precisions in by_backend.items())
    what = f"never tried on {lead.model}: {told}"
    return Gap("untried", what, len(pairs), cover(examples))


def _by(goal: Measure) -> Callable[[RankedRow], tuple[float, float, str, str]]:
    """Where the figure is not known, the median tells who leads."""

    def key(row: RankedRow) -> tuple[float, float, str, str]:
        value = goal.value(row)
        return math.inf if value is None else value, row.median, row.model, row.measurement_key

    return key
