"""Language models on their runtimes: the same tokens, each with its time, and keys and values as the formula says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.language_models import smollm2, tiny

from zoobench.backends import open_backend
from zoobench.prepare import ArtifactCache, Prepared, prepare_model
from zoobench.spec import Case, ModelSpec
from zoobench.tasks.text_generation import prompt_ids
from zoobench.terms import WeightsPolicy

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("gradients_after")]
RUNTIMES = {"pytorch": "torch", "ort_genai": "genai:fp32"}
PROMPT, NEW, BATCH, END = 20, 12, 3, [2]


@pytest.fixture(scope="module", params=["llama", "phi"])
def family(request: pytest.FixtureRequest, language_models: Path) -> Prepared:
    pytest.importorskip("onnxruntime_genai")
    spec = ModelSpec(
        name="m", task="text_generation", path=tiny(language_models / request.param, request.param)
    )
    return prepare_model(
        spec, formats=["torch", "genai:fp32"], weights=WeightsPolicy.AUTO, allow_pickle=False,
        cache=ArtifactCache(language_models / "cache"),
    )  # fmt: skip


def session(family: Prepared, backend: str, **options: Any) -> Any:
    artifact = family.artifacts[RUNTIMES[backend]]
    case = Case(
        model="m",
        backend=backend,
        threads=1,
        batch=BATCH,
        options={"prompt_tokens": PROMPT, "new_tokens": NEW, **options},
    )
    runtime = open_backend(backend)
    assert runtime.unavailable() is None
    runtime.import_runtime(artifact)
    return runtime.load(artifact, case)


def test_both_make_the_same_tokens_as_many_as_were_asked_for(family: Prepared) -> None:
    prompts = prompt_ids(BATCH, PROMPT, 512)
    made = {}
    for backend in RUNTIMES:
        found = session(family, backend).bind({"input_ids": prompts})()
        assert found["token_ids"].shape == (BATCH, NEW) and found["token_ns"].shape == (NEW,)
        assert (np.diff(found["token_ns"]) > 0).all() and found["token_ns"][0] > 0
        made[backend] = found["token_ids"]
    np.testing.assert_array_equal(made["pytorch"], made["ort_genai"])


def test_a_token_is_the_most_likely_after_all_before_it(family: Prepared) -> None:
    """The decode loop against teacher forcing: a cache that is a position off would differ."""
    prompts = prompt_ids(BATCH, PROMPT, 512)
    for backend in RUNTIMES:
        opened = session(family, backend)
        made = opened.bind({"input_ids": prompts})()["token_ids"]
        whole = np.concatenate([prompts, made], axis=1)
        logits = opened.logits(whole)[:, PROMPT - 1 : -1]
        # The text may not end before the length that was asked for.
        logits[..., END] = -np.inf
        np.testing.assert_array_equal(made, logits.argmax(-1))
        assert not np.isin(made, END).any()


def test_keys_and_values_take_what_the_formula_says(family: Prepared) -> None:
    decoder = family.artifacts["torch"].decoder
    assert decoder is not None
    used = decoder.kv_bytes(PROMPT + NEW - 1, value_bytes=4, batch=BATCH)
    for backend in RUNTIMES:
        opened = session(family, backend)
        opened.bind({"input_ids": prompt_ids(BATCH, PROMPT, 512)})()
        mine, reserved = opened.kv_bytes()
        assert mine == used and reserved >= used
    assert reserved == decoder.kv_bytes(PROMPT + NEW, value_bytes=4, batch=BATCH)


def test_bf16_is_bf16(family: Prepared) -> None:
    artifact = family.artifacts["torch"]
    case = Case(
        model="m",
        backend="pytorch",
        precision="bf16",
        threads=1,
        options={"prompt_tokens": 4, "new_tokens": 2},
    )
    opened = open_backend("pytorch").load(artifact, case)
    opened.bind({"input_ids": prompt_ids(1, 4, 512)})()
    assert opened.evidence().precision == "bf16"
    decoder = artifact.decoder
    assert decoder and opened.kv_bytes()[0] == decoder.kv_bytes(5, value_bytes=2)


def test_a_real_model_knows_the_capital_of_france(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("onnxruntime_genai")
    folder = smollm2(tmp_path / "smollm2")
    found = prepare_model(
        ModelSpec(name="smollm2", task="text_generation", path=folder),
        formats=["torch", "genai:fp32"], weights=WeightsPolicy.AUTO, allow_pickle=False,
        cache=ArtifactCache(tmp_path / "cache"),
    )  # fmt: skip
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(found.artifacts["torch"].path)
    ids = tokenizer("The capital of France is", return_tensors="np").input_ids
    for backend, key in RUNTIMES.items():
        case = Case(
            model="m", backend=backend, threads=2, options={"prompt_tokens": ids.shape[1], "new_tokens": 4}
        )
        session = open_backend(backend).load(found.artifacts[key], case)
        made = session.bind({"input_ids": ids})()["token_ids"][0]
        assert tokenizer.decode(made).startswith(" Paris"), backend
