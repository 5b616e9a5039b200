"""The knee of a batch curve."""

from __future__ import annotations

import pytest

from zoobench.judge.knee import knee


@pytest.mark.parametrize(
    ("curve", "at"),
    [
        ({1: 100.0, 2: 180.0, 4: 300.0, 8: 320.0, 16: 325.0}, 4),
        ({1: 100.0, 2: 105.0, 4: 109.0}, 1),
        # Small steps add up: 4 is a fifth better than 1.
        ({1: 100.0, 2: 109.0, 4: 120.0, 8: 121.0}, 4),
        ({1: 100.0, 2: 200.0, 4: 400.0}, None),
        ({1: 100.0, 8: 50.0}, 1),
        ({1: 100.0}, None),
        ({}, None),
    ],
)
def test_the_smallest_batch_that_larger_ones_hardly_beat(curve: dict[int, float], at: int | None) -> None:
    assert knee(curve) == at
