"""What many small runs that are one to the user have in common: each thing is found out once, and said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from zoobench.driver import Observer
from zoobench.executors import Collected, Executor, Listener, Preparation
from zoobench.results.record import Record
from zoobench.spec import Case, ModelSpec, Seat
from zoobench.terms import WeightsPolicy

if TYPE_CHECKING:
    from zoobench.data import DataRequest
    from zoobench.machine import Ceilings
    from zoobench.measure.conductor import GroupResult
    from zoobench.measure.effort import EffortPlan


class Unrepeated:
    """An observer of many small runs that are one to the user: each thing is said once, and a bar has no end in sight."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._said: set[str] = set()

    def note(self, text: str) -> None:
        """The first time."""
        if text not in self._said:
            self._said.add(text)
            self._observer.note(text)

    def planned(self, cells: int, done: int) -> None:
        """Nobody knows how many cells a search takes."""

    def preparing(self, model: str, text: str) -> None:
        """The first time."""
        if f"{model}: {text}" not in self._said:
            self._said.add(f"{model}: {text}")
            self._observer.preparing(model, text)

    def working(self, case: Case, stage: str) -> None:
        """As it comes."""
        self._observer.working(case, stage)

    def recorded(self, record: Record) -> None:
        """The search says what came of it."""


class Once:
    """An executor that is asked the same again and again: what does not change is found out once."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._reasons: dict[str, str | None] = {}
        self._prepared: dict[tuple[str, tuple[str, ...]], Preparation] = {}
        self._collected: dict[DataRequest, Collected] = {}
        self._ceilings: dict[tuple[int, tuple[str, ...]], Ceilings | None] = {}

    def probe(self, backends: Sequence[str]) -> dict[str, str | None]:
        """Each backend is asked once."""
        new = [name for name in backends if name not in self._reasons]
        self._reasons |= self._executor.probe(new) if new else {}
        return {name: self._reasons[name] for name in backends}

    def versions(self, backends: Sequence[str]) -> dict[str, dict[str, str]]:
        """As the executor does."""
        return self._executor.versions(backends)

    def weigh(self, model: ModelSpec) -> int | None:
        """As the executor does."""
        return self._executor.weigh(model)

    def ceilings(self, threads: int, runtimes: Sequence[str]) -> Ceilings | None:
        """Measured once."""
        key = (threads, tuple(runtimes))
        if key not in self._ceilings:
            self._ceilings[key] = self._executor.ceilings(threads, runtimes)
        return self._ceilings[key]

    def prepare(
        self,
        models: Sequence[tuple[ModelSpec, Sequence[str]]],
        *,
        weights: WeightsPolicy,
        allow_pickle: bool,
        on_progress: Callable[[str, str], None],
        calibration: Collected | None = None,
    ) -> Iterator[Preparation]:
        """Each model is prepared once; what failed is not tried again."""
        for model, formats in models:
            key = (model.name, tuple(formats))
            if key not in self._prepared:
                (self._prepared[key],) = self._executor.prepare(
                    [(model, formats)],
                    weights=weights,
                    allow_pickle=allow_pickle,
                    on_progress=on_progress,
                    calibration=calibration,
                )
            yield self._prepared[key]

    def collect(
        self, request: DataRequest, *, beside: Collected | None, on_progress: Callable[[str, str], None]
    ) -> Collected:
        """Each once."""
        if request not in self._collected:
            self._collected[request] = self._executor.collect(request, beside=beside, on_progress=on_progress)
        return self._collected[request]

    def run(
        self,
        groups: Iterable[Sequence[Seat]],
        plan: EffortPlan,
        *,
        seed: int,
        listener: Listener,
        first_fork: int = 0,
    ) -> Iterator[GroupResult]:
        """As the executor does."""
        return self._executor.run(groups, plan, seed=seed, listener=listener, first_fork=first_fork)
