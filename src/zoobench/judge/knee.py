"""The knee of a batch curve: from where on larger batches buy little."""

from __future__ import annotations

from collections.abc import Mapping

WORTH = 1.10
"""A larger batch is worth its latency when its throughput is at least so many times as high."""


def knee(throughput: Mapping[int, float], worth: float = WORTH) -> int | None:
    """The smallest batch that no larger one beats by a tenth or more in throughput.

    Args:
        throughput: batch size → items a second.
        worth: ratio from which a larger batch is worth it.

    Returns:
        None with fewer than two batches, and where that batch is the largest one: the knee, if there is one, lies beyond what
        was measured.
    """
    batches = sorted(throughput)
    for at, batch in enumerate(batches[:-1]):
        if all(throughput[larger] < worth * throughput[batch] for larger in batches[at + 1 :]):
            return batch
    return None
