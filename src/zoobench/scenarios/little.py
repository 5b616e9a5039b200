"""Little's law: the mean number in flight is the throughput times the mean latency. Pure.

It holds for any system over a time in which all that came in also went out (J. D. C. Little, A Proof for the
Queuing Formula L = λW, Operations Research 9(3), 1961). Measured on both sides from different records, it shows
latencies that are not counted from the arrival, queries that were lost, and clocks that disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def mean_in_flight(arrivals_ns: Sequence[int], completions_ns: Sequence[int]) -> float | None:
    """The number in flight, integrated over time from the first arrival to the last completion.

    Args:
        arrivals_ns, completions_ns: on one clock, in any order; an arrival without a completion is in flight
            to the end.

    Returns:
        None where no time passed.
    """
    if not arrivals_ns or not completions_ns:
        return None
    events = sorted([(at, 1) for at in arrivals_ns] + [(at, -1) for at in completions_ns])
    area, inside, last = 0, 0, events[0][0]
    for at, step in events:
        area += inside * (at - last)
        inside, last = inside + step, at
    span = last - events[0][0]
    return area / span if span > 0 else None


def aligned(own_ns: Sequence[int], theirs_ns: Sequence[int]) -> list[int]:
    """`own_ns` on the clock of `theirs_ns`: the same events were seen by both, and the clocks differ by a constant."""
    pairs = zip(sorted(own_ns), sorted(theirs_ns), strict=False)
    offset = median(theirs - own for own, theirs in pairs)
    return [own + round(offset) for own in own_ns]


def little_error(in_flight: float | None, throughput_per_s: float, mean_latency_ns: float) -> float | None:
    """`in_flight` / (throughput × mean latency) − 1; None where either side is unknown or nothing."""
    expected = throughput_per_s * mean_latency_ns / 1e9
    return in_flight / expected - 1 if in_flight is not None and expected > 0 else None
