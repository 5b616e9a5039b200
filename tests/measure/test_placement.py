"""How far the CPUs are from each other: seen on real ones, remembered at its best, never in the way."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zoobench.measure import placement
from zoobench.measure.placement import Crossing, Placement, crossing

CPUS = sorted(os.sched_getaffinity(0))


def seeing(*figures: float | None) -> Callable[[int, int], float | None]:
    left: Iterator[float | None] = iter(figures)
    return lambda writer, reader: next(left)


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU has no other to be far from")
def test_reading_what_another_cpu_wrote_takes_some_times_as_long() -> None:
    before = os.sched_getaffinity(0)
    found = crossing(CPUS[0], CPUS[1])
    assert found is not None and 0.5 < found < 50
    assert os.sched_getaffinity(0) == before, "only the two threads were put somewhere"


def test_one_cpu_is_near_itself() -> None:
    """Both threads on one CPU: what the other wrote lies in the very same cache."""
    found = crossing(CPUS[0], CPUS[0])
    assert found is not None and 0.5 < found < 2


def test_a_cpu_that_may_not_be_used_is_not_seen_and_nobody_waits_for_it() -> None:
    threads = threading.active_count()
    assert crossing(CPUS[0], 1_000_000) is None
    assert threading.active_count() == threads


def test_a_system_that_cannot_place_threads_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    assert crossing(CPUS[0], CPUS[-1]) is None
    assert Placement([0, 1]).now() is None


def test_threads_that_do_not_get_to_run_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "PATIENCE_S", 0.0)
    assert crossing(CPUS[0], CPUS[-1]) is None


def test_the_best_is_what_was_seen_so_far() -> None:
    looking = Placement([0, 1], look=seeing(1.8, 1.2, 1.1, 1.9, None))
    assert [looking.now() for _ in range(5)] == [
        Crossing(1.8, 1.8),
        Crossing(1.2, 1.2),
        Crossing(1.1, 1.1),
        Crossing(1.9, 1.2),
        None,
    ]


def test_a_disturbed_figure_does_not_become_the_best() -> None:
    """Own data that took long to read would make everything later look far, for ever."""
    looking = Placement([0, 1], look=seeing(1.5, 0.4, 1.0, 1.5))
    assert [looking.now() for _ in range(4)] == [
        Crossing(1.5, 1.5),
        None,
        Crossing(1.0, 1.0),
        Crossing(1.5, 1.5),
    ]
    assert looking.best == 1.5


def test_of_several_pairs_the_farthest_counts() -> None:
    asked: list[tuple[int, int]] = []

    def look(writer: int, reader: int) -> float:
        asked.append((writer, reader))
        return 1.0 + reader / 10

    assert Placement([7, 3, 5, 4, 6, 8], look=look).now() == Crossing(1.8, 1.8)
    assert asked == [(3, 4), (3, 6), (3, 8)]
    assert Placement([3], look=look).now() is None


def test_the_best_is_remembered_over_runs(tmp_path: Path) -> None:
    file = tmp_path / "placement" / "here.json"
    first = Placement([0, 1], file, seeing(1.2, 1.1, 1.1))
    first.now(), first.now(), first.now()
    first.keep()
    again = Placement([0, 1], file, seeing(1.9))
    assert again.now() == Crossing(1.9, 1.1)
    again.keep()
    assert json.loads(file.read_text()) == {"crossing": 1.1}
    assert [f.name for f in file.parent.iterdir()] == ["here.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"crossing": "near"}', '{"crossing": 0.1}', '{"crossing": null}']
)
def test_a_damaged_memory_is_none(text: str, tmp_path: Path) -> None:
    file = tmp_path / "here.json"
    file.write_text(text)
    assert Placement([0, 1], file, seeing(1.9)).now() == Crossing(1.9, 1.9)


def test_a_cache_that_cannot_be_written_costs_only_the_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    looking = Placement([0, 1], tmp_path / "file" / "here.json", seeing(1.1, 1.1))
    looking.now()
    looking.keep()
    assert looking.now() == Crossing(1.1, 1.1)
