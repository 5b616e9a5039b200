"""From what a pass over a detector's boxes counted to shares, and whether a drop of mAP is too much. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from zoobench.measure.proportions import decided, share
from zoobench.outcome import BoxAgreement, BoxDrop, Share
from zoobench.terms import DropDecision

_NEVER = 1e6
"""Times the pictures that there are."""


def box_drop(raw: Mapping[str, Any], max_drop: float) -> BoxDrop:
    """Decide about a drop.

    Args:
        raw: `value`, `interval`, `pictures`, `resamples` and `seed`, as the worker's `Paired` or an earlier `BoxDrop` has them.
        max_drop: the margin, a share of mAP's range: 0.01 is one point.
    """
    value, (low, high), pictures = raw["value"], raw["interval"], raw["pictures"]
    decision = decided(low, high, max_drop)
    return BoxDrop(
        value=value,
        interval=(low, high),
        pictures=pictures,
        resamples=raw["resamples"],
        seed=raw["seed"],
        max_drop=max_drop,
        decision=decision,
        images_needed=_images_needed(value, low, high, pictures, max_drop)
        if decision is DropDecision.INCONCLUSIVE
        else None,
    )


def _images_needed(value: float, low: float, high: float, pictures: int, max_drop: float) -> int | None:
    """With how many the interval, as 1/√n does, would shrink to end before the margin; None where a million times as many would not do."""
    reach = high - value if value < max_drop else value - low
    distance = abs(max_drop - value)
    if reach**2 >= _NEVER * distance**2:
        return None
    return max(pictures + 1, math.ceil(pictures * (reach / distance) ** 2))


def box_agreement(raw: Mapping[str, Any]) -> BoxAgreement:
    """Make shares of counts.

    Args:
        raw: `Agreed` of `zoobench.tasks.box_agreement`, as JSON.
    """
    counts = {name: raw[name] for name in raw if name != "found"}
    return BoxAgreement(
        **counts,
        found=_share(raw["found"], raw["reference_boxes"]),
        extra=_share(raw["boxes"] - raw["found"], raw["boxes"]),
    )


def _share(k: int, n: int) -> Share | None:
    return share(k, n) if n else None
