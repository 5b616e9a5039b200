"""Executors: where workers run. The protocol and the one table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from zoobench.spec import Artifact, Case, DataInfo, ModelSpec
from zoobench.terms import WeightsPolicy

if TYPE_CHECKING:
    from zoobench.data import DataRequest
    from zoobench.machine import Ceilings
    from zoobench.measure.conductor import GroupResult
    from zoobench.measure.effort import EffortPlan
    from zoobench.outcome import Slot
    from zoobench.spec import Seat


@dataclass(frozen=True)
class Preparation:
    """What became of one model: artifacts by `artifact_key`, or why there are none; `failed` says why one is missing."""

    model: ModelSpec
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_kind: str | None = None
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Collected:
    """Pictures where the workers can read them.

    Attributes:
        folder: of the pack.
        outputs: folder for the outputs of reference passes.
        info: what the pack holds.
    """

    folder: str
    outputs: str
    info: DataInfo


@dataclass(frozen=True)
class Listener:
    """Who wants to know what is going on while groups run."""

    on_slot: Callable[[Case, Slot], None] = lambda case, slot: None
    on_progress: Callable[[Case, str], None] = lambda case, stage: None


class Executor(Protocol):
    """Runs workers somewhere. Only the driver writes results."""

    def probe(self, backends: Sequence[str]) -> dict[str, str | None]:
        """Why each backend cannot run there; None when it can."""
        ...

    def versions(self, backends: Sequence[str]) -> dict[str, dict[str, str]]:
        """For each backend the version of its runtime there; nothing where it is this process's own environment."""
        ...

    def weigh(self, model: ModelSpec) -> int | None:
        """Bytes of the model's download as the Hub tells them; None when it cannot be asked."""
        ...

    def ceilings(self, threads: int, runtimes: Sequence[str]) -> Ceilings | None:
        """The machine's measured ceilings, measured now when they are not stored."""
        ...

    def prepare(
        self,
        models: Sequence[tuple[ModelSpec, Sequence[str]]],
        *,
        weights: WeightsPolicy,
        allow_pickle: bool,
        on_progress: Callable[[str, str], None],
        calibration: Collected | None = None,
    ) -> Iterator[Preparation]:
        """Make the artifacts of each (model, keys), one after another; see `zoobench.backends.artifact_key`."""
        ...

    def collect(
        self, request: DataRequest, *, beside: Collected | None, on_progress: Callable[[str, str], None]
    ) -> Collected:
        """Bring the pictures that were asked for to where the workers are.

        Args:
            beside: pictures that must not be among them.

        Raises:
            UsageError, HubError, PrepareError: they cannot be had, or overlap with `beside`.
        """
        ...

    def run(
        self,
        groups: Iterable[Sequence[Seat]],
        plan: EffortPlan,
        *,
        seed: int,
        listener: Listener,
        first_fork: int = 0,
    ) -> Iterator[GroupResult]:
        """Measure group after group, in order; stop after an interrupted one."""
        ...


EXECUTORS: dict[str, str] = {"local": "zoobench.executors.local:LocalExecutor"}


def open_executor(name: str, **arguments: Any) -> Executor:
    """Import and make the executor called `name`."""
    module, _, attribute = EXECUTORS[name].partition(":")
    return cast("Executor", getattr(importlib.import_module(module), attribute)(**arguments))
