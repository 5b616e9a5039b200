"""A user's own .onnx file is a model like any other, and may be hostile."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoobench.card import Card, append_card
from zoobench.errors import PrepareError
from zoobench.prepare import ArtifactCache, Prepared, prepare_model
from zoobench.prepare.build import load_reference
from zoobench.prepare.validate import run_onnxruntime
from zoobench.spec import Detector, ModelSpec
from zoobench.tasks import open_task
from zoobench.terms import WeightsPolicy

SHAPE = (3, 8, 8)
WEIGHT = np.random.default_rng(1).standard_normal((3 * 8 * 8, 5)).astype(np.float32)


def classifier(batch: int | str = "batch", height: int | str = 8, kind: int = TensorProto.FLOAT) -> Any:
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["cast"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", kind, [batch, 3, height, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_external_data(folder: Path, location: str = "weights.bin") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "net.onnx"
    onnx.save_model(classifier(), file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    if location != "weights.bin":
        model = onnx.load(file, load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = location
        file.write_bytes(model.SerializeToString())
    return file


def prepare(file: Path, **more: Any) -> Prepared:
    spec = ModelSpec(name=file.stem, path=file, library="onnx", **more)
    return prepare_model(
        spec,
        formats=["torch", "onnx"],
        weights=WeightsPolicy.AUTO,
        allow_pickle=False,
        cache=ArtifactCache(file.parent / "cache"),
    )


def refusal(file: Path, **more: Any) -> str:
    with pytest.raises(PrepareError) as caught:
        prepare(file, **more)
    message = str(caught.value)
    assert "\n" not in message
    assert str(file) in message
    return message.replace(str(file), "")  # its folder is named after the test


def saved(folder: Path, model: Any) -> Path:
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


def test_a_file_becomes_an_onnx_artifact(tmp_path: Path) -> None:
    prepared = prepare(saved(tmp_path, classifier()))
    assert list(prepared.artifacts) == ["onnx"]
    assert "no PyTorch module" in prepared.notes[0]
    assert prepared.model.input_shape == SHAPE
    artifact = prepared.artifacts["onnx"]
    assert (artifact.input_name, artifact.input_shape, artifact.weights) == ("image", SHAPE, "local")
    assert (artifact.dynamic_batch, artifact.fixed_batch, artifact.opset) == (True, None, 17)
    assert artifact.validation is not None
    assert artifact.validation.passed
    assert "optimisations disabled" in artifact.validation.reference
    inputs = open_task("image_classification").check_inputs(SHAPE)
    assert np.allclose(
        load_reference(artifact.path)["outputs"], inputs.reshape(8, -1) @ WEIGHT, rtol=1e-4, atol=1e-4
    )


def test_the_reference_is_made_without_optimisations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def run(file: Path, *, optimised: bool = True) -> Any:
        asked.append(optimised)
        return run_onnxruntime(file, optimised=optimised)

    monkeypatch.setattr("zoobench.prepare.onnx_file.run_onnxruntime", run)
    prepare(saved(tmp_path, classifier()))
    assert asked == [False]


def test_the_second_time_it_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, classifier())
    first = prepare(file)
    monkeypatch.setattr("zoobench.prepare.onnx_file.build_from_file", None)
    assert prepare(file) == first


def test_a_fixed_batch_is_told(tmp_path: Path) -> None:
    artifact = prepare(saved(tmp_path, classifier(batch=2))).artifacts["onnx"]
    assert (artifact.dynamic_batch, artifact.fixed_batch) == (False, 2)


def test_external_data_comes_along(tmp_path: Path) -> None:
    artifact = prepare(with_external_data(tmp_path)).artifacts["onnx"]
    assert (artifact.path / "weights.bin").stat().st_size == WEIGHT.nbytes
    assert artifact.size_bytes > WEIGHT.nbytes


def test_other_external_data_is_another_model(tmp_path: Path) -> None:
    file = with_external_data(tmp_path)
    first = prepare(file).artifacts["onnx"].sha256
    (tmp_path / "weights.bin").write_bytes((WEIGHT * 2).tobytes())
    assert prepare(file).artifacts["onnx"].sha256 != first


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/passwd", "sub/../../secret.bin", "..\\secret", ""]
)
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    assert "refused" in refusal(with_external_data(tmp_path / "model", location))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(WEIGHT.tobytes())
    file = with_external_data(tmp_path / "model")
    (file.parent / "weights.bin").unlink()
    (file.parent / "weights.bin").symlink_to(secret)
    assert "link out of" in refusal(file)


@pytest.mark.parametrize("name", ["net.onnx", "manifest.json", "reference.npz"])
def test_external_data_cannot_take_the_name_of_another_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert "rename it" in refusal(with_external_data(tmp_path, name))


def test_missing_and_truncated_external_data(tmp_path: Path) -> None:
    file = with_external_data(tmp_path)
    os.truncate(tmp_path / "weights.bin", 10)
    assert "is truncated; copy it again" in refusal(file)
    (tmp_path / "weights.bin").unlink()
    assert "missing" in refusal(file)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    file = saved(tmp_path, classifier())
    os.truncate(file, int(file.stat().st_size * share))
    assert refusal(file)


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a zip", b"<html>404</html>", b"\x00" * 100, os.urandom(300)]
)
def test_not_an_onnx_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    assert refusal(tmp_path / "net.onnx")


def test_no_such_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "net.onnx")


def test_an_open_axis_besides_the_batch(tmp_path: Path) -> None:
    assert "axes 2 (height)" in refusal(saved(tmp_path, classifier(height="height")))


def test_another_input_type(tmp_path: Path) -> None:
    assert "not float32" in refusal(saved(tmp_path, classifier(kind=TensorProto.UINT8)))


def test_more_than_one_input(tmp_path: Path) -> None:
    model = classifier()
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    assert "2 inputs (image, mask)" in refusal(saved(tmp_path, model))


def test_another_shape_than_asked(tmp_path: Path) -> None:
    assert "not (3, 224, 224)" in refusal(saved(tmp_path, classifier()), img_size=224)


def test_a_graph_that_does_not_hold_together(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node[2].input[1] = "nowhere"
    assert refusal(saved(tmp_path, model))


def test_an_operator_that_nobody_knows(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node[2].domain = "nobody.knows"
    model.opset_import.append(helper.make_opsetid("nobody.knows", 1))
    assert refusal(saved(tmp_path, model))


def yolo(height: int | str = 64, width: int | str = 64, *, metadata: dict[str, str] | None = None) -> Any:
    """One linear layer in a YOLOv8's clothes, of a picture's mean: 84 candidates of 4 + 3 numbers."""
    rng = np.random.default_rng(1)
    weight = rng.normal(0, 1, (3, 7 * 84)).astype(np.float32)
    scale = np.repeat(np.array([60, 60, 20, 20, 0.6, 0.6, 0.6], np.float32), 84).reshape(1, 7, 84)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["product"]),
        helper.make_node("Reshape", ["product", "shape"], ["rows"]),
        helper.make_node("Sigmoid", ["rows"], ["shares"]),
        helper.make_node("Mul", ["shares", "scale"], ["output0"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, height, width])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 7, 84])
    weights = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.array([-1, 7, 84], np.int64), "shape"),
        numpy_helper.from_array(scale, "scale"),
    ]
    graph = helper.make_graph(nodes, "yolo", [image], [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    return model


ULTRALYTICS = {"task": "detect", "names": "{0: 'cat', 1: 'dog', 2: 'hen'}", "imgsz": "[64, 96]"}


def test_a_detectors_outputs_are_understood(tmp_path: Path) -> None:
    file = saved(tmp_path, yolo(metadata=ULTRALYTICS))
    artifact = prepare(file, task="object_detection").artifacts["onnx"]
    assert artifact.detector is not None
    assert (artifact.detector.axes, artifact.detector.suppress) == ("columns", True)
    assert artifact.labels == ("cat", "dog", "hen")
    assert artifact.preprocessing is not None
    assert (artifact.preprocessing.fit, artifact.preprocessing.crop) == ("longest", (64, 64))
    assert "assumed" in artifact.preprocessing.source
    assert artifact.validation is not None and artifact.validation.passed
    assert load_reference(artifact.path).keys() == {"boxes", "scores"}


def test_what_the_user_says_of_a_detector_comes_first(tmp_path: Path) -> None:
    file = saved(tmp_path, yolo(metadata=ULTRALYTICS))
    stated = Detector(boxes="output0", scores="output0", axes="columns", box_format="xywh", box_unit="share")
    artifact = prepare(file, task="object_detection", detector=stated).artifacts["onnx"]
    assert artifact.detector == stated
    assert prepare(file, task="object_detection").artifacts["onnx"].detector != stated
    message = refusal(file, task="object_detection", detector=stated.model_copy(update={"scores": "logits"}))
    assert "there is no output 'logits'; there are output0" in message


def test_what_an_export_says_of_itself_is_believed_before_any_guess(tmp_path: Path) -> None:
    file = saved(tmp_path, yolo())
    told = prepare(file, task="object_detection").artifacts["onnx"]
    assert told.detector and told.preprocessing
    said = Card(
        task="object_detection",
        licence="agpl-3.0",
        preprocessing=told.preprocessing.model_copy(update={"fit": "squash"}),
        detector=told.detector.model_copy(update={"box_format": "xyxy"}),
    )
    append_card(file, said)
    found = prepare(file, task="object_detection")
    artifact = found.artifacts["onnx"]
    assert (artifact.detector, artifact.preprocessing) == (said.detector, said.preprocessing)
    assert found.model.licence == "agpl-3.0"
    stated = said.detector.model_copy(update={"box_format": "xywh"}) if said.detector else None
    assert prepare(file, task="object_detection", detector=stated).artifacts["onnx"].detector == stated
    # Of another task it says nothing, but that it is one.
    plain = prepare(file)
    assert any("looks like a detector" in note for note in plain.notes), plain.notes
    assert plain.artifacts["onnx"].detector is None


def detr(classes: int) -> Any:
    """Ten candidates, whose logits and boxes are linear in a picture's mean, beside an operator that chooses."""
    rng = np.random.default_rng(2)
    weights = [
        numpy_helper.from_array(rng.normal(0, 3, (3, 10 * classes)).astype(np.float32), "for_logits"),
        numpy_helper.from_array(rng.normal(0, 3, (3, 40)).astype(np.float32), "for_boxes"),
        numpy_helper.from_array(np.array([-1, 10, classes], np.int64), "logits_shape"),
        numpy_helper.from_array(np.array([-1, 10, 4], np.int64), "boxes_shape"),
        numpy_helper.from_array(np.array([3], np.int64), "k"),
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "for_logits"], ["logits_row"]),
        helper.make_node("Reshape", ["logits_row", "logits_shape"], ["logits"]),
        helper.make_node("TopK", ["logits_row", "k"], ["best", "which"]),
        helper.make_node("MatMul", ["flat", "for_boxes"], ["boxes_row"]),
        helper.make_node("Reshape", ["boxes_row", "boxes_shape"], ["raw_boxes"]),
        helper.make_node("Sigmoid", ["raw_boxes"], ["pred_boxes"]),
    ]
    floats = {"image": [1, 3, 64, 64], "logits": [1, 10, classes], "pred_boxes": [1, 10, 4]}
    image, *outputs = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n, dims in floats.items()
    )
    graph = helper.make_graph(nodes, "detr", [image], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_users_labels_and_the_graphs_operators_tell_too(tmp_path: Path) -> None:
    file = saved(tmp_path, detr(3))
    assert "whether its 3 scores a candidate want a sigmoid" in refusal(file, task="object_detection")
    prepared = prepare(file, task="object_detection", labels=("cat", "dog", "hen"))
    detector = prepared.artifacts["onnx"].detector
    assert detector is not None
    assert (detector.activation, detector.ordered, detector.box_unit) == ("sigmoid", False, "share")
    assert prepared.artifacts["onnx"].preprocessing is None, "no YOLO, and nothing else is known"


def test_outputs_that_are_not_plain_are_asked_about(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path, classifier()), task="object_detection")
    assert "cannot be told" in message and 'detector = { boxes = "…", scores = "…"' in message
    assert "of each item it gives scores (5,)" in message


def test_a_detector_is_noticed(tmp_path: Path) -> None:
    prepared = prepare(saved(tmp_path, yolo(metadata=ULTRALYTICS)))
    assert "net.onnx looks like a detector; add --task object_detection" in prepared.notes
    assert not any("detector" in note for note in prepare(saved(tmp_path, classifier())).notes)


def test_open_axes_take_the_size_that_is_told(tmp_path: Path) -> None:
    file = saved(tmp_path, yolo("height", "width", metadata=ULTRALYTICS))
    prepared = prepare(file, task="object_detection")
    assert prepared.model.input_shape == prepared.artifacts["onnx"].input_shape == (3, 64, 96)
    assert "it leaves its input open: run at 3 × 64 × 96" in prepared.notes
    assert prepare(file, task="object_detection", input_shape=(3, 64, 64)).model.input_shape == (3, 64, 64)
    assert "not (1, 64, 64) as asked" in refusal(file, task="object_detection", input_shape=(1, 64, 64))
    assert "say its input_shape" in refusal(saved(tmp_path, yolo("height", "width")), task="object_detection")


@pytest.mark.slow
def test_a_real_yolo_that_somebody_trained(tmp_path: Path) -> None:
    package = importlib.util.find_spec("nudenet")
    if package is None or package.origin is None:
        pytest.skip("nudenet is not installed")
    file = tmp_path / "320n.onnx"
    file.symlink_to(Path(package.origin).with_name("320n.onnx"))
    artifact = prepare(file, task="object_detection").artifacts["onnx"]
    assert artifact.input_shape == (3, 320, 320)
    assert artifact.detector is not None
    assert artifact.detector.model_dump(exclude_defaults=True, exclude={"source"}) == {
        "boxes": "output0",
        "scores": "output0",
        "axes": "columns",
        "box_unit": "pixels",
        "activation": "none",
        "suppress": True,
    }
    assert len(artifact.labels or ()) == 18
    assert artifact.validation is not None and artifact.validation.passed
    assert artifact.validation.top1_agreement == 1.0
