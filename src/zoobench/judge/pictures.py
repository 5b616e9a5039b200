"""On which pictures accuracies count, what a file got right on them, and what a run needs to be judged on them. Pure.

An accuracy is of a file on a runtime, whatever the batch. Two are compared on the very same pictures only: those that most files
were judged on. A drop has both sides on the same pictures, whichever they are, so there the pass counts that saw most of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from zoobench.judge.asks import Carried, Wish, wish_of
from zoobench.judge.scope import own_options
from zoobench.judge.wanted import Limit, judged_at
from zoobench.results.row import RankedRow, changed
from zoobench.terms import DETECTION, SAMPLES, Precision

_DATA_FLAGS = ("--dataset", "--samples", "--split", "--dataset-config", "--image-column", "--label-column")
_CALIBRATION_FLAGS = ("--calibration", "--calibration-samples", "--calibration-split")
_NEVER = 1e6
"""So many times the pictures are no plan."""


@dataclass(frozen=True)
class Judged:
    """What accuracy passes found.

    Attributes:
        passes: file on a runtime → the rows that hold a pass of it, oldest first.
        common: sha256 of the pictures that most files were judged on; None: there was no pass.
        label: of the dataset that they are of.
    """

    passes: Mapping[Hashable, Sequence[RankedRow]] = field(default_factory=dict)
    common: str | None = None
    label: str | None = None
    # Asked for every row that is open: what the runs were given is looked for once.
    _words: dict[int, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, records: Iterable[RankedRow], cells: Iterable[RankedRow]) -> Judged:
        """From records, oldest first.

        Args:
            cells: which files count; of two sets of pictures with as many files the one counts that has more pictures, then the newer.
        """
        passes: dict[Hashable, list[RankedRow]] = {}
        newest: dict[str | None, tuple[int, int, RankedRow]] = {}
        for at, row in enumerate(records):
            if row.pictures is not None and row.artifact_sha256 is not None:
                passes.setdefault(file_on_runtime(row), []).append(row)
                newest[row.data_sha256] = row.pictures, at, row
        if not passes:
            return cls()
        current = {file_on_runtime(row) for row in cells} & passes.keys() or passes.keys()
        files = Counter(sha for name in current for sha in {row.data_sha256 for row in passes[name]})
        common = max(files, key=lambda sha: (files[sha], *newest[sha][:2]))
        return cls(passes, common, newest[common][2].data_label)

    def applied(self, row: RankedRow, max_drop: float | None) -> RankedRow:
        """The row with what its file got right on the pictures that count, and the drop that most pictures tell, by this margin."""
        passes = self.passes.get(file_on_runtime(row), ()) if self.passes else ()
        if not passes:
            return row
        alike = self._alike(passes)
        source = alike or passes[-1]
        values = {name: getattr(source, name) for name in _OF_ACCURACY}
        if alike is None:
            values |= {"top1": None, "top1_interval": None, "map": None, "map_interval": None}
        # Of equals the newest, which is the last one.
        dropped = [one for one in reversed(passes) if one.drop is not None]
        if dropped:
            widest = max(dropped, key=lambda one: one.drop_n or one.drop_pictures or 0)
            judged = widest if max_drop is None else judged_at(widest, max_drop)
            values |= {name: getattr(judged, name) for name in _OF_DROP}
        return changed(row, **values)

    def is_elsewhere(self, row: RankedRow) -> bool:
        """Whether its file was judged, and only on other pictures than those that count."""
        passes = self.passes.get(file_on_runtime(row), ())
        return bool(passes) and self._alike(passes) is None

    def _alike(self, passes: Sequence[RankedRow]) -> RankedRow | None:
        return next((one for one in reversed(passes) if one.data_sha256 == self.common), None)

    def flags(self, carried: Mapping[str, Carried], names: Sequence[str]) -> tuple[str, ...]:
        """Those of `names` that the newest run which judged on these pictures was given; none where that is not known."""
        if id(carried) not in self._words:
            rows = (
                row for passes in self.passes.values() for row in passes if row.data_sha256 == self.common
            )
            flags = (
                carried[row.run_id].flags
                for row in sorted(rows, key=attrgetter("recorded_at", "run_id"), reverse=True)
                if row.run_id in carried
            )
            self._words[id(carried)] = next((words for words in flags if "--dataset" in words), ())
        return _chosen(self._words[id(carried)], names)


def file_on_runtime(row: RankedRow) -> Hashable:
    """What an accuracy is of."""
    return row.model, row.artifact_sha256, row.backend, row.device, row.precision, own_options(row)


_OF_ACCURACY = (
    "top1", "top1_interval", "map", "map_interval", "pictures", "data_label", "data_sha256", "unclaimed",
)  # fmt: skip
_OF_DROP = (
    "drop", "drop_interval", "drop_n", "drop_pictures", "drop_lost", "drop_won", "drop_decision", "max_drop", "images_needed",
)  # fmt: skip


def with_pictures(
    row: RankedRow,
    carried: Mapping[str, Carried],
    judged: Judged,
    samples: int | None = None,
    *,
    backend: str | None = None,
    precision: str | None = None,
) -> Wish | None:
    """The row's cell, or the one on another backend or precision, with the labelled pictures that count, or a set that all have.

    Args:
        samples: how many pictures; None: as many as before.

    Returns:
        None where pictures count of which no run's words say what they are.
    """
    known = carried.get(row.run_id, Carried())
    data = judged.flags(carried, _DATA_FLAGS)
    if not data and judged.common is not None:
        return None
    data = data or _chosen(known.flags, _DATA_FLAGS)
    sample = "detection-datasets/coco" if row.task == DETECTION else "mini-imagenet"
    data = data or ("--dataset", sample)
    if samples is not None:
        data = (*_without(data, "--samples"), "--samples", str(samples))
    rest = known.flags
    for name in _DATA_FLAGS:
        rest = _without(rest, name)
    if (precision or row.precision) == Precision.INT8 and "--calibration" not in rest:
        data = (*data, *(judged.flags(carried, _CALIBRATION_FLAGS) or ("--calibration", sample)))
    if row.weights == "random":
        rest = (*_without(rest, "--weights"), "--weights", "pretrained")
    again = {row.run_id: Carried(rest, known.typed)}
    return wish_of(row, again, backend=backend, precision=precision, words=data)


def enough_pictures(
    row: RankedRow, carried: Mapping[str, Carried], judged: Judged, limit: Limit
) -> int | None:
    """How many would decide whether the row holds the limit, which its figure does and its interval does not.

    None where none would, and where all that there are were judged already.
    """
    asked = judged.flags(carried, _DATA_FLAGS)
    if asked and "--samples" not in asked and (row.pictures or 0) < SAMPLES:
        return None
    return row.images_needed if limit.flag == "--max-drop" else _needed(row, limit)


def _needed(row: RankedRow, limit: Limit) -> int | None:
    """With how many pictures the lower end of the accuracy's interval, which shrinks as 1/√n, would hold the limit."""
    figure = limit.measure.figure(row)
    if figure.value is None or row.pictures is None or figure.value <= limit.bound:
        return None
    times = ((figure.value - figure.low) / (figure.value - limit.bound)) ** 2
    # Wilson's interval leans towards a half: a twentieth more than the plain rule has it.
    return None if times > _NEVER else max(row.pictures + 1, math.ceil(1.05 * times * row.pictures))


def _chosen(flags: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for name in names for word in _valued(flags, name))


def _valued(flags: Sequence[str], name: str) -> tuple[str, ...]:
    """A flag with its one value, where it is there."""
    at = flags.index(name) if name in flags else None
    return () if at is None else tuple(flags[at : at + 2])


def _without(flags: Sequence[str], name: str) -> tuple[str, ...]:
    at = flags.index(name) if name in flags else None
    return tuple(flags) if at is None else (*flags[:at], *flags[at + 2 :])
