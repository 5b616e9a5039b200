"""What LoadGen puts its queries to: a closed loop on the calling thread, and a server with a queue before it."""

from __future__ import annotations

import contextlib
import ctypes
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from zoobench.scenarios.load import Load
from zoobench.scenarios.loadgen_log import Log
from zoobench.scenarios.loadgen_run import complete, run_test

Call = Callable[[], Any]
Clock = Callable[[], int]

_PR_SET_TIMERSLACK = 29
SWITCH_S = 2e-4
"""A runtime that holds the interpreter must not keep arrivals waiting for Python's usual 5 ms."""


class Answering:
    """A closed loop's system under test: it runs on LoadGen's calling thread, which is the caller's own."""

    def __init__(self, call: Call, clock: Clock, batch: int) -> None:
        self.call, self.clock, self.batch = call, clock, batch
        self.start_ns = 0
        self.done_ns: list[int] = []
        self.sizes: list[int] = []
        self._trouble: BaseException | None = None

    def answer(self, ids: Sequence[int], _samples: Sequence[int]) -> None:
        """Run a query, in calls of the batch."""
        if not self.start_ns:
            self.start_ns = self.clock()
        for first in range(0, len(ids), self.batch):
            some = ids[first : first + self.batch]
            if self._trouble is None:
                try:
                    self.call()
                except BaseException as error:  # noqa: BLE001
                    # An exception must not fly through LoadGen, whose threads would outlive it.
                    self._trouble = error
            self.done_ns.append(self.clock())
            self.sizes.append(len(some))
            complete(some)

    def raise_trouble(self) -> None:
        """Raise what the call raised."""
        if self._trouble is not None:
            raise self._trouble


class Serving:
    """The server's system under test: arrivals come through a queue, waiting ones are joined."""

    def __init__(self, calls: dict[int, Call], clock: Clock, load: Load) -> None:
        self.calls, self.clock = calls, clock
        self.max_batch, self.timeout_ns = load.max_batch, round(load.batch_timeout_ms * 1e6)
        self.done_ns: list[int] = []
        self.sizes: list[int] = []
        self._arrivals: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._ended = False

    def serve(self, settings: Any) -> Log:
        """Run the test: LoadGen on a thread of its own, the calls on this one."""
        logs: list[Log] = []
        trouble: list[BaseException] = []

        def generate() -> None:
            wake_sharply()
            try:
                logs.append(run_test(settings, self._arrive))
            except BaseException as error:  # noqa: BLE001
                trouble.append(error)
            finally:
                self._arrivals.put(None)

        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        thread = threading.Thread(target=generate, name="loadgen")
        thread.start()
        try:
            self._work(trouble)
        finally:
            thread.join()
            sys.setswitchinterval(before)
        if trouble:
            raise trouble[0]
        return logs[0]

    def _arrive(self, ids: Sequence[int], _samples: Sequence[int]) -> None:
        now = self.clock()
        for number in ids:
            self._arrivals.put((now, number))

    def _work(self, trouble: list[BaseException]) -> None:
        while (first := self._arrivals.get()) is not None:
            ids = self._join(*first)
            if not trouble:
                try:
                    self.calls[len(ids)]()
                except BaseException as error:  # noqa: BLE001
                    # What is still to come is answered unserved, so that LoadGen comes to its end.
                    trouble.append(error)
            self.done_ns += [self.clock()] * len(ids)
            self.sizes.append(len(ids))
            complete(ids)
            if self._ended:
                return

    def _join(self, arrived_ns: int, number: int) -> list[int]:
        """The first query and those that wait already, or come before its patience is over."""
        ids = [number]
        while len(ids) < self.max_batch:
            left_ns = arrived_ns + self.timeout_ns - self.clock()
            try:
                found = (
                    self._arrivals.get(timeout=left_ns / 1e9) if left_ns > 0 else self._arrivals.get_nowait()
                )
            except queue.Empty:
                break
            if found is None:
                self._ended = True
                break
            ids.append(found[1])
        return ids


def wake_sharply() -> None:
    """Let this thread's sleeps end on time: Linux lets others be 50 µs late, which every query would see."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)
