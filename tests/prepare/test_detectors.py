"""Detectors of transformers: loaded from folders, made of seeds; what is said of how they are read is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.small_detectors import CONFIGS, QUERIES, small

from zoobench.backends.torch_module import import_library, load_torch_module
from zoobench.catalog import find
from zoobench.errors import PrepareError
from zoobench.hub.snapshots import local_snapshot
from zoobench.prepare.build import build_torch
from zoobench.prepare.cache import content_of
from zoobench.prepare.detectors import FAMILIES, facts_of
from zoobench.prepare.eager import reference_outputs
from zoobench.prepare.preprocessing import coco_labels
from zoobench.prepare.random_detectors import THRESHOLD
from zoobench.prepare.weights import LoadedModel, load_model, save_torch_artifact
from zoobench.spec import ModelSpec
from zoobench.tasks import open_task

pytestmark = pytest.mark.slow


def outputs_of(model: LoadedModel) -> dict[str, np.ndarray]:
    inputs = open_task("object_detection").check_inputs(model.input_shape)
    return reference_outputs(model.module, inputs, model.outputs)


def best_scores(model: LoadedModel) -> np.ndarray:
    """Of the classes, no object left out, as probabilities: (items, candidates)."""
    assert model.detector is not None
    logits = outputs_of(model)[model.detector.scores]
    if model.detector.activation == "softmax":
        exponentials = np.exp(logits - logits.max(-1, keepdims=True))
        return np.asarray((exponentials / exponentials.sum(-1, keepdims=True))[..., :-1].max(-1))
    return np.asarray(1 / (1 + np.exp(-logits.max(-1))))


def folder_of(folder: Path, family: str = "detr", **changes: Any) -> Any:
    """A detector in the layout of the Hub's repositories."""
    numbers = {**CONFIGS[family], **changes}
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(family, **numbers)
    model = transformers.AutoModelForObjectDetection.from_config(config).eval()
    model.save_pretrained(folder)
    return model


def loaded(folder: Path, **more: Any) -> LoadedModel:
    spec = ModelSpec(name="m", path=folder, task="object_detection", library="transformers", **more)
    return load_model(spec, local_snapshot(folder))


@pytest.mark.slow
@pytest.mark.parametrize("family", CONFIGS)
def test_random_weights_see_their_picture_and_find_something(family: str, tmp_path: Path) -> None:
    one, two = (load_model(small(family, size=96), None, seed=0) for _ in range(2))
    outputs = outputs_of(one)
    assert list(outputs) == ["logits", "pred_boxes"]
    assert outputs["pred_boxes"].shape == (8, QUERIES, 4)
    assert ((outputs["pred_boxes"] >= 0) & (outputs["pred_boxes"] <= 1)).all()
    for output in outputs.values():
        assert np.ptp(output, axis=0).max() > 0.01 * np.abs(output).max(), "another picture, other outputs"
        assert np.ptp(output, axis=1).max() > 0.01 * np.abs(output).max(), "another candidate, another answer"
    assert 0.05 <= (best_scores(one) > THRESHOLD).mean() <= 0.15
    classes = outputs["logits"].reshape(-1, outputs["logits"].shape[-1])[:, :80].argmax(-1)
    assert len(set(classes.tolist())) > 5
    shas = set()
    for i, model in enumerate((one, two)):
        (tmp_path / str(i)).mkdir()
        save_torch_artifact(model, tmp_path / str(i))
        shas.add(content_of(tmp_path / str(i))[0])
    assert len(shas) == 1


@pytest.mark.parametrize(
    ("family", "activation", "ordered", "labels"),
    [
        ("yolos", "softmax", True, "coco-91"),
        ("detr", "softmax", True, "coco-91"),
        ("conditional_detr", "sigmoid", True, "coco-91"),
        ("rt_detr", "sigmoid", False, "coco-80"),
        ("rt_detr_v2", "sigmoid", False, "coco-80"),
        ("d_fine", "sigmoid", False, "coco-80"),
    ],
)
def test_a_family_says_how_it_is_read(
    tmp_path: Path, family: str, activation: str, ordered: bool, labels: str
) -> None:
    folder_of(tmp_path, family)
    model = loaded(tmp_path, img_size=64)
    assert model.detector is not None
    assert (model.detector.boxes, model.detector.scores) == ("pred_boxes", "logits") == model.outputs[::-1]
    assert (model.detector.box_format, model.detector.box_unit) == ("cxcywh", "share")
    assert not model.detector.suppress and not model.detector.objectness
    assert (model.detector.activation, model.detector.ordered) == (activation, ordered)
    assert (model.labels, model.architecture[-18:]) == (labels, "ForObjectDetection")
    assert model.input_shape == (3, 64, 64)


def test_two_stages_choose_their_candidates_themselves(tmp_path: Path) -> None:
    folder_of(tmp_path, "deformable_detr", two_stage=True, with_box_refine=True)
    detector = loaded(tmp_path, img_size=64).detector
    assert detector is not None and not detector.ordered


def test_every_family_has_a_processor_and_a_usual_size() -> None:
    for family, numbers in CONFIGS.items():
        assert FAMILIES[family].edge in (640, 800)
        config = transformers.AutoConfig.for_model(family, **numbers)
        facts = facts_of(ModelSpec(name="m"), config, None)
        edge = FAMILIES[family].edge
        assert facts.input_shape == (3, edge, edge)
        assert facts.preprocessing.fit == "squash" and facts.preprocessing.resize == (edge, edge)


def test_a_folder_gives_its_own_weights_and_its_task(tmp_path: Path) -> None:
    original = folder_of(tmp_path / "hub")
    (spec,) = find([f"{tmp_path}/hub/"])
    assert (spec.task, spec.library) == ("object_detection", "transformers")
    model = load_model(spec.model_copy(update={"input_shape": (3, 64, 64)}), local_snapshot(tmp_path / "hub"))
    inputs = open_task("object_detection").check_inputs((3, 64, 64))
    with torch.no_grad():
        expected = original(pixel_values=torch.from_numpy(inputs))
    found = outputs_of(model)
    assert model.weights == "local"
    assert np.allclose(found["logits"], expected.logits.numpy(), atol=1e-5)
    assert np.allclose(found["pred_boxes"], expected.pred_boxes.numpy(), atol=1e-5)


def test_preprocessing_is_the_files_own_as_far_as_a_fixed_size_allows(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "DetrImageProcessor",
                "size": {"shortest_edge": 600, "longest_edge": 1000},
                "image_mean": [0.1, 0.2, 0.3],
                "image_std": [0.5, 0.5, 0.5],
                "resample": 3,
            }
        )
    )
    model = loaded(tmp_path, img_size=64)
    how = model.preprocessing
    assert (how.resize, how.fit, how.interpolation) == ((64, 64), "squash", "bicubic")
    assert (how.mean, how.std, how.scale) == ((0.1, 0.2, 0.3), (0.5,) * 3, pytest.approx(1 / 255))
    assert how.source == "transformers, DetrImageProcessor's mean and std; squashed to a fixed size"


def test_a_processor_of_a_fixed_size_gives_the_shape(tmp_path: Path) -> None:
    folder_of(tmp_path, "rt_detr")
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "RTDetrImageProcessor", "size": {"height": 96, "width": 128}})
    )
    model = loaded(tmp_path)
    assert model.input_shape == (3, 96, 128)
    assert model.preprocessing.source == "transformers, RTDetrImageProcessor"
    assert (model.preprocessing.mean, model.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)


def test_names_are_cocos_only_where_they_can_be() -> None:
    assert coco_labels([f"LABEL_{i}" for i in range(80)]) == "coco-80"
    assert coco_labels(["N/A", "person", *["x"] * 88, "toothbrush"]) == "coco-91"
    assert coco_labels(["person", *["x"] * 78, "toothbrush"]) == "coco-80"
    assert coco_labels(["helmet", *["x"] * 79]) == ("helmet", *["x"] * 79)
    assert coco_labels(["cat", "dog"]) == ("cat", "dog")
    assert coco_labels(["LABEL_0", "LABEL_1"]) is None


def test_an_artifact_says_it_all_and_rebuilds_the_same_module(tmp_path: Path) -> None:
    artifact = build_torch(tmp_path, small("detr", size=64), None, seed=0, recipe={})
    assert artifact.outputs == ("logits", "pred_boxes") and artifact.detector is not None
    assert (artifact.labels, artifact.library) == ("coco-91", "transformers")
    import_library(artifact)
    inputs = open_task("object_detection").check_inputs(artifact.input_shape)
    again = reference_outputs(load_torch_module(artifact), inputs, artifact.outputs)
    with np.load(tmp_path / "reference.npz") as reference:
        assert np.array_equal(reference["boxes"], again["pred_boxes"])
        assert np.array_equal(reference["scores"], again["logits"])


def test_what_is_no_detector_is_one_line(tmp_path: Path) -> None:
    tiny = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
    )
    transformers.ViTForImageClassification(tiny).save_pretrained(tmp_path / "vit")
    model = folder_of(tmp_path / "headless")
    model.model.save_pretrained(tmp_path / "headless")
    reasons = {
        "vit": "no object detector of transformers",
        "headless": "weights are missing .*no object detector",
    }
    for name, reason in reasons.items():
        with pytest.raises(PrepareError, match=reason) as caught:
            loaded(tmp_path / name, img_size=64)
        assert "\n" not in str(caught.value)


def test_a_family_that_nobody_can_read_is_refused() -> None:
    spec = ModelSpec(
        name="m", task="object_detection", library="transformers", config={"model_type": "lw_detr"}
    )
    with pytest.raises(PrepareError, match="family 'lw_detr' are read is not known; known: yolos, detr"):
        load_model(spec, None)
