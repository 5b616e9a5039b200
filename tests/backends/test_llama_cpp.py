"""llama.cpp computes what PyTorch computes, token by token, and begins every request anew."""

from __future__ import annotations

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
from zoobench.terms import Precision, WeightsPolicy

llama_cpp = pytest.importorskip("llama_cpp")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("gradients_after")]
PROMPT, NEW, BATCH, END = 20, 12, 2, [2]
PRECISIONS = ("fp32", "fp16", "int8", "int4")


@pytest.fixture(scope="module", params=["llama", "qwen2", "qwen3", "phi"])
def family(request: pytest.FixtureRequest, language_models: Path) -> Prepared:
    model = tiny(language_models / request.param, request.param)
    return prepared(model, language_models, "torch", "gguf:fp32")


@pytest.fixture(scope="module")
def llama(language_models: Path) -> Prepared:
    model = tiny(language_models / "llama")
    return prepared(model, language_models, "torch", *(f"gguf:{precision}" for precision in PRECISIONS))


def prepared(model: Path, place: Path, *formats: str) -> Prepared:
    found = prepare_model(
        ModelSpec(name="m", task="text_generation", path=model),
        formats=formats, weights=WeightsPolicy.AUTO, allow_pickle=False, cache=ArtifactCache(place / "cache"),
    )  # fmt: skip
    assert not found.failed, found.failed
    return found


def session(found: Prepared, backend: str = "llama_cpp", precision: str = "fp32", **fields: Any) -> Any:
    artifact = found.artifacts["torch" if backend == "pytorch" else f"gguf:{precision}"]
    told = {"threads": 1, "batch": BATCH, "options": {"prompt_tokens": PROMPT, "new_tokens": NEW}, **fields}
    runtime = open_backend(backend)
    assert runtime.unavailable() is None
    runtime.import_runtime(artifact)
    return runtime.load(artifact, Case(model="m", backend=backend, precision=precision, **told))


def test_fp32_has_pytorch_s_logits_at_every_position(family: Prepared) -> None:
    ids = prompt_ids(BATCH, 40, 512)
    wanted, found = (session(family, backend).logits(ids) for backend in ("pytorch", "llama_cpp"))
    assert found.shape == (BATCH, 40, 512) and found.dtype == np.float32
    # Phi's activation is a table of 16-bit numbers.
    limit = 1e-3 if family.artifacts["torch"].architecture == "PhiForCausalLM" else 1e-5
    assert np.abs(found - wanted).max() < limit * np.abs(wanted).max()
    validation = family.artifacts["gguf:fp32"].validation
    assert validation is not None and validation.passed and validation.runtime.startswith("llama.cpp 0.")


def test_the_tokens_are_pytorch_s_as_many_as_were_asked_for(family: Prepared) -> None:
    prompts = prompt_ids(BATCH, PROMPT, 512)
    opened = session(family)
    called: list[str] = []
    found = opened.bind({"input_ids": prompts})(lambda: called.append("first"))
    assert found["token_ids"].shape == (BATCH, NEW) and found["token_ns"].shape == (NEW,)
    assert (np.diff(found["token_ns"]) > 0).all() and found["token_ns"][0] > 0 and called == ["first"]
    wanted = session(family, "pytorch").bind({"input_ids": prompts})()
    np.testing.assert_array_equal(found["token_ids"], wanted["token_ids"])


def test_a_text_may_not_end_before(llama: Prepared) -> None:
    prompts = prompt_ids(1, PROMPT, 512)
    opened = session(llama, batch=1)
    assert opened._ends == END
    made = opened.bind({"input_ids": prompts})()["token_ids"]
    # Were its first token one that ends it, another would be made.
    opened._ends = [int(made[0, 0])]
    again = opened.bind({"input_ids": prompts})()["token_ids"]
    assert again.shape == made.shape and made[0, 0] not in again


def test_every_request_prefills_all_of_an_empty_cache(
    llama: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = session(llama)
    run = opened.bind({"input_ids": prompt_ids(BATCH, PROMPT, 512)})
    context = opened._context
    decode, seen = context.decode, []

    def spy(batch: Any, **told: Any) -> Any:
        last = [llama_cpp.llama_memory_seq_pos_max(context._memory, number) for number in range(BATCH)]
        seen.append((batch.raw.n_tokens, *last))
        return decode(batch, **told)

    monkeypatch.setattr(context, "decode", spy)
    first, second = run(), run()
    np.testing.assert_array_equal(first["token_ids"], second["token_ids"])
    steps = [(BATCH, PROMPT + number, PROMPT + number) for number in range(-1, NEW - 2)]
    assert seen == [(BATCH * PROMPT, -1, -1), *steps] * 2


@pytest.mark.parametrize(("precision", "value_bytes", "kind"), [("fp32", 4, "f32"), ("int8", 2, "f16")])
def test_keys_and_values_take_what_the_formula_says(
    precision: str, value_bytes: int, kind: str, llama: Prepared
) -> None:
    opened = session(llama, precision=precision, threads=2)
    assert opened.kv_bytes() == (None, None)
    opened.bind({"input_ids": prompt_ids(BATCH, PROMPT, 512)})()
    decoder = llama.artifacts["torch"].decoder
    assert decoder is not None
    used = decoder.kv_bytes(PROMPT + NEW - 1, value_bytes=value_bytes, batch=BATCH)
    # llama.cpp reserves whole 256 tokens of a sequence.
    assert opened.kv_bytes() == (used, decoder.kv_bytes(256, value_bytes=value_bytes, batch=BATCH))
    told = opened.evidence()
    assert (told.device, told.precision, told.threads) == ("cpu", precision, 2)
    assert (told.details["kv_type"], told.details["n_ctx"]) == (kind, 256 * BATCH)
    assert "CPU" in told.details["system_info"] and told.version == llama_cpp.__version__


def test_fewer_bits_are_files_of_their_own_and_smaller(llama: Prepared) -> None:
    files = {p: llama.artifacts[f"gguf:{p}"] for p in PRECISIONS}
    sizes = [(file.path / "model.gguf").stat().st_size for file in files.values()]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    torch = llama.artifacts["torch"]
    for precision, file in files.items():
        assert (file.precision, file.derived_from) == (Precision(precision), torch.sha256)
        assert file.validation is not None and file.validation.passed
        assert sorted(p.name for p in file.path.iterdir()) == [
            "config.json", "manifest.json", "model.gguf", "reference.npz", "tokenizer.json",
        ]  # fmt: skip
    assert "Q8_0" in files["int8"].notes[-1] and "F16" in files["fp16"].notes[-1]


def test_sessions_outlive_one_another(llama: Prepared) -> None:
    """A bound call holds what it needs, and another length is another context."""
    opened = session(llama, batch=1)
    short, long = (opened.bind({"input_ids": prompt_ids(1, n, 512)}) for n in (PROMPT, 2 * PROMPT))
    opened.close()
    np.testing.assert_array_equal(short()["token_ids"], short()["token_ids"])
    assert long()["token_ids"].shape == (1, NEW)


def test_what_is_no_gguf_file_is_refused_in_llama_cpp_s_words(
    llama: Prepared, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.gguf").write_bytes(b"nothing of the kind")
    artifact = llama.artifacts["gguf:fp32"].model_copy(update={"path": tmp_path})
    with pytest.raises(UsageError, match=r"llama.cpp does not load it: .*model"):
        open_backend("llama_cpp").load(artifact, Case(model="m", backend="llama_cpp", threads=1))
    assert capfd.readouterr().err == ""
