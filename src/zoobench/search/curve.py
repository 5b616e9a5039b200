"""The defaults at each batch size: the yardstick of a search, and which batch is worth its latency.

A batch is chosen by rates that nothing disturbed. What was disturbed, or may move, is measured once more; what is disturbed then too
is no point of the curve.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoobench.judge.knee import knee
from zoobench.measure.effort import EFFORTS
from zoobench.plan import Request
from zoobench.results.record import Record
from zoobench.search.turns import Turns, broken, cell_label, disturbance, p50_ms
from zoobench.terms import VerdictValue

if TYPE_CHECKING:
    from zoobench.measure.effort import EffortPlan

CURVE_S = 6.0
"""Seconds of the defaults at each batch size, at most."""
LARGEST_BATCH, SLOWEST_CALL_MS = 128, 1000.0
"""Where doubling the batch ends, if the knee is not found before."""
_FEW_CALLS = frozenset({"too_few_samples"})
"""Of these the same seconds would bring no more."""


@dataclass(frozen=True)
class Curve:
    """What was measured.

    Attributes:
        records: batch → the defaults, where they work.
        rates: items a second of those that nothing disturbed.
        notes: what a reader of it must know.
        trouble: why the first batch that cannot be used cannot; None: all can.
    """

    records: Mapping[int, Record]
    rates: Mapping[int, float]
    notes: tuple[str, ...] = ()
    trouble: str | None = None

    @property
    def knee(self) -> int | None:
        """From which batch on larger ones buy little."""
        return knee(self.rates)

    @property
    def chosen(self) -> int:
        """The knee, or where there is none the batch with the highest rate."""
        return max(self.rates, key=lambda batch: self.rates[batch]) if self.knee is None else self.knee


def batch_curve(turns: Turns, asked: Request, batches: Sequence[int], *, grows: bool) -> Curve:
    """Measure the defaults at each batch size.

    Args:
        grows: end where the knee is behind, where calls become too long, or where a batch has no rate that counts.
    """
    effort = EFFORTS[asked.effort]
    evidence = dataclasses.replace(effort, max_case_time_s=min(CURVE_S, effort.max_case_time_s), forks=1)
    records: dict[int, Record] = {}
    rates: dict[int, float] = {}
    notes: list[str] = []
    trouble: str | None = None
    drawn = len(batches) > 1
    for batch in batches:
        cell = dataclasses.replace(asked, batch_sizes=[batch])
        record = _measured(turns, cell, evidence, drawn=drawn)
        why = broken(record)
        if why is None:
            records[batch] = record
        if (out := why or disturbance(record)) is not None:
            told = f"batch {batch} cannot be measured with the defaults: {out}"
            if why is None:
                told = f"batch {batch} is no point of the batch curve: {out}"
            notes += [told + ("; larger batches were not tried" if grows else "")] * drawn
            trouble = trouble or out
            if grows:
                break
            continue
        rates[batch] = record.throughput_per_s or 0.0
        turns.observer.note(f"{cell_label(cell)}: {rates[batch]:.3g} items/s with the defaults")
        if drawn and (moved := _unstable(record)):
            notes.append(
                f"the rate at batch {batch} is unstable, measured twice ({', '.join(sorted(moved))})"
                if moved - _FEW_CALLS
                else f"the rate at batch {batch} is of few calls"
            )
        bend = knee(rates)
        if grows and bend is not None and sum(b > bend for b in rates) >= 2:
            break
        if grows and p50_ms(record) > SLOWEST_CALL_MS:
            notes.append(f"batches above {batch} were not tried: a call takes {p50_ms(record):.3g} ms")
            break
    return Curve(records, rates, tuple(notes), trouble)


def doubling() -> list[int]:
    """The batches that are tried where none are given."""
    return [2**power for power in range(LARGEST_BATCH.bit_length())]


def _measured(turns: Turns, asked: Request, evidence: EffortPlan, *, drawn: bool) -> Record:
    """Twice where that may help: of a disturbed one always, of an unstable one where a curve is drawn through it."""
    (first,) = turns.measure(asked, evidence)
    if broken(first) is not None:
        return first
    moved = bool(drawn and _unstable(first) - _FEW_CALLS)
    if disturbance(first) is None and not moved:
        return first
    word = "unstable" if moved else "disturbed"
    turns.observer.note(f"{cell_label(asked)}: the defaults were {word}, once more")
    (second,) = turns.measure(asked, evidence, again=True)
    return min(second, first, key=_doubt)


def _doubt(record: Record) -> int:
    if broken(record) is not None or disturbance(record) is not None:
        return 2
    return 1 if _unstable(record) else 0


def _unstable(record: Record) -> frozenset[str]:
    """The codes that say so; none where it is not."""
    verdict = record.verdict
    if verdict is None or verdict.value is not VerdictValue.UNSTABLE:
        return frozenset()
    return frozenset(reason.code for reason in verdict.reasons)
