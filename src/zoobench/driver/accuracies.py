"""Which cells an accuracy pass is due for: one for each artifact on each runtime, whatever batches are measured.

The batch does not change what a model gets right, so cells that differ in nothing else share what one pass found, and a
later run takes it from the results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from zoobench.backends import BACKENDS, COMMON_OPTIONS, artifact_key
from zoobench.driver.recorder import Recorder
from zoobench.driver.settings import Observer
from zoobench.driver.text_tasks import TextTasks
from zoobench.errors import UsageError
from zoobench.executors import Collected, Executor
from zoobench.judge.margin import judged_record
from zoobench.outcome import Accuracy
from zoobench.plan import Data
from zoobench.results.record import Record
from zoobench.spec import Artifact, Case, DataInfo, Evaluation, Seat
from zoobench.terms import CALL_OPTIONS, Precision, Status

_ORIGIN = "pytorch"
"""The backend whose fp32 is every other's reference."""


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
    tasks: TextTasks = field(default_factory=TextTasks)
    known: dict[Hashable, Accuracy] = field(default_factory=dict)
    rejudged: int = 0

    def learn(self, record: Record) -> None:
        """Remember what a record holds, where it is of the pictures and tasks that were asked for."""
        self.tasks.learn(record)
        found, asked = record.accuracy, self.pictures.evaluation
        if found is None or asked is None or not _same_pictures(found.data, asked.info):
            return
        judged = judged_record(record, self.pictures.max_drop).accuracy
        assert judged is not None
        self.known[self._key(record, found.artifact_sha256, found.meaning_sha256)] = judged

    def check(self, artifact: Artifact) -> None:
        """Refuse before anything is measured what every pass would fail with.

        Raises:
            UsageError: prepared as is stated, pictures do not have the shape of the model's input; or tasks say nothing of it.
        """
        self.tasks.check(artifact)
        how, asked = artifact.preprocessing, self.pictures.evaluation
        if asked is None or artifact.decoder is not None:
            return
        if asked.info.boxes is not (artifact.detector is not None):
            holds, finds = ("boxes", "classes") if asked.info.boxes else ("classes", "boxes")
            raise UsageError(
                f"--dataset {asked.info.label}: its pictures have {holds}, and {artifact.model} finds {finds}; give it pictures "
                f"with {finds}, and run the others apart"
            )
        if how is None:
            return
        channels = 1 if how.channels == "grey" else 3
        wanted = artifact.input_shape
        # Without a crop the size may be each picture's own.
        size = how.crop or (how.resize if how.fit == "squash" else None) or wanted[1:]
        if wanted != (channels, *size):
            raise UsageError(
                f"{artifact.model}: its preprocessing ({how.source}) makes pictures of {_by((channels, *size))}, and its input "
                f"is {_by(wanted)}; state what fits in a registry (preprocessing = {{ … }})"
            )

    def fits(self, record: Record, artifact: Artifact) -> bool:
        """Whether the record holds all that is asked for now of `artifact`; true where nothing is asked for."""
        if artifact.decoder is not None and not self.tasks.holds(record):
            return False
        asked, found = self.pictures.evaluation, record.accuracy
        # Pictures are not for language models.
        if asked is None or artifact.decoder is not None:
            return True
        if found is None or not _same_pictures(found.data, asked.info):
            return False
        if (found.artifact_sha256, found.meaning_sha256) != (artifact.sha256, artifact.meaning_sha256):
            return False
        reference = self.recorder.reference(record.case)
        against = found.fidelity.reference_sha256 if found.fidelity else None
        # A reference may itself be held against another runtime's, if that ran.
        return reference is None or against == reference.sha256

    def judged(self, record: Record) -> Record:
        """The record by the margin that is asked for now; it was not measured again for that."""
        fresh = judged_record(record, self.pictures.max_drop) if self.pictures.evaluation else record
        self.rejudged += fresh is not record
        return fresh

    def seats(self, seats: Sequence[Seat]) -> list[Seat]:
        """The seats, with an evaluation where one is due. Asked just before the group is measured."""
        return [self._seat(seat) for seat in seats]

    def of(self, record: Record) -> Record:
        """The record with the accuracy that another cell's pass found, and its warnings, where it had none of its own."""
        record = self.tasks.of(record)
        artifact = self.recorder.artifact(record.case)
        if self.pictures.evaluation is None or record.accuracy is not None or artifact is None:
            return record
        found = self.known.get(self._key(record, artifact.sha256, artifact.meaning_sha256))
        if found is None or record.verdict is None:
            return record
        # With it comes numpy, which a run that measures nothing does without.
        from zoobench.measure.verdict import with_accuracy

        verdict = with_accuracy(record.verdict, record.case, record.check, found)
        return record.model_copy(update={"accuracy": found, "verdict": verdict})

    def _seat(self, seat: Seat) -> Seat:
        asked = self.pictures.evaluation
        if asked is None and not self.tasks.asked:
            return seat
        blank = self.recorder.record(seat.case, Status.INTERRUPTED)
        if asked is None or seat.artifact.decoder is not None:
            return self.tasks.seat(seat, blank)
        seat = dataclasses.replace(seat, pack=asked.folder)
        if self._key(blank, seat.artifact.sha256, seat.artifact.meaning_sha256) in self.known:
            return seat
        model = self.recorder.models[seat.case.model]
        quoted = model.published if seat.artifact.weights == "pretrained" else None
        evaluation = Evaluation(
            pack=asked.folder,
            data=asked.info,
            outputs=asked.outputs,
            reference=self.recorder.reference(seat.case),
            origin=self._origin(seat),
            max_drop=self.pictures.max_drop,
            published=quoted.figure if quoted else None,
        )
        return dataclasses.replace(seat, evaluation=evaluation)

    def _origin(self, seat: Seat) -> tuple[Case, Artifact] | None:
        """Boxes of two runtimes can be compared where classes could not: thresholds make a choice of near equals."""
        case = seat.case
        if seat.artifact.detector is None or case.precision is not Precision.FP32 or case.backend == _ORIGIN:
            return None
        known = (*COMMON_OPTIONS, *BACKENDS[_ORIGIN].options)
        options = {name: value for name, value in case.options.items() if name in known}
        same = case.model_copy(
            update={"backend": _ORIGIN, "device": BACKENDS[_ORIGIN].device, "options": options}
        )
        artifact = self.recorder.artifact(same)
        return (same, artifact) if artifact else None

    def _key(self, record: Record, sha256: str, meaning: str) -> Hashable:
        """What an accuracy depends on beside the pictures: a precision may give other answers on another CPU."""
        case = record.case
        options = tuple(sorted((k, repr(v)) for k, v in case.options.items() if k not in CALL_OPTIONS))
        # LoadGen only calls the model.
        runtimes = tuple(sorted((k, v) for k, v in record.versions.items() if k != "mlcommons-loadgen"))
        reference = self.recorder.reference(case) if case.model in self.recorder.models else None
        against = reference.sha256 if reference else None
        return (
            record.machine.fingerprint, sha256, meaning, against, case.backend, case.precision, options, case.arm, runtimes,
        )  # fmt: skip


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _same_pictures(one: DataInfo, other: DataInfo) -> bool:
    return (one.content_sha256, one.labels_sha256) == (other.content_sha256, other.labels_sha256)


def needed_keys(cases: Sequence[Case], data: Data) -> dict[str, dict[str, None]]:
    """Model → the keys of the artifacts that its cases run, and of those that they are held against."""
    wanted: dict[str, dict[str, None]] = {}
    for case in cases:
        keys = wanted.setdefault(case.model, {})
        keys[artifact_key(case.backend, case.precision)] = None
        if data.evaluation:
            keys[artifact_key(case.backend, Precision.FP32)] = None
    return wanted
