"""Which pictures: a seeded, class-balanced sample that touches few blocks. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from zoobench.data import Block, Pick
from zoobench.errors import UsageError


def select(
    blocks: Sequence[Block],
    samples: int | None,
    seed: int,
    exclude: Collection[str] = frozenset(),
    *,
    at_most: bool = False,
) -> list[Pick]:
    """Exactly `samples` pictures (None: all that have a label), block after block, rows ascending.

    Quotas of two classes differ by at most one, unless a class has too few: then the others fill up. Blocks are
    visited in a seeded order and a picture is taken while its class has not its quota, so few blocks need reading
    where classes are mixed. The same blocks, seed and exclusions give the same picks on every machine.

    Args:
        blocks: as `Source.labels()` gives them.
        samples: how many; None for all.
        seed: 0 or more.
        exclude: ids that are never taken.
        at_most: take all where there are fewer than `samples`.

    Raises:
        UsageError: a number that cannot be, no pictures at all, or fewer than asked for.
    """
    if seed < 0:
        raise UsageError(f"the seed is {seed}: give 0 or more")
    if samples is not None and samples < 1:
        raise UsageError(f"{samples} pictures were asked for: give at least 1")
    allowed = [_allowed(block, exclude) for block in blocks]
    counts = _counts(blocks, allowed)
    there = int(counts.sum())
    beside = f" beside the {len(exclude)} that are excluded" if exclude else ""
    if there == 0:
        raise UsageError(f"the dataset has no picture with a label{beside}: check the folder, or --split")
    if samples is not None and at_most:
        samples = min(samples, there)
    if samples is not None and samples > there:
        raise UsageError(
            f"{samples} pictures were asked for, the dataset has {there}{beside}: ask for at most {there}"
        )
    rng = np.random.PCG64(seed)
    quota = _quotas(counts, there if samples is None else samples, _order(rng, counts.size))
    return _take(blocks, allowed, quota, rng)


def _take(
    blocks: Sequence[Block], allowed: Sequence[np.ndarray], quota: np.ndarray, rng: np.random.PCG64
) -> list[Pick]:
    left = quota.tolist()
    missing = sum(left)
    picks: list[Pick] = []
    for index in _order(rng, len(blocks)).tolist():
        if not missing:
            break
        labels = blocks[index].labels.tolist()
        rows = []
        for row in _order(rng, len(labels)).tolist():
            if allowed[index][row] and left[labels[row]]:
                left[labels[row]] -= 1
                rows.append(row)
        missing -= len(rows)
        picks += (Pick(index, row) for row in sorted(rows))
    return picks


def _order(rng: np.random.PCG64, size: int) -> np.ndarray:
    """A permutation from the bit generator alone: NumPy keeps its stream for ever, and not `permutation`'s."""
    order: np.ndarray = np.argsort(np.asarray(rng.random_raw(size), np.uint64), kind="stable")
    return order


def _allowed(block: Block, exclude: Collection[str]) -> np.ndarray:
    labelled: np.ndarray = np.fromiter((label >= 0 for label in block.labels.tolist()), bool, len(block.ids))
    if exclude:
        labelled = labelled & np.fromiter(
            (picture not in exclude for picture in block.ids), bool, len(block.ids)
        )
    return labelled


def _counts(blocks: Sequence[Block], allowed: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of each class that may be taken."""
    classes = max((int(block.labels.max(initial=-1)) for block in blocks), default=-1) + 1
    counts = np.zeros(classes, np.int64)
    for block, mask in zip(blocks, allowed, strict=True):
        counts += np.bincount(block.labels[mask], minlength=classes)
    return counts


def _quotas(counts: np.ndarray, samples: int, order: np.ndarray) -> np.ndarray:
    """The same for every class, or all it has; what does not divide goes to the first in `order` that have more."""
    low, high = 0, int(counts.max())
    while low < high:
        level = (low + high + 1) // 2
        low, high = (level, high) if np.minimum(counts, level).sum() <= samples else (low, level - 1)
    quota: np.ndarray = np.minimum(counts, low)
    more = [label for label in order.tolist() if counts[label] > low][: samples - int(quota.sum())]
    quota[more] += 1
    return quota
