"""Models that give one row of numbers an item, of which the largest decides: classes, or next tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zoobench.tasks import Outputs, Parts


class FirstOutput:
    """The half of a `Task` that reads outputs: the first one counts, and two rows agree where their largest value does."""

    def parts(self, outputs: Outputs) -> Parts:
        """The first output, (items, values)."""
        first = np.asarray(next(iter(outputs.values())))
        return {"outputs": first.reshape(len(first), -1).astype(np.float32, copy=False)}

    def aligned(self, reference: Parts, outputs: Parts) -> Parts:
        """As they are."""
        return outputs

    def agreement(self, reference: Parts, outputs: Parts) -> float | None:
        """Share of items that decide alike, see `top1_where_decided`."""
        return top1_where_decided(reference["outputs"], outputs["outputs"])

    def certainty(self, parts: Parts) -> np.ndarray | None:
        """None: nothing is looked for, see `Task.certainty`."""
        return None


def top1_where_decided(reference: np.ndarray, outputs: np.ndarray) -> float | None:
    """Share of rows with equal argmax, among rows whose reference margin exceeds twice the difference.

    A row whose two best values lie nearer than the numerical difference may flip honestly. None: there is no such row.
    """
    top_two = np.sort(reference, axis=1)[:, -2:]
    if top_two.shape[1] < 2:
        return None
    decided = (top_two[:, 1] - top_two[:, 0]) > 2 * np.abs(outputs - reference).max(axis=1)
    if not decided.any():
        return None
    return float((reference.argmax(1) == outputs.argmax(1))[decided].mean())
