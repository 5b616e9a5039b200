"""Which cells a task of lm-evaluation-harness is due for: one for each artifact on each runtime, as accuracies are.

How long prompts and answers are and how many stand in a batch changes nothing of what a model knows, so cells that differ in
nothing else share what one pass found, and a later run takes it from the results.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from zoobench.errors import UsageError
from zoobench.outcome import TaskScore
from zoobench.results.record import Record
from zoobench.spec import NO_TOKENIZER, Artifact, Seat, TextTask
from zoobench.terms import CALL_OPTIONS, TOKEN_OPTIONS

_HARNESS = "lm-eval"


@dataclass
class TextTasks:
    """What was asked for, what is known, and what is still due."""

    asked: Sequence[TextTask] = ()
    known: dict[Hashable, tuple[TaskScore, ...]] = field(default_factory=dict)

    def check(self, artifact: Artifact) -> None:
        """Refuse before anything is measured what would say nothing.

        Raises:
            UsageError: the weights or the words are not the model's.
        """
        if not self.asked or artifact.decoder is None:
            return
        if artifact.weights == "random" or NO_TOKENIZER in artifact.notes:
            what = "its weights are random" if artifact.weights == "random" else NO_TOKENIZER
            raise UsageError(
                f"--lm-eval: {artifact.model} knows nothing of words ({what}); leave --lm-eval out, or name a folder that holds "
                "the model and its tokenizer"
            )

    def holds(self, record: Record) -> bool:
        """Whether the record has all that is asked for now; true where nothing is."""
        return not self.asked or self._of(record) is not None

    def learn(self, record: Record) -> None:
        """Remember what a record holds."""
        if self.asked and (found := self._of(record)):
            self.known[self._key(record)] = found

    def of(self, record: Record) -> Record:
        """The record with what another cell's pass found, where it had none of its own."""
        found = self.known.get(self._key(record)) if self.asked and record.quality else None
        if found is None or record.quality is None or self._of(record) is not None:
            return record
        return record.model_copy(update={"quality": record.quality.model_copy(update={"scores": found})})

    def seat(self, seat: Seat, blank: Record) -> Seat:
        """The seat, with the tasks where they are due."""
        if not self.asked or seat.artifact.decoder is None or self._key(blank) in self.known:
            return seat
        return dataclasses.replace(seat, tasks=tuple(self.asked))

    def _of(self, record: Record) -> tuple[TaskScore, ...] | None:
        """The scores of the tasks that are asked for, by the harness that is installed; None: one is missing."""
        scores = record.quality.scores if record.quality else ()
        wanted = {task.identity for task in self.asked}
        installed = importlib.metadata.version(_HARNESS)
        found = tuple(s for s in scores if s.lm_eval == installed and s.asked.identity in wanted)
        return found if {s.asked.identity for s in found} == wanted else None

    def _key(self, record: Record) -> Hashable:
        case = record.case
        left_out = {*CALL_OPTIONS, *TOKEN_OPTIONS}
        options = tuple(sorted((k, repr(v)) for k, v in case.options.items() if k not in left_out))
        sha256 = record.artifact.sha256 if record.artifact else None
        runtimes = tuple(sorted(record.versions.items()))
        return record.machine.fingerprint, sha256, case.backend, case.precision, options, case.arm, runtimes
