"""`tokens`: a closed loop over a language model's requests, each of whose tokens is timed.

So many clients as the case's concurrency each make one request after another. A request's sample is its end to end time;
beside it stands when it began and when each token was there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoobench.errors import ZoobenchError, first_line
from zoobench.outcome import WarmUp
from zoobench.scenarios import SlotBudget
from zoobench.scenarios.closed_loop import Clock
from zoobench.spec import Case, concurrency_of

Call = Callable[[], Any]

REQUESTS_EACH = 2
"""Of every client of several, in a slot: the first and the last of a slot have fewer beside them."""


class Tokens:
    """Clients that each make one request after another."""

    calls: Sequence[Call] = ()

    def prepare(self, case: Case, bind: Callable[[int], Call], clock: Clock) -> None:
        """Every client has a call of its own, which may overlap with the others'."""
        self.calls = [bind(case.batch) for _ in range(concurrency_of(case) - 1)]

    def warm_up(self, call: Call, clock: Clock) -> WarmUp:
        """One whole request of every client at once: they meet every length of cache that the timed ones will."""
        begin = clock()
        _together([call, *self.calls], _Turn(clock, requests=1 + len(self.calls)))
        seconds = (clock() - begin) / 1e9
        return WarmUp(
            calls=1 + len(self.calls), seconds=seconds, steady=True, window_medians_ms=(seconds * 1e3,)
        )

    def drive(
        self,
        call: Call,
        *,
        clock: Clock,
        budget: SlotBudget,
        gap_ms: float = 0.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> dict[str, Any]:
        """Some requests; there is no settling call, because a request is long and its prefill settles the decoding.

        Args:
            budget: `min_calls` requests are made and `min_seconds` used, less where `max_seconds` are over; at least one, and
                of several clients two each.

        Returns:
            As a closed loop's slot, and of each request in the order in which they began: begun_ns, nanoseconds from the
            slot's begin, and token_ns, from its own begin to each token. `trouble` says why a later request failed.
        """
        clients = 1 + len(self.calls)
        turn = _Turn(
            clock,
            requests=max(int(budget["min_calls"]), REQUESTS_EACH * clients if clients > 1 else 1),
            least_s=budget["min_seconds"],
            most_s=budget["max_seconds"],
            gap=(lambda: pause(gap_ms / 1e3)) if gap_ms else None,
        )
        _together([call, *self.calls], turn)
        made = sorted(turn.made, key=lambda one: one.begun_ns)
        return {
            "settling_ns": 0,
            "samples_ns": [one.took_ns for one in made],
            "inner_loops": 1,
            "elapsed_ns": clock() - turn.begin,
            "begun_ns": [one.begun_ns for one in made],
            "token_ns": [one.token_ns for one in made],
            **({"trouble": in_one_line(turn.trouble)} if turn.trouble else {}),
        }


@dataclass(frozen=True)
class Made:
    """One request: nanoseconds from the slot's begin, until its end, and from its begin to each token."""

    begun_ns: int
    took_ns: int
    token_ns: list[int]


@dataclass
class _Turn:
    """What the clients of one slot share."""

    clock: Clock
    requests: int
    least_s: float = 0.0
    most_s: float = float("inf")
    gap: Callable[[], None] | None = None
    made: list[Made] = field(default_factory=list)
    trouble: Exception | None = None
    begun: int = 0
    begin: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> bool:
        """Whether another request is due; it counts as begun then."""
        with self._lock:
            seconds = (self.clock() - self.begin) / 1e9
            wanted = self.begun < self.requests or seconds < self.least_s
            if self.trouble or not wanted or (self.begun and seconds > self.most_s):
                return False
            self.begun += 1
            return True

    def client(self, call: Call) -> None:
        """One request after another, until no more are due."""
        while self.next():
            try:
                if self.gap:
                    self.gap()
                start = self.clock()
                made = call()
                took = self.clock() - start
            except Exception as error:  # noqa: BLE001
                # An exception must not die with a thread; what the others have made is kept.
                self.trouble = self.trouble or error
                return
            self.made.append(Made(start - self.begin, took, [int(ns) for ns in made["token_ns"]]))


def _together(calls: Sequence[Call], turn: _Turn) -> None:
    """Run a client a call; the first on this thread, which loaded the session.

    Raises:
        What a request raised, where nothing was made that would be lost with it.
    """
    turn.begin = turn.clock()
    others = [threading.Thread(target=turn.client, args=(call,), daemon=True) for call in calls[1:]]
    for thread in others:
        thread.start()
    turn.client(calls[0])
    for thread in others:
        thread.join()
    if turn.trouble is not None and not turn.made:
        raise turn.trouble


def in_one_line(error: BaseException) -> str:
    """Why a request failed; of what nobody foresaw its type too."""
    return str(error) if isinstance(error, ZoobenchError) else f"{type(error).__name__}: {first_line(error)}"
