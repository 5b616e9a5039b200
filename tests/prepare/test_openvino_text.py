"""Language models for OpenVINO GenAI: PyTorch's logits in fp32, fewer bits in smaller files, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.language_models import tiny

from zoobench.backends import artifact_key
from zoobench.prepare import ArtifactCache, Prepared, openvino_text, prepare_model
from zoobench.spec import ModelSpec
from zoobench.terms import Precision, WeightsPolicy

pytestmark = pytest.mark.slow


def prepared(place: Path, *precisions: str, path: Path, cache: str = "cache") -> Prepared:
    pytest.importorskip("openvino_genai")
    return prepare_model(
        ModelSpec(name="m", task="text_generation", path=path),
        formats=["torch", *(f"openvino_text:{precision}" for precision in precisions)],
        weights=WeightsPolicy.AUTO,
        allow_pickle=False,
        cache=ArtifactCache(place / cache),
    )


@pytest.mark.parametrize("family", ["llama", "phi"])
def test_the_graph_answers_as_pytorch(family: str, language_models: Path) -> None:
    found = prepared(language_models, "fp32", path=tiny(language_models / family, family))
    assert not found.failed
    torch, fp32 = found.artifacts["torch"], found.artifacts["openvino_text:fp32"]
    assert fp32.validation and fp32.validation.passed and fp32.validation.max_rel < 1e-4
    assert (fp32.derived_from, fp32.decoder, fp32.file) == (torch.sha256, torch.decoder, "openvino_model.xml")
    assert {"openvino", "openvino-genai", "nncf"} <= set(fp32.made_with)
    # Weights that two layers share are stored once.
    assert torch.parameters and 4 * torch.parameters < fp32.size_bytes < 4.5 * torch.parameters + 400_000


def test_fewer_bits_are_smaller_files(language_models: Path) -> None:
    pytest.importorskip("nncf")
    # Rows of 192: 128 does not divide them.
    model = tiny(language_models / "wide", hidden_size=192, num_attention_heads=4)
    found = prepared(language_models, "fp32", "int8", "int4", path=model)
    assert not found.failed
    fp32, int8, int4 = (found.artifacts[f"openvino_text:{bits}"] for bits in ("fp32", "int8", "int4"))
    weights = [(artifact.path / "openvino_model.bin").stat().st_size for artifact in (fp32, int8, int4)]
    assert weights[0] > 3.5 * weights[1] and weights[1] > 1.3 * weights[2]
    assert int8.validation and int8.validation.cosine > 0.999
    assert int4.validation and 0.9 < int4.validation.cosine < int8.validation.cosine
    assert (int4.precision, int4.validation.tolerance) == (Precision.INT4, None)


def test_the_same_model_becomes_the_same_files(tmp_path: Path) -> None:
    model = tiny(tmp_path / "model", num_hidden_layers=1)
    one, two = (prepared(tmp_path, "fp32", path=model, cache=name) for name in ("one", "two"))
    assert one.artifacts["openvino_text:fp32"].sha256 == two.artifacts["openvino_text:fp32"].sha256


def test_bf16_is_made_of_fp32s_file_when_it_is_loaded() -> None:
    assert artifact_key("openvino_genai", Precision.BF16) == "openvino_text:fp32"
    assert artifact_key("openvino_genai", Precision.INT4) == "openvino_text:int4"
    assert artifact_key("openvino", Precision.BF16) == "onnx"


@pytest.mark.parametrize(
    ("family", "told", "named"),
    [
        ("mistral", {"sliding_window": 16}, "MistralForCausalLM has a sliding window of 16 tokens"),
        ("mistral", {"sliding_window": None}, None),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}, "has sliding_attention"),
    ],
)  # fmt: skip
def test_attention_that_is_not_full_is_refused(
    family: str, told: dict[str, object], named: str | None, tmp_path: Path
) -> None:
    found = prepared(tmp_path, "fp32", path=tiny(tmp_path / "model", family, num_hidden_layers=1, **told))
    why = found.failed.get("openvino_text:fp32")
    if named is None:
        assert why is None
    else:
        assert why is not None and named in why and "\n" not in why


def test_what_cannot_be_converted_fails_alone_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_strike(*_: object) -> None:
        raise RuntimeError("Check failed at x.cpp:1\nConversion is failed for: aten::strike")

    monkeypatch.setattr(openvino_text, "_write", on_strike)
    found = prepared(tmp_path, "fp32", path=tiny(tmp_path / "model", num_hidden_layers=1))
    assert list(found.artifacts) == ["torch"]
    why = found.failed["openvino_text:fp32"]
    assert why.startswith("m: LlamaForCausalLM cannot be converted for OpenVINO") and "\n" not in why
