"""Where the CPUs are: does data get quickly from one to the other just now?

A hypervisor moves virtual CPUs about. While they sit on cores with a common cache, what one of them has written is
near for the other; while they do not, every layer that several threads share waits for it. Nothing in /proc shows
that: there is no steal, no foreign process and no lower clock, and a copy of the same data on one CPU takes no longer.
`benchmarks/placement.py` shows what it does to a model. So it is looked at, before every slot.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIZE_BYTES = 512 << 10
"""Too large for a core's first cache, small enough to stay in the ones behind it."""
ROUNDS = 20
PATIENCE_S = 2.0


@dataclass(frozen=True)
class Crossing:
    """How long reading takes of what another CPU has just written, in units of what the reader itself has written.

    Attributes:
        now: 1 or a little more where the two share a cache.
        best: the least that has been seen on this machine.
    """

    now: float
    best: float


class Placement:
    """Looks where the CPUs are, and remembers the best that it saw, over runs.

    Args:
        cpus: those that are used.
        file: where the best is kept; None: nowhere.
        look: crossing from the first CPU to the second, None where it cannot be measured.
    """

    def __init__(
        self,
        cpus: Sequence[int],
        file: Path | None = None,
        look: Callable[[int, int], float | None] | None = None,
    ) -> None:
        self._pairs = _pairs(sorted(cpus))
        self._file, self._look = file, look or crossing
        self._kept = self.best = _read(file)
        self._last: float | None = None

    def now(self) -> Crossing | None:
        """Look, for some milliseconds on each pair of CPUs; None with one CPU, or where it cannot be seen."""
        seen = [found for pair in self._pairs if (found := self._look(*pair)) is not None]
        # Nothing is nearer than what one wrote oneself; a smaller figure is a disturbed one.
        if not seen or min(seen) < 1.0:
            return None
        farthest = max(seen)
        # A best that was seen once may be a disturbed figure too, and it would be remembered.
        twice = max(farthest, self._last or farthest)
        self.best, self._last = min(twice, self.best or twice), farthest
        return Crossing(farthest, min(farthest, self.best))

    def keep(self) -> None:
        """Write the best down for the next run; a cache that cannot be written costs only that."""
        if self._file is None or self.best is None or self.best == self._kept:
            return
        draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps({"crossing": self.best}) + "\n")
            draft.replace(self._file)
        except OSError:
            return
        self._kept = self.best


def crossing(writer: int, reader: int) -> float | None:
    """Least time to read 512 KiB that CPU `writer` has just written / least time to read one's own, on CPU `reader`.

    Returns:
        None where threads cannot be put on these CPUs, or do not get to run on them.
    """
    theirs, own, target = (np.zeros(SIZE_BYTES // 8) for _ in range(3))
    turn = threading.Barrier(2, timeout=PATIENCE_S)
    crossing_ns: list[int] = []
    own_ns: list[int] = []

    def write() -> None:
        for value in range(ROUNDS):
            theirs.fill(value)
            turn.wait()
            turn.wait()

    def read() -> None:
        for value in range(ROUNDS):
            turn.wait()
            crossing_ns.append(_copy_ns(target, theirs))
            own.fill(value)
            own_ns.append(_copy_ns(target, own))
            turn.wait()

    def on(cpu: int, work: Callable[[], None]) -> None:
        try:
            os.sched_setaffinity(0, {cpu})
            work()
        except (OSError, AttributeError, threading.BrokenBarrierError):
            turn.abort()

    threads = [threading.Thread(target=on, args=pair) for pair in ((writer, write), (reader, read))]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:
        # The system gives no more threads.
        turn.abort()
    for thread in threads:
        if thread.ident is not None:
            thread.join()
    return None if turn.broken else min(crossing_ns) / min(own_ns)


def _copy_ns(target: np.ndarray, source: np.ndarray) -> int:
    begin = time.perf_counter_ns()
    np.copyto(target, source)
    return time.perf_counter_ns() - begin


def _pairs(cpus: Sequence[int]) -> list[tuple[int, int]]:
    """The first CPU with the next, the middle and the last one: each pair costs milliseconds before every slot."""
    others = dict.fromkeys(cpus[at] for at in (1, len(cpus) // 2, -1)) if len(cpus) > 1 else {}
    return [(cpus[0], other) for other in others]


def _read(file: Path | None) -> float | None:
    """The best of earlier runs; None without a sound file."""
    try:
        kept = None if file is None else json.loads(file.read_bytes())["crossing"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(kept) if isinstance(kept, int | float) and kept >= 1 else None
