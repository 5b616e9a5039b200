"""What it does to a model when the hypervisor moves the CPUs apart, and that nothing else shows it.

Models take turns for some minutes; their slots are told apart by how far the CPUs were from each other just before
(`zoobench.measure.placement`). Prints both medians, their ratio, and what the other sensors saw meanwhile. On a
machine whose CPUs stay where they are there is nothing to print but that.

usage: python benchmarks/placement.py [--models …] [--backends …] [--seconds 60]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from zoobench import api, machine, outcome
from zoobench.backends import BACKENDS
from zoobench.executors import Listener
from zoobench.executors.local import LocalExecutor
from zoobench.measure.effort import EFFORTS
from zoobench.outcome import Slot
from zoobench.spec import Case, Seat
from zoobench.terms import Effort, WeightsPolicy


def p50_ms(slots: Iterable[Slot]) -> float:
    return float(np.median([ns for slot in slots for ns in slot.samples_ns])) / 1e6


def split(slots: list[Slot]) -> tuple[list[Slot], list[Slot]]:
    """Those before which the CPUs were near each other, and those before which they were apart."""
    far = {id(noise) for noise in outcome.apart([slot.noise for slot in slots])}
    return [s for s in slots if id(s.noise) not in far], [s for s in slots if id(s.noise) in far]


def row(case: Case, slots: list[Slot]) -> str:
    near, apart = split(slots)
    name = f"{case.model:<16}{case.backend:<9}"
    if not near or not apart:
        return f"{name}{p50_ms(slots):>9.2f} ms in all {len(slots)} slots, {'apart' if apart else 'near'}"
    return (
        f"{name}{len(near):>5}{p50_ms(near):>9.2f}{len(apart):>7}{p50_ms(apart):>9.2f}"
        f"{p50_ms(apart) / p50_ms(near):>8.2f}"
    )


def disturbance(slots: list[Slot]) -> str:
    seen = [slot.noise for slot in slots]
    steal = np.median([noise.steal or 0.0 for noise in seen])
    foreign = np.median([noise.foreign_cpu or 0.0 for noise in seen])
    crossing = np.median([noise.cpu_crossing or np.nan for noise in seen])
    return f"{len(slots)} slots: crossing {crossing:.2f}, steal {steal:.1%}, foreign CPU {foreign:.1%}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(api.DEFAULT_MODELS))
    parser.add_argument("--backends", nargs="+", default=["onnx_cpu", "pytorch"])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each model on each backend")
    asked = parser.parse_args()
    executor, threads = LocalExecutor(), machine.usable_cpu_count()
    formats = [BACKENDS[name].format for name in asked.backends]
    seats = []
    for made in executor.prepare(
        [(spec, formats) for spec in api.request(asked.models).models],
        weights=WeightsPolicy.AUTO,
        allow_pickle=False,
        on_progress=lambda model, text: None,
    ):
        if made.error:
            raise SystemExit(f"{made.model.name}: {made.error}")
        for name in asked.backends:
            case = Case(model=made.model.name, backend=name, threads=threads)
            seats.append(Seat(case, made.artifacts[BACKENDS[name].format], BACKENDS[name].provider))
    plan = replace(EFFORTS[Effort.QUICK], min_time_s=asked.seconds, max_case_time_s=2 * asked.seconds)
    slots: dict[str, list[Slot]] = {seat.case.id: [] for seat in seats}
    listener = Listener(
        on_slot=lambda case, slot: slots[case.id].append(slot), on_progress=lambda case, stage: None
    )
    list(executor.run([seats], plan, seed=0, listener=listener))
    print(f"{machine.describe().short}, {threads} threads, batch 1")
    print(f"{'model':<16}{'backend':<9}{'near':>5}{'p50 ms':>9}{'apart':>7}{'p50 ms':>9}{'ratio':>8}")
    for seat in seats:
        print(row(seat.case, slots[seat.case.id]))
    every = [slot for of_case in slots.values() for slot in of_case]
    for word, found in zip(("near", "apart"), split(every), strict=True):
        if found:
            print(f"{word:<6}{disturbance(found)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
