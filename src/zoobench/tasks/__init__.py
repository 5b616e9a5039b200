"""Tasks: the protocol and the one table. A task is one module, one row here, one test."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from zoobench.spec import Detector, Preprocessing

    Outputs = Mapping[str, np.ndarray]
    """What a session returns, by name, in the graph's order."""
    Parts = dict[str, np.ndarray]
    """Name → (items, …): what is compared each by a scale of its own, because boxes and scores have nothing in common."""

CHECK_ITEMS = 8
"""How many check items a task makes; every artifact's reference holds one row of outputs for each."""


class Task(Protocol):
    """What a model is for: which inputs it takes and what its outputs mean."""

    def check_inputs(self, input_shape: tuple[int, ...], items: int = CHECK_ITEMS) -> np.ndarray:
        """Deterministic inputs for validation and timing, shape (items, *input_shape), float32; of text ids."""
        ...

    def parts(self, outputs: Outputs) -> Parts:
        """The outputs as what is compared."""
        ...

    def aligned(self, reference: Parts, outputs: Parts) -> Parts:
        """`outputs` in the reference's order, where a runtime may honestly choose another one; of equal shapes."""
        ...

    def agreement(self, reference: Parts, outputs: Parts) -> float | None:
        """Share of what is decided alike, where the difference allows a decision; None if there is nothing to decide."""
        ...

    def certainty(self, parts: Parts) -> np.ndarray | None:
        """How sure each candidate's best class is, from 0 to 1, (items, candidates); None where nothing is looked for."""
        ...


class PictureTask(Task, Protocol):
    """A task whose models look at pictures."""

    def item(self, picture: Image.Image, how: Preprocessing) -> np.ndarray:
        """A decoded RGB picture as one item of the model's input, float32, without the batch axis."""
        ...


TASKS: dict[str, str] = {
    "image_classification": "zoobench.tasks.image_classification:ImageClassification",
    "object_detection": "zoobench.tasks.object_detection:ObjectDetection",
    "text_generation": "zoobench.tasks.text_generation:TextGeneration",
}


def open_task(name: str, detector: Detector | None = None) -> Task:
    """Import and make the task called `name`.

    Args:
        detector: how the outputs of an object detector are read; what does not read outputs needs none.
    """
    module, _, attribute = TASKS[name].partition(":")
    made = getattr(importlib.import_module(module), attribute)
    return cast("Task", made(detector) if detector is not None else made())
