"""Weights: from files in both libraries' layouts, and seeded ones that are alive; saved and rebuilt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from zoobench.backends.torch_module import load_torch_module
from zoobench.errors import PrepareError
from zoobench.hub.snapshots import local_snapshot
from zoobench.prepare.cache import content_of
from zoobench.prepare.calibrate import calibrate, require_alive
from zoobench.prepare.eager import costs_of, reference_outputs
from zoobench.prepare.weights import (
    LoadedModel,
    architecture_of,
    load_model,
    save_torch_artifact,
)
from zoobench.spec import Artifact, ModelSpec
from zoobench.tasks import open_task

TINY_VIT = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 16,
    "patch_size": 8,
    "num_labels": 7,
}


def checks(model: LoadedModel) -> np.ndarray:
    inputs = open_task("image_classification").check_inputs(model.input_shape)
    return reference_outputs(model.module, inputs)["logits"]


def saved(model: LoadedModel, folder: Path) -> Artifact:
    folder.mkdir(exist_ok=True)
    save_torch_artifact(model, folder)
    sha256, size = content_of(folder)
    return Artifact(path=folder, format="torch", sha256=sha256, size_bytes=size, model="m")


def timm_folder(folder: Path, **changes: Any) -> torch.nn.Module:
    """A model in the layout of timm's repositories on the Hub."""
    torch.manual_seed(3)
    model = timm.create_model("test_resnet", pretrained=False, num_classes=10).eval()
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    cfg = {"input_size": [3, 96, 96], "num_classes": 10, "first_conv": "conv1.0", "classifier": "fc"}
    config = {"architecture": "test_resnet", "num_classes": 10, "pretrained_cfg": cfg, **changes}
    (folder / "config.json").write_text(json.dumps(config))
    return model


def transformers_folder(folder: Path, cls: str = "ViTForImageClassification") -> Any:
    import transformers

    torch.manual_seed(3)
    numbers = {k: v for k, v in TINY_VIT.items() if k != "model_type"}
    model = getattr(transformers, cls)(transformers.ViTConfig(**numbers)).eval()
    model.save_pretrained(folder)
    return model


def loaded(folder: Path, **more: Any) -> LoadedModel:
    return load_model(ModelSpec(name="m", path=folder, **more), local_snapshot(folder))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["test_resnet", "test_convnext", "test_vit"])
def test_random_weights_are_alive_and_the_same_for_the_same_seed(architecture: str, tmp_path: Path) -> None:
    spec = ModelSpec(name="m", architecture=architecture)
    before = torch.random.get_rng_state()
    one, two, other = (load_model(spec, None, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert one.weights == "random"
    outputs = checks(one)
    assert outputs.shape == (8, 1000)
    assert np.isfinite(outputs).all()
    assert np.ptp(outputs, axis=0).max() > 0.1 * np.abs(outputs).max()
    shas = [saved(model, tmp_path / str(i)).sha256 for i, model in enumerate((one, two, other))]
    assert shas[0] == shas[1] != shas[2]


@pytest.mark.slow
def test_no_part_of_a_random_model_sleeps() -> None:
    """Every residual branch matters: zeroing its last scale must change the outputs."""
    for architecture, scale in (("test_resnet", "bn2.weight"), ("test_convnext", "gamma")):
        model = load_model(ModelSpec(name="m", architecture=architecture), None)
        before = checks(model)
        for name, parameter in model.module.named_parameters():
            if name.endswith(scale):
                kept = parameter.clone()
                parameter.zero_()
                assert np.abs(checks(model) - before).max() > 1e-3 * np.abs(before).max(), name
                parameter.copy_(kept)


def test_calibration_fits_batchnorm_to_its_inputs() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.9)).eval()
    inputs = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32) * 100 + 7
    threads, used = torch.get_num_threads(), []
    module.register_forward_pre_hook(lambda *_: used.append(torch.get_num_threads()))
    calibrate(module, inputs)
    assert (used, torch.get_num_threads()) == ([1], threads)
    assert not any(m.training for m in module)
    assert module[1].momentum == 0.1
    with torch.no_grad():
        outputs = module(torch.from_numpy(inputs))
    assert outputs.mean(0).abs().max() < 1e-3
    assert (outputs.std(0) - 1).abs().max() < 0.02


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (np.full((8, 3), np.nan), "not finite"),
        (np.random.default_rng(0).standard_normal((8, 3)) * 1e-11, "signal die"),
        (np.tile([1.0, 2.0, 3.0], (8, 1)), "same outputs"),
    ],
)
def test_outputs_that_prove_nothing_are_refused(outputs: np.ndarray, reason: str) -> None:
    with pytest.raises(PrepareError, match=reason):
        require_alive(outputs, "m")


def test_the_architecture_is_told_by_a_timm_id() -> None:
    assert architecture_of(ModelSpec(name="a", hf_id="timm/resnet18.a1_in1k")) == "resnet18.a1_in1k"
    assert architecture_of(ModelSpec(name="a", hf_id="org/model-name")) is None
    model = load_model(ModelSpec(name="a", hf_id="timm/test_vit.unheard_of"), None)
    assert (model.architecture, model.input_shape) == ("test_vit", (3, 160, 160))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"hf_id": "org/model-name"}, "'org/model-name' has no known architecture"),
        ({"architecture": "resnet81"}, "knows no architecture 'resnet81'"),
        ({"architecture": "Nonsense", "library": "transformers"}, "cannot build Nonsense"),
        ({"config": {"model_type": "bert"}}, "cannot build bert"),
        ({"architecture": "test_vit", "input_shape": (160, 160)}, "takes .channels, height, width."),
        ({"config": TINY_VIT, "img_size": 20}, r"does not run on \(3, 20, 20\)"),
    ],
)
def test_random_weights_that_cannot_be_made_are_one_line(spec: dict[str, Any], reason: str) -> None:
    with pytest.raises(PrepareError, match=reason) as caught:
        load_model(ModelSpec(name="m", **spec), None)
    assert "\n" not in str(caught.value)


def test_the_shape_asked_is_the_shape_made() -> None:
    for architecture in ("test_resnet", "test_vit"):
        model = load_model(ModelSpec(name="m", architecture=architecture, input_shape=(1, 64, 64)), None)
        assert model.input_shape == (1, 64, 64)
        assert checks(model).shape == (8, 1000)


def test_a_timm_folder_gives_its_own_weights(tmp_path: Path) -> None:
    original = timm_folder(tmp_path / "hub")
    model = loaded(tmp_path / "hub")
    assert (model.library, model.architecture, model.weights) == ("timm", "test_resnet", "local")
    assert model.input_shape == (3, 96, 96)
    inputs = open_task("image_classification").check_inputs((3, 96, 96))
    assert np.array_equal(checks(model), reference_outputs(original, inputs)["logits"])


def test_a_transformers_folder_gives_its_own_weights(tmp_path: Path) -> None:
    original = transformers_folder(tmp_path / "hub")
    model = loaded(tmp_path / "hub")
    assert (model.library, model.architecture) == ("transformers", "ViTForImageClassification")
    assert model.input_shape == (3, 16, 16)
    inputs = open_task("image_classification").check_inputs((3, 16, 16))
    with torch.no_grad():
        expected = original(pixel_values=torch.from_numpy(inputs)).logits.numpy()
    assert np.allclose(checks(model), expected, atol=1e-6)
    assert str(tmp_path) not in (saved(model, tmp_path / "artifact").path / "config.json").read_text()


@pytest.mark.parametrize(
    ("preprocessor", "shape"),
    [
        ({"size": {"height": 20, "width": 24}}, (3, 20, 24)),
        ({"size": {"shortest_edge": 32}}, (3, 32, 32)),
        (
            {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 16, "width": 16}},
            (3, 16, 16),
        ),
        ({"size": 18}, (3, 18, 18)),
    ],
)
def test_the_shape_comes_from_the_preprocessor(
    tmp_path: Path, preprocessor: dict[str, Any], shape: tuple[int, ...]
) -> None:
    transformers_folder(tmp_path / "hub")
    (tmp_path / "hub" / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    assert loaded(tmp_path / "hub").input_shape == shape


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_an_artifact_rebuilds_the_same_module(tmp_path: Path, library: str) -> None:
    spec = (
        ModelSpec(name="m", architecture="test_vit")
        if library == "timm"
        else ModelSpec(name="m", config=TINY_VIT)
    )
    model = load_model(spec, None)
    artifact = saved(model, tmp_path / "artifact")
    rebuilt = load_torch_module(artifact)
    assert not rebuilt.training
    inputs = open_task("image_classification").check_inputs(model.input_shape)
    assert np.array_equal(reference_outputs(rebuilt, inputs)["logits"], checks(model))


def test_files_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    timm_folder(tmp_path / "a", architecture="test_vit")
    timm_folder(tmp_path / "b", architecture="nobody_knows")
    timm_folder(tmp_path / "c", num_classes=0)
    transformers_folder(tmp_path / "d", "ViTModel")
    timm_folder(tmp_path / "e")
    (tmp_path / "e" / "config.json").write_text("{")
    timm_folder(tmp_path / "f")
    (tmp_path / "f" / "model.safetensors").write_bytes(b"\xff" * 64)
    timm_folder(tmp_path / "g")
    (tmp_path / "g" / "config.json").write_text('{"model_type": "bert"}')
    reasons = {
        "a": "no timm model",
        "b": "knows no architecture 'nobody_knows'",
        "c": "not an image classifier",
        "d": "no image classifier",
        "e": "not JSON",
        "f": "no timm model",
        "g": "no image classifier",
    }
    for name, reason in reasons.items():
        with pytest.raises(PrepareError, match=reason) as caught:
            loaded(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    timm_folder(tmp_path / "hub")
    tensors = load_file(tmp_path / "hub" / "model.safetensors")
    del tensors["fc.weight"]
    save_file(tensors, tmp_path / "hub" / "model.safetensors")
    with pytest.raises(PrepareError, match=r"fc\.weight|Missing|no timm model"):
        loaded(tmp_path / "hub")


def test_costs_are_counted_by_hand() -> None:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 6, 5)
    )
    costs = costs_of(module, (3, 8, 8))
    assert costs.parameters == 4 * 3 * 9 + 144 * 5 + 5
    assert costs.flops == 2 * (36 * 4 * 27 + 144 * 5)
    assert costs.bytes_moved == 4 * (costs.parameters + 3 * 8 * 8 + 5)
