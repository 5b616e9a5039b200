"""Image classification: one image in, one row of logits out."""

from __future__ import annotations

import numpy as np

from zoobench.tasks import CHECK_ITEMS

_SEED = 20_240_229


class ImageClassification:
    """Inputs are (batch, channels, height, width), float32, normalised; outputs are logits (batch, classes)."""

    def check_inputs(self, input_shape: tuple[int, ...], items: int = CHECK_ITEMS) -> np.ndarray:
        """Noise (odd rows) and smooth pictures (even rows), float32, shape (items, *input_shape).

        White noise excites every frequency but looks like nothing; the pictures (sums of low-frequency waves)
        have the strong neighbour correlation of photographs. The values are seeded, so that every process and
        every machine makes the same ones.
        """
        rng = np.random.Generator(np.random.PCG64(_SEED))
        rows = [
            rng.standard_normal(input_shape, dtype=np.float32) if i % 2 else _waves(rng, input_shape)
            for i in range(items)
        ]
        return np.stack(rows)

    def top1_agreement(self, reference: np.ndarray, outputs: np.ndarray) -> float | None:
        """Share of rows with equal argmax, among rows whose reference margin exceeds twice the difference.

        A row whose two best classes lie nearer than the numerical difference may flip honestly.
        """
        top_two = np.sort(reference, axis=1)[:, -2:]
        if top_two.shape[1] < 2:
            return None
        decided = (top_two[:, 1] - top_two[:, 0]) > 2 * np.abs(outputs - reference).max(axis=1)
        if not decided.any():
            return None
        return float((reference.argmax(1) == outputs.argmax(1))[decided].mean())


def _waves(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A smooth field of unit variance: eight random waves of at most six periods across the picture."""
    height, width = shape[-2:] if len(shape) >= 2 else (1, shape[-1])
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    out = np.zeros((*shape[:-2], height, width), dtype=np.float32)
    for channel in out.reshape(-1, height, width):
        for fy, fx, phase in rng.uniform((0, 0, 0), (6, 6, 1), size=(8, 3)):
            channel += np.sin(2 * np.pi * (fy * y + fx * x + phase), dtype=np.float32)
    normalised: np.ndarray = ((out - out.mean()) / (out.std() + 1e-6)).astype(np.float32)
    return normalised.reshape(shape)
