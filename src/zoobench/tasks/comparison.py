"""How far outputs are from a reference's: part by part, each by its own scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zoobench.tasks import Parts, Task

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Difference:
    """What a comparison found; the worst of the parts.

    Attributes:
        broken: values that are not finite. They count as zero in the figures, which must be numbers.
        max_abs: max |difference|.
        max_rel: max |difference| / max |reference|.
        cosine: the smallest over the items.
        agreement: the task's, see `Task.agreement`; None: nothing is decided.
    """

    broken: int
    max_abs: float
    max_rel: float
    cosine: float
    agreement: float | None


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
    return Difference(
        broken=broken,
        max_abs=max(one[0] for one in figures),
        max_rel=max(one[1] for one in figures),
        cosine=min(one[2] for one in figures),
        agreement=task.agreement(expected, actual),
    )


def _figures(expected: np.ndarray, actual: np.ndarray) -> tuple[float, float, float]:
    expected, actual = (part.reshape(len(part), -1) for part in (expected, actual))
    max_abs = float(np.abs(actual - expected).max())
    scale = float(np.abs(expected).max())
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)
    cosines = (expected * actual).sum(axis=1) / np.maximum(lengths, _TINY)
    max_rel = max_abs / scale if scale > 0 else float(max_abs > 0)
    return max_abs, max_rel, float(np.clip(cosines.min(), -1.0, 1.0))
