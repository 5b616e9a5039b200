"""After how many calls a file pays for itself: exporting, quantizing, compiling and loading against the saving of each call. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

from zoobench.judge.scope import own_options
from zoobench.results.row import RankedRow
from zoobench.terms import Precision

EAGER = {"cpu": "pytorch", "cuda": "pytorch_cuda"}
"""Device class → the backend that runs a model as it comes, with nothing to prepare."""


class Pays(StrEnum):
    """Whether and when."""

    AT_ONCE = "at_once"
    AFTER = "after"
    NEVER = "never"
    UNDECIDED = "undecided"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Payback:
    """What a configuration costs once, beside what it saves at every call, against eager PyTorch.

    Attributes:
        base: the eager row.
        made_s: exporting, quantizing or building the file, and validating it; 0 where it is the very file that PyTorch runs.
        load_s, compile_s: more than eager needs, at each start of a process.
        saving_ms: of a call, mean less mean; of a batch on either side.
        calls: after which all of that is paid; None unless `pays` is `after`.
        why: where it cannot be told.
        without_origin: the file was made of another one, and how long that took is not known.
    """

    base: RankedRow
    pays: Pays
    made_s: float | None = None
    load_s: float = 0.0
    compile_s: float = 0.0
    saving_ms: float | None = None
    calls: int | None = None
    why: str = ""
    without_origin: bool = False

    @property
    def once_s(self) -> float | None:
        """All that is paid once and at the first start."""
        return None if self.made_s is None else self.made_s + self.load_s + self.compile_s

    def saved_s(self, calls: int) -> float | None:
        """What so many calls save in all; below 0 where they do not pay for it."""
        if self.once_s is None or self.saving_ms is None:
            return None
        return calls * self.saving_ms / 1e3 - self.once_s


def eager_rows(rows: Iterable[RankedRow], models: Set[str]) -> dict[Hashable, RankedRow]:
    """Believable eager rows of `models` by what a configuration is held against; the newest of each."""
    eager = set(EAGER.values())
    return {
        _sameness(row, row.precision): row
        for row in rows
        if row.backend in eager and row.model in models and row.is_believable and not own_options(row)
    }


_MOST_CALLS = 1e15
"""At a million calls a second thirty years."""


def made_by(rows: Iterable[RankedRow], of: Iterable[RankedRow]) -> dict[str, float]:
    """sha256 → seconds in which the file was made, of the files that those of `of` were made from."""
    wanted = {row.derived_from for row in of} - {None}
    if not wanted:
        return {}
    return {
        row.artifact_sha256: row.made_s
        for row in rows
        if row.artifact_sha256 in wanted and row.artifact_sha256 is not None and row.made_s is not None
    }


def payback(
    row: RankedRow, eager: Mapping[Hashable, RankedRow], made: Mapping[str, float] | None = None
) -> Payback | None:
    """Against eager PyTorch at the same model, batch and precision, or where that does not run it, at fp32.

    Args:
        made: what `made_by` tells: a file that was made of another one needs that one first.

    None: it is eager PyTorch itself, or there is nothing to hold it against.
    """
    base = eager.get(_sameness(row, row.precision)) or eager.get(_sameness(row, Precision.FP32))
    if base is None or row is base or row.mean_ms is None or base.mean_ms is None:
        return None
    if row.is_fake:
        return None
    saving = base.mean_ms - row.mean_ms
    same_file = row.artifact_sha256 is not None and row.artifact_sha256 == base.artifact_sha256
    origin_s = (made or {}).get(row.derived_from or "")
    made_s = 0.0 if same_file else row.made_s
    if made_s is not None and origin_s is not None and row.derived_from != base.artifact_sha256:
        made_s += origin_s
    without_origin = not same_file and row.derived_from is not None and origin_s is None
    load = (row.load_s or 0.0) - (base.load_s or 0.0)
    compiling = (row.compile_s or 0.0) - (base.compile_s or 0.0)

    def found(pays: Pays, why: str = "", calls: int | None = None) -> Payback:
        return Payback(base, pays, made_s, load, compiling, saving, calls, why, without_origin)

    if _overlap(row, base):
        return found(Pays.UNDECIDED, "the intervals of the two overlap, so no saving is proved")
    if saving <= 0:
        return found(Pays.NEVER, "a call takes no less time")
    if made_s is None:
        return found(Pays.UNKNOWN, "how long its file took to make is not in the record")
    once = made_s + load + compiling
    if once <= 0:
        return found(Pays.AT_ONCE)
    calls = once / (saving / 1e3)
    if not calls < _MOST_CALLS:
        return found(Pays.NEVER, "what a call saves is nothing beside what is paid once")
    return found(Pays.AFTER, calls=math.ceil(calls - 1e-9))


def _sameness(row: RankedRow, precision: str) -> Hashable:
    """A device class too: a GPU's gain over a CPU is no gain of the file's."""
    device = row.device.partition(":")[0]
    content = row.revision if row.weights == "local" else None
    clients = row.concurrency or 1
    return (row.model, content, device, str(precision), row.batch, clients, row.threads, row.shape)


def _overlap(a: RankedRow, b: RankedRow) -> bool:
    """An unknown interval has the width of nothing: such medians are told apart by themselves."""
    first, second = (
        r.p50_interval_ms or ((r.p50_ms, r.p50_ms) if r.p50_ms is not None else (-math.inf, math.inf))
        for r in (a, b)
    )
    return first[0] <= second[1] and second[0] <= first[1]
