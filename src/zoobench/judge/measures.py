"""What is known of a row, as numbers with their intervals and units. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple

from zoobench.results.row import RankedRow, changed
from zoobench.terms import DETECTION, TEXT, Interval

Timed = Literal["call", "ttft", "tpot"]
Kind = Literal["ms", "bytes", "share", "per_s", "money", "joules"]
TIMED_KINDS: frozenset[Kind] = frozenset({"ms", "per_s", "money", "joules"})
"""What another time of a call changes."""
PERCENTILES: dict[Timed, tuple[int, ...]] = {"call": (50, 95, 99), "ttft": (50, 95), "tpot": (50, 95)}
"""Of what → the percentiles that are kept of it."""


class Figure(NamedTuple):
    """A number with its interval; None: not known."""

    value: float | None
    interval: Interval | None = None

    @property
    def low(self) -> float:
        """The lower end, or the number where it has no interval; infinity where it is not known."""
        return self.interval[0] if self.interval else math.inf if self.value is None else self.value

    @property
    def high(self) -> float:
        """The upper end, likewise."""
        return self.interval[1] if self.interval else math.inf if self.value is None else self.value


def unknown(_: RankedRow) -> None:
    """Of no row is it known."""


@dataclass(frozen=True)
class Slack:
    """How far two figures without an interval may lie apart and be no difference: `plus + share · figure`; and in words."""

    share: float
    plus: float
    said: str

    def of(self, value: float) -> float:
        """Of a figure, in its unit."""
        return self.plus + self.share * value


@dataclass(frozen=True)
class Measure:
    """Something that is known of rows: its name, what its numbers are, and how to get them.

    Attributes:
        slack: of a figure that has no interval; None: it is exact, or has one.
        floor: what the number cannot lie below, where that is known and the number may not be.
    """

    name: str
    kind: Kind
    value: Callable[[RankedRow], float | None]
    interval: Callable[[RankedRow], Interval | None] = unknown
    slack: Slack | None = None
    floor: Callable[[RankedRow], float | None] = unknown

    def figure(self, row: RankedRow) -> Figure:
        """The number with its interval."""
        return Figure(self.value(row), self.interval(row))

    def reach(self, row: RankedRow) -> float:
        """Up to where another figure is not told apart from the row's; infinity where that is not known."""
        high = self.figure(row).high
        return high + self.slack.of(high) if self.slack and high < math.inf else high


_NAMES: dict[Timed, str] = {"call": "latency", "ttft": "TTFT", "tpot": "TPOT"}
_COLUMNS: dict[tuple[Timed, int], tuple[str, str | None]] = {
    ("call", 50): ("p50_ms", "p50_interval_ms"),
    ("call", 95): ("p95_ms", "p95_interval_ms"),
    ("call", 99): ("p99_ms", "p99_interval_ms"),
    ("ttft", 50): ("ttft_p50_ms", "ttft_interval_ms"),
    ("ttft", 95): ("ttft_p95_ms", None),
    ("tpot", 50): ("tpot_p50_ms", None),
    ("tpot", 95): ("tpot_p95_ms", None),
}


def latency_of(percentile: int, of: Timed = "call") -> Measure:
    """A percentile of a call's time (of a language model: of a whole request's), or of its tokens'."""
    value, interval = _COLUMNS[of, percentile]
    return Measure(
        f"p{percentile} {_NAMES[of]}",
        "ms",
        attrgetter(value),
        attrgetter(interval) if interval else unknown,
        # No percentile above the median lies below it.
        floor=attrgetter(_COLUMNS[of, 50][0]),
    )


def memory_bytes(row: RankedRow) -> int | None:
    """The worker's peak resident memory; on a GPU what it held there, where that is more, and None where that is not known."""
    if not row.device.startswith("cuda"):
        return row.peak_bytes
    return None if row.gpu_bytes is None else max(row.gpu_bytes, row.peak_bytes or 0)


def _size_bytes(row: RankedRow) -> int | None:
    # A server's files are nobody's here.
    return row.size_bytes or None


MEMORY_SLACK = Slack(0.01, 10e6, "10 MB and 1%")
"""Two processes of one cell differ in what their allocator and libraries happened to touch: seen were 7 MB, and 0.7%."""
ENERGY_SLACK = Slack(0.05, 0.0, "5%")
"""The counters hold all that ran on the package or the GPU, and their makers claim no better for them."""
MEMORY = Measure("peak memory", "bytes", memory_bytes, slack=MEMORY_SLACK)
SIZE = Measure("size on disk", "bytes", _size_bytes)
TOP1 = Measure("top-1", "share", attrgetter("top1"), attrgetter("top1_interval"))
MAP = Measure("mAP", "share", attrgetter("map"), attrgetter("map_interval"))
DROP = Measure("drop against fp32", "share", attrgetter("drop"), attrgetter("drop_interval"))


def accuracy_of(task: str) -> Measure:
    """What a task's models get right."""
    return MAP if task == DETECTION else TOP1


def unit_of(task: str) -> str:
    """What throughput, energy and cost count: items, or of a language model the tokens that it makes."""
    return "token" if task == TEXT else "item"


def _tokens_per_s(row: RankedRow) -> float | None:
    if row.tokens_per_s is None and row.throughput_per_s is not None and row.new_tokens is not None:
        return row.throughput_per_s * row.new_tokens
    return row.tokens_per_s


def throughput_of(task: str) -> Measure:
    """Units a second, of all clients together. It has no interval of its own: its relative width is that of the median."""
    rate: Callable[[RankedRow], float | None]
    rate = _tokens_per_s if task == TEXT else attrgetter("throughput_per_s")

    def interval(row: RankedRow) -> Interval | None:
        value, of_median = rate(row), row.p50_interval_ms
        if not value or row.p50_ms is None or of_median is None or min(of_median) <= 0:
            return None
        return value * row.p50_ms / of_median[1], value * row.p50_ms / of_median[0]

    return Measure("throughput", "per_s", rate, interval)


def energy_of(task: str) -> Measure:
    """Joules a unit, of all that ran on the counted packages or the GPU meanwhile."""
    if task == TEXT:
        return Measure("energy a token", "joules", attrgetter("joules_per_token"), slack=ENERGY_SLACK)
    return Measure("energy an item", "joules", attrgetter("joules_per_item"), slack=ENERGY_SLACK)


DOUBT = 2.0
"""How many times as long a call may take as a measurement says that was unstable or disturbed, or as much less. Drift and unsteady starts were
seen to move a median by up to a third."""
_TIMES = (
    "mean_ms", "p50_ms", "p95_ms", "p99_ms", "ttft_p50_ms", "ttft_p95_ms", "tpot_p50_ms", "tpot_p95_ms",
    "joules_per_item", "joules_per_token",
)  # fmt: skip
_TIME_INTERVALS = ("p50_interval_ms", "p95_interval_ms", "p99_interval_ms", "ttft_interval_ms")
_RATES = ("throughput_per_s", "tokens_per_s")


def slowed(row: RankedRow, times: float) -> RankedRow:
    """The row as it would be if everything took so many times as long."""
    known = {
        name: value
        for name in (*_TIMES, *_TIME_INTERVALS, *_RATES)
        if (value := getattr(row, name)) is not None
    }
    slower = {name: times * known[name] for name in _TIMES if name in known}
    slower |= {name: tuple(times * end for end in known[name]) for name in _TIME_INTERVALS if name in known}
    slower |= {name: known[name] / times for name in _RATES if name in known}
    return changed(row, **slower)


_LEAST_RATE = 1e-9
"""Units a second below which nothing was measured: one in thirty years."""


def cost_of(task: str, price_per_hour: float) -> Measure:
    """Money for a million units: price an hour / (units a second · 3,600) · 10⁶."""
    rate = throughput_of(task)

    def money(per_s: float) -> float:
        return price_per_hour / (per_s * 3600) * 1e6

    def value(row: RankedRow) -> float | None:
        per_s = rate.value(row)
        return money(per_s) if per_s and per_s > _LEAST_RATE else None

    def interval(row: RankedRow) -> Interval | None:
        per_s = rate.interval(row)
        return (money(per_s[1]), money(per_s[0])) if per_s and per_s[0] > _LEAST_RATE else None

    return Measure(f"cost of a million {unit_of(task)}s", "money", value, interval)
