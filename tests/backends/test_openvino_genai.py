"""OpenVINO GenAI's pipeline: PyTorch's tokens, each with its time, whole prefills, and a graph that says what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.language_models import tiny

from zoobench.backends import open_backend
from zoobench.errors import UsageError
from zoobench.prepare import ArtifactCache, Prepared, prepare_model
from zoobench.spec import Case, ModelSpec
from zoobench.tasks.text_generation import prompt_ids
from zoobench.terms import WeightsPolicy

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("gradients_after")]
PROMPT, NEW = 40, 12


@pytest.fixture(scope="module", params=["llama", "phi"])
def family(request: pytest.FixtureRequest, language_models: Path) -> Prepared:
    pytest.importorskip("openvino_genai")
    return prepare_model(
        ModelSpec(name="m", task="text_generation", path=tiny(language_models / request.param, request.param)),
        formats=["torch", "openvino_text:fp32"], weights=WeightsPolicy.AUTO, allow_pickle=False,
        cache=ArtifactCache(language_models / "cache"),
    )  # fmt: skip


def session(family: Prepared, backend: str, precision: str = "fp32") -> Any:
    artifact = family.artifacts["torch" if backend == "pytorch" else "openvino_text:fp32"]
    case = Case(
        model="m",
        backend=backend,
        precision=precision,
        threads=2 if precision == "bf16" else 1,
        options={"prompt_tokens": PROMPT, "new_tokens": NEW},
    )
    runtime = open_backend(backend)
    assert runtime.unavailable() is None
    runtime.import_runtime(artifact)
    return runtime.load(artifact, case)


def test_it_makes_pytorchs_tokens_as_many_as_were_asked_for(family: Prepared) -> None:
    prompts = prompt_ids(1, PROMPT, 512)
    firsts: list[int] = []
    opened = session(family, "openvino_genai")
    found = opened.bind({"input_ids": prompts})(lambda: firsts.append(1))
    assert found["token_ids"].shape == (1, NEW) and found["token_ns"].shape == (NEW,)
    assert (np.diff(found["token_ns"]) > 0).all() and found["token_ns"][0] > 0
    assert firsts == [1]
    theirs = session(family, "pytorch").bind({"input_ids": prompts})()["token_ids"]
    np.testing.assert_array_equal(found["token_ids"], theirs)


def test_logits_are_pytorchs_and_what_is_timed_is_alone(family: Prepared) -> None:
    ids = prompt_ids(2, 70, 512)
    opened = session(family, "openvino_genai")
    mine, theirs = opened.logits(ids), session(family, "pytorch").logits(ids)
    assert np.abs(mine - theirs).max() <= 1e-3 * np.abs(theirs).max()
    process = opened.graph._process
    assert process.is_alive()
    opened.bind({"input_ids": ids[:1]})
    assert not process.is_alive()
    np.testing.assert_array_equal(opened.logits(ids), mine)
    opened.close()


def test_ends_of_text_are_masked(family: Prepared, tmp_path: Path) -> None:
    prompts = prompt_ids(1, PROMPT, 512)
    likely = session(family, "openvino_genai").bind({"input_ids": prompts})()["token_ids"][0]
    plain = family.artifacts["openvino_text:fp32"]
    shutil.copytree(plain.path, tmp_path / "other")
    config = json.loads((plain.path / "config.json").read_text())
    changed = plain.model_copy(update={"path": tmp_path / "other"})
    other = family.model_copy(update={"artifacts": {**family.artifacts, "openvino_text:fp32": changed}})
    for said in ([int(likely[2]), int(likely[5])], int(likely[0]), None):
        (tmp_path / "other/config.json").write_text(json.dumps({**config, "eos_token_id": said}))
        made = session(other, "openvino_genai").bind({"input_ids": prompts})()["token_ids"][0]
        assert len(made) == NEW and not np.isin(made, said or []).any()


def test_a_prompt_that_was_there_before_is_prefilled_again(language_models: Path) -> None:
    """A cache of prefixes would take the same prompt from the request before, and only a fresh one would wait."""
    pytest.importorskip("openvino_genai")
    model = tiny(language_models / "long", hidden_size=256, max_position_embeddings=2048)
    found = prepare_model(
        ModelSpec(name="m", task="text_generation", path=model),
        formats=["torch", "openvino_text:fp32"], weights=WeightsPolicy.AUTO, allow_pickle=False,
        cache=ArtifactCache(language_models / "cache"),
    )  # fmt: skip
    opened = session(found, "openvino_genai")
    fresh = np.random.default_rng(0).integers(3, 512, size=(6, 1, 1500))
    calls = [opened.bind({"input_ids": ids}) for ids in fresh]
    calls[0]()
    others = [call()["token_ns"][0] for call in calls[1:]]
    same = [calls[0]()["token_ns"][0] for _ in calls[1:]]
    assert np.median(same) > 0.5 * np.median(others)


def test_keys_and_values_take_what_the_formula_says(family: Prepared) -> None:
    decoder = family.artifacts["torch"].decoder
    assert decoder is not None
    for precision, value_bytes in (("fp32", 4), ("bf16", 2)):
        opened = session(family, "openvino_genai", precision)
        opened.bind({"input_ids": prompt_ids(1, PROMPT, 512)})()
        assert opened.kv_bytes() == (decoder.kv_bytes(PROMPT + NEW - 1, value_bytes=value_bytes), None)


@pytest.mark.parametrize(("precision", "named"), [("fp32", "f32"), ("bf16", "bf16")])
def test_the_graph_says_what_it_computes_and_keeps_in(family: Prepared, precision: str, named: str) -> None:
    opened = session(family, "openvino_genai", precision)
    found = opened.evidence()
    assert (found.precision, found.threads) == (precision, opened.case.threads)
    assert found.details["kv"] == found.details["kv_cache_precision"] == named
    opened.close()


def test_bf16_on_one_thread_is_refused_where_the_plugin_would_crash(family: Prepared) -> None:
    case = Case(model="m", backend="openvino_genai", precision="bf16", threads=1)
    with pytest.raises(UsageError, match="--threads 2"):
        open_backend("openvino_genai").load(family.artifacts["openvino_text:fp32"], case)


def test_a_graph_that_does_not_compile_says_why(tmp_path: Path) -> None:
    pytest.importorskip("openvino_genai")
    from zoobench.backends.openvino_paged import PagedGraph

    graph = PagedGraph(tmp_path / "none.xml", {})
    # Not where in OpenVINO's source that is.
    with pytest.raises(RuntimeError, match=r"^(?!Exception from).*none\.xml") as raised:
        graph.described()
    assert "\n" not in str(raised.value)
    graph.close()
