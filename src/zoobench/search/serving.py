"""Searches: they have the driver measure until they know. Every cell that they try is a record like any other.

So nothing that was measured is lost, and the same search again takes from the results what stands there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zoobench.driver import Observer, Settings, effort_plan, execute
from zoobench.executors import Executor
from zoobench.measure.effort import load_test_s
from zoobench.measure.stats import early_stop_queries
from zoobench.plan import Request
from zoobench.results.query import load_records
from zoobench.results.record import Record
from zoobench.search.max_rate import Tried, best_rate, lowest_miss, next_rate
from zoobench.search.once import Once, Unrepeated
from zoobench.terms import UNSTABLE_CODES, OnExisting, Status

_SPARE = 1.02
"""A test has a little less than its time: the first call of a slot is part of it."""


@dataclass(frozen=True)
class MaxRate:
    """What a search for the highest rate found.

    Attributes:
        label: model, backend and precision.
        qps: the highest rate that held, queries a second; None: none did.
        limited_by: what kept it from more, in words.
        tried: every attempt at a rate, in order, with whether it held.
    """

    label: str
    latency_percentile: float
    latency_limit_ms: float
    qps: float | None
    limited_by: str
    tried: tuple[Tried, ...]

    @property
    def line(self) -> str:
        """For a person."""
        limit = f"p{self.latency_percentile:g} ≤ {self.latency_limit_ms:g} ms"
        held = "no rate holds" if self.qps is None else f"holds {self.qps:g} queries/s with"
        return f"{self.label}: {held} {limit}; {self.limited_by}"


def max_rates(
    request: Request, settings: Settings, executor: Executor, observer: Observer
) -> Iterator[tuple[list[Record], MaxRate]]:
    """Search the highest rate of each model, backend and precision of a `server` request without a rate.

    Yields:
        The records that the search read or made, and what it found.

    Raises:
        What `execute` raises.
    """
    tests = _Tests(settings, Once(executor), Unrepeated(observer))
    for model in request.models:
        for precision in request.precisions:
            for backend in request.backends:
                yield _max_rate(
                    dataclasses.replace(
                        request, models=[model], precisions=[precision], backends=[backend], batch_sizes=(1,)
                    ),
                    f"{model.name} · {backend} · {precision.value}",
                    tests,
                )


class _Tests:
    """Measures one cell at a time, and knows which older results of it count."""

    def __init__(self, settings: Settings, executor: Executor, observer: Observer) -> None:
        self.settings, self.executor, self.observer = settings, executor, observer

    def measure(self, asked: Request, how: OnExisting | None = None) -> Record:
        """The one cell of `asked`, from the results where its policy and `how` allow it."""
        settings = self.settings if how is None else dataclasses.replace(self.settings, on_existing=how)
        (record,) = execute(asked, settings, self.executor, self.observer)
        if record.status is Status.INTERRUPTED:
            # The next rate, or the next model, is not what somebody wants who stops it.
            raise KeyboardInterrupt
        return record

    def attempts(self, asked: Request) -> list[Record]:
        """Every test of the cell that stands in the results and counts, or a new one."""
        record = self.measure(asked)
        if self.settings.on_existing is not OnExisting.RESUME or record.status is not Status.OK:
            return [record]
        return [
            one
            for one in load_records(self.settings.results_dir).records
            if (one.measurement_key, one.status) == (record.measurement_key, Status.OK)
            and (one.effort, one.max_case_time_s) == (record.effort, record.max_case_time_s)
        ]

    def time_of_one_s(self, asked: Request) -> float:
        """How long one test may go on, seconds."""
        return load_test_s(effort_plan(asked.effort, self.settings))


def _max_rate(request: Request, label: str, tests: _Tests) -> tuple[list[Record], MaxRate]:
    percent = float(request.options["latency_percentile"])
    limit_ms = float(request.options["latency_limit_ms"])
    records = [tests.measure(_offline(request))]
    trouble = _trouble(records[-1])
    capacity = records[-1].throughput_per_s or 0.0
    if trouble is None:
        tests.observer.note(f"{label}: offline {capacity:.3g} items/s")
    tried: list[Tried] = []
    queries, test_s = early_stop_queries(percent / 100, 0), tests.time_of_one_s(request)
    floor = _SPARE * queries / test_s
    while trouble is None and (rate := next_rate(tried, capacity, floor)) is not None:
        asked = at_rate(request, rate)
        asked_before = any(one.qps == rate for one in tried)
        new = [tests.measure(asked, OnExisting.RERUN)] if asked_before else tests.attempts(asked)
        records += new
        trouble = _trouble(records[-1])
        if trouble is None:
            tried += [judged(record, rate) for record in new]
            tests.observer.note(
                f"{label}: {rate:g} queries/s {_held(records[-1])}{' once more' * asked_before} ({_seen(records[-1])})"
            )
    limited_by = trouble or _limit(tried, records, capacity)
    if trouble is None and best_rate(tried) is None and not any(one.final for one in tried):
        limited_by += (
            f"; lower than {floor:.3g} queries/s none can be proven, for LoadGen needs {queries} queries to judge "
            f"p{percent:g} and a test has {test_s:.3g} s: raise --max-case-time, or take a lower percentile"
        )
    if disturbed := sum(map(_is_disturbed, records)):
        limited_by += (
            f"; {disturbed} of {len(records)} tests were disturbed, so it may do more on a quiet machine"
        )
    found = MaxRate(
        label=label,
        latency_percentile=percent,
        latency_limit_ms=limit_ms,
        qps=best_rate(tried),
        limited_by=limited_by,
        tried=tuple(tried),
    )
    return records, found


def at_rate(request: Request, qps: float) -> Request:
    """The same question at one rate."""
    return dataclasses.replace(request, options={**request.options, "target_qps": qps})


def _offline(request: Request) -> Request:
    """What the hardware can do at best: the largest batch that may be joined, all of it waiting."""
    left_out = {"latency_percentile", "latency_limit_ms", "max_batch", "batch_timeout_ms"}
    return dataclasses.replace(
        request,
        scenario="offline",
        batch_sizes=(int(request.options.get("max_batch", 1)),),
        options={name: value for name, value in request.options.items() if name not in left_out},
    )


def judged(record: Record, qps: float) -> Tried:
    """Whether the rate held, by LoadGen's word, whether it is worth asking again, and whether a lower one could."""
    load, latency = record.load, record.latency
    assert load is not None
    final = latency is not None and latency.min_ms > (load.latency_limit_ms or 0.0)
    return Tried(
        qps=qps,
        holds=load.is_valid,
        again=not load.is_valid and not final and (not load.over_limit_tests or _is_disturbed(record)),
        final=final and not load.is_valid,
    )


def _is_disturbed(record: Record) -> bool:
    """Invalid for a reason that is not LoadGen's."""
    reasons = record.verdict.reasons if record.verdict else ()
    said = (
        {reason.code for reason in reasons} - UNSTABLE_CODES - {"over_latency_limit", "load_test_not_valid"}
    )
    return bool(said)


def _trouble(record: Record) -> str | None:
    if record.status is Status.OK and record.throughput_per_s:
        return None
    why = record.error.message if record.error else "it could not be measured"
    return f"{record.status.value.replace('_', ' ')}: {why}"


def _held(record: Record) -> str:
    load = record.load
    if load is not None and load.is_valid:
        return "holds"
    return "does not hold" if load is None or load.over_limit_tests else "meets the limit without proof"


def _seen(record: Record) -> str:
    load = record.load
    if load is None or load.percentile_ms is None:
        return "nothing was seen"
    return f"p{load.latency_percentile:g} was {load.percentile_ms:.3g} ms"


def _limit(tried: Sequence[Tried], records: Sequence[Record], capacity: float) -> str:
    """What kept the rate from being higher."""
    by_rate = {record.case.options.get("target_qps"): record for record in records}
    miss = lowest_miss(tried)
    if miss is None:
        return f"offline it does {capacity:.3g} items/s" + ("; nothing above was tried" if tried else "")
    record = by_rate[miss]
    if best_rate(tried) is None and record.latency and any(one.final for one in tried):
        return f"the fastest call takes {record.latency.min_ms:.3g} ms already; allow more, or take a faster model"
    if record.load and not record.load.over_limit_tests:
        return (
            f"{miss:g} queries/s met it without proof ({_seen(record)}, but of {record.load.queries} queries too many "
            "missed the limit for LoadGen to be sure)"
        )
    return f"{miss:g} queries/s do not hold ({_seen(record)}; offline it does {capacity:.3g} items/s)"
