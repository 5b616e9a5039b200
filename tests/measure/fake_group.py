"""Groups of fake sessions on virtual clocks, for tests of turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoobench.backends.fake import VirtualClock
from zoobench.measure.channel import InlineWorker, Worker, WorkerError
from zoobench.measure.conductor import GroupResult, Seat, Stage, conduct
from zoobench.measure.effort import EFFORTS, EffortPlan
from zoobench.spec import Artifact, Case
from zoobench.terms import Effort
from zoobench.worker.session import SessionRole

QUICK, STANDARD = EFFORTS[Effort.QUICK], EFFORTS[Effort.STANDARD]
ARTIFACT = Artifact(
    path=Path("nowhere"), format="fake", sha256="0" * 64, size_bytes=0, model="m", input_shape=(4,)
)


def seat(arm: str = "base", **options: Any) -> Seat:
    return Seat(
        Case(model="m", backend="fake", threads=1, arm=arm, options=options), ARTIFACT, provider="fake"
    )


def virtual(case: Case) -> Worker:
    """Each session on a clock of its own."""
    return InlineWorker(SessionRole(VirtualClock()))


def one_machine() -> Callable[[Case], Worker]:
    """All sessions on one clock: what one does, the others live through."""
    clock = VirtualClock()
    return lambda case: InlineWorker(SessionRole(clock))


def run(
    *seats: Seat,
    plan: EffortPlan = QUICK,
    seed: int = 0,
    open_worker: Callable[[Case], Worker] = virtual,
    open_sensor: Callable[[Case, Worker], Any] = lambda case, worker: None,
    **stage: Any,
) -> GroupResult:
    return conduct(seats, plan, Stage(open_worker, open_sensor, **stage), seed=seed)


class Watched:
    """Wraps a fake worker: keeps what it was asked, and raises `trouble` at one verb."""

    def __init__(self, at: str | None = None, trouble: WorkerError | None = None) -> None:
        self.worker = virtual(Case(model="m", backend="fake", threads=1))
        self.at, self.trouble = at, trouble
        self.start_s, self.pid = 0.0, None
        self.verbs: list[str] = []
        self.args: list[dict[str, Any]] = []
        self.deadlines: list[float] = []
        self.closed = 0

    def request(self, verb: str, args: dict[str, Any], *, deadline_s: float, on_event: Any = None) -> Any:
        self.verbs.append(verb)
        self.args.append(args)
        self.deadlines.append(deadline_s)
        if verb == self.at and self.trouble:
            raise self.trouble
        return self.worker.request(verb, args, deadline_s=deadline_s)

    def close(self) -> None:
        self.closed += 1
