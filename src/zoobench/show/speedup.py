"""By how much one backend is faster than PyTorch: ratios of p50 over pairs that differ in the backend alone."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from zoobench.outcome import Interval, VerdictValue
from zoobench.results.record import Record
from zoobench.show.numbers import format_ratio
from zoobench.show.tables import backend_label, has_verdict, p50

BASELINES = {"cpu": "pytorch", "cuda": "pytorch_cuda"}
"""Device class → the backend that the others are compared with."""

RUNTIME_NAMES = {
    "pytorch": "PyTorch",
    "pytorch_cuda": "PyTorch on CUDA",
    "torch_compile": "torch.compile",
    "torch_compile_cuda": "torch.compile on CUDA",
    "onnx_cpu": "ONNX Runtime",
    "onnx_cuda": "ONNX Runtime on CUDA",
    "onnx_tensorrt": "ONNX Runtime with TensorRT",
    "openvino": "OpenVINO",
}


@dataclass(frozen=True)
class Pair:
    """Two cells that differ in the backend alone.

    Attributes:
        ratio: p50 of `base` / p50 of `other`: above 1, `other` is faster.
        interval: low base / high other to high base / low other. Conservative: both intervals hold at once
            with at least 90% when each does with 95%. None when either is missing.
    """

    base: Record
    other: Record
    ratio: float
    interval: Interval | None

    @property
    def took_turns(self) -> bool:
        """Both come from one run, where the cells of a group take turns; otherwise the machine may have changed."""
        return self.base.run_id == self.other.run_id

    @property
    def is_stable(self) -> bool:
        """Neither number is marked unstable."""
        return not any(has_verdict(r, VerdictValue.UNSTABLE) for r in (self.base, self.other))

    @property
    def verdict(self) -> str:
        """`faster`, `slower`, or `undecided` where the interval holds 1 or is missing."""
        if self.interval is None or self.interval[0] <= 1 <= self.interval[1]:
            return "undecided"
        return "faster" if self.ratio > 1 else "slower"


def find_pairs(records: Sequence[Record]) -> list[Pair]:
    """Pair every cell with its baseline on the same machine; without a baseline there is no pair.

    The two share model, weights, commit, batch, precision, threads, shape, scenario and arm. A baseline with
    the same options is preferred to one without options.

    Args:
        records: believable ones.
    """
    baselines: dict[Hashable, Record] = {}
    for record in records:
        if record.case.backend == _baseline(record):
            baselines[_sameness(record), _options(record)] = record
    pairs = []
    for record in records:
        if record.case.backend == _baseline(record):
            continue
        same = _sameness(record)
        base = baselines.get((same, _options(record))) or baselines.get((same, ()))
        if base is not None:
            pairs.append(Pair(base, record, p50(base) / p50(record), _ratio_interval(base, record)))
    return pairs


def _baseline(record: Record) -> str | None:
    return BASELINES.get(record.case.device.partition(":")[0])


def _options(record: Record) -> tuple[Hashable, ...]:
    options = record.case.options
    return tuple(sorted(options.items())) if options else ()


def _sameness(record: Record) -> Hashable:
    case, model = record.case, record.model
    asked = (case.model, case.device, case.batch, case.precision, case.threads, case.shape)
    return (*asked, case.scenario, case.arm, model.weights, model.revision, record.machine.fingerprint)


def _ratio_interval(base: Record, other: Record) -> Interval | None:
    ours = base.latency.p50_interval_ms if base.latency else None
    theirs = other.latency.p50_interval_ms if other.latency else None
    if ours is None or theirs is None or min(*ours, *theirs) <= 0:
        return None
    return ours[0] / theirs[1], ours[1] / theirs[0]


@dataclass(frozen=True)
class Speedup:
    """What all pairs of one backend say together; `pairs` is never empty."""

    pairs: tuple[Pair, ...]

    @property
    def geometric_mean(self) -> float:
        """exp of the mean of the logarithms: halving and doubling cancel."""
        return math.exp(sum(math.log(p.ratio) for p in self.pairs) / len(self.pairs))

    @property
    def slowest(self) -> Pair:
        """The pair that gains least."""
        return min(self.pairs, key=lambda p: p.ratio)

    @property
    def fastest(self) -> Pair:
        """The pair that gains most."""
        return max(self.pairs, key=lambda p: p.ratio)

    @property
    def sentence(self) -> str:
        """The documented line, with the range and the geometric mean that were measured."""
        case, base = self.pairs[0].other.case, self.pairs[0].base.case
        name = f"{RUNTIME_NAMES.get(case.backend, case.backend)} ({backend_label(case)})"
        models = {p.other.case.model for p in self.pairs}
        text = (
            f"{name} against {RUNTIME_NAMES.get(base.backend, base.backend)} ({base.backend}): "
            f"{format_ratio(self.geometric_mean)} as fast in the geometric mean of "
            f"{_count(len(self.pairs), 'pair')} over {_count(len(models), 'model')}, "
            f"from {_place(self.slowest)} to {_place(self.fastest)}"
        )
        tally = [f"{n} {word}" for word in ("faster", "slower", "undecided") if (n := self.count(word))]
        return f"{text}; beyond their intervals {', '.join(tally)}.{self._caution()}"

    def count(self, verdict: str) -> int:
        """How many pairs are `faster`, `slower` or `undecided`."""
        return sum(p.verdict == verdict for p in self.pairs)

    def _caution(self) -> str:
        shaky = sum(not p.is_stable for p in self.pairs)
        apart = sum(not p.took_turns for p in self.pairs)
        caution = f" {_count(shaky, 'pair')} with a number marked unstable." if shaky else ""
        return caution + (f" {_count(apart, 'pair')} measured in different runs." if apart else "")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _place(pair: Pair) -> str:
    case = pair.other.case
    return f"{format_ratio(pair.ratio)} ({case.model}, batch {case.batch})"


def summarise(pairs: Iterable[Pair]) -> list[Speedup]:
    """One summary for each backend and its options, those named like ONNX Runtime first, then by gain."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(backend_label(pair.other.case), []).append(pair)
    speedups = [Speedup(tuple(group)) for group in groups.values()]
    return sorted(
        speedups, key=lambda s: (not s.pairs[0].other.case.backend.startswith("onnx_"), -s.geometric_mean)
    )
