"""Counters of energy on an invented machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoobench.measure.energy import Reading, joules_per_item, read_energy, spent_joules
from zoobench.measure.generation import summarise_tokens
from zoobench.measure.sensors import Sensors
from zoobench.outcome import Noise, Slot
from zoobench.spec import Case


def count(root: Path, microjoules: int, name: str = "intel-rapl:0") -> None:
    folder = root / "sys/class/powercap" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        count(tmp_path, 5_000_000, name)
    before = read_energy(root=tmp_path)
    count(tmp_path, 7_000_000)
    count(tmp_path, 5_500_000, "intel-rapl:1")
    count(tmp_path, 9_000_000, "intel-rapl:0:0")
    assert spent_joules(read_energy(root=tmp_path), before) == pytest.approx(2.5)


def test_a_counter_that_begins_anew_is_no_loss() -> None:
    assert Reading(3.0, 100.0).since(Reading(98.0, 100.0)) == pytest.approx(5.0)
    assert Reading(3.0).since(Reading(98.0)) == 0.0


def test_where_nothing_counts_nothing_is_told(tmp_path: Path) -> None:
    assert read_energy(root=tmp_path) == {} and spent_joules({}, {}) is None
    assert spent_joules({}, {"intel-rapl:0": Reading(1.0)}) is None
    assert read_energy(lambda: None) == {}
    assert read_energy(lambda: 12.0) == {"nvml": Reading(12.0)}


def test_a_slot_knows_what_it_cost(tmp_path: Path) -> None:
    count(tmp_path, 1_000_000)
    times = iter(range(100))
    sensors = Sensors(cpus=[0], root=tmp_path, clock=lambda: float(next(times)), parent_cpu=lambda: 0.0)
    snapshot = sensors.before()
    count(tmp_path, 4_000_000)
    assert sensors.after(snapshot).energy_j == pytest.approx(3.0)


def test_joules_a_token_are_over_all_slots_or_not_told() -> None:
    case = Case(
        model="m", backend="ort_genai", threads=1, batch=2, options={"prompt_tokens": 4, "new_tokens": 3}
    )

    def slot(joules: float | None) -> Slot:
        return Slot(
            fork=0, round=0, position=0, settling_ns=0, samples_ns=(30,), begun_ns=(0,), token_ns=((10, 20, 30),),
            noise=Noise(energy_j=joules),
        )  # fmt: skip

    found = summarise_tokens(case, [slot(2.0), slot(4.0)])
    assert found is not None and found.joules_per_token == pytest.approx(6 / (2 * 2 * 3))
    found = summarise_tokens(case, [slot(2.0), slot(None)])
    assert found is not None and found.joules_per_token is None


def test_joules_an_item_are_over_all_calls_or_not_told() -> None:
    def slot(joules: float | None, **more: Any) -> Slot:
        times = {"settling_ns": 10, "samples_ns": (10, 10, 10), "noise": Noise(energy_j=joules)}
        return Slot(fork=0, round=0, position=0, **(times | more))

    # A settling call and three timed ones a slot, of two items each; the second slot's are looped.
    assert joules_per_item(2, [slot(4.0), slot(8.0, inner_loops=5)]) == pytest.approx(12 / (2 * (4 + 16)))
    assert joules_per_item(2, [slot(4.0), slot(None)]) is None
    assert joules_per_item(2, [slot(4.0, token_ns=((1, 2, 3),))]) is None
    assert joules_per_item(2, []) is None
