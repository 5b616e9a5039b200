"""zoobench's own session worker that can also have other tools time its very call: see `tools.py`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from zoobench.scenarios.closed_loop import SingleStream
from zoobench.scenarios.loadgen import single_stream
from zoobench.worker import __main__ as worker
from zoobench.worker.roles import ROLES, Emit
from zoobench.worker.session import SessionRole

CALLS, SECONDS = 20, 0.25


def bare(call: Callable[[], Any]) -> list[int]:
    """What anybody would write."""
    found = []
    end = time.perf_counter() + SECONDS
    while len(found) < CALLS or time.perf_counter() < end:
        begin = time.perf_counter_ns()
        call()
        found.append(time.perf_counter_ns() - begin)
    return found


def zoobench(call: Callable[[], Any]) -> list[int]:
    """The slot of `zoobench run`."""
    samples: list[int] = SingleStream().drive(
        call,
        clock=time.perf_counter_ns,
        budget={
            "min_calls": CALLS,
            "slow_min_calls": CALLS,
            "min_seconds": SECONDS,
            "slow_call_s": 1e9,
            "max_seconds": 1e9,
            "min_sample_ns": 0.0,
        },
    )["samples_ns"]
    return samples


def torch_timer(call: Callable[[], Any]) -> list[int]:
    """`torch.utils.benchmark`, in blocks as short as it makes them; it sets torch's threads, the runtime's stay."""
    import torch
    from torch.utils.benchmark import Timer

    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return [round(s * 1e9) for s in timer.blocked_autorange(min_run_time=SECONDS).times]


def loadgen(call: Callable[[], Any]) -> list[int]:
    """MLPerf LoadGen's SingleStream."""
    return single_stream(call, CALLS, SECONDS)


TOOLS = {
    "bare loop": bare,
    "bare loop again": bare,
    "zoobench": zoobench,
    "torch.utils.benchmark": torch_timer,
    "LoadGen SingleStream": loadgen,
}


class ToolsSession(SessionRole):
    """The session role with one more verb, `time_with`: nanoseconds of each call as one tool has it."""

    def handle(self, verb: str, args: dict[str, Any], emit: Emit) -> Any:
        """Answer one verb."""
        if verb != "time_with":
            return super().handle(verb, args, emit)
        call = self._bound()
        call()
        return TOOLS[args["tool"]](call)


if __name__ == "__main__":
    ROLES["session"] = "tools_session:ToolsSession"
    sys.exit(worker.main(sys.argv[1:]))
