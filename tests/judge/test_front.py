"""The Pareto front."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zoobench.judge.front import Aim, pareto_front

Point = tuple[float | None, float | None]
LATENCY: Aim[Point] = Aim("latency (ms)", lambda p: p[0])
ACCURACY: Aim[Point] = Aim("top-1 (%)", lambda p: p[1], more_is_better=True)


def test_what_is_beaten_in_everything_is_left_out() -> None:
    points: list[Point] = [(3.0, 80.0), (1.0, 70.0), (2.0, 69.0), (3.0, 75.0), (5.0, 80.0), (2.0, 75.0)]
    assert pareto_front(points, [LATENCY, ACCURACY]).items == [(1.0, 70.0), (2.0, 75.0), (3.0, 80.0)]


def test_equals_stay_together_and_the_unknown_is_not_placed() -> None:
    points: list[Point] = [(1.0, 70.0), (None, 99.0), (1.0, 70.0), (0.5, None)]
    assert pareto_front(points, [LATENCY, ACCURACY]).items == [(1.0, 70.0), (1.0, 70.0)]
    assert pareto_front([], [LATENCY]).items == []
    assert pareto_front(points, [LATENCY]).items == [(0.5, None)]


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.tuples(*[st.integers(0, 6)] * n), min_size=1, max_size=30)
    )
)
def test_it_is_what_the_definition_says(points: list[tuple[int, ...]]) -> None:
    count = len(points[0])
    aims = [Aim[tuple[int, ...]](str(i), lambda p, i=i: p[i], more_is_better=i == 1) for i in range(count)]

    def beats(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        pairs = [(-x, -y) if i == 1 else (x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    expected = [p for p in points if not any(beats(q, p) for q in points)]
    assert sorted(pareto_front(points, aims).items) == sorted(expected)
