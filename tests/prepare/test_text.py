"""Language models: what a folder or numbers become, and what is refused in a line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.language_models import tiny

from zoobench.errors import PrepareError
from zoobench.prepare import ArtifactCache, Prepared, genai, prepare_model
from zoobench.spec import Decoder, ModelSpec
from zoobench.terms import Precision, WeightsPolicy

pytestmark = pytest.mark.slow
NUMBERS = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 256, "dtype": "bfloat16",
}  # fmt: skip


def prepared(place: Path, *formats: str, **fields: object) -> Prepared:
    spec = ModelSpec(name="m", task="text_generation", **fields)  # type: ignore[arg-type]
    return prepare_model(
        spec,
        formats=formats,
        weights=WeightsPolicy.AUTO,
        allow_pickle=False,
        cache=ArtifactCache(place / "cache"),
    )


@pytest.mark.parametrize("family", ["llama", "phi"])
def test_a_folder_becomes_files_for_both_runtimes(family: str, language_models: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    model = tiny(language_models / family, family)
    found = prepared(language_models, "torch", "genai:fp32", path=model)
    assert not found.failed
    torch, fp32 = (found.artifacts[key] for key in ("torch", "genai:fp32"))
    hidden_size, kv_heads = (64, 2) if family == "llama" else (128, 4)
    assert torch.decoder == Decoder(
        layers=2, hidden_size=hidden_size, heads=4, kv_heads=kv_heads, head_dim=hidden_size // 4, vocab_size=512,
        context_length=256,
    )  # fmt: skip
    assert torch.weights == "local" and torch.parameters and torch.input_shape == (24, 512)
    assert fp32.validation and fp32.validation.passed and fp32.validation.max_rel < 1e-4
    assert "onnxruntime-genai" in fp32.made_with


def test_four_bits_are_a_file_of_their_own_that_is_found_again(language_models: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    model = tiny(language_models / "llama", "llama")
    found = prepared(language_models, "torch", "genai:fp32", "genai:int4", path=model)
    torch, fp32, int4 = (found.artifacts[key] for key in ("torch", "genai:fp32", "genai:int4"))
    assert int4.validation and int4.validation.tolerance is None and 0.5 < int4.validation.cosine < 1
    assert (int4.precision, int4.derived_from) == (Precision.INT4, torch.sha256)
    assert int4.size_bytes < fp32.size_bytes
    again = prepared(language_models, "torch", "genai:int4", path=model)
    assert again.artifacts["genai:int4"].sha256 == int4.sha256


def test_numbers_and_a_seed_become_the_same_weights_every_time(tmp_path: Path) -> None:
    one = prepared(tmp_path / "one", "torch", config=NUMBERS, architecture="LlamaForCausalLM")
    two = prepared(tmp_path / "two", "torch", config=NUMBERS, architecture="LlamaForCausalLM")
    first, second = (p.artifacts["torch"] for p in (one, two))
    assert first.weights == "random" and first.sha256 == second.sha256
    # Two bytes a weight, as it says.
    assert first.parameters and first.size_bytes < 3 * first.parameters
    assert any("tokenizer is not here" in note for note in first.notes)
    with np.load(first.path / "reference.npz") as stored:
        assert stored["outputs"].shape == (8, 512) and np.ptp(stored["outputs"]) > 0


def test_an_encoder_is_no_language_model(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    small = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=100
    )
    BertForMaskedLM(small).save_pretrained(tmp_path / "bert")
    with pytest.raises(PrepareError, match="is BertForMaskedLM, no decoder-only language model"):
        prepared(tmp_path, "torch", path=tmp_path / "bert")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "NotImplementedError: The gpt2 model is not currently supported.",
            "does not know LlamaForCausalLM; it knows ",
        ),
        ("RuntimeError: the disk is on strike", "builder failed: RuntimeError: the disk is on strike"),
        ("", "builder failed: it ended with 1"),
    ],
)
def test_what_the_builder_refuses_fails_alone_in_one_line(
    said: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime_genai")
    failure = subprocess.CompletedProcess(
        [], 1, "", f"Traceback (most recent call last):\n  File x\n{said}\n" if said else ""
    )
    monkeypatch.setattr(genai.subprocess, "run", lambda *_, **__: failure)
    found = prepared(tmp_path, "torch", "genai:fp32", path=tiny(tmp_path / "model", num_hidden_layers=1))
    assert list(found.artifacts) == ["torch"]
    assert told in found.failed["genai:fp32"] and "\n" not in found.failed["genai:fp32"]
    assert {"LlamaForCausalLM", "PhiForCausalLM"} <= set(genai.known_architectures())
