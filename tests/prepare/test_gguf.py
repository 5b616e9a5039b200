"""Files for llama.cpp as they are written, read with gguf's own reader; llama.cpp is not needed."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.language_models import tiny

from zoobench.errors import PrepareError
from zoobench.prepare import ArtifactCache, Prepared, prepare_model
from zoobench.prepare import gguf as maker
from zoobench.prepare.gguf import tensor_types, write_gguf
from zoobench.spec import Artifact, ModelSpec
from zoobench.terms import WeightsPolicy

pytestmark = pytest.mark.slow
gguf = pytest.importorskip("gguf")
HEADS, KV_HEADS, HEAD_DIM = 4, 2, 16
LAYER = (
    "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
)  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


def prepared(place: Path, *formats: str, family: str = "llama", **numbers: Any) -> Prepared:
    folder = tiny(place / "model", family, **numbers)
    return prepare_model(
        ModelSpec(name="m", task="text_generation", path=folder),
        formats=formats, weights=WeightsPolicy.AUTO, allow_pickle=False, cache=ArtifactCache(place / "cache"),
    )  # fmt: skip


def made(place: Path, family: str = "llama", **numbers: Any) -> Artifact:
    return prepared(place, "torch", family=family, **numbers).artifacts["torch"]


def written(place: Path, family: str = "llama", **numbers: Any) -> tuple[Artifact, Any]:
    artifact = made(place, family, **numbers)
    write_gguf(artifact, place / "model.gguf")
    return artifact, gguf.GGUFReader(place / "model.gguf")


def weights_of(artifact: Artifact) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(artifact.path / "model.safetensors")


def test_numbers_and_weights_are_those_of_the_model(tmp_path: Path) -> None:
    artifact, reader = written(tmp_path)
    told = {key: field.contents() for key, field in reader.fields.items() if "." in key and key[0] != "G"}
    assert told["llama.rope.freq_base"] == 10000
    assert told["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert {
        "general.architecture": "llama",
        "general.file_type": 0,
        "tokenizer.ggml.model": "none",
        "llama.vocab_size": 512,
        "llama.context_length": 256,
        "llama.embedding_length": 64,
        "llama.block_count": 2,
        "llama.feed_forward_length": 128,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.key_length": HEAD_DIM,
        "llama.attention.value_length": HEAD_DIM,
        "llama.rope.dimension_count": HEAD_DIM,
    }.items() <= told.items()

    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    layers = {f"blk.{number}.{name}.weight" for number in range(2) for name in LAYER}
    assert set(tensors) == layers | {"token_embd.weight", "output_norm.weight", "output.weight"}
    source = weights_of(artifact)
    for name, theirs in {
        "token_embd": "model.embed_tokens",
        "output": "lm_head",
        "blk.1.attn_v": "model.layers.1.self_attn.v_proj",
        "blk.1.ffn_down": "model.layers.1.mlp.down_proj",
    }.items():
        np.testing.assert_array_equal(tensors[f"{name}.weight"], source[f"{theirs}.weight"])
    assert tensor_types(tmp_path / "model.gguf") == "100.0% F32"


def test_queries_and_keys_of_llama_pair_neighbours(tmp_path: Path) -> None:
    artifact, reader = written(tmp_path)
    tensors, source = {t.name: t.data for t in reader.tensors}, weights_of(artifact)
    for name, theirs, heads in (("attn_q", "q_proj", HEADS), ("attn_k", "k_proj", KV_HEADS)):
        pairs = tensors[f"blk.0.{name}.weight"].reshape(heads, HEAD_DIM // 2, 2, 64)
        halves = source[f"model.layers.0.self_attn.{theirs}.weight"].reshape(heads, 2, HEAD_DIM // 2, 64)
        np.testing.assert_array_equal(pairs[:, :, 0], halves[:, 0])
        np.testing.assert_array_equal(pairs[:, :, 1], halves[:, 1])


@pytest.mark.parametrize(("family", "arch"), [("qwen2", "qwen2"), ("qwen3", "qwen3"), ("phi", "phi2")])
def test_other_families_keep_their_order(family: str, arch: str, tmp_path: Path) -> None:
    artifact, reader = written(tmp_path, family)
    assert reader.fields["general.architecture"].contents() == arch
    [query] = (t.data for t in reader.tensors if t.name == "blk.0.attn_q.weight")
    np.testing.assert_array_equal(query, weights_of(artifact)["model.layers.0.self_attn.q_proj.weight"])
    rotated, epsilon = {"phi": (16, "epsilon"), "qwen2": (16, "rms_epsilon"), "qwen3": (32, "rms_epsilon")}[
        family
    ]
    assert reader.fields[f"{arch}.rope.dimension_count"].contents() == rotated
    assert f"{arch}.attention.layer_norm_{epsilon}" in reader.fields


def test_tied_words_are_stored_once(tmp_path: Path) -> None:
    _, reader = written(tmp_path, tie_word_embeddings=True)
    assert "output.weight" not in {tensor.name for tensor in reader.tensors}


def test_the_frequencies_of_llama_3_are_divided_as_its_formula_says(tmp_path: Path) -> None:
    _, reader = written(tmp_path, rope_parameters=LLAMA3)
    [found] = (tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight")
    expected = []
    for number in range(0, HEAD_DIM, 2):
        wave = 2 * math.pi * 10000.0 ** (number / HEAD_DIM)
        smooth = (64 / wave - 1) / (4 - 1)
        expected.append(1 if wave < 64 / 4 else 8 if wave > 64 else 1 / ((1 - smooth) / 8 + smooth))
    assert len({1, 8} & set(expected)) == 2 and any(1 < factor < 8 for factor in expected)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "gpt_neox"}, "made of llama, qwen2, qwen3, phi, and this is gpt_neox"),
        ({"hidden_act": "gelu"}, "not made of llama with the activation gelu"),
        (
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}},
            "not made of llama with the rotary embedding dynamic",
        ),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(config: dict[str, Any], told: str, tmp_path: Path) -> None:
    artifact = made(tmp_path)
    file = artifact.path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    with pytest.raises(PrepareError, match=told):
        write_gguf(artifact, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.parametrize(
    ("cpu", "told"),
    [("AMX_INT8 = 1", "GCC 12 builds it so for this CPU; CXXFLAGS="), ("", "another version")],
)
def test_a_file_that_kills_llama_cpp_fails_alone(
    cpu: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.CompletedProcess([], -11, "", "")
    monkeypatch.setattr(maker.subprocess, "run", lambda *_, **__: killed)
    monkeypatch.setattr(maker, "library", lambda: SimpleNamespace(llama_print_system_info=cpu.encode))
    found = prepared(tmp_path, "torch", "gguf:fp32")
    assert list(found.artifacts) == ["torch"]
    message = found.failed["gguf:fp32"]
    assert message.startswith("m: SIGSEGV ends llama.cpp on its fp32 file; ") and told in message
