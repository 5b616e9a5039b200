"""From a detector's stage times to percentiles with intervals. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoobench.measure.generation import spread
from zoobench.outcome import Stages


def summarise_stages(raw: Mapping[str, Any]) -> Stages:
    """What the worker's `stages` verb returned, as a record keeps it."""
    times = {name: np.asarray(samples, np.float64) / 1e6 for name, samples in raw["samples_ns"].items()}
    return Stages(
        **{name: spread(values) for name, values in times.items()},
        pictures=raw["pictures"],
        boxes=raw["boxes"],
        score_threshold=raw["score_threshold"],
        iou_threshold=raw["iou_threshold"],
        samples_ns={name: tuple(samples) for name, samples in raw["samples_ns"].items()},
    )
