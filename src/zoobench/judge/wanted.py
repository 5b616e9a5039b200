"""What a person asks of a configuration, and whether a row holds it. Pure.

A limit is held against the worse end of a figure's interval, where it has one: the upper end of a percentile, the lower end of
an accuracy. What holds by the figure and not by its interval is open; what was not measured is not known, and never passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from operator import ge, le

from zoobench.errors import UsageError
from zoobench.judge.measures import (
    DROP,
    MEMORY,
    PERCENTILES,
    SIZE,
    Measure,
    Timed,
    accuracy_of,
    cost_of,
    energy_of,
    latency_of,
    throughput_of,
    unknown,
)
from zoobench.results.row import RankedRow
from zoobench.terms import TEXT, DropDecision, Interval, Precision
from zoobench.units import written


class Goal(StrEnum):
    """What is to be as small as can be."""

    LATENCY = "latency"
    MEMORY = "memory"
    SIZE = "size"
    ENERGY = "energy"
    COST = "cost"


class Unstable(StrEnum):
    """What becomes of cells whose number may move: they come before valid ones only where they would at twice their time; come after
    every valid one; or are left out."""

    TWICE = "twice"
    LAST = "last"
    NEVER = "never"


class Standing(StrEnum):
    """How a row stands to a limit."""

    HOLDS = "holds"
    OPEN = "open"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LatencyLimit:
    """A percentile in percent and its limit; of a call, or of a language model's first or further tokens."""

    percentile: int
    ms: float
    of: Timed = "call"


@dataclass(frozen=True)
class Wanted:
    """What is asked for. None: it does not matter.

    Attributes:
        max_drop: against fp32 of the same model, a share; None: what its own run judged too much is still left out.
        min_accuracy: top-1, or mAP of a detector, a share.
        min_throughput: items, or tokens that a language model makes, a second.
        price_per_hour: of the machine.
        calls: how many will be made, for what preparing a file is worth.
    """

    minimize: Goal = Goal.LATENCY
    latency: tuple[LatencyLimit, ...] = ()
    max_memory_bytes: int | None = None
    max_size_bytes: int | None = None
    max_drop: float | None = None
    min_accuracy: float | None = None
    min_throughput: float | None = None
    price_per_hour: float | None = None
    calls: int | None = None
    unstable: Unstable = Unstable.TWICE

    def check(self, task: str | None = None) -> None:
        """Refuse what cannot be meant, of `task` where that is known.

        Raises:
            UsageError: one line that says what and what to do.
        """
        if self.minimize is Goal.COST and self.price_per_hour is None:
            raise UsageError("--minimize cost needs what the machine costs: --price 0.40/h")
        if self.calls is not None and self.calls < 1:
            raise UsageError(f"--calls {self.calls}: at least 1 call is made")
        seen = set()
        for limit in self.latency:
            flag = FLAGS[limit.of]
            if limit.percentile not in PERCENTILES[limit.of]:
                known = ", ".join(f"p{p}" for p in PERCENTILES[limit.of])
                raise UsageError(f"{flag} p{limit.percentile}: results hold {known} of it")
            if (limit.of, limit.percentile) in seen:
                raise UsageError(f"{flag} gives p{limit.percentile} two limits; leave one out")
            seen.add((limit.of, limit.percentile))
        if task == TEXT and self.max_drop is not None:
            raise UsageError(
                "--max-drop is about top-1 and mAP; a language model that fails its quality gate is never recommended, "
                "and none has a margin to set"
            )
        if task == TEXT and self.min_accuracy is not None:
            raise UsageError("--min-accuracy is about top-1 and mAP, which language models do not have")
        if task not in (None, TEXT) and any(limit.of != "call" for limit in self.latency):
            raise UsageError("--max-ttft and --max-tpot are about language models' tokens; use --max-latency")


FLAGS: dict[Timed, str] = {"call": "--max-latency", "ttft": "--max-ttft", "tpot": "--max-tpot"}


def goal_of(wanted: Wanted, task: str) -> Measure:
    """What is minimized; of latency the percentile that --max-latency names, of several the highest, else the median."""
    match wanted.minimize:
        case Goal.MEMORY:
            return MEMORY
        case Goal.SIZE:
            return SIZE
        case Goal.ENERGY:
            return energy_of(task)
        case Goal.COST:
            assert wanted.price_per_hour is not None
            return cost_of(task, wanted.price_per_hour)
    named = [limit.percentile for limit in wanted.latency if limit.of == "call"]
    return latency_of(max(named, default=50))


@dataclass(frozen=True)
class Limit:
    """A bound on a measure, and how it is written on the command line."""

    flag: str
    measure: Measure
    bound: float
    at_least: bool = False
    prefix: str = ""

    @property
    def written(self) -> str:
        """The flag's value: `p99:20ms`."""
        return self._write(Decimal(repr(self.bound)))

    @property
    def said(self) -> str:
        """`--max-latency p99:20ms`."""
        return f"{self.flag} {self.written}"

    def standing(self, row: RankedRow) -> Standing:
        """Whether the row holds it."""
        return self.standings([row])[0]

    def standings(self, rows: Sequence[RankedRow]) -> list[Standing]:
        """The same of many, in their order: thousands are asked, so what they share is looked up once."""
        holds, bound, worse = self._holds, self.bound, 0 if self.at_least else 1
        return [
            self._unknown(row)
            if value is None
            else Standing.FAILS
            if not holds(value, bound)
            else Standing.HOLDS
            if interval is None or holds(interval[worse], bound)
            else Standing.OPEN
            for row, value, interval in zip(
                rows, map(self.measure.value, rows), map(self._interval, rows), strict=True
            )
        ]

    def _unknown(self, row: RankedRow) -> Standing:
        floor = self.measure.floor(row)
        return Standing.UNKNOWN if floor is None or self._holds(floor, self.bound) else Standing.FAILS

    @property
    def _holds(self) -> Callable[[float, float], bool]:
        return ge if self.at_least else le

    @property
    def _interval(self) -> Callable[[RankedRow], Interval | None]:
        # A throughput's interval is the median's: good enough for what is told apart, not for a bound.
        return unknown if self.measure.kind == "per_s" else self.measure.interval

    def needed(self, row: RankedRow) -> float | None:
        """The bound with which the row would hold it; None: no bound would do, as far as is known."""
        value, interval = self.measure.value(row), self._interval(row)
        if value is None or interval is None:
            return value
        return interval[0] if self.at_least else interval[1]

    def beyond(self, row: RankedRow) -> float:
        """How far the row is from holding it, relative: 0.2 is a fifth of the bound; infinity where that is not known."""
        needed = self.needed(row)
        if needed is None:
            return math.inf
        if self.at_least:
            return self.bound / needed - 1 if needed > 0 else math.inf
        return needed / self.bound - 1

    def relaxed(self, row: RankedRow) -> Limit | None:
        """The limit with another bound that the row would hold, as it is typed: rounded to three digits on the side that lets it in."""
        needed = self.needed(row)
        if needed is None or not 0 < needed < math.inf or (self.measure.kind == "share" and needed >= 1):
            return None
        rounded = _rounded(needed * self._slack, up=not self.at_least)
        # As the command line reads it back, to the last bit.
        bound = float(rounded * 100) / 100 if self.measure.kind == "share" else float(rounded)
        return self._at(bound)

    def _at(self, bound: float) -> Limit:
        return replace(self, bound=bound)

    @property
    def _slack(self) -> float:
        """A share is written in percent, and may come back a last bit smaller or larger."""
        if self.measure.kind != "share":
            return 1.0
        return 1 - 1e-9 if self.at_least else 1 + 1e-9

    def _write(self, value: Decimal) -> str:
        match self.measure.kind:
            case "ms":
                return f"{self.prefix}{written(value)}ms"
            case "bytes":
                return _bytes(value)
            case "share":
                return f"{_percents(self.bound)}%"
            case _:
                return written(value)


class DropLimit(Limit):
    """A drop is decided as everywhere, by the stored counts at this margin; fp32 itself loses nothing unless it was seen to."""

    def standings(self, rows: Sequence[RankedRow]) -> list[Standing]:
        """Whether each one's drop passes at this margin."""
        return [
            (Standing.HOLDS if row.precision == Precision.FP32 else Standing.UNKNOWN)
            if row.drop is None or row.drop_interval is None
            else self._judged(row)
            for row in rows
        ]

    def _judged(self, row: RankedRow) -> Standing:
        judged = judged_at(row, self.bound)
        # Counts that contradict each other decide nothing.
        return _STANDINGS[judged.drop_decision if judged.max_drop == self.bound else None]

    def needed(self, row: RankedRow) -> float | None:
        """The upper end of the drop's interval: a margin must lie above it."""
        return row.drop_interval[1] if row.drop_interval else None


class Faithful(Limit):
    """Without --max-drop: what the run itself judged to lose too much is nobody's choice, however fast."""

    @property
    def written(self) -> str:
        """There is no value: each row has the margin of its run."""
        return "of its run"

    @property
    def said(self) -> str:
        """What it asks, in words."""
        return "answers as fp32's"

    def standings(self, rows: Sequence[RankedRow]) -> list[Standing]:
        """Each fails only where it was seen to."""
        return [
            Standing.FAILS
            if row.drop_decision is DropDecision.FAIL or row.quality_passed is False
            else Standing.HOLDS
            for row in rows
        ]

    def needed(self, row: RankedRow) -> float | None:
        """As of a `DropLimit`; a language model's quality has no margin."""
        return row.drop_interval[1] if row.drop_interval else None

    def _at(self, bound: float) -> Limit:
        return DropLimit(self.flag, self.measure, bound)


def judged_at(row: RankedRow, max_drop: float) -> RankedRow:
    """The row with its drop, if it has one, judged by this margin."""
    if row.drop is None:
        return row
    # Its statistics take longer to import than all else of a recommendation, and most results hold no drop.
    from zoobench.judge.margin import judged_row

    return judged_row(row, max_drop)


_STANDINGS = {
    DropDecision.PASS: Standing.HOLDS,
    DropDecision.FAIL: Standing.FAILS,
    DropDecision.INCONCLUSIVE: Standing.OPEN,
    None: Standing.UNKNOWN,
}


def limits_of(wanted: Wanted, task: str) -> list[Limit]:
    """Everything that a recommended row must hold, in the order of the flags."""
    return [*_limits(wanted, task)]


def _limits(wanted: Wanted, task: str) -> Iterator[Limit]:
    for limit in wanted.latency:
        measure = latency_of(limit.percentile, limit.of)
        yield Limit(FLAGS[limit.of], measure, limit.ms, prefix=f"p{limit.percentile}:")
    if wanted.max_memory_bytes is not None:
        yield Limit("--max-memory", MEMORY, wanted.max_memory_bytes)
    if wanted.max_size_bytes is not None:
        yield Limit("--max-size", SIZE, wanted.max_size_bytes)
    if wanted.max_drop is not None:
        yield DropLimit("--max-drop", DROP, wanted.max_drop)
    else:
        yield Faithful("--max-drop", DROP, 0.01)
    if wanted.min_accuracy is not None:
        yield Limit("--min-accuracy", accuracy_of(task), wanted.min_accuracy, at_least=True)
    if wanted.min_throughput is not None:
        yield Limit("--min-throughput", throughput_of(task), wanted.min_throughput, at_least=True)


def _rounded(value: float, *, up: bool) -> Decimal:
    """Three significant digits on the side that is asked for, never the other one."""
    return Context(prec=3, rounding=ROUND_CEILING if up else ROUND_FLOOR).create_decimal(Decimal(value))


def _percents(share: float) -> str:
    """The shortest number of percents that is read back as this very share; where none is, the nearest one."""
    exact = Decimal(repr(share)) * 100
    for digits in range(1, 18):
        short = Context(prec=digits).plus(exact)
        if float(short) / 100 == share:
            return written(short)
    return written(exact)


def _bytes(value: Decimal) -> str:
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if value >= 10**power:
            return f"{written(value / 10**power)}{unit}"
    return f"{written(value)}B"
