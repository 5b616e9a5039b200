"""The entries that ship: sane, complete, and true where truth can be checked offline."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoobench.catalog import ALIASES, MODEL_REGISTRY, find, known_models
from zoobench.errors import UsageError
from zoobench.spec import ModelSpec, Published

# timm's published top-1 of the five models that fp32 accuracy is checked against.
PUBLISHED = {
    "timm/resnet18.a1_in1k": 71.504,
    "timm/resnet50.a1_in1k": 80.382,
    "timm/efficientnet_b0.ra_in1k": 77.698,
    "timm/mobilenetv2_100.ra_in1k": 72.910,
    "timm/tf_efficientnet_lite0.in1k": 74.846,
}
MODELS = known_models()
IDS = [model.name for model in MODELS]
PICTURES = [model for model in MODELS if model.task == "image_classification"]
DETECTORS = [model for model in MODELS if model.task == "object_detection"]
TEXTS = [model for model in MODELS if model.task == "text_generation"]


def test_the_zoo_is_large_enough_and_spans_both_libraries() -> None:
    assert len(MODELS) >= 24
    assert sum(model.library == "transformers" for model in MODELS) >= 6
    assert {"resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0"} <= set(IDS)


def test_no_two_entries_are_the_same_model() -> None:
    assert len({(model.hf_id, model.file) for model in MODELS}) == len(MODELS)


@pytest.mark.parametrize("model", PICTURES, ids=[model.name for model in PICTURES])
def test_an_entry_is_sane(model: ModelSpec) -> None:
    assert model.hf_id and model.hf_id.count("/") == 1
    assert model.architecture
    assert model.input_shape is not None
    channels, height, width = model.input_shape
    assert channels == 3
    assert height == width and height in (224, 256, 299)
    assert model.parameters is None or 1_000_000 < model.parameters < 200_000_000
    assert model.opset == 17
    assert model.revision is None, "a revision that nobody checked against the Hub must not be pinned"


@pytest.mark.parametrize(
    "model", [m for m in MODELS if m.library == "timm"], ids=[m.name for m in MODELS if m.library == "timm"]
)
def test_a_timm_entry_can_be_built_offline_and_says_where_its_accuracy_stands(model: ModelSpec) -> None:
    assert model.hf_id is not None and model.input_shape is not None
    assert model.hf_id.startswith(f"timm/{model.architecture}.")
    assert model.name == model.architecture
    assert model.config is None
    assert model.licence
    if model.published:
        assert f"{model.input_shape[1]} px" in model.published.conditions
        assert "results-imagenet.csv" in model.published.source


@pytest.mark.parametrize(
    "model",
    [m for m in PICTURES if m.library == "transformers"],
    ids=[m.name for m in PICTURES if m.library == "transformers"],
)
def test_a_transformers_entry_carries_its_config(model: ModelSpec) -> None:
    assert model.architecture is not None and model.architecture.endswith("ForImageClassification")
    assert model.config is not None and model.config["model_type"]
    assert model.config["num_labels"] == (1001 if model.hf_id == "google/mobilenet_v2_1.0_224" else 1000)


@pytest.mark.parametrize(("hf_id", "top1"), PUBLISHED.items())
def test_published_accuracy(hf_id: str, top1: float) -> None:
    (model,) = find([hf_id])
    assert model.published is not None and model.published.top1 == top1
    assert "224 px" in model.published.conditions


def test_aliases_lead_to_entries_and_hide_none() -> None:
    assert set(ALIASES.values()) <= set(IDS)
    assert not set(ALIASES) & set(IDS)


def test_an_entry_reads_like_the_documented_ones() -> None:
    entry = MODEL_REGISTRY["resnet18"]
    assert isinstance(entry, dict)
    assert entry["name"] == "resnet18"
    assert entry["hf_id"] == "timm/resnet18.a1_in1k"
    assert entry["img_size"] == 224
    assert entry["opset"] == 17


def test_importing_the_catalog_is_cheap_and_using_it_imports_no_runtime() -> None:
    code = (
        "import sys, zoobench.catalog as c\n"
        "assert not {'pydantic', 'tomllib', 'numpy', 'huggingface_hub'} & set(sys.modules), 'import'\n"
        "c.find(['resnet18', 'hf_resnet50'])\n"
        "runtimes = {'torch', 'timm', 'transformers', 'onnx', 'onnxruntime', 'openvino', 'numpy'}\n"
        "assert not runtimes & set(sys.modules), 'use'\n"
    )
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "mobilevit_s", "hf_deit_tiny", "hf_mobilenet_v2"])
def test_the_architecture_has_the_parameters_and_takes_the_shape(name: str) -> None:
    import torch

    (model,) = find([name])
    assert model.architecture is not None and model.input_shape is not None
    with torch.device("meta"):
        if model.library == "timm":
            import timm

            built = timm.create_model(model.architecture, pretrained=False).eval()
            logits = built(torch.empty(2, *model.input_shape))
        else:
            import transformers

            config = transformers.AutoConfig.for_model(**(model.config or {}))
            built = getattr(transformers, model.architecture)(config).eval()
            logits = built(torch.empty(2, *model.input_shape)).logits
    assert sum(p.numel() for p in built.parameters()) == model.parameters
    assert logits.shape == (2, (model.config or {}).get("num_labels", 1000))


@pytest.mark.parametrize("model", TEXTS, ids=[model.name for model in TEXTS])
def test_a_language_model_says_all_that_its_speed_and_memory_depend_on(model: ModelSpec) -> None:
    assert model.hf_id and model.hf_id.count("/") == 1 and model.licence and model.parameters
    assert (
        model.architecture and model.architecture.endswith("ForCausalLM") and model.library == "transformers"
    )
    assert model.input_shape is None and model.revision is None
    assert model.config is not None
    assert {
        "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "vocab_size", "max_position_embeddings", "tie_word_embeddings", "dtype",
    } <= set(model.config)  # fmt: skip


def test_there_are_enough_language_models() -> None:
    assert {"tinyllama", "phi2", "smollm2_135m"} <= {model.name for model in TEXTS} and len(TEXTS) >= 7


@pytest.mark.slow
@pytest.mark.parametrize("model", TEXTS, ids=[model.name for model in TEXTS])
def test_a_language_model_has_its_parameters(model: ModelSpec) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from zoobench.prepare.text import decoder_of

    numbers = dict(model.config or {})
    model_type, _ = numbers.pop("model_type"), numbers.pop("dtype")
    config = AutoConfig.for_model(model_type, **numbers)
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    assert type(built).__name__ == model.architecture
    assert sum(p.numel() for p in built.parameters()) == model.parameters
    # TinyLlama's and Phi-2's keys and values in fp16, as they are quoted: 22,528 and 327,680 bytes a token.
    known = {"tinyllama": 22_528, "phi2": 327_680}
    if model.name in known:
        assert decoder_of(config, model.name).kv_bytes(1, value_bytes=2) == known[model.name]


@pytest.mark.parametrize("model", DETECTORS, ids=[model.name for model in DETECTORS])
def test_a_detector_says_what_it_is_built_from_and_how_well_it_was_published(model: ModelSpec) -> None:
    assert model.hf_id and model.hf_id.count("/") == 1 and model.revision is None
    assert model.input_shape in ((3, 640, 640), (3, 800, 800))
    assert model.config is not None and model.config["num_labels"] in (80, 91)
    assert model.parameters and model.licence
    assert model.published is not None and model.published.coco_map and model.published.top1 is None
    assert "COCO val2017" in model.published.conditions and model.published.source
    if model.library == "ultralytics":
        assert (model.licence, model.file) == ("AGPL-3.0", f"{model.architecture}.pt")
    else:
        assert model.architecture and model.architecture.endswith("ForObjectDetection")
        assert "gpl" not in model.licence.lower()


def test_there_are_enough_detectors() -> None:
    asked = {
        "yolov8n", "yolov8s", "yolov8m", "yolos_tiny", "detr_resnet50", "conditional_detr_resnet50", "rtdetr_r18",
        "rtdetr_r50", "rtdetr_v2_r18", "dfine_n", "dfine_s",
    }  # fmt: skip
    assert asked <= {model.name for model in DETECTORS}


@pytest.mark.slow
@pytest.mark.parametrize("model", DETECTORS, ids=[model.name for model in DETECTORS])
def test_a_detector_has_its_parameters(model: ModelSpec) -> None:
    import torch
    import transformers

    from zoobench.backends.torch_yolo import build_yolo, description_of, settled

    if model.library == "ultralytics":
        assert model.architecture
        built = settled(build_yolo(description_of(model.architecture), 80), (3, 64, 64))
    else:
        config = transformers.AutoConfig.for_model(**(model.config or {}))
        with torch.device("meta" if "rtdetr" not in model.name and "dfine" not in model.name else "cpu"):
            built = getattr(transformers, str(model.architecture))(config)
    assert sum(p.numel() for p in built.parameters()) == model.parameters


def test_a_repository_of_several_models_must_be_told_apart() -> None:
    with pytest.raises(UsageError, match=r"several models; say which: yolov8n, yolov8s, yolov8m$"):
        find(["Ultralytics/YOLOv8"])
    assert find(["yolov8s"])[0].file == "yolov8s.pt"


@pytest.mark.parametrize("figures", [{}, {"top1": 70.0, "coco_map": 30.0}])
def test_a_published_figure_is_one(figures: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="one figure"):
        Published(conditions="", source="", **figures)
