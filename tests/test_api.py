"""The Python API: what a request is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoobench import api
from zoobench.errors import UsageError


def test_a_hub_id_is_taken_at_its_word() -> None:
    [spec] = api.request(["someone/their-model"], task="text-generation", backends=["pytorch"]).models
    assert (spec.hf_id, spec.task) == ("someone/their-model", "text_generation")
    [plain] = api.request(["someone/their-model"]).models
    assert plain.task == "image_classification"


def test_what_is_known_of_a_model_is_not_overruled() -> None:
    assert api.request(["smollm2_135m"], task="text_generation", backends=["pytorch"]).models[0].task
    with pytest.raises(UsageError, match="resnet18 is for image_classification"):
        api.request(["resnet18"], task="text_generation")
    with pytest.raises(
        UsageError,
        match="--task 'poetry' is unknown; one of image_classification, object_detection, text_generation",
    ):
        api.request(["someone/their-model"], task="poetry")


def test_an_onnx_file_may_be_said_to_be_a_detector(tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    file.touch()
    [spec] = api.request([str(file)], task="detection").models
    assert (spec.path, spec.task) == (file, "object_detection")
    with pytest.raises(UsageError, match=r"mine\.onnx is for image_classification"):
        api.request([str(file)], task="text_generation")
    registry = tmp_path / "mine.toml"
    registry.write_text(
        '[mine]\npath = "mine.onnx"\ntask = "object_detection"\ndetector = { boxes = "b", scores = "s", suppress = true }\n'
    )
    [spec] = api.request(["mine"], registry=registry).models
    assert spec.detector is not None and spec.detector.suppress


def test_language_models_have_default_backends_that_run_them() -> None:
    assert api.request(["smollm2_135m"]).backends == ["pytorch", "ort_genai"]
    assert api.request(["resnet18"]).backends == ["pytorch", "onnx_cpu"]
    assert api.request(["resnet18", "smollm2_135m"]).backends == ["pytorch", "onnx_cpu"]
