"""The order of what holds every limit: valid rows, and unstable ones that lead in spite of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.judge.rows import cell

from zoobench.judge.measures import latency_of, slowed
from zoobench.judge.ranking import rank
from zoobench.judge.recommend import Recommendation, recommend
from zoobench.judge.wanted import Goal, LatencyLimit, Unstable, Wanted
from zoobench.results.row import Row, changed
from zoobench.terms import VerdictValue


def shaky(backend: str = "openvino", p50: float = 4.0, **more: Any) -> Row:
    return cell(
        backend=backend, p50=p50, verdict=VerdictValue.UNSTABLE, reasons=[("drift", "it drifted")], **more
    )


def backends(found: Recommendation) -> list[str]:
    return [row.backend for row in found.shown]


class TestUnstableOnes:
    def test_what_would_lead_at_twice_its_time_goes_first_and_says_so(self) -> None:
        found = recommend([cell(p50=10), shaky(p50=4.0)], Wanted())
        assert backends(found) == ["openvino", "onnx_cpu"]
        assert found.best_valid is not None and found.best_valid.backend == "onnx_cpu"
        assert found.better_if_steady == ()
        said = found.cautions[0]
        assert "even at twice its time" in said and found.best_valid.label in said and "it drifted" in said

    @pytest.mark.parametrize("p50", [5.0, 9.0])
    def test_what_would_not_comes_after_every_valid_one(self, p50: float) -> None:
        found = recommend([cell(p50=10), cell(backend="pytorch", p50=20), shaky(p50=p50)], Wanted())
        assert backends(found) == ["onnx_cpu", "pytorch", "openvino"]
        assert [row.backend for row in found.better_if_steady] == ["openvino"]
        assert found.best_valid is None

    def test_it_has_to_be_told_apart_at_twice_its_time(self) -> None:
        # 2 · 4.9 is below 10, and the upper end of its interval, 2 · 5.05, is not.
        wide = shaky(p50=4.9, width=0.03)
        assert backends(recommend([cell(p50=10, width=0.001), wide], Wanted()))[0] == "onnx_cpu"

    def test_at_twice_its_time_it_holds_the_limits_too(self) -> None:
        # The higher percentile is minimized, and both are limits.
        rows = [
            changed(cell(p50=6.0), p95_ms=30.0, p95_interval_ms=(29.0, 31.0)),
            changed(shaky(p50=4.0), p95_ms=10.0, p95_interval_ms=(9.0, 11.0)),
        ]
        for limit, first in ((9.0, "openvino"), (7.0, "onnx_cpu")):
            wanted = Wanted(latency=(LatencyLimit(50, limit), LatencyLimit(95, 50.0)))
            assert backends(recommend(rows, wanted))[0] == first, limit

    def test_a_rate_is_half_at_twice_the_time(self) -> None:
        rows = [cell(p50=10, throughput_per_s=100.0), shaky(p50=4.0, throughput_per_s=250.0)]
        for least, first in ((100.0, "openvino"), (125.0, "openvino")):
            assert backends(recommend(rows, Wanted(min_throughput=least)))[0] == first
        cost = recommend(rows, Wanted(minimize=Goal.COST, price_per_hour=1.0))
        assert backends(cost) == ["openvino", "onnx_cpu"]

    def test_memory_does_not_depend_on_the_time_but_has_to_be_told_apart(self) -> None:
        for peak, first in ((100_000_000, "openvino"), (295_000_000, "onnx_cpu")):
            rows = [cell(p50=10, peak_bytes=300_000_000), shaky(p50=20, peak_bytes=peak)]
            assert backends(recommend(rows, Wanted(minimize=Goal.MEMORY)))[0] == first

    def test_the_first_valid_one_is_shown_in_any_case(self) -> None:
        ahead = [shaky(p50=1.0 + at / 10, batch=1 + at) for at in range(9)]
        found = recommend([*ahead, cell(p50=100)], Wanted())
        assert found.shown[-1].backend == "onnx_cpu"
        assert len(found.runners_up) == 5

    def test_ties_are_among_those_that_go_ahead(self) -> None:
        # Its interval reaches down to the leader's, and at twice its time it would not lead.
        near = shaky("torch_compile", p50=5.1, width=0.5)
        found = recommend([cell(p50=10, width=0.001), shaky(p50=4.0), near], Wanted())
        assert backends(found)[0] == "openvino" and found.ties == ()

    def test_what_reads_better_and_is_put_behind_is_named_and_shown(self) -> None:
        # 1 ms, and perhaps 8: at twice that it would not win, so what is steadier goes ahead of it.
        wide = changed(shaky("torch_compile", p50=1.0), p50_interval_ms=(0.9, 8.0))
        valid = [cell(p50=10 + at, batch=1 + at) for at in range(7)]
        found = recommend([*valid, shaky(p50=2.0), wide], Wanted())
        assert backends(found)[0] == "openvino"
        assert [row.backend for row in found.better_if_steady] == ["torch_compile"]
        assert "torch_compile" in backends(found) and found.best_valid in found.shown

    def test_of_unstable_ones_alone_none_is_behind_another(self) -> None:
        found = recommend(
            [shaky(p50=4.0, peak_bytes=300_000_000), shaky("pytorch", 4.01, peak_bytes=1)], Wanted()
        )
        assert found.best is not None and found.best.backend == "pytorch"
        assert found.better_if_steady == () and found.best_valid is None

    def test_the_valid_one_that_is_named_is_the_one_that_would_be_shipped(self) -> None:
        rows = [
            shaky(p50=4.0),
            cell(backend="pytorch", p50=10.0, width=0.01, peak_bytes=10**9),
            cell(p50=10.05, width=0.02, peak_bytes=10**7),
        ]
        found = recommend(rows, Wanted())
        assert found.best is not None and found.best.backend == "openvino"
        assert found.best_valid is not None and found.best_valid.backend == "onnx_cpu"
        assert found.best_valid is not None and found.best_valid.label in found.cautions[0]
        last = recommend(rows, Wanted(unstable=Unstable.LAST)).best
        assert last is not None and last.backend == "onnx_cpu"

    def test_it_has_to_be_told_apart_from_the_ties_of_the_best_valid_one(self) -> None:
        rows = [
            shaky(p50=4.0),
            cell(p50=10.0),
            changed(cell(backend="pytorch", p50=10.1), p50_interval_ms=(2.0, 11.0)),
        ]
        assert backends(recommend(rows, Wanted()))[0] == "onnx_cpu"

    def test_last_and_never_are_what_they_say(self) -> None:
        rows = [cell(p50=10), shaky(p50=1.0)]
        assert backends(recommend(rows, Wanted(unstable=Unstable.LAST))) == ["onnx_cpu", "openvino"]
        assert backends(recommend(rows, Wanted(unstable=Unstable.NEVER))) == ["onnx_cpu"]


def test_slower_in_everything_that_takes_time() -> None:
    row = changed(
        cell(p50=10.0, throughput_per_s=100.0, peak_bytes=7), p95_ms=12.0, p95_interval_ms=(11.0, 13.0)
    )
    twice = slowed(row, 2.0)
    assert row.mean_ms is not None and row.p50_interval_ms is not None
    assert (twice.p50_ms, twice.p95_ms, twice.p95_interval_ms) == (20.0, 24.0, (22.0, 26.0))
    assert (twice.mean_ms, twice.throughput_per_s) == (2 * row.mean_ms, 50.0)
    assert twice.p50_interval_ms == tuple(2 * end for end in row.p50_interval_ms)
    assert (twice.peak_bytes, twice.ttft_p50_ms, twice.p99_ms) == (7, None, None)


_ROWS = st.lists(
    st.tuples(
        st.sampled_from([0.9, 1.0, 2.0, 2.1, 4.1, 8.3]),
        st.sampled_from([0.001, 0.05, 0.3]),
        st.sampled_from([VerdictValue.VALID, VerdictValue.UNSTABLE]),
        st.sampled_from([1, 10**8, 3 * 10**8]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300)
@given(_ROWS)
def test_the_order_is_that_of_the_rule_however_it_is_put(
    drawn: list[tuple[float, float, VerdictValue, int]],
) -> None:
    rows = [
        cell(f"m{at}", p50=p50, width=width, verdict=verdict, peak_bytes=peak)
        for at, (p50, width, verdict, peak) in enumerate(drawn)
    ]
    order = sorted(rows, key=lambda row: (row.median, row.model))
    valid = [row for row in order if row.verdict is VerdictValue.VALID]
    ends = {row.model: row.p50_interval_ms or (0.0, 0.0) for row in rows}
    tied = [row for row in valid if ends[row.model][0] <= ends[valid[0].model][1]]
    bar = min((ends[row.model][0] for row in tied), default=0.0)
    ahead = [row for row in order if row not in valid and 2 * ends[row.model][1] < bar]
    behind = [row for row in order if row not in valid and row not in ahead]
    found = rank(latency_of(50), [], rows, Unstable.TWICE)
    assert list(found) == [*ahead, *valid, *behind]
    best = recommend(rows, Wanted()).best
    assert best is not None and best in (ahead or valid or behind)
