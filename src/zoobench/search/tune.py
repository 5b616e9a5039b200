"""Tuning: a runtime's own options by successive halving, the survivors in turns, and the winner once more afresh.

The one that came out best of many was partly lucky (the winner's curse), so what the search saw of it is no result: it is measured
against the defaults again, in new processes, and that ratio is the one that is told. Every cell that is tried is a record like any
other, and the same search again takes from the results what stands there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoobench import machine, plan
from zoobench.backends import BACKENDS, Row
from zoobench.driver import Observer, Settings, execute
from zoobench.errors import UsageError
from zoobench.executors import Executor
from zoobench.judge.knee import knee
from zoobench.judge.ratio import paired_ratio
from zoobench.measure.effort import EFFORTS, SLOT_MIN_CALLS, SLOT_MIN_S, SLOT_SLOW_MIN_CALLS, SLOW_CALL_S
from zoobench.outcome import NOISE_CODES, Slot, Status, VerdictValue, wrong_answers
from zoobench.plan import Inventory, Request, Variant
from zoobench.results.record import Record
from zoobench.results.store import samples_of
from zoobench.search.halving import Standing, advance, rung_time, rungs
from zoobench.search.once import Once, Unrepeated
from zoobench.search.space import SPACE, Axis, Configuration, configurations
from zoobench.search.tuning import DISTURBED, Fresh, Goal, Trial, TunedCell, Tuning, nothing_faster, sentence
from zoobench.spec import TEXT, Case, Effort, OnExisting

if TYPE_CHECKING:
    from zoobench.measure.effort import EffortPlan

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
CURVE_S = 6.0
"""Seconds of the defaults at each batch size, at most."""
LARGEST_BATCH, SLOWEST_CALL_MS = 128, 1000.0
"""Where doubling the batch ends, if the knee is not found before."""
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
    once, quiet = Once(executor), Unrepeated(observer)
    for backend in request.backends:
        asked = dataclasses.replace(request, backends=[backend])
        yield _Tuner(asked, settings, once, quiet, space).tuned(goal, batches_given=batches_given)


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

    def __init__(
        self,
        asked: Request,
        settings: Settings,
        executor: Executor,
        observer: Observer,
        space: Mapping[str, tuple[Axis, ...]],
    ) -> None:
        self.asked, self.settings, self.executor, self.observer = asked, settings, executor, observer
        self.model, self.precision = asked.models[0].name, asked.precisions[0].value
        (self.backend,) = asked.backends
        self.cpus = machine.usable_cpu_count()
        # What the user has decided is no longer sought.
        free = {
            name: tuple(axis for axis in axes if axis.option not in asked.options)
            for name, axes in space.items()
        }
        self.all = configurations(self.backend, self.cpus, free)
        self.notes: list[str] = []

    def tuned(self, goal: Goal, *, batches_given: bool) -> Tuning:
        """The whole search."""
        nothing = Tuning(self.model, self.backend, self.precision)
        planned = plan.plan(self.asked, Inventory(self.cpus, self.executor.probe([self.backend])))
        if not planned.cases:
            return dataclasses.replace(nothing, skipped=planned.skips[0].reason)
        if len(self.all) < 2:
            return dataclasses.replace(nothing, skipped=NOTHING_TO_TUNE)
        grows = goal is Goal.THROUGHPUT and not batches_given
        curve = self._curve(_doubling() if grows else self.asked.batch_sizes, grows=grows)
        sound = {batch: record for batch, record in curve.items() if _broken(record) is None}
        if not sound:
            why = _broken(next(iter(curve.values())))
            return dataclasses.replace(nothing, skipped=f"its defaults cannot be measured: {why}")
        items = {batch: record.throughput_per_s or 0.0 for batch, record in sound.items()}
        bend = knee(items)
        chosen = list(sound)
        if goal is Goal.THROUGHPUT:
            chosen = [max(items, key=lambda batch: items[batch]) if bend is None else bend]
        cells = tuple(self._cell_or_why(batch, sound[batch]) for batch in chosen)
        return dataclasses.replace(nothing, curve=items, knee=bend, cells=cells, notes=tuple(self.notes))

    def _curve(self, batches: Sequence[int], *, grows: bool) -> dict[int, Record]:
        """The defaults at each batch size; where it grows until the knee is behind, or calls become too long."""
        effort = EFFORTS[self.asked.effort]
        most = min(CURVE_S, effort.max_case_time_s)
        evidence = dataclasses.replace(effort, max_case_time_s=most, forks=1)
        found: dict[int, Record] = {}
        for batch in batches:
            asked = dataclasses.replace(self.asked, batch_sizes=[batch])
            (record,) = self._measure(asked, evidence=evidence, whole_groups=True)
            found[batch] = record
            if (why := _broken(record)) is not None:
                self.notes.append(f"batch {batch} cannot be measured with the defaults: {why}")
                if grows:
                    break
                continue
            rate = record.throughput_per_s or 0.0
            self.observer.note(f"{self._at(batch)}: {rate:.3g} items/s with the defaults")
            bend = knee({b: r.throughput_per_s or 0.0 for b, r in found.items()})
            if grows and bend is not None and sum(b > bend for b in found) >= 2:
                break
            if grows and _p50_ms(record) > SLOWEST_CALL_MS:
                self.notes.append(
                    f"batches above {batch} were not tried: a call takes {_p50_ms(record):.3g} ms"
                )
                break
        return found

    def _cell_or_why(self, batch: int, yardstick: Record) -> TunedCell:
        try:
            return self._cell(batch, yardstick)
        except _DisturbedError as disturbed:
            defaults = self.all[0]
            return TunedCell(batch, defaults, (), 0, None, defaults, f"given up: {disturbed}", decided=False)

    def _cell(self, batch: int, yardstick: Record) -> TunedCell:
        defaults, *going = self.all
        asked = dataclasses.replace(self.asked, batch_sizes=[batch])
        peak = yardstick.memory.peak_bytes if yardstick.memory else None
        room = workers_at_once(BACKENDS[self.backend], peak, machine.free_memory_bytes())
        if room < 2:
            why = "there is not memory enough for two of its workers at once, so nothing could take turns"
            return TunedCell(batch, defaults, (), 0, None, defaults, why, decided=False)
        slot_s = _slot_s(_p50_ms(yardstick) / 1e3)
        first_s = max(RUNG_S[self.asked.effort], round(RUNG_SLOTS * slot_s, 1))
        count, trials, rung = len(going), dict[Configuration, Trial](), 0
        standings: dict[Configuration, Standing[Configuration]] = {}
        for rung in range(1, rungs(count) + 1):
            seconds = rung_time(count, len(going), first_s)
            self.observer.note(
                f"{self._at(batch)}: rung {rung}, {len(going)} configurations against the defaults, {seconds:.2g} s each"
            )
            standings = {one.configuration: one for one in self._rung(asked, defaults, going, seconds, room)}
            kept, dropped = advance(list(standings.values()))
            trials |= {c: _trial(standings[c], rung, None) for c in kept}
            for one in dropped:
                trials[one.configuration] = _trial(standings[one.configuration], rung, one.why)
                self.observer.note(f"  out: {one.configuration.label}: {one.why}")
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
            attempts = self._in_turns(asked, [defaults, *bracket], evidence)
            if all(_disturbance(record) for by in attempts for record in by.values()):
                # What else works here will not go away for the next bracket either.
                raise _DisturbedError(_disturbance(attempts[-1][defaults]) or "")
            for one in bracket:
                by = _undisturbed(attempts, [one])
                if (why := _broken(by[defaults])) is not None:
                    yield Standing(one, trouble=f"the defaults beside it failed: {why}")
                else:
                    yield _standing(one, by[one], self._slots(by[defaults]), self._slots(by[one]))

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
        self.observer.note(
            f"{self._at(asked.batch_sizes[0])}: {best.label} against the defaults afresh, {forks} processes each"
        )
        by = _undisturbed(self._in_turns(asked, [defaults, best], evidence), [defaults, best])
        ratio = paired_ratio(self._slots(by[defaults]), self._slots(by[best]))
        doubts = (_broken(by[c]) or _disturbance(by[c]) for c in (defaults, best))
        return Fresh(
            best,
            ratio,
            _p50_ms(by[defaults]) or None,
            _p50_ms(by[best]) or None,
            by[defaults].throughput_per_s,
            by[best].throughput_per_s,
            searched,
            next(filter(None, doubts), None),
            any(r.verdict is not None and r.verdict.value is VerdictValue.UNSTABLE for r in by.values()),
        )

    def _in_turns(
        self, asked: Request, chosen: Sequence[Configuration], evidence: EffortPlan
    ) -> list[dict[Configuration, Record]]:
        """One group of these configurations; where something disturbed any of them, a second attempt of all."""
        variants = [Variant(dict(one.options), one.threads) for one in chosen]
        request = dataclasses.replace(asked, variants=variants)
        attempts = [self._measure(request, evidence=evidence, whole_groups=True)]
        if any(_disturbance(record) for record in attempts[0]):
            told = sum(_disturbance(record) is not None for record in attempts[0])
            self.observer.note(
                f"{self._at(asked.batch_sizes[0])}: {told} of {len(chosen)} were disturbed, all of them take turns once more"
            )
            again = OnExisting.RERUN
            attempts.append(self._measure(request, evidence=evidence, whole_groups=True, on_existing=again))
        return [{_configuration(record.case, asked): record for record in records} for records in attempts]

    def _measure(self, request: Request, **how: Any) -> list[Record]:
        settings = dataclasses.replace(self.settings, **how)
        records = list(execute(request, settings, self.executor, self.observer))
        if any(record.status is Status.INTERRUPTED for record in records):
            raise KeyboardInterrupt
        return records

    def _slots(self, record: Record) -> Sequence[Slot]:
        if record.samples_file is None:
            return ()
        return samples_of(self.settings.results_dir / "runs" / record.run_id, record.samples_file)

    def _at(self, batch: int) -> str:
        return f"{self.model} · {self.backend} · {self.precision} · batch {batch}"


def _undisturbed(
    attempts: Sequence[dict[Configuration, Record]], of: Sequence[Configuration]
) -> dict[Configuration, Record]:
    """The first attempt in which nothing disturbed these, else the last."""
    return next((by for by in attempts if not any(_disturbance(by[one]) for one in of)), attempts[-1])


def _doubling() -> list[int]:
    return [2**power for power in range(LARGEST_BATCH.bit_length())]


def _configuration(case: Case, asked: Request) -> Configuration:
    said = {name: value for name, value in case.options.items() if name not in asked.options}
    return Configuration(case.threads, tuple(sorted(said.items())))


def _slot_s(call_s: float) -> float:
    """How long one turn takes: a settling call, then those that are timed."""
    least = SLOT_SLOW_MIN_CALLS if call_s > SLOW_CALL_S else SLOT_MIN_CALLS
    return call_s + max(SLOT_MIN_S, least * call_s)


def _p50_ms(record: Record) -> float:
    """0 where there is none."""
    latency = record.latency
    return (latency.p50_ms or latency.mean_ms) if latency else 0.0


def _broken(record: Record) -> str | None:
    """Why its times count for nothing, whatever the moment was: it failed, or what it computes is wrong."""
    if record.status is not Status.OK:
        why = record.error.message if record.error else "it could not be measured"
        return f"{record.status.value.replace('_', ' ')}: {why}"
    if wrong := wrong_answers(record.verdict):
        return "its outputs cannot be used: " + "; ".join(reason.message for reason in wrong)
    return None


def _disturbance(record: Record) -> str | None:
    """What made a sound cell invalid: the machine's moment."""
    verdict = record.verdict
    if verdict is None or verdict.value is not VerdictValue.INVALID or wrong_answers(verdict):
        return None
    told = [reason.message for reason in verdict.reasons if reason.code in NOISE_CODES]
    return f"{DISTURBED}: {'; '.join(told)}"


def _standing(
    configuration: Configuration, record: Record, base: Sequence[Slot], own: Sequence[Slot]
) -> Standing[Configuration]:
    if (trouble := _broken(record) or _disturbance(record)) is not None:
        return Standing(configuration, trouble=trouble)
    ratio = paired_ratio(base, own)
    if ratio is not None:
        return Standing(configuration, ratio.estimate, ratio.interval)
    # Calls so long that there were not turns enough: then only what lies outside of everything that was seen is told apart.
    times, yardstick = (sorted(ns for slot in slots for ns in slot.samples_ns) for slots in (own, base))
    if not times or not yardstick:
        return Standing(configuration)
    middle = times[len(times) // 2] / yardstick[len(yardstick) // 2]
    return Standing(configuration, middle, (times[0] / yardstick[-1], times[-1] / yardstick[0]))


def _trial(one: Standing[Configuration], rung: int, why: str | None) -> Trial:
    return Trial(one.configuration, rung, one.estimate, one.interval, why)
