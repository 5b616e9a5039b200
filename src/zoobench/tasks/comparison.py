"""How far outputs are from a reference's: part by part, each by its own scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoobench.tasks.boxes import USUAL

if TYPE_CHECKING:
    from zoobench.tasks import Parts, Task

_TINY = float(np.finfo(np.float64).tiny)
_NOTHING = 0.01
_MANY, _EVEN = 16, 1e-6


@dataclass(frozen=True)
class Difference:
    """What a comparison found; the worst of the parts.

    Attributes:
        broken: values that are not finite. They count as zero in the figures, which must be numbers.
        max_abs: max |difference|.
        max_rel: max |difference| / max |reference|.
        cosine: the smallest over the items.
        agreement: the task's, see `Task.agreement`; None: nothing is decided.
        surest: of a task that looks for something, how sure it is of its surest find, from 0 to 1; None: of no other.
        reference_surest: the same of the reference.
        finds_nothing: see `finds_nothing`.
    """

    broken: int
    max_abs: float
    max_rel: float
    cosine: float
    agreement: float | None
    surest: float | None = None
    reference_surest: float | None = None
    finds_nothing: bool = False


def shapes(parts: Parts) -> str:
    """For people: ` and ` between the parts."""
    return " and ".join(str(tuple(part.shape)) for part in parts.values())


def are_comparable(reference: Parts, outputs: Parts) -> bool:
    """Whether the same parts are there, in the same shapes."""
    return {k: v.shape for k, v in reference.items()} == {k: v.shape for k, v in outputs.items()}


def compare(reference: Parts, outputs: Parts, task: Task) -> Difference:
    """Compare what `are_comparable`.

    Args:
        reference: name → (items, …), finite.
        outputs: the same shapes.
        task: whose rules say in which order and what is decided alike.
    """
    broken = sum(int((~np.isfinite(part)).sum()) for part in outputs.values())
    # float64: outputs that went wild must be judged, not overflow on the way.
    wide = {k: np.where(np.isfinite(v), v, 0.0).astype(np.float64) for k, v in outputs.items()}
    expected = {k: v.astype(np.float64) for k, v in reference.items()}
    actual = task.aligned(expected, wide)
    figures = [_figures(expected[name], actual[name]) for name in expected]
    sure, reference_sure = task.certainty(actual), task.certainty(expected)
    return Difference(
        broken=broken,
        max_abs=max(one[0] for one in figures),
        max_rel=max(one[1] for one in figures),
        cosine=min(one[2] for one in figures),
        agreement=task.agreement(expected, actual),
        surest=_largest(sure),
        reference_surest=_largest(reference_sure),
        finds_nothing=sure is not None and reference_sure is not None and finds_nothing(reference_sure, sure),
    )


def finds_nothing(reference: np.ndarray, sure: np.ndarray, *, threshold: float = USUAL.score) -> bool:
    """Whether a detector sees nothing any more where its reference sees something.

    So it is when its surest find is less than a hundredth as sure as the reference's, or when all of many are equally sure;
    and when none reaches the threshold, some of the reference's do, and none is half as sure as there.

    Args:
        reference: how sure the reference is of what it finds, from 0 to 1, of any shape; on any number of items.
        sure: the same of what is judged, on the same items; may be empty, and of another size.
        threshold: what an application keeps.
    """
    most, reference_most = float(sure.max(initial=0.0)), float(reference.max(initial=0.0))
    if not reference_most:
        return False
    if most < _NOTHING * reference_most:
        return True
    if sure.size >= _MANY and np.ptp(sure) <= _EVEN * most and np.ptp(reference) > _EVEN * reference_most:
        return True
    return most < threshold <= reference_most and most < reference_most / 2


def _largest(sure: np.ndarray | None) -> float | None:
    return None if sure is None else float(sure.max(initial=0.0))


def _figures(expected: np.ndarray, actual: np.ndarray) -> tuple[float, float, float]:
    expected, actual = (part.reshape(len(part), -1) for part in (expected, actual))
    max_abs = float(np.abs(actual - expected).max())
    scale = float(np.abs(expected).max())
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)
    cosines = (expected * actual).sum(axis=1) / np.maximum(lengths, _TINY)
    max_rel = max_abs / scale if scale > 0 else float(max_abs > 0)
    return max_abs, max_rel, float(np.clip(cosines.min(), -1.0, 1.0))
