"""Which cells an accuracy pass is due for: one for each artifact on each runtime, whatever batches are measured.

The batch does not change what a model gets right, so cells that differ in nothing else share what one pass found, and a
later run takes it from the results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from zoobench.backends import artifact_key
from zoobench.driver.recorder import Recorder
from zoobench.driver.settings import Observer
from zoobench.executors import Collected, Executor
from zoobench.outcome import Accuracy
from zoobench.plan import Data
from zoobench.results.record import Record
from zoobench.spec import LOAD_OPTIONS, Case, Evaluation, Precision, Seat

_BESIDE = {*LOAD_OPTIONS, "gap_ms", "io_binding", "inputs_sha256"}
"""Options that say how a model is called and not what it computes."""


@dataclass(frozen=True)
class Pictures:
    """What was asked for, where the workers can read it."""

    evaluation: Collected | None = None
    calibration: Collected | None = None
    max_drop: float = 0.01


def collect(data: Data, executor: Executor, observer: Observer) -> Pictures:
    """Bring the pictures to the workers; calibration pictures are never among those that are judged.

    Raises:
        UsageError, HubError, PrepareError: they cannot be had, or the two overlap.
    """
    evaluation = calibration = None
    if data.evaluation:
        evaluation = executor.collect(data.evaluation, beside=None, on_progress=observer.preparing)
    if data.calibration:
        calibration = executor.collect(data.calibration, beside=evaluation, on_progress=observer.preparing)
    return Pictures(evaluation, calibration, data.max_drop)


@dataclass
class Accuracies:
    """What is known of this run's accuracies, and what is still due."""

    pictures: Pictures
    recorder: Recorder
    known: dict[Hashable, Accuracy] = field(default_factory=dict)

    def learn(self, record: Record) -> None:
        """Remember what a record holds, where it is of the pictures that were asked for."""
        if record.accuracy is not None and self.fits(record):
            self.known[self._key(record.case, record.accuracy.artifact_sha256, record.versions)] = (
                record.accuracy
            )

    def fits(self, record: Record) -> bool:
        """Whether the record's accuracy is what is asked for now; nothing fits where nothing is asked."""
        asked = self.pictures.evaluation
        found = record.accuracy
        if asked is None:
            return True
        if found is None or found.data.content_sha256 != asked.info.content_sha256:
            return False
        lost = found.fidelity.drop if found.fidelity else None
        return lost is None or lost.max_drop == self.pictures.max_drop

    def seats(self, seats: Sequence[Seat]) -> list[Seat]:
        """The seats, with an evaluation where one is due. Asked just before the group is measured."""
        return [self._seat(seat) for seat in seats]

    def of(self, record: Record) -> Record:
        """The record with the accuracy that another cell's pass found, where it had none of its own."""
        if self.pictures.evaluation is None or record.accuracy is not None or record.artifact is None:
            return record
        found = self.known.get(self._key(record.case, record.artifact.sha256, record.versions))
        return record if found is None else record.model_copy(update={"accuracy": found})

    def _seat(self, seat: Seat) -> Seat:
        asked = self.pictures.evaluation
        versions = self.recorder.versions_of(seat.case)
        if asked is None or self._key(seat.case, seat.artifact.sha256, versions) in self.known:
            return seat
        model = self.recorder.models[seat.case.model]
        published = (
            model.published.top1 if model.published and seat.artifact.weights == "pretrained" else None
        )
        evaluation = Evaluation(
            pack=asked.folder,
            data=asked.info,
            outputs=asked.outputs,
            reference=self.recorder.reference(seat.case),
            max_drop=self.pictures.max_drop,
            published_top1=published,
        )
        return dataclasses.replace(seat, evaluation=evaluation)

    @staticmethod
    def _key(case: Case, sha256: str, versions: dict[str, str]) -> Hashable:
        options = tuple(sorted((k, repr(v)) for k, v in case.options.items() if k not in _BESIDE))
        # LoadGen only calls the model.
        runtimes = tuple(sorted((k, v) for k, v in versions.items() if k != "mlcommons-loadgen"))
        return sha256, case.backend, case.precision, options, case.arm, runtimes


def needed_keys(cases: Sequence[Case], data: Data) -> dict[str, dict[str, None]]:
    """Model → the keys of the artifacts that its cases run, and of those that they are held against."""
    wanted: dict[str, dict[str, None]] = {}
    for case in cases:
        keys = wanted.setdefault(case.model, {})
        keys[artifact_key(case.backend, case.precision)] = None
        if data.evaluation:
            keys[artifact_key(case.backend, Precision.FP32)] = None
    return wanted
