"""A wish as it is typed: after the flags of `zoobench recommend`, and in the fields of the dashboard. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from zoobench.errors import UsageError
from zoobench.judge.measures import Timed
from zoobench.judge.wanted import FLAGS, Goal, LatencyLimit, Unstable, Wanted
from zoobench.units import margin_of, percentile_limit, price_per_hour, rate_per_s, share, size_bytes


def wanted_of(
    *,
    minimize: Goal = Goal.LATENCY,
    max_latency: Sequence[str] = (),
    max_ttft: Sequence[str] = (),
    max_tpot: Sequence[str] = (),
    max_memory: str | None = None,
    max_size: str | None = None,
    max_drop: str | None = None,
    min_accuracy: str | None = None,
    min_throughput: str | None = None,
    price: str | None = None,
    calls: int | None = None,
    unstable: Unstable = Unstable.TWICE,
) -> Wanted:
    """What is meant by these words; None, or none: it does not matter.

    Raises:
        UsageError: one of them is not written as it has to be, or cannot be meant.
    """
    wanted = Wanted(
        minimize=minimize,
        latency=(*_limits("call", max_latency), *_limits("ttft", max_ttft), *_limits("tpot", max_tpot)),
        max_memory_bytes=None if max_memory is None else size_bytes(max_memory, "--max-memory"),
        max_size_bytes=None if max_size is None else size_bytes(max_size, "--max-size"),
        max_drop=None if max_drop is None else margin_of(max_drop),
        min_accuracy=None if min_accuracy is None else _accuracy(min_accuracy),
        min_throughput=None if min_throughput is None else rate_per_s(min_throughput, "--min-throughput"),
        price_per_hour=None if price is None else price_per_hour(price, "--price"),
        calls=calls,
        unstable=unstable,
    )
    wanted.check()
    return wanted


def _limits(of: Timed, said: Sequence[str]) -> list[LatencyLimit]:
    """`p99:20ms`, or `20ms` of the median."""
    found = []
    for text in said:
        percentile, limit_ms = percentile_limit(text, FLAGS[of])
        if percentile is not None and percentile != int(percentile):
            raise UsageError(f"{FLAGS[of]} {text!r}: results hold p50, p95 and p99")
        found.append(LatencyLimit(50 if percentile is None else int(percentile), limit_ms, of))
    return found


def _accuracy(said: str) -> float:
    found = share(said, "--min-accuracy")
    if not found < 1:
        raise UsageError(f"--min-accuracy {said}: less than 100% is needed")
    return found
