"""Tasks: the protocol and the one table. A task is one module, one row here, one test."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from zoobench.spec import Preprocessing

CHECK_ITEMS = 8
"""How many check items a task makes; every artifact's reference holds one row of outputs for each."""


class Task(Protocol):
    """What a model is for: which inputs it takes and what its outputs mean."""

    def check_inputs(self, input_shape: tuple[int, ...], items: int = CHECK_ITEMS) -> np.ndarray:
        """Deterministic inputs for validation and timing, float32, shape (items, *input_shape)."""
        ...

    def item(self, picture: Image.Image, how: Preprocessing) -> np.ndarray:
        """A decoded RGB picture as one item of the model's input, float32, without the batch axis."""
        ...

    def top1_agreement(self, reference: np.ndarray, outputs: np.ndarray) -> float | None:
        """Share of rows that decide alike, among rows whose margin exceeds the difference; None if there is none."""
        ...


TASKS: dict[str, str] = {
    "image_classification": "zoobench.tasks.image_classification:ImageClassification",
}


def open_task(name: str) -> Task:
    """Import and make the task called `name`."""
    module, _, attribute = TASKS[name].partition(":")
    return cast("Task", getattr(importlib.import_module(module), attribute)())
