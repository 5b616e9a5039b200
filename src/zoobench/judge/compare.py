"""Two stored results: which is faster, by how much, and whether they may be compared at all."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, median, variance
from typing import Any

from zoobench.judge import NOT_COMPARABLE_EXIT, REGRESSION_EXIT, UNDECIDED_EXIT
from zoobench.judge.ratio import MIN_FORKS, paired_ratio
from zoobench.machine import comparable, soft_differences
from zoobench.measure.distributions import student_quantile
from zoobench.outcome import BoxDrop, Slot
from zoobench.results.record import Record
from zoobench.terms import Interval, Status, VerdictValue

ALPHA = 0.025


class Change(StrEnum):
    """What became of a case from A to B."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not_comparable"
    NEWLY_FAILING = "newly_failing"
    FIXED = "fixed"
    FAILING = "failing"


DEFAULT_FAIL_ON = (Change.SLOWER, Change.NEWLY_FAILING)
_EXITS = {Change.INCONCLUSIVE: UNDECIDED_EXIT, Change.NOT_COMPARABLE: NOT_COMPARABLE_EXIT}

VARYING: dict[str, frozenset[str]] = {
    "run": frozenset({"versions", "artifact"}),
    "backend": frozenset({"backend", "device", "versions", "artifact", "options"}),
    "precision": frozenset({"precision", "artifact"}),
    # A model whose batch is fixed is exported for each.
    "batch": frozenset({"batch", "artifact"}),
    # Any two cells that somebody may choose between: all of what is run, nothing of how or where it is measured.
    "cell": frozenset(
        {
            "model",
            "revision",
            "weights",
            "artifact",
            "shape",
            "batch",
            "precision",
            "backend",
            "device",
            "versions",
            "options",
        }
    ),
}
"""What is compared → what is meant to differ. Any other hard difference refuses."""


@dataclass(frozen=True)
class Comparison:
    """One case in A and in B.

    Attributes:
        ratio: time of B / time of A, an item where batches differ: above 1, B is slower. None without two numbers.
        interval: of the ratio; how it was made is `kind`.
        kind: `turns` (slots of one run, pair by pair), `forks` (Welch's t over processes), `intervals` (from the two
            medians' intervals; at least 90%).
        differences: what differs and was meant to, or only warns; and whether a side was unstable.
        unstable: the sides, `A` and `B`, whose number is.
    """

    name: str
    change: Change
    message: str
    ratio: float | None = None
    interval: Interval | None = None
    kind: str | None = None
    a_ms: float | None = None
    b_ms: float | None = None
    differences: tuple[str, ...] = ()
    unstable: tuple[str, ...] = ()


def compare(
    name: str,
    a: tuple[Record, Sequence[Slot]] | None,
    b: tuple[Record, Sequence[Slot]] | None,
    *,
    delta: float,
    varying: Collection[str] = VARYING["run"],
) -> Comparison:
    """Compare one case.

    FASTER and SLOWER: the interval lies beyond the margin. SAME: within it. Otherwise it is inconclusive.

    Args:
        a, b: the record and its slots (none, when they could not be read); None where the side has no such case.
        delta: relative margin, 0.05 for 5%; 0 leaves no room for `same`.
        varying: keys of `hard_keys` that are meant to differ.
    """
    if a is None or b is None:
        side = "A" if b is None else "B"
        return Comparison(name, Change.NOT_COMPARABLE, f"only {side} has it")
    first, second = a[0], b[0]
    broken = _failure(first), _failure(second)
    if Status.SKIPPED in (first.status, second.status) and frozenset(varying) != VARYING["run"]:
        # Of two backends or precisions one may simply not exist; between two runs it was there before.
        return Comparison(name, Change.NOT_COMPARABLE, "; ".join(dict.fromkeys(filter(None, broken))))
    if any(broken):
        return _failing(name, *broken)
    refusal = incomparable(first, second, varying)
    if refusal:
        return Comparison(name, Change.NOT_COMPARABLE, refusal)
    per_item = first.case.batch != second.case.batch
    scale = first.case.batch / second.case.batch if per_item else 1.0
    found = _ratio(a, b)
    notes = tuple(_noted(first, second, varying))
    times = _p50(first), _p50(second)
    unstable = tuple(side for side, record in (("A", first), ("B", second)) if _is_unstable(record))
    if found is None:
        why = "the calls are too few for an interval; measure with --effort standard"
        return Comparison(name, Change.INCONCLUSIVE, why, None, None, None, *times, notes, unstable)
    ratio, interval, kind = found
    ratio, interval = ratio * scale, (interval[0] * scale, interval[1] * scale)
    change = _change(interval, delta)
    unit = " an item" if per_item else ""
    message = f"B takes {ratio:.3f} [{interval[0]:.3f}, {interval[1]:.3f}] of A's time{unit}"
    if change is Change.INCONCLUSIVE:
        message += f": the interval crosses {1 + delta:.3f} or its inverse, so it cannot be decided"
    if first.run_id == second.run_id and not took_turns(first, second):
        message += "; they did not take turns, so what the machine did between them is in it too"
    elif kind == "intervals" and first.run_id != second.run_id:
        message += "; two runs of one process each, so what the machine did between them is in it too"
    return Comparison(name, change, message, ratio, interval, kind, *times, notes, unstable)


def _is_unstable(record: Record) -> bool:
    return record.verdict is not None and record.verdict.value is VerdictValue.UNSTABLE


def exit_code(found: Iterable[Comparison], fail_on: Collection[Change]) -> int:
    """3 for a change to fail on, then 5, then 4; 5 also when no case at all could be compared (no number
    on either side is no comparison); else 0.
    """
    changes = [comparison.change for comparison in found]
    codes = {_EXITS.get(change, REGRESSION_EXIT) for change in changes if change in fail_on}
    if all(change in (Change.NOT_COMPARABLE, Change.FAILING) for change in changes):
        codes.add(NOT_COMPARABLE_EXIT)
    return next((c for c in (REGRESSION_EXIT, NOT_COMPARABLE_EXIT, UNDECIDED_EXIT) if c in codes), 0)


def incomparable(a: Record, b: Record, varying: Collection[str]) -> str | None:
    """Why a difference in time between two records would mean nothing; None when it would mean something."""
    differing = comparable(hard_keys(a), hard_keys(b), varying)
    return _refusal(a, b, differing) if differing else None


def hard_keys(record: Record) -> dict[str, Any]:
    """Everything about a record that a comparison looks at, flat, soft keys too (`machine.identity` knows which)."""
    case, evidence = record.case, record.evidence
    return {
        **record.machine.model_dump(exclude={"fingerprint"}),
        "model": case.model,
        "revision": record.model.revision,
        "weights": record.model.weights,
        "artifact": record.artifact.sha256 if record.artifact else None,
        "shape": case.shape,
        "batch": case.batch,
        "precision": case.precision.value,
        "backend": case.backend,
        "device": case.device,
        "versions": dict(sorted(record.versions.items())),
        "options": dict(sorted(case.options.items())),
        "threads": case.threads,
        "scenario": case.scenario,
        "protocol_version": record.protocol_version,
        "boundary": evidence.details.get("boundary") if evidence else None,
    }


def _change(interval: Interval, delta: float) -> Change:
    low, high = interval
    if low > 1 + delta:
        return Change.SLOWER
    if high < 1 / (1 + delta):
        return Change.FASTER
    if 1 / (1 + delta) <= low and high <= 1 + delta:
        return Change.SAME
    return Change.INCONCLUSIVE


def _failure(record: Record) -> str | None:
    if record.status is not Status.OK:
        return f"{record.status.value}: {record.error.message}" if record.error else record.status.value
    if record.verdict and record.verdict.value is VerdictValue.INVALID:
        return "invalid: " + "; ".join(reason.message for reason in record.verdict.reasons)
    return None if record.latency else "no call was timed"


def _failing(name: str, a: str | None, b: str | None) -> Comparison:
    if a and b:
        return Comparison(name, Change.FAILING, f"no number to believe on either side: {b}")
    if b:
        return Comparison(name, Change.NEWLY_FAILING, f"A has a number, B has none: {b}")
    return Comparison(name, Change.FIXED, f"B has a number, A had none: {a}")


def _refusal(a: Record, b: Record, differing: Sequence[str]) -> str:
    first, second = hard_keys(a), hard_keys(b)
    told = [f"{key} {_short(first[key])} → {_short(second[key])}" for key in differing[:3]]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return f"they differ in {'; '.join(told)}{more}, so a difference in time would mean nothing"


def _noted(a: Record, b: Record, varying: Collection[str]) -> Iterable[str]:
    first, second = hard_keys(a), hard_keys(b)
    for key in [k for k in sorted(varying) if first[k] != second[k]] + soft_differences(
        first, second, varying
    ):
        yield f"{key} {_short(first[key])} → {_short(second[key])}"
    yield from _in_accuracy(a, b)
    for side, record in (("A", a), ("B", b)):
        if record.verdict and _is_unstable(record):
            yield f"{side} is unstable: {', '.join(reason.code for reason in record.verdict.reasons)}"


def _in_accuracy(a: Record, b: Record) -> Iterable[str]:
    """What the change costs beside time, where both were judged on the same pictures."""
    before, after = a.accuracy, b.accuracy
    if before is None or after is None:
        return
    one, other = before.data, after.data
    if (one.content_sha256, one.labels_sha256) != (other.content_sha256, other.labels_sha256):
        yield f"accuracies are of other pictures ({one.label} and {other.label}), so they are not compared"
        return
    shares: list[tuple[str, list[tuple[float | None, Interval]]]] = [
        ("top-1", [(s.value, s.interval) for s in (before.top1, after.top1) if s]),
        ("mAP", [(s.map, s.interval) for s in (before.boxes, after.boxes) if s and s.interval]),
    ]
    for name, both in shares:
        if len(both) == 2:
            told = " → ".join(
                f"{100 * (value or 0.0):.1f}% [{100 * low:.1f}, {100 * high:.1f}]"
                for value, (low, high) in both
            )
            yield f"{name} {told} of {after.images} pictures of {other.label}"
    drop = (after.fidelity.drop or after.fidelity.box_drop) if after.fidelity else None
    if drop and after.fidelity and after.fidelity.reference_sha256 == before.artifact_sha256:
        low, high = (100 * edge for edge in drop.interval)
        yield (
            f"{'mAP' if isinstance(drop, BoxDrop) else 'top-1'} drops by {100 * drop.value:.2f} points [{low:.2f}, {high:.2f}] with {100 * drop.max_drop:g} allowed: "
            f"{drop.decision.value}"
        )


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "none"
    text = str(value)
    return text if len(text) <= 40 else text[:12] + "…"


def _p50(record: Record) -> float | None:
    return record.latency.p50_ms if record.latency else None


def _ratio(
    a: tuple[Record, Sequence[Slot]], b: tuple[Record, Sequence[Slot]]
) -> tuple[float, Interval, str] | None:
    if took_turns(a[0], b[0]):
        paired = paired_ratio(a[1], b[1], ALPHA)
        if paired:
            return paired.estimate, paired.interval, "turns"
    return _over_forks(a[1], b[1]) or _of_intervals(a[0], b[0])


def took_turns(a: Record, b: Record) -> bool:
    """Cases of one group of one run. Where the group was not written down: whose model, batch, shape and scenario are the same."""
    if a.group is not None and b.group is not None:
        return (a.run_id, a.group) == (b.run_id, b.group)
    same = [(r.run_id, r.case.model, r.case.batch, r.case.shape, r.case.scenario) for r in (a, b)]
    return same[0] == same[1]


def _over_forks(a: Sequence[Slot], b: Sequence[Slot]) -> tuple[float, Interval, str] | None:
    """Welch's t over the processes' own typical slot minima; None where a side has too few processes."""
    first, second = _fork_values(a), _fork_values(b)
    if min(len(first), len(second)) < MIN_FORKS:
        return None
    shares = variance(first) / len(first), variance(second) / len(second)
    spread = sum(shares)
    centre = fmean(second) - fmean(first)
    reach = 0.0
    if spread > 0:
        freedom = spread**2 / (shares[0] ** 2 / (len(first) - 1) + shares[1] ** 2 / (len(second) - 1))
        reach = student_quantile(freedom, 1 - ALPHA) * math.sqrt(spread)
    return math.exp(centre), (math.exp(centre - reach), math.exp(centre + reach)), "forks"


def _fork_values(slots: Sequence[Slot]) -> list[float]:
    forks: dict[int, list[float]] = {}
    for slot in slots:
        if slot.samples_ns and min(slot.samples_ns) > 0:
            forks.setdefault(slot.fork, []).append(math.log(min(slot.samples_ns)))
    return list(map(median, forks.values()))


def _of_intervals(a: Record, b: Record) -> tuple[float, Interval, str] | None:
    if not (a.latency and b.latency):
        return None
    first, second = a.latency, b.latency
    if not (first.p50_ms and second.p50_ms and first.p50_interval_ms and second.p50_interval_ms):
        return None
    if min(first.p50_interval_ms) <= 0:
        return None
    low = second.p50_interval_ms[0] / first.p50_interval_ms[1]
    high = second.p50_interval_ms[1] / first.p50_interval_ms[0]
    return second.p50_ms / first.p50_ms, (low, high), "intervals"
