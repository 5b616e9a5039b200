"""How rows stand to a limit."""

from __future__ import annotations

import pytest
from tests.judge.rows import cell

from zoobench.judge.measures import MEMORY, latency_of, throughput_of
from zoobench.judge.wanted import Limit, Standing
from zoobench.results.row import changed

P95 = Limit("--max-latency", latency_of(95), 20.0, prefix="p95:")
RATE = Limit("--min-throughput", throughput_of("image_classification"), 100.0, at_least=True)


@pytest.mark.parametrize(
    ("limit", "known", "standing"),
    [
        (P95, {"p95_ms": 20.0, "p95_interval_ms": (19.0, 20.0)}, Standing.HOLDS),
        (P95, {"p95_ms": 19.0, "p95_interval_ms": (18.0, 20.1)}, Standing.OPEN),
        (P95, {"p95_ms": 20.1, "p95_interval_ms": (18.0, 21.0)}, Standing.FAILS),
        (P95, {"p95_ms": 19.0, "p95_interval_ms": None}, Standing.HOLDS),
        (P95, {"p95_ms": None, "p50_ms": 15.0}, Standing.UNKNOWN),
        # No percentile above the median lies below it.
        (P95, {"p95_ms": None, "p50_ms": 20.1}, Standing.FAILS),
        # The interval of a throughput is its median's, and no bound.
        (RATE, {"throughput_per_s": 100.0, "p50_ms": 10.0, "p50_interval_ms": (5.0, 50.0)}, Standing.HOLDS),
        (RATE, {"throughput_per_s": 99.9}, Standing.FAILS),
        (RATE, {"throughput_per_s": None}, Standing.UNKNOWN),
        (Limit("--max-memory", MEMORY, 1e9), {"peak_bytes": None}, Standing.UNKNOWN),
    ],
)  # fmt: skip
def test_a_row_holds_a_limit_by_the_worse_end_of_its_interval(
    limit: Limit, known: dict[str, object], standing: Standing
) -> None:
    row = changed(cell(), **known)
    assert limit.standing(row) is standing
    assert limit.standings([cell("other"), row])[1] is standing


def test_as_many_answers_as_rows_in_their_order() -> None:
    rows = [changed(cell(), p95_ms=value, p95_interval_ms=None) for value in (30.0, 10.0, 20.0)]
    assert P95.standings(rows) == [Standing.FAILS, Standing.HOLDS, Standing.HOLDS]
    assert P95.standings([]) == []
