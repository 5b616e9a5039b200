"""Little's law: it holds for a queue, and shows what was counted wrongly."""

from __future__ import annotations

import numpy as np
import pytest

from zoobench.scenarios.little import aligned, little_error, mean_in_flight


def queue(seed: int = 0, n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrivals, beginnings and ends of service in an M/D/1 queue at 80% load, nanoseconds."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(10e6, n)).astype(np.int64)
    begins, free = np.empty(n, dtype=np.int64), 0
    for i, at in enumerate(arrivals):
        begins[i] = max(at, free)
        free = begins[i] + 8_000_000
    return arrivals, begins, begins + 8_000_000


def error(arrivals, ends, latencies) -> float:
    rate = len(arrivals) / ((ends.max() - arrivals.min()) / 1e9)
    found = little_error(mean_in_flight(arrivals.tolist(), ends.tolist()), rate, float(latencies.mean()))
    assert found is not None
    return found


def test_it_holds_for_a_queue():
    arrivals, _, ends = queue()
    assert abs(error(arrivals, ends, ends - arrivals)) < 1e-6


def test_it_breaks_when_latency_is_counted_from_the_beginning_of_service():
    arrivals, begins, ends = queue()
    assert error(arrivals, ends, ends - begins) > 0.5


def test_it_breaks_when_completions_are_lost():
    arrivals, _, ends = queue()
    assert error(arrivals, ends[:-100], ends - arrivals) > 0.02


def test_clocks_that_differ_by_a_constant_do_not_matter():
    arrivals, _, ends = queue()
    own = (ends - 123_456_789_000 + np.random.default_rng(1).integers(0, 5_000, len(ends))).tolist()
    back = np.array(aligned(own, ends.tolist()))
    assert np.abs(back - ends).max() < 5_000
    assert abs(error(arrivals, back, ends - arrivals)) < 1e-3


def test_the_integral_over_time():
    assert mean_in_flight([0, 0], [5, 10]) == pytest.approx(1.5)
    assert mean_in_flight([0, 6], [4, 10]) == pytest.approx(0.8)
    assert mean_in_flight([], []) is None
    assert mean_in_flight([3], [3]) is None
    assert little_error(None, 1.0, 1.0) is None
