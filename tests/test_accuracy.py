"""Accuracy with real models, real pictures and real runtimes, and no Hub: what is recorded is recomputed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.real_models import (
    DIGITS_TEST,
    train_digits,
    write_digits,
    write_efficientnet_lite0,
    write_other_photographs,
    write_photographs,
)

from zoobench import api
from zoobench.driver import Settings
from zoobench.errors import UsageError
from zoobench.executors.local import LocalExecutor
from zoobench.results.record import Record
from zoobench.spec import Artifact
from zoobench.tasks.image_classification import ImageClassification
from zoobench.terms import DropDecision, Status, VerdictValue

pytestmark = pytest.mark.slow


class Place:
    """A cache and a results folder that one module's tests share, so that nothing is made twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executor = LocalExecutor(cache=folder / "cache")
        # Eight seconds, for nothing that is asked here.
        self.executor.ceilings = lambda threads, runtimes: None

    def run(self, model: Path, *, results: str = "results", **asked: object) -> list[Record]:
        more = {name: asked.pop(name) for name in ("backends", "precisions", "batch_sizes") if name in asked}
        return api.run(
            [str(model)],
            data=api.pictures(**asked),
            settings=Settings(results_dir=self.folder / results, max_case_time_s=0.3, wait=True),
            executor=self.executor,
            **more,
        )

    def artifact(self, record: Record) -> Artifact:
        from zoobench.prepare.cache import load_artifact

        return load_artifact(self.folder / "cache" / "artifacts" / "by_content" / record.artifact.sha256)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("accuracy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOOBENCH_LOCK", str(folder / "lock"))
        yield Place(folder)


@pytest.fixture(scope="module")
def digits(place: Place) -> tuple[Path, Path, Path]:
    """A trained model, its training pictures, and 500 that it has not seen."""
    train, test = write_digits(place.folder / "digits")
    return train_digits(train, place.folder / "digits_model"), train, test


@pytest.fixture(scope="module")
def measured(place: Place, digits: tuple[Path, Path, Path]) -> dict[tuple[str, str, int], Record]:
    model, train, test = digits
    records = place.run(
        model,
        dataset=str(test),
        calibration=str(train),
        backends=["pytorch", "onnx_cpu"],
        precisions=["fp32", "int8"],
        batch_sizes=[1, 4],
    )
    return {(r.case.backend, r.case.precision.value, r.case.batch): r for r in records}


def outputs_of(artifact: Artifact, pictures: Path) -> tuple[np.ndarray, np.ndarray]:
    """By hand: every picture through a bare ONNX Runtime session; logits and the true classes."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(artifact.path / artifact.file), providers=["CPUExecutionProvider"])
    files, task = sorted(pictures.glob("*/*.png")), ImageClassification()
    items = [task.item(Image.open(file).convert("RGB"), artifact.preprocessing) for file in files]
    rows = [session.run(None, {artifact.input_name: item[None]})[0][0] for item in items]
    return np.stack(rows), np.array([file.parent.name for file in files])


def test_what_is_recorded_is_what_a_bare_session_gets_right(place, digits, measured):
    record = measured["onnx_cpu", "fp32", 1]
    rows, truth = outputs_of(place.artifact(record), digits[2])
    right = int((rows.argmax(1) == truth.astype(int)).sum())
    found = record.accuracy
    assert (found.top1.k, found.top1.n, found.undecodable) == (right, DIGITS_TEST, 0)
    assert found.top1.value > 0.9, "it was trained"
    assert found.artifact_sha256 == record.artifact.sha256
    assert found.outputs == 10 and found.top1_masked is None
    five = (np.argsort(rows, axis=1)[:, -5:] == truth.astype(int)[:, None]).any(1)
    assert found.top5.k == int(five.sum())


def test_int8_is_held_against_fp32_picture_by_picture(place, digits, measured):
    fp32, int8 = measured["onnx_cpu", "fp32", 1], measured["onnx_cpu", "int8", 1]
    before, truth = outputs_of(place.artifact(fp32), digits[2])
    after, _ = outputs_of(place.artifact(int8), digits[2])
    was, now = before.argmax(1) == truth.astype(int), after.argmax(1) == truth.astype(int)
    close = int8.accuracy.fidelity
    assert (close.drop.lost, close.drop.won) == (int((was & ~now).sum()), int((now & ~was).sum()))
    assert close.agreement.k == int((before.argmax(1) == after.argmax(1)).sum())
    assert close.reference_sha256 == fp32.artifact.sha256 == int8.artifact.derived_from
    assert close.drop.decision is not DropDecision.FAIL and close.cosine_min > 0.9
    assert int8.evidence.precision == "int8" and int8.artifact.size_bytes < fp32.artifact.size_bytes / 2
    assert "pictures of" in int8.artifact.calibration and not int8.artifact.calibrated_on_noise
    assert int8.artifact.ladder["rungs"]


def test_all_runtimes_agree_on_fp32_and_all_batches_share_one_pass(measured):
    assert measured["pytorch", "fp32", 1].accuracy.top1 == measured["onnx_cpu", "fp32", 1].accuracy.top1
    for backend, precision in (("pytorch", "fp32"), ("onnx_cpu", "int8")):
        one, four = (measured[backend, precision, batch].accuracy for batch in (1, 4))
        assert one == four, "the same pass, down to its time"
    assert measured["pytorch", "int8", 1].status is Status.SKIPPED


def test_the_same_question_is_answered_from_the_results_and_another_is_not(place, digits, measured):
    model, train, test = digits
    same = {"dataset": str(test), "calibration": str(train), "backends": ["onnx_cpu"], "precisions": ["fp32"]}
    [again] = place.run(model, **same)
    # Down to the pass's own time: whatever became of the latency on a busy machine, no picture was looked at again.
    assert again.accuracy == measured["onnx_cpu", "fp32", 1].accuracy
    int8 = measured["onnx_cpu", "int8", 1]
    [judged] = place.run(model, **{**same, "precisions": ["int8"], "max_drop": 0.9})
    assert judged.accuracy.fidelity.drop.max_drop == 0.9
    assert judged.run_id == int8.run_id or int8.verdict.value is VerdictValue.INVALID, (
        "counts were judged anew"
    )
    [other] = place.run(model, **{**same, "dataset": str(train), "samples": 40})
    assert (
        other.accuracy.images == 40
        and other.accuracy.data.content_sha256 != again.accuracy.data.content_sha256
    )


def test_what_a_registry_says_of_the_pictures_makes_it_another_question(place, digits, measured):
    model, _, test = digits
    before = measured["onnx_cpu", "fp32", 1]
    registry = place.folder / "registry.toml"
    registry.write_text(
        f'[mine]\npath = "{model}"\npreprocessing = {{ resize = [32, 32], crop = [32, 32], channels = "grey", '
        'mean = [0.5], std = [0.5], interpolation = "nearest" }\n'
    )
    asked = {"backends": ["onnx_cpu"], "data": api.pictures(str(test)), "registry": registry}
    how = {
        "settings": Settings(results_dir=place.folder / "stated", max_case_time_s=0.3, wait=True),
        "executor": place.executor,
    }
    [stated] = api.run(["mine"], **asked, **how)
    assert stated.artifact.sha256 == before.artifact.sha256
    assert stated.accuracy.meaning_sha256 != before.accuracy.meaning_sha256
    assert stated.accuracy.preprocessing["interpolation"] == "nearest"
    registry.write_text(registry.read_text().replace("nearest", "bilinear"))
    [again] = api.run(["mine"], **asked, **how)
    assert again.accuracy.preprocessing["interpolation"] == "bilinear", (
        "measured anew, not taken from the results"
    )
    assert again.accuracy.top1 == before.accuracy.top1


def test_pictures_that_do_not_fit_the_input_are_refused_before_anything_is_measured(place, digits):
    model, _, test = digits
    registry = place.folder / "misfit.toml"
    registry.write_text(
        f'[misfit]\npath = "{model}"\npreprocessing = {{ crop = [16, 16], channels = "grey" }}\n'
    )
    with pytest.raises(UsageError, match=r"pictures of 1 × 16 × 16, and its input is 1 × 32 × 32"):
        api.run(
            ["misfit"],
            backends=["onnx_cpu"],
            data=api.pictures(str(test)),
            registry=registry,
            settings=Settings(results_dir=place.folder / "misfit", wait=True),
            executor=place.executor,
        )


def test_cells_that_share_a_pass_share_its_warnings(place, digits):
    model, _, test = digits
    records = place.run(
        model, results="shared", dataset=str(test), samples=20, backends=["onnx_cpu"], precisions=["fp32", "int8"],
        batch_sizes=[1, 4],
    )  # fmt: skip
    said = {
        r.case.batch: [w.code for w in r.verdict.warnings if w.code == "accuracy_not_claimed"]
        for r in records
        if r.case.precision.value == "int8"
    }
    assert said == {1: ["accuracy_not_claimed"], 4: ["accuracy_not_claimed"]}


def test_without_pictures_int8_claims_nothing(place, digits):
    model, _, test = digits
    [record] = place.run(
        model, results="noise", dataset=str(test), samples=50, backends=["onnx_cpu"], precisions=["int8"]
    )
    assert record.artifact.calibrated_on_noise and record.artifact.calibration == "noise"
    assert record.accuracy.top1 is None and "calibrated on noise" in record.accuracy.unclaimed
    assert record.accuracy.fidelity.agreement.n == 50 and record.accuracy.fidelity.drop is None


ESPRESSO, TRIPOD, CATS = {967}, {872}, {281, 282, 285}


@pytest.fixture(scope="module")
def photographed(place):
    """EfficientNet-Lite0 with its real weights, on every runtime, and in int8."""
    backends = [name for name in ("pytorch", "onnx_cpu", "openvino") if name != "openvino" or find_spec(name)]
    records = place.run(
        write_efficientnet_lite0(place.folder / "lite0"),
        results="photographs",
        dataset=str(write_photographs(place.folder / "photographs")),
        calibration=str(write_other_photographs(place.folder / "others")),
        backends=backends,
        precisions=["fp32", "int8"],
    )
    return {(record.case.backend, record.case.precision.value): record for record in records}


@pytest.mark.parametrize("backend", ["pytorch", "onnx_cpu", "openvino"])
def test_real_weights_know_real_photographs(place, photographed, backend):
    """A cup of espresso, a cat, a tripod; on every runtime, and in int8."""
    if (backend, "fp32") not in photographed:
        pytest.skip(f"{backend} is not installed")
    records = [photographed[backend, precision] for precision in ("fp32", "int8")]
    if backend == "pytorch":
        assert records.pop().status is Status.SKIPPED, "it has no int8"
    assert [r.status for r in records] == [Status.OK] * len(records)
    fp32 = records[0].accuracy
    assert (fp32.top1.k, fp32.outputs, fp32.classes) == (3, 1000, 3), "the tiger cat too"
    for record in records[1:]:
        # What int8 says of the cat may be another cat.
        assert record.accuracy.top1.k >= 2 and record.accuracy.top1_masked.k == 3
        assert record.accuracy.fidelity.cosine_min > 0.9
        if backend == "onnx_cpu":
            assert set(photographs_said(place, record)) <= ESPRESSO | TRIPOD | CATS


def photographs_said(place: Place, record: Record) -> list[int]:
    rows, _ = outputs_of(place.artifact(record), place.folder / "photographs")
    return [int(row.argmax()) for row in rows]
