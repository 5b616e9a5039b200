"""How near a quantized file's outputs are to fp32's, on the items that judge it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from zoobench.errors import PrepareError
from zoobench.tasks.comparison import compare

if TYPE_CHECKING:
    import numpy as np

    from zoobench.tasks import Outputs, Task


class Fidelity(Protocol):
    """One way to say it.

    Attributes:
        noun: what the agreement is called.
        alike: what it is a share of.
        decides: where there is an agreement it is enough, and the cosine does not count.
    """

    noun: str
    alike: Literal["classes", "boxes"]
    decides: bool

    def figures(self, reference: Outputs, outputs: Outputs) -> tuple[float | None, float]:
        """Agreement, None where there is nothing to decide, and the smallest cosine.

        Args:
            reference: fp32's outputs, one row for each item.
            outputs: the same of the file that is judged.

        Raises:
            PrepareError: the file is of no use, whatever it was made for.
        """
        ...


class Top1:
    """Of classifiers: the share of items with the same class, every item counted; of the first output."""

    noun = "top-1 agreement"
    alike: Literal["classes", "boxes"] = "classes"
    decides = False

    def figures(self, reference: Outputs, outputs: Outputs) -> tuple[float | None, float]:
        """See `Fidelity.figures`. What is not finite agrees with nothing."""
        import numpy as np

        expected, actual = _rows(reference), _rows(outputs)
        finite = np.isfinite(actual).all(axis=1)
        same = (actual.argmax(axis=1) == expected.argmax(axis=1)) & finite
        actual = np.where(finite[:, None], actual, 0.0)
        lengths = np.linalg.norm(actual, axis=1) * np.linalg.norm(expected, axis=1)
        cosines = (actual * expected).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
        return float(same.mean()), float(np.clip(cosines.min(), -1.0, 1.0))


class Boxes:
    """Of detectors: the share of boxes that are found again, and the cosine of the worst part.

    A picture on which nothing is to be seen has scores of nothing but noise, whose cosine says little beside found boxes.
    """

    noun = "box agreement"
    alike: Literal["classes", "boxes"] = "boxes"
    decides = True

    def __init__(self, task: Task) -> None:
        self.task = task

    def figures(self, reference: Outputs, outputs: Outputs) -> tuple[float | None, float]:
        """See `Fidelity.figures`. A detector that finds nothing is of no use."""
        found = compare(self.task.parts(reference), self.task.parts(outputs), self.task)
        if found.broken:
            raise PrepareError(f"{found.broken} of its outputs are not finite")
        if found.finds_nothing:
            raise PrepareError(
                f"it finds nothing: its surest box has a score of {found.surest:.2g}, fp32's has {found.reference_surest:.2g}"
            )
        return found.agreement, found.cosine


def _rows(outputs: Outputs) -> np.ndarray:
    """The first output as float64, (items, values)."""
    import numpy as np

    first = next(iter(outputs.values()))
    return first.reshape(len(first), -1).astype(np.float64)
