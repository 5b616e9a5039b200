"""A backend that computes nothing: seeded latencies from a stated distribution, on the session's clock.

It proves the harness. On the virtual clock a call moves the clock and takes no time; with `fake_clock=wall` it
waits busily in a real worker process. It never ranks beside real backends.

Options: `fake_p50_ms`, `fake_sigma` (lognormal), `fake_slowdown` (factor), `fake_drift` (relative growth over a
second: since the virtual clock's zero, so that sessions on one clock share one drifting machine; on the wall
clock since loading), `fake_seed`, `fake_outliers` (share of calls ten times as long), `fake_fork_sigma` (lognormal, one
draw a process: what placement does), `fake_correlation` (of neighbouring calls), `fake_clock` (`virtual`, `wall`),
`fake_fault` (`load`, `slot`, `hang`, `die`, `memory`, `nan`, `constant`; `shortcut`: half the time, and constant outputs).
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from zoobench.errors import UsageError
from zoobench.outcome import Evidence
from zoobench.spec import Artifact, Case, stable_hash

if TYPE_CHECKING:
    from zoobench.backends import Tensors

FAULTS = ("load", "slot", "hang", "die", "memory", "nan", "constant", "shortcut")
PROCESS_FAULTS = ("hang", "die")
"""They take their whole process with them, so they need one of their own."""
CLOCKS = ("virtual", "wall")
_BATCH_EXPONENT = 0.8


class VirtualClock:
    """Nanoseconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        """Now, nanoseconds."""
        return self.now_ns

    def wait(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.now_ns += nanoseconds

    def pause(self, seconds: float) -> None:
        """What `time.sleep` is on the wall clock."""
        self.wait(round(seconds * 1e9))


class Fake:
    """The backend; `clock` and `fork` are set by the session role."""

    clock: Callable[[], int] = staticmethod(time.perf_counter_ns)
    fork: int = 0

    def unavailable(self) -> str | None:
        """It always runs."""
        return None

    def import_runtime(self, artifact: Artifact) -> None:
        """Nothing to import."""

    def load(self, artifact: Artifact, case: Case) -> FakeSession:
        """Raise what `fake_fault` asks for, else a session."""
        fault = str(case.options.get("fake_fault", ""))
        if fault and fault not in FAULTS:
            raise UsageError(f"fake_fault {fault!r} is unknown; one of {', '.join(FAULTS)}")
        if case.options.get("fake_clock", "virtual") not in CLOCKS:
            raise UsageError(
                f"fake_clock {case.options['fake_clock']!r} is unknown; one of {', '.join(CLOCKS)}"
            )
        if fault in PROCESS_FAULTS and isinstance(self.clock, VirtualClock):
            raise UsageError(f"fake_fault {fault!r} would end this process; add fake_clock=wall")
        if fault == "load":
            raise RuntimeError("the fake backend was told to fail at load")
        if fault == "memory":
            raise MemoryError("the fake backend was told to run out of memory: cannot allocate memory")
        return FakeSession(case, self.clock, fault, self.fork)


class FakeSession:
    """Lognormal latencies with median `fake_p50_ms` · batch^0.8 · `fake_slowdown`."""

    def __init__(self, case: Case, clock: Callable[[], int], fault: str, fork: int) -> None:
        self.case, self.clock, self.fault = case, clock, fault
        scale = _number(case, "fake_p50_ms", 5.0, least=1e-6) * _number(
            case, "fake_slowdown", 1.0, least=1e-6
        )
        self.median_ns = scale * case.batch**_BATCH_EXPONENT * 1e6 * (0.5 if fault == "shortcut" else 1.0)
        self.sigma = _number(case, "fake_sigma", 0.02)
        self.drift = _number(case, "fake_drift", 0.0, least=-1e9)
        self.outliers = _number(case, "fake_outliers", 0.0)
        self.correlation = _number(case, "fake_correlation", 0.0)
        if self.correlation >= 1:
            raise UsageError(f"fake_correlation={self.correlation:g}: a number below 1 is needed")
        seed = int(_number(case, "fake_seed", 0))
        self.rng = np.random.Generator(np.random.PCG64([seed, fork, int(stable_hash([case.id]), 16) % 2**63]))
        self.median_ns *= float(self.rng.lognormal(0.0, _number(case, "fake_fork_sigma", 0.0)))
        self.calls, self._last = 0, 0.0
        self.start_ns = 0 if isinstance(clock, VirtualClock) else clock()
        self._block: Iterator[float] = iter(())

    def bind(self, inputs: Tensors) -> Callable[[], Tensors]:
        """The call waits its latency and returns two finite, varying numbers an item."""
        items = next(iter(inputs.values()))
        flat = items.reshape(len(items), -1)
        factor = (len(items) / self.case.batch) ** _BATCH_EXPONENT
        outputs = np.stack([flat[:, 0], -flat[:, -1]], axis=1).astype(np.float32)
        if self.fault == "nan":
            outputs[:] = np.nan
        elif self.fault in ("constant", "shortcut"):
            outputs[:] = 1.0

        def run() -> Tensors:
            self.calls += 1
            # The first calls pass, so that the faults strike in a slot and not in the warm-up.
            if self.fault in ("slot", "hang", "die") and self.calls > 250:
                self._strike()
            self._wait(self._latency_ns(factor))
            return {"logits": outputs}

        return run

    def _strike(self) -> None:
        if self.fault == "slot":
            raise RuntimeError("the fake backend was told to fail in a slot")
        if self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            time.sleep(3600)

    def _latency_ns(self, batch_factor: float) -> int:
        value = next(self._block, None)
        if value is None:
            self._block = iter(self._factors(512))
            value = next(self._block)
        factor = batch_factor * (1.0 + self.drift * (self.clock() - self.start_ns) / 1e9)
        if self.outliers and self.rng.random() < self.outliers:
            factor *= 10
        return max(1, int(self.median_ns * value * factor + 0.5))

    def _factors(self, count: int) -> list[float]:
        """Lognormal; their logarithms are an autoregressive series of order 1 where calls are correlated."""
        if not self.correlation:
            return [float(value) for value in self.rng.lognormal(0.0, self.sigma, count)]
        fresh = self.rng.normal(0.0, self.sigma * math.sqrt(1 - self.correlation**2), count)
        found = []
        for value in fresh:
            self._last = self.correlation * self._last + float(value)
            found.append(math.exp(self._last))
        return found

    def _wait(self, nanoseconds: int) -> None:
        if isinstance(self.clock, VirtualClock):
            self.clock.wait(nanoseconds)
            return
        end = time.perf_counter_ns() + nanoseconds
        while time.perf_counter_ns() < end:
            pass

    def evidence(self) -> Evidence:
        """What was asked for."""
        return Evidence(
            runtime="fake",
            device="cpu",
            precision=self.case.precision.value,
            threads=self.case.threads,
            provider_nodes={"fake": 1.0},
            provider_time={"fake": 1.0},
            details={
                "clock": "virtual" if isinstance(self.clock, VirtualClock) else "wall",
                "boundary": "host_to_host",
            },
        )

    def close(self) -> None:
        """Nothing to free."""


def _number(case: Case, name: str, default: float, least: float = 0.0) -> float:
    value = case.options.get(name, default)
    if isinstance(value, str) or not least <= value < 1e12:
        raise UsageError(f"{name}={value}: a number of at least {least:g} is needed")
    return float(value)
