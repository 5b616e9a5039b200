"""Pictures of a pack as batches of tensors, decoded in threads ahead of whoever takes them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoobench.data.decode import UndecodableError, decode
from zoobench.data.pack import Pack
from zoobench.errors import PrepareError, UsageError, first_line, printable

if TYPE_CHECKING:
    from PIL.Image import Image

_NICE = 19
"""Of a decoding thread: a seventieth of a plain thread's weight where both want the same CPU, and all of it where none does."""

Transform = Callable[["Image"], np.ndarray]
"""From an RGB picture to one item; called in several threads at once."""
OnBad = Callable[[int, str], None]
"""Called with (index in the pack, reason) of a picture that gives no tensor, in the consumer's thread, in order."""
_Item = tuple[np.ndarray, tuple[int, int]]


@dataclass(frozen=True)
class Batch:
    """Some pictures, ready for a session.

    Attributes:
        indices: int64, (n,), of the pictures in the pack, ascending.
        tensors: float32, contiguous, (n, *shape of an item).
        sizes: int64, (n, 2): height and width of each picture before it was transformed, pixels.
    """

    indices: np.ndarray
    tensors: np.ndarray
    sizes: np.ndarray


def batches(
    pack: Pack,
    transform: Transform,
    batch: int,
    *,
    workers: int | None = None,
    ahead: int | None = None,
    on_bad: OnBad | None = None,
) -> Generator[Batch, None, None]:
    """All pictures of `pack` in its order; every batch but the last has `batch` pictures.

    They are turned as their EXIF data say, except those with boxes, which lie on the picture as it is stored. One that
    does not decode, or has not the size that its boxes are for, is told to `on_bad` and left out, and the batch is filled up with the next ones. Memory
    is that of `ahead` items and a batch, whatever the pack's size. Closing the iterator ends the threads.

    Args:
        pack: where they come from.
        transform: all items must get the same shape.
        batch: 1 or more.
        workers: threads; None: one for each CPU that this process may use.
        ahead: how many pictures are in work or wait for the consumer; None: two batches, or two for each worker.
        on_bad: None: they are left out in silence.

    Raises:
        UsageError: a number below 1.
        PrepareError: two items differ in shape, or the pack is damaged. What `transform` raises comes through.
    """
    if workers is None:
        from zoobench.machine.cpus import usable_cpu_count

        workers = usable_cpu_count()
    if ahead is None:
        ahead = 2 * max(batch, workers)
    for name, number in (("batch", batch), ("workers", workers), ("ahead", ahead)):
        if number < 1:
            raise UsageError(f"{name} is {number}: give 1 or more")
    return _batches(pack, transform, batch, workers, ahead, on_bad or _forget)


def _batches(
    pack: Pack, transform: Transform, batch: int, workers: int, ahead: int, on_bad: OnBad
) -> Generator[Batch, None, None]:
    indices: list[int] = []
    sizes: list[tuple[int, int]] = []
    tensors = np.empty(0, np.float32)
    with closing(_items(pack, transform, workers, ahead)) as items:
        for index, found in items:
            if isinstance(found, str):
                on_bad(index, found)
                continue
            item, size = found
            if not indices:
                tensors = np.empty((batch, *item.shape), np.float32)
            elif item.shape != tensors.shape[1:]:
                raise PrepareError(
                    f"picture {printable(pack.entry(index).id)} became a tensor of shape {item.shape}, those before it"
                    f" {tensors.shape[1:]}: the transform must give all of them the same"
                )
            tensors[len(indices)] = item
            indices.append(index)
            sizes.append(size)
            if len(indices) == batch:
                yield Batch(np.array(indices, np.int64), tensors, np.array(sizes, np.int64))
                indices, sizes = [], []
    if indices:
        yield Batch(np.array(indices, np.int64), tensors[: len(indices)], np.array(sizes, np.int64))


def _items(
    pack: Pack, transform: Transform, workers: int, ahead: int
) -> Generator[tuple[int, _Item | str], None, None]:
    """Each picture's tensor, or why it has none, in order; at most `ahead` of them exist at once."""

    def item(index: int) -> _Item | str:
        truth = pack.truth(index)
        try:
            picture = decode(pack.read(index), upright=truth is None)
        except UndecodableError as error:
            return str(error)
        size = picture.height, picture.width
        if truth is not None and (misfit := truth.misfit(*size)):
            return misfit
        try:
            return np.asarray(transform(picture), np.float32), size
        except (ValueError, OverflowError) as error:
            # A strip of a million pixels by one, enlarged until its short edge fits.
            return f"cannot be prepared: {first_line(error)}"

    waiting: deque[tuple[int, Future[_Item | str]]] = deque()
    upcoming = iter(range(len(pack)))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="zoobench-decode", initializer=_step_back)
    try:
        while True:
            while len(waiting) < ahead and (index := next(upcoming, None)) is not None:
                waiting.append((index, pool.submit(item, index)))
            if not waiting:
                return
            index, future = waiting.popleft()
            yield index, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _step_back() -> None:
    """Let the model's threads go first: kernels wait at barriers for one that a decoding thread has pushed aside."""
    with suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _forget(index: int, reason: str) -> None:
    """Nobody wants to know."""
