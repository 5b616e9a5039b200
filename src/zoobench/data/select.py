"""Which pictures: a seeded sample, class-balanced and of few blocks where pictures have classes. Pure."""

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

    Pictures with boxes have no class of their own: each is as likely as any other, wherever it lies. For the rest, quotas of two classes differ by at most one, unless a class has too few: then the others fill up. Blocks are
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
    there = sum(int(mask.sum()) for mask in allowed)
    beside = f" beside the {len(exclude)} that are excluded" if exclude else ""
    if there == 0:
        what = "pictures" if any(block.objects is not None for block in blocks) else "picture with a label"
        raise UsageError(f"the dataset has no {what}{beside}: check the folder, or --split")
    if samples is not None and at_most:
        samples = min(samples, there)
    if samples is not None and samples > there:
        raise UsageError(
            f"{samples} pictures were asked for, the dataset has {there}{beside}: ask for at most {there}"
        )
    rng = np.random.PCG64(seed)
    if any(block.objects is not None for block in blocks):
        return _anywhere(allowed, there if samples is None else samples, rng)
    counts = _counts(blocks, allowed)
    quota = _quotas(counts, there if samples is None else samples, _order(rng, counts.size))
    return _take(blocks, allowed, quota, rng)


def _anywhere(allowed: Sequence[np.ndarray], samples: int, rng: np.random.PCG64) -> list[Pick]:
    """A uniform sample of all that may be taken."""
    places = [Pick(block, row) for block, mask in enumerate(allowed) for row in np.flatnonzero(mask).tolist()]
    return [places[place] for place in sorted(_order(rng, len(places))[:samples].tolist())]


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
    labelled: np.ndarray = np.fromiter(
        (label >= 0 or block.objects is not None for label in block.labels.tolist()), bool, len(block.ids)
    )
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
