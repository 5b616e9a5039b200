"""How to run, and who watches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from zoobench.errors import UsageError
from zoobench.spec import Case
from zoobench.terms import OnExisting, WeightsPolicy

if TYPE_CHECKING:
    from zoobench.driver.earlier import Earlier
    from zoobench.measure.effort import EffortPlan
    from zoobench.results.record import Record


@dataclass(frozen=True)
class Settings:
    """How to run, as against what to run.

    Attributes:
        max_case_time_s: overrides the effort's limit on one case's measuring time, seconds.
        inputs: an .npz file with the user's own tensors.
        seed: of the order of turns; None draws one, and it is recorded.
        sequential: the cases of a group one after another instead of in turns, so that only one is loaded at a time.
        wait: wait for another measurement on this host to end, instead of refusing.
        evidence: how much a search buys, instead of the effort's numbers.
        earlier: of a search. A group's results are taken from there only, and only where all of its cases took turns in one run, so that
            their ratios hold; a case that failed then is an answer too.
    """

    results_dir: Path = Path("results")
    on_existing: OnExisting = OnExisting.RESUME
    weights: WeightsPolicy = WeightsPolicy.AUTO
    allow_pickle: bool = False
    max_case_time_s: float | None = None
    inputs: Path | None = None
    seed: int | None = None
    sequential: bool = False
    wait: bool = False
    argv: Sequence[str] = ()
    evidence: EffortPlan | None = None
    earlier: Earlier | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for a seed that no generator takes."""
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"--seed {self.seed}: 0 or a larger whole number is needed")


class Observer(Protocol):
    """Who watches a run. Called between slots, never during one."""

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...

    def planned(self, cells: int, done: int) -> None:
        """How many cells there are, and how many of them have their result already."""
        ...

    def preparing(self, model: str, text: str) -> None:
        """A step of the preparation."""
        ...

    def working(self, case: Case, stage: str) -> None:
        """A cell's next step."""
        ...

    def recorded(self, record: Record) -> None:
        """A cell is done."""
        ...
