"""Tuning: a runtime's own options by successive halving, the survivors in turns, and the winner once more afresh.

The one that came out best of many was partly lucky (the winner's curse), so what the search saw of it is no result: it is measured
against the defaults again, in new processes, and that ratio is the one that is told. Every cell that is tried is a record like any
other, and the same search again takes from the results what stands there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from zoobench import machine, plan
from zoobench.backends import BACKENDS, Row
from zoobench.driver import Observer, Settings
from zoobench.driver.earlier import Earlier
from zoobench.errors import UsageError
from zoobench.executors import Executor
from zoobench.judge.ratio import paired_ratio
from zoobench.measure.effort import EFFORTS, SLOT_MIN_CALLS, SLOT_MIN_S, SLOT_SLOW_MIN_CALLS, SLOW_CALL_S
from zoobench.plan import Inventory, Request
from zoobench.results.record import Record
from zoobench.search.curve import batch_curve, doubling
from zoobench.search.halving import Standing, advance, rung_time, rungs
from zoobench.search.once import Once, Unrepeated
from zoobench.search.space import SPACE, Axis, Configuration, configurations, free, typed
from zoobench.search.tuning import Fresh, Goal, Trial, TunedCell, Tuning, nothing_faster, sentence, too_few
from zoobench.search.turns import Turns, apart, broken, cell_label, disturbance, p50_ms, undisturbed
from zoobench.terms import TEXT, Effort, VerdictValue

RUNG_S = {Effort.QUICK: 1.0, Effort.STANDARD: 2.0, Effort.THOROUGH: 4.0}
"""Seconds for each configuration in the first rung, at least."""
RUNG_SLOTS = 4
"""So many turns a rung has at least: a ratio within one process needs three."""
FRESH_FORKS = 5
"""New processes of each of the two at the end: the process is the replicate."""
FRESH_SLOTS = 4
"""Turns in each of them."""
MOST_IN_TURNS = 8
"""Live workers at a time, the defaults among them; more configurations take turns in several brackets, each with the defaults."""
MOST_ON_GPU = 4
_ROOM = 1.25
"""So many times the defaults' peak memory is kept free for each worker."""
NOTHING_TO_TUNE = "it has no options to tune here"


def check_tunable(request: Request) -> None:
    """Refuse what cannot be tuned, before anything is started.

    Raises:
        UsageError: several models, or a language model; or what `plan.check` refuses.
    """
    model = request.models[0]
    if len(request.models) > 1:
        named = ", ".join(spec.name for spec in request.models[:3])
        raise UsageError(f"these are {len(request.models)} models ({named}, …); tune one at a time")
    if model.task == TEXT:
        raise UsageError(
            f"{model.name} is a language model, whose runtimes have no options to tune here; compare its backends and "
            "precisions with `zoobench run`"
        )
    plan.check(request, machine.usable_cpu_count())


def tune(
    request: Request,
    settings: Settings,
    executor: Executor,
    observer: Observer,
    *,
    goal: Goal = Goal.LATENCY,
    batches_given: bool = False,
    space: Mapping[str, tuple[Axis, ...]] = SPACE,
) -> Iterator[Tuning]:
    """Tune one model on each backend of `request`.

    Args:
        request: of one model and one precision, without variants.
        batches_given: for throughput, whether its batch sizes are those to choose from; else they are doubled until the knee.
        space: what there is to tune.

    Raises:
        What `check_tunable` and `execute` raise; KeyboardInterrupt when it was interrupted: what was measured stands in the results.
    """
    check_tunable(request)
    earlier = Earlier(settings.results_dir, request.models[0].name)
    turns = Turns(dataclasses.replace(settings, earlier=earlier), Once(executor), Unrepeated(observer))
    for backend in request.backends:
        asked = dataclasses.replace(request, backends=[backend])
        yield _Tuner(asked, turns, space).tuned(goal, batches_given=batches_given)


def workers_at_once(row: Row, peak_bytes: int | None, free_bytes: int | None) -> int:
    """How many workers of a backend may live at a time, the defaults' among them.

    Args:
        peak_bytes: of the defaults' process; None: not known.
        free_bytes: memory that processes may take now; None: not known.
    """
    most = MOST_IN_TURNS if row.device == "cpu" else MOST_ON_GPU
    if row.inline or not peak_bytes or free_bytes is None:
        return most
    return min(most, int(free_bytes / (_ROOM * peak_bytes)))


class _DisturbedError(Exception):
    """Everything was disturbed twice, the defaults too; the text says by what."""


class _Tuner:
    """Tunes one backend."""

    def __init__(self, asked: Request, turns: Turns, space: Mapping[str, tuple[Axis, ...]]) -> None:
        self.asked, self.turns, self.note = asked, turns, turns.observer.note
        self.model, self.precision = asked.models[0].name, asked.precisions[0].value
        (self.backend,) = asked.backends
        self.cpus = machine.usable_cpu_count()
        self.all = configurations(self.backend, self.cpus, free(space, asked.options))

    def tuned(self, goal: Goal, *, batches_given: bool) -> Tuning:
        """The whole search."""
        held = typed(self.asked.options.items())
        nothing = Tuning(self.model, self.backend, self.precision, held=held)
        planned = plan.plan(self.asked, Inventory(self.cpus, self.turns.executor.probe([self.backend])))
        if not planned.cases:
            return dataclasses.replace(nothing, skipped=planned.skips[0].reason)
        if len(self.all) < 2:
            return dataclasses.replace(nothing, skipped=NOTHING_TO_TUNE)
        grows = goal is Goal.THROUGHPUT and not batches_given
        curve = batch_curve(
            self.turns, self.asked, doubling() if grows else self.asked.batch_sizes, grows=grows
        )
        if not curve.records:
            return dataclasses.replace(nothing, skipped=f"its defaults cannot be measured: {curve.trouble}")
        if goal is Goal.LATENCY:
            cells = [self._cell_or_why(batch, record) for batch, record in curve.records.items()]
        elif curve.rates:
            cells = [self._cell_or_why(curve.chosen, curve.records[curve.chosen])]
        else:
            cells = [self._given_up(min(curve.records), f"given up: {curve.trouble}")]
        return dataclasses.replace(
            nothing, curve=curve.rates, knee=curve.knee, cells=tuple(cells), notes=curve.notes
        )

    def _cell_or_why(self, batch: int, yardstick: Record) -> TunedCell:
        try:
            return self._cell(batch, yardstick)
        except _DisturbedError as disturbed:
            return self._given_up(batch, f"given up: {disturbed}")

    def _given_up(self, batch: int, why: str) -> TunedCell:
        defaults = self.all[0]
        return TunedCell(batch, defaults, (), 0, None, defaults, why, decided=False)

    def _cell(self, batch: int, yardstick: Record) -> TunedCell:
        defaults, *going = self.all
        asked = dataclasses.replace(self.asked, batch_sizes=[batch])
        peak = yardstick.memory.peak_bytes if yardstick.memory else None
        room = workers_at_once(BACKENDS[self.backend], peak, machine.free_memory_bytes())
        if room < 2:
            return self._given_up(
                batch,
                "there is not memory enough for two of its workers at once, so nothing could take turns",
            )
        slot_s = _slot_s(p50_ms(yardstick) / 1e3)
        first_s = max(RUNG_S[self.asked.effort], round(RUNG_SLOTS * slot_s, 1))
        count, trials, rung = len(going), dict[Configuration, Trial](), 0
        standings: dict[Configuration, Standing[Configuration]] = {}
        for rung in range(1, rungs(count) + 1):
            seconds = rung_time(count, len(going), first_s)
            self.note(
                f"{cell_label(asked)}: rung {rung}, {len(going)} configurations against the defaults, {seconds:.2g} s each"
            )
            standings = {one.configuration: one for one in self._rung(asked, defaults, going, seconds, room)}
            kept, dropped = advance(list(standings.values()))
            trials |= {c: _trial(standings[c], rung, None) for c in kept}
            for one in dropped:
                trials[one.configuration] = _trial(standings[one.configuration], rung, one.why)
                self.note(f"  out: {one.configuration.label}: {one.why}")
            stuck = len(kept) == len(going) and rung_time(count, len(kept), first_s) <= seconds
            going = kept
            if len(going) < 2 or stuck:
                break
        best = min(going, key=lambda c: standings[c].estimate or 1.0, default=defaults)
        searched = standings[best].estimate or 1.0 if going else 1.0
        # All tried, in the order of the table, whichever rung they left in.
        tried = tuple(trials[c] for c in self.all[1:])
        if searched >= 1.0:
            told, decided = nothing_faster(tried, defaults)
            return TunedCell(batch, defaults, tried, rung, None, defaults, told, decided)
        fresh = self._afresh(asked, defaults, best, searched, slot_s)
        chosen = best if fresh.gained else defaults
        told = sentence(fresh, defaults, count)
        return TunedCell(batch, defaults, tried, rung, fresh, chosen, told, decided=fresh.doubt is None)

    def _rung(
        self,
        asked: Request,
        defaults: Configuration,
        going: Sequence[Configuration],
        seconds: float,
        room: int,
    ) -> Iterator[Standing[Configuration]]:
        """All of `going` in turns with the defaults, in as many brackets as there must be."""
        evidence = dataclasses.replace(
            EFFORTS[asked.effort], min_time_s=seconds, max_case_time_s=seconds, forks=1
        )
        brackets = -(-len(going) // (room - 1))
        for number in range(brackets):
            bracket = going[number::brackets]
            attempts = self.turns.of(asked, [defaults, *bracket], evidence)
            if all(disturbance(by[defaults]) for by in attempts):
                # Nothing can be held against them, and what else works here will not go away for the next bracket either.
                raise _DisturbedError(disturbance(attempts[-1][defaults]) or "")
            for one in bracket:
                by = undisturbed(attempts, [defaults, one])
                yield self._standing(one, by[one], by[defaults])

    def _standing(self, one: Configuration, record: Record, beside: Record) -> Standing[Configuration]:
        if (trouble := broken(record)) is not None:
            return Standing(one, trouble=trouble)
        if (why := broken(beside)) is not None:
            return Standing(one, trouble=f"the defaults beside it failed: {why}", open=True)
        if (why := disturbance(record) or disturbance(beside) or apart(record, beside)) is not None:
            return Standing(one, trouble=why, open=True)
        base, own = self.turns.slots(beside), self.turns.slots(record)
        ratio = paired_ratio(base, own)
        if ratio is not None:
            return Standing(one, ratio.estimate, ratio.interval)
        # Calls so long that there were not turns enough: then only what lies outside of everything that was seen is told apart.
        times, yardstick = (sorted(ns for slot in slots for ns in slot.samples_ns) for slots in (own, base))
        if not times or not yardstick:
            return Standing(one, trouble="it had no turn to compare", open=True)
        middle = times[len(times) // 2] / yardstick[len(yardstick) // 2]
        return Standing(one, middle, (times[0] / yardstick[-1], times[-1] / yardstick[0]))

    def _afresh(
        self, asked: Request, defaults: Configuration, best: Configuration, searched: float, slot_s: float
    ) -> Fresh:
        """The two in turns in new processes, several of each."""
        effort = EFFORTS[asked.effort]
        forks = max(FRESH_FORKS, effort.forks)
        # Whole turns: a process in which one of the two has fewer would weigh less than it counts.
        least = max(effort.min_time_s, forks * max(1.0, FRESH_SLOTS * slot_s))
        evidence = dataclasses.replace(
            effort, forks=forks, min_time_s=least, max_case_time_s=max(effort.max_case_time_s, 1.5 * least)
        )
        self.note(f"{cell_label(asked)}: {best.label} against the defaults afresh, {forks} processes each")
        by = undisturbed(self.turns.of(asked, [defaults, best], evidence), [defaults, best])
        pair = by[defaults], by[best]
        ratio = paired_ratio(self.turns.slots(pair[0]), self.turns.slots(pair[1]))
        doubts = [*map(broken, pair), *map(disturbance, pair), apart(*reversed(pair)), too_few(ratio, forks)]
        return Fresh(
            best,
            ratio,
            p50_ms(by[defaults]) or None,
            p50_ms(by[best]) or None,
            by[defaults].throughput_per_s,
            by[best].throughput_per_s,
            searched,
            next(filter(None, doubts), None),
            any(r.verdict is not None and r.verdict.value is VerdictValue.UNSTABLE for r in by.values()),
        )


def _slot_s(call_s: float) -> float:
    """How long one turn takes: a settling call, then those that are timed."""
    least = SLOT_SLOW_MIN_CALLS if call_s > SLOW_CALL_S else SLOT_MIN_CALLS
    return call_s + max(SLOT_MIN_S, least * call_s)


def _trial(one: Standing[Configuration], rung: int, why: str | None) -> Trial:
    return Trial(one.configuration, rung, one.estimate, one.interval, why, one.open)
