"""Other precisions of an ONNX artifact: what decides what they hold, which pictures judge them, and what they say of themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.prepare.small_nets import DETECTOR, DETECTOR_TAIL, detector, pictures, squeezed_net

from zoobench.errors import PrepareError
from zoobench.prepare import ArtifactCache, Prepared, _with_derived, derive, ladder
from zoobench.prepare.build import save_reference
from zoobench.prepare.cache import content_of
from zoobench.prepare.derive import Calibration, _pictures, build_derived, derived_recipe, split_key
from zoobench.prepare.ladder import Ladder, Rung
from zoobench.prepare.quantize import Recipe
from zoobench.prepare.validate import run_in_batches, run_onnxruntime
from zoobench.spec import Artifact, ModelSpec, Preprocessing
from zoobench.tasks import open_task
from zoobench.terms import Precision

slow = pytest.mark.slow


def plain(folder: Path, **fields: object) -> Artifact:
    """An fp32 ONNX artifact of a small net, with its reference."""
    folder.mkdir(parents=True)
    file = squeezed_net(folder / "model.onnx", size=16, channels=48)
    inputs = open_task("image_classification").check_inputs((3, 16, 16))
    outputs = run_in_batches(run_onnxruntime(file), inputs, (1,))
    save_reference(folder, open_task("image_classification").parts(outputs))
    sha256, size = content_of(folder)
    return Artifact(
        path=folder, format="onnx", sha256=sha256, size_bytes=size, file="model.onnx", model="net", input_shape=(3, 16, 16),
        input_name="pixels", weights="local", preprocessing=Preprocessing(), **fields,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_SHORTEST_TURN_S", 0.0), ("_ROUNDS", 3), ("_MOST_ROUNDS", 3)):
        monkeypatch.setattr(ladder, name, value)


@pytest.fixture
def source(tmp_path: Path) -> Artifact:
    return plain(tmp_path / "plain")


def shown(count: int = 10, sha256: str = "c" * 64) -> Calibration:
    return Calibration("10 pictures of somewhere", sha256, lambda artifact: pictures(count))


def made(source: Artifact, folder: Path, key: str, calibration: Calibration | None = None) -> Artifact:
    folder.mkdir()
    recipe = derived_recipe(key, source, calibration)
    return build_derived(folder, key, source, calibration, recipe=recipe, progress=lambda _: None)


def test_a_key_says_format_and_precision():
    assert split_key("onnx:int8") == ("onnx", Precision.INT8)
    assert split_key("torch") == ("torch", Precision.FP32)


def test_what_decides_the_content_is_in_the_recipe(source):
    base = derived_recipe("onnx:int8", source, shown())
    others = [
        derived_recipe("onnx:int8", source, None),
        derived_recipe("onnx:int8", source, shown(sha256="d" * 64)),
        derived_recipe("openvino:int8", source, shown()),
        derived_recipe("onnx:int8", source.model_copy(update={"sha256": "e" * 64}), shown()),
        derived_recipe(
            "onnx:int8", source.model_copy(update={"preprocessing": Preprocessing(scale=1.0)}), shown()
        ),
    ]
    assert all(other != base for other in others)
    assert base == derived_recipe("onnx:int8", source, shown())
    # Where nothing is calibrated, pictures decide nothing.
    assert derived_recipe("onnx:fp16", source, shown()) == derived_recipe("onnx:fp16", source, None)


def test_the_pictures_that_judge_are_not_those_that_calibrate(source):
    calibrating, judging = _pictures(source, shown(23))
    rows = np.concatenate(calibrating)
    assert len(rows) + len(judging) == 23 and len(judging) == 7
    assert not {row.tobytes() for row in rows} & {row.tobytes() for row in judging}
    with pytest.raises(PrepareError, match="gives 2 pictures to calibrate on; at least 3 are needed"):
        _pictures(source, shown(2))


def test_without_pictures_it_is_noise(source):
    calibrating, judging = _pictures(source, None)
    assert sum(map(len, calibrating)) == 16 and len(judging) == 8
    assert np.array_equal(judging, open_task("image_classification").check_inputs((3, 16, 16)))


def test_a_graph_with_a_fixed_batch_is_calibrated_in_its_batch(tmp_path):
    fixed = plain(tmp_path / "fixed", dynamic_batch=False, fixed_batch=3)
    calibrating, _ = _pictures(fixed, shown(23))
    assert {len(batch) for batch in calibrating} == {3}


@slow
@pytest.mark.parametrize("calibration", [None, shown()], ids=["noise", "pictures"])
def test_int8_is_an_artifact_of_its_own(source, tmp_path, calibration):
    found = made(source, tmp_path / "int8", "onnx:int8", calibration)
    assert (found.precision, found.format, found.derived_from) == (Precision.INT8, "onnx", source.sha256)
    assert found.sha256 != source.sha256 and found.size_bytes < source.size_bytes
    assert found.calibrated_on_noise is (calibration is None)
    assert found.calibration == (calibration.label if calibration else "noise")
    assert found.validation.passed and found.validation.tolerance is None
    assert found.ladder["rungs"] and found.ladder["words"] in found.notes
    onnx.checker.check_model(str(found.path / found.file))
    assert (tmp_path / "int8" / "reference.npz").is_file()


@slow
def test_fp16_is_held_to_its_tolerance(source, tmp_path):
    found = made(source, tmp_path / "fp16", "onnx:fp16")
    assert found.validation.passed and found.validation.tolerance == 2e-2
    assert found.ladder is None and found.calibration is None and not found.calibrated_on_noise


@slow
def test_openvinos_int8_comes_with_its_weights(source, tmp_path):
    pytest.importorskip("nncf")
    found = made(source, tmp_path / "ov", "openvino:int8", shown())
    assert (found.format, found.file) == ("openvino", "model.xml")
    assert (found.path / "model.bin").is_file() and "openvino" in found.validation.runtime
    assert found.ladder["rungs"][0]["recipe"]["name"] == "nncf"


def test_a_ladder_without_a_file_says_why(source, tmp_path, monkeypatch):
    failed = Ladder(
        rungs=(Rung(recipe=Recipe(name="plain"), error="no", seconds=1),),
        chosen=None,
        met=False,
        words="no int8 file could be made: no",
    )
    monkeypatch.setattr("zoobench.prepare.ladder.climb", lambda *_, **__: failed)
    with pytest.raises(PrepareError, match="net: no int8 file could be made: no"):
        made(source, tmp_path / "int8", "onnx:int8", shown())


@pytest.mark.parametrize(
    ("weights", "calibration", "asked"),
    [("local", shown(), derive.MIN_AGREEMENT), ("random", shown(), 0.0), ("local", None, 0.0)],
)
def test_classes_count_only_where_they_mean_something(
    source, tmp_path, monkeypatch, weights, calibration, asked
):
    told = {}

    def climb(origin: Path, folder: Path, *_: object, **given: object) -> Ladder:
        told.update(given)
        raise PrepareError("enough")

    monkeypatch.setattr("zoobench.prepare.ladder.climb", climb)
    with pytest.raises(PrepareError, match="enough"):
        made(source.model_copy(update={"weights": weights}), tmp_path / "int8", "onnx:int8", calibration)
    assert told["min_agreement"] == asked
    assert told["task"] is None


def finding(folder: Path) -> Artifact:
    """An fp32 artifact of a small detector."""
    folder.mkdir(parents=True)
    file = detector(folder / "model.onnx", channels=64)
    task = open_task("object_detection", DETECTOR)
    save_reference(
        folder, task.parts(run_in_batches(run_onnxruntime(file), task.check_inputs((3, 16, 16)), (1,)))
    )
    sha256, size = content_of(folder)
    return Artifact(
        path=folder, format="onnx", sha256=sha256, size_bytes=size, file="model.onnx", model="finder", input_shape=(3, 16, 16),
        input_name="pixels", weights="local", task="object_detection", detector=DETECTOR, outputs=("output0",),
        preprocessing=Preprocessing(),
    )  # fmt: skip


@slow
@pytest.mark.parametrize("calibration", [None, shown()], ids=["noise", "pictures"])
def test_a_detectors_int8_leaves_its_tail_in_fp32_and_says_so(tmp_path, calibration):
    told = []
    source, folder = finding(tmp_path / "plain"), tmp_path / "int8"
    folder.mkdir()
    recipe = derived_recipe("onnx:int8", source, calibration)
    found = build_derived(folder, "onnx:int8", source, calibration, recipe=recipe, progress=told.append)
    chosen = found.ladder["rungs"][found.ladder["chosen"]]
    assert "detection_tail" in chosen["recipe"]["exclude"]
    assert set(found.ladder["left_out"]) >= DETECTOR_TAIL
    assert any(
        "left in fp32 (" in note and note.startswith("16 nodes of the detection tail") for note in found.notes
    ) or ("detection_head" in chosen["recipe"]["exclude"])
    assert found.ladder["alike"] == "boxes"
    assert any("of its boxes" in line for line in told)


@slow
def test_one_precision_that_fails_leaves_the_others(source, tmp_path):
    prepared = Prepared(model=ModelSpec(name="net"), artifacts={"onnx": source})
    found = _with_derived(
        prepared,
        ["onnx:int8_dynamic", "onnx:fp16", "onnx:bf16"],
        ArtifactCache(tmp_path / "cache"),
        None,
        lambda _: None,
    )
    assert set(found.artifacts) == {"onnx", "onnx:fp16", "onnx:int8_dynamic"}
    assert "no bf16 file can be made" in found.failed["onnx:bf16"]
    again = _with_derived(
        prepared, ["onnx:fp16"], ArtifactCache(tmp_path / "cache"), None, lambda _: pytest.fail("made anew")
    )
    assert again.artifacts["onnx:fp16"].sha256 == found.artifacts["onnx:fp16"].sha256


def test_without_an_onnx_file_nothing_is_derived(tmp_path):
    prepared = Prepared(model=ModelSpec(name="net"), artifacts={}, failed={"onnx": "the exporter gave up"})
    found = _with_derived(prepared, ["onnx:int8"], ArtifactCache(tmp_path), None, lambda _: None)
    assert found.failed["onnx:int8"] == "the exporter gave up"
