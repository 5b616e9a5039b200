"""The order of turns, and what it is for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tests.measure.fake_group import STANDARD, one_machine, run, seat

from zoobench.measure.conductor import turns
from zoobench.outcome import Slot
from zoobench.spec import Case


@pytest.mark.parametrize("count", range(1, 8))
def test_turns_are_a_latin_square(count: int):
    rng = np.random.Generator(np.random.PCG64(5))
    for _ in range(5):
        square = turns(count, rng)
        everybody = set(range(count))
        assert all(set(row) == everybody for row in square), "a round leaves somebody out"
        assert all(set(column) == everybody for column in zip(*square, strict=True)), (
            "a position is held twice"
        )


def test_turns_are_random():
    rng = np.random.Generator(np.random.PCG64(5))
    firsts = Counter(turns(3, rng)[0][0] for _ in range(300))
    assert all(70 < firsts[player] < 130 for player in range(3))


def test_every_case_gets_every_position_equally():
    order: list[tuple[str, int, int]] = []

    def on_slot(case: Case, slot: Slot) -> None:
        order.append((case.arm, slot.round, slot.position))

    arms = ("a", "b", "c")
    run(*(seat(arm, fake_p50_ms=30.0) for arm in arms), on_slot=on_slot)
    rounds = 1 + max(number for _, number, _ in order)
    assert len(order) == 3 * rounds
    assert order == sorted(order, key=lambda turn: turn[1:]), "slots are numbered as they came"
    whole = rounds - rounds % 3
    assert whole >= 3
    held = Counter((arm, position) for arm, number, position in order if number < whole)
    assert {held[arm, position] for arm in arms for position in range(3)} == {whole // 3}


def test_the_seed_makes_the_order():
    def order(seed: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        result = run(
            *(seat(arm) for arm in "abcd"),
            seed=seed,
            on_slot=lambda case, slot: found.append((case.arm, slot.position)),
        )
        assert {case.seed for case in result.results} == {seed}
        return found

    assert order(3) == order(3)
    assert len({tuple(order(seed)) for seed in range(4)}) > 1


def ratio(first: float | None, second: float | None) -> float:
    assert first and second
    return second / first


def test_taking_turns_takes_a_machines_drift_out_of_the_ratio():
    """The same case twice on a machine that slows down by 1% a second."""
    pair = (seat("a", fake_drift=0.01, fake_sigma=0.003), seat("b", fake_drift=0.01, fake_sigma=0.003))
    plan = STANDARD

    machine = one_machine()
    apart = [run(one, plan=plan, open_worker=machine).results[0].latency for one in pair]
    together = [case.latency for case in run(*pair, plan=plan, open_worker=one_machine()).results]

    assert all(apart) and all(together)
    assert ratio(*(latency.p50_ms for latency in together if latency)) == pytest.approx(1.0, abs=0.005)
    assert ratio(*(latency.p50_ms for latency in apart if latency)) > 1.02
