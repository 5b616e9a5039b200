"""Has the driver measure a search's cells, in turns and once more where something disturbed them; and what their records are worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoobench.driver import Observer, Settings, execute
from zoobench.executors import Executor
from zoobench.judge.compare import took_turns
from zoobench.outcome import Slot, wrong_answers
from zoobench.plan import Request, Variant
from zoobench.results.record import Record
from zoobench.results.store import samples_of
from zoobench.search.space import Configuration
from zoobench.search.tuning import DISTURBED
from zoobench.spec import Case
from zoobench.terms import NOISE_CODES, OnExisting, Status, VerdictValue

if TYPE_CHECKING:
    from zoobench.measure.effort import EffortPlan

Attempt = Mapping[Configuration, Record]


@dataclass(frozen=True)
class Turns:
    """Measures, with the settings of the search."""

    settings: Settings
    executor: Executor
    observer: Observer

    def measure(self, request: Request, evidence: EffortPlan, *, again: bool = False) -> list[Record]:
        """What `request` asks for; `again` though it is there.

        Raises:
            KeyboardInterrupt: it was interrupted; what was measured stands in the results.
        """
        settings = dataclasses.replace(
            self.settings,
            evidence=evidence,
            on_existing=OnExisting.RERUN if again else self.settings.on_existing,
        )
        records = list(execute(request, settings, self.executor, self.observer))
        if any(record.status is Status.INTERRUPTED for record in records):
            raise KeyboardInterrupt
        return records

    def of(self, asked: Request, chosen: Sequence[Configuration], evidence: EffortPlan) -> list[Attempt]:
        """One group of these configurations; where something disturbed any of them, a second attempt of all."""
        variants = [Variant(dict(one.options), one.threads) for one in chosen]
        request = dataclasses.replace(asked, variants=variants)
        attempts = [self.measure(request, evidence)]
        if told := sum(disturbance(record) is not None for record in attempts[0]):
            self.observer.note(
                f"{cell_label(asked)}: {told} of {len(chosen)} were disturbed, all of them take turns once more"
            )
            attempts.append(self.measure(request, evidence, again=True))
        return [{_configuration(record.case, asked): record for record in records} for records in attempts]

    def slots(self, record: Record) -> Sequence[Slot]:
        """Of its run."""
        if record.samples_file is None:
            return ()
        return samples_of(self.settings.results_dir / "runs" / record.run_id, record.samples_file)


def cell_label(asked: Request) -> str:
    """The one cell that is asked for, whatever its options."""
    return f"{asked.models[0].name} · {asked.backends[0]} · {asked.precisions[0].value} · batch {asked.batch_sizes[0]}"


def undisturbed(attempts: Sequence[Attempt], of: Iterable[Configuration]) -> Attempt:
    """The first attempt in which nothing disturbed these, else the last."""
    chosen = tuple(of)
    return next((by for by in attempts if not any(disturbance(by[one]) for one in chosen)), attempts[-1])


def broken(record: Record) -> str | None:
    """Why its times count for nothing, whatever the moment was: it failed, or what it computes is wrong."""
    if record.status is not Status.OK:
        why = record.error.message if record.error else "it could not be measured"
        return f"{record.status.value.replace('_', ' ')}: {why}"
    if wrong := wrong_answers(record.verdict):
        return "its outputs cannot be used: " + "; ".join(reason.message for reason in wrong)
    return None


def disturbance(record: Record) -> str | None:
    """What made a sound cell invalid: the machine's moment."""
    verdict = record.verdict
    if verdict is None or verdict.value is not VerdictValue.INVALID or wrong_answers(verdict):
        return None
    told = [reason.message for reason in verdict.reasons if reason.code in NOISE_CODES]
    return f"{DISTURBED}: {'; '.join(told)}"


def apart(record: Record, beside: Record) -> str | None:
    """Why the two are no pair: memory did not hold both, so that the driver took their group apart."""
    if took_turns(record, beside):
        return None
    return "it did not fit into memory beside the defaults, so the two took no turns and cannot be compared"


def p50_ms(record: Record) -> float:
    """0 where there is none."""
    latency = record.latency
    return (latency.p50_ms or latency.mean_ms) if latency else 0.0


def _configuration(case: Case, asked: Request) -> Configuration:
    said = {name: value for name, value in case.options.items() if name not in asked.options}
    return Configuration(case.threads, tuple(sorted(said.items())))
