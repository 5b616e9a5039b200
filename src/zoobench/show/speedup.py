"""By how much one backend is faster than PyTorch, over pairs that differ in the backend alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from typing import Any, Literal

from zoobench.judge.ratio import paired_ratio
from zoobench.judge.scope import own_options
from zoobench.outcome import Slot
from zoobench.results.row import Row
from zoobench.show.numbers import counted, format_ratio
from zoobench.show.tables import backend_label
from zoobench.terms import Interval

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


MOST_JUDGED = 300
"""Pairs whose samples are read, a file a cell: as many as a table shows."""


@dataclass(frozen=True)
class Pair:
    """Two cells that differ in the backend alone.

    Attributes:
        ratio: time of `base` / time of `other`: above 1, `other` is faster.
        interval: None when it is missing.
        kind: `turns`: by the judge of `zoobench compare`, from slots that took turns. `intervals`: p50 / p50, from low base /
            high other to high base / low other. That holds what moved within each of the two measurements, with at least 90%,
            and nothing of what moved between them.
    """

    base: Row
    other: Row
    ratio: float
    interval: Interval | None
    kind: Literal["turns", "intervals"] = "intervals"

    @property
    def took_turns(self) -> bool:
        """Both come from one group of one run, whose cells take turns; otherwise the machine may have changed."""
        return (self.base.run_id, self.base.group) == (self.other.run_id, self.other.group)

    @property
    def is_stable(self) -> bool:
        """Neither number is marked unstable."""
        return not (self.base.is_unstable or self.other.is_unstable)

    @property
    def verdict(self) -> str:
        """`faster`, `slower`, or `undecided` where the interval holds 1 or is missing."""
        if self.interval is None or self.interval[0] <= 1 <= self.interval[1]:
            return "undecided"
        return "faster" if self.ratio > 1 else "slower"


def find_pairs(rows: Sequence[Row]) -> list[Pair]:
    """Pair every cell with its baseline on the same machine; without a baseline there is no pair.

    The two share model, weights, commit, batch, precision, threads, shape, scenario with its load, and arm. A baseline with
    the same options is preferred to one without options of its own.

    Args:
        rows: believable ones.
    """
    # How long a query takes in `server` is told by the queue, which no runtime is to blame or to praise for.
    rows = [row for row in rows if row.scenario != "server"]
    baselines: dict[Hashable, Row] = {}
    for row in rows:
        if row.backend == _baseline(row):
            baselines[_sameness(row), _options(row)] = row
    pairs = []
    for row in rows:
        if row.backend == _baseline(row):
            continue
        same = _sameness(row)
        base = baselines.get((same, _options(row))) or baselines.get((same, _asked(row)))
        if base is not None:
            interval = _ratio_interval(base.p50_interval_ms, row.p50_interval_ms)
            pairs.append(Pair(base, row, base.median / row.median, interval))
    return sorted(pairs, key=_place_in_table)


def judged(pairs: Sequence[Pair], slots_of: Callable[[Row], Sequence[Slot]]) -> list[Pair]:
    """The same pairs, the first `MOST_JUDGED` that took turns as `zoobench compare` tells them.

    Args:
        slots_of: reads the slots behind a row; none where there are none.
    """
    left = MOST_JUDGED
    found = []
    for pair in pairs:
        if pair.took_turns and left:
            left -= 1
            pair = _by_turns(pair, slots_of(pair.base), slots_of(pair.other))
        found.append(pair)
    return found


def _by_turns(pair: Pair, base: Sequence[Slot], other: Sequence[Slot]) -> Pair:
    ratio = paired_ratio(other, base)
    return (
        pair if ratio is None else replace(pair, ratio=ratio.estimate, interval=ratio.interval, kind="turns")
    )


def _place_in_table(pair: Pair) -> tuple[str, int]:
    return pair.other.model, pair.other.batch


def _baseline(row: Row) -> str | None:
    return _baseline_on(row.device)


@cache
def _baseline_on(device: str) -> str | None:
    return BASELINES.get(device.partition(":")[0])


def _options(row: Row) -> tuple[Hashable, ...]:
    return tuple(sorted(row.options.items())) if row.options else ()


def _asked(row: Row) -> tuple[Hashable, ...]:
    """The options that say what is asked, without the runtime's own."""
    own = dict(own_options(row))
    return tuple(sorted((name, value) for name, value in (row.options or {}).items() if name not in own))


_sameness: Callable[[Row], Hashable] = attrgetter(
    "model",
    "device",
    "batch",
    "precision",
    "threads",
    "shape",
    "scenario",
    "arm",
    "weights",
    "revision",
    "fingerprint",
)


def _ratio_interval(base: Interval | None, other: Interval | None) -> Interval | None:
    if base is None or other is None or min(*base, *other) <= 0:
        return None
    return base[0] / other[1], base[1] / other[0]


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
        other, base = self.pairs[0].other, self.pairs[0].base
        name = f"{RUNTIME_NAMES.get(other.backend, other.backend)} ({backend_label(other)})"
        models = {p.other.model for p in self.pairs}
        text = (
            f"{name} against {RUNTIME_NAMES.get(base.backend, base.backend)} ({base.backend}): "
            f"{format_ratio(self.geometric_mean)} as fast "
        )
        if len(self.pairs) == 1:
            text += f"on the one pair there is ({_place(self.fastest)})"
        else:
            text += (
                f"in the geometric mean of {len(self.pairs)} pairs over {counted(len(models), 'model')}, "
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
        unread = sum(p.took_turns and p.kind == "intervals" for p in self.pairs)
        told = (
            (shaky, "with a number marked unstable"),
            (apart, "that took no turns (in different runs, or one after another for want of memory)"),
            (unread, "told by the two medians alone (no samples were read, or too few rounds)"),
        )
        return "".join(f" {counted(n, 'pair')} {what}." for n, what in told if n)


def _place(pair: Pair) -> str:
    return f"{format_ratio(pair.ratio)} ({pair.other.model}, batch {pair.other.batch})"


def summarise(pairs: Iterable[Pair]) -> list[Speedup]:
    """One summary for each backend and its options, those named like ONNX Runtime first, then by gain."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(backend_label(pair.other), []).append(pair)
    speedups = [Speedup(tuple(group)) for group in groups.values()]
    return sorted(
        speedups, key=lambda s: (not s.pairs[0].other.backend.startswith("onnx_"), -s.geometric_mean)
    )


def speedup_data(speedup: Speedup) -> dict[str, Any]:
    """For programs: all that a summary says, and every pair behind it."""
    return {
        "backend": speedup.pairs[0].other.backend,
        "baseline": speedup.pairs[0].base.backend,
        "geometric_mean": speedup.geometric_mean,
        "lowest": speedup.slowest.ratio,
        "highest": speedup.fastest.ratio,
        "sentence": speedup.sentence,
        "pairs": [
            {
                "model": p.other.model,
                "batch": p.other.batch,
                "precision": p.other.precision,
                "ratio": p.ratio,
                "interval": p.interval,
                "kind": p.kind,
                "verdict": p.verdict,
                "stable": p.is_stable,
                "took_turns": p.took_turns,
                "measurement_keys": [p.base.measurement_key, p.other.measurement_key],
            }
            for p in speedup.pairs
        ],
    }
