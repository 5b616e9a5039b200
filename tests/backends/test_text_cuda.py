"""Language models on a GPU, where there is one (`pytest -m gpu`); and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.language_models import tiny

from zoobench.backends import BACKENDS, artifact_key, open_backend
from zoobench.executors.local import LocalExecutor
from zoobench.prepare import ArtifactCache, prepare_model
from zoobench.spec import Case, ModelSpec
from zoobench.tasks.text_generation import prompt_ids
from zoobench.terms import TEXT, Precision, WeightsPolicy

CUDA = [name for name, row in BACKENDS.items() if row.device == "cuda" and TEXT in row.tasks]


def test_without_a_gpu_the_reason_says_what_to_do() -> None:
    from zoobench.backends.ort_genai import OrtGenaiCuda

    genai = pytest.importorskip("onnxruntime_genai")
    if genai.is_cuda_available():
        pytest.skip("this one has CUDA")
    assert "[genai_cuda]" in str(OrtGenaiCuda().unavailable())


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("backend", CUDA)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_gpu_makes_the_tokens_that_pytorch_makes(tmp_path: Path, backend: str, precision: str) -> None:
    if reason := LocalExecutor(tmp_path).probe([backend])[backend]:
        pytest.skip(f"{backend}: {reason}")
    spec = ModelSpec(name="m", task="text_generation", path=tiny(tmp_path / "llama"))
    key = artifact_key(backend, Precision(precision))
    prepared = prepare_model(
        spec,
        formats=["torch", key],
        weights=WeightsPolicy.AUTO,
        allow_pickle=False,
        cache=ArtifactCache(tmp_path),
    )
    assert not prepared.failed
    made = {}
    for name, device, kind in (("pytorch", "cpu", "torch"), (backend, "cuda", key)):
        case = Case(
            model="m", backend=name, device=device, precision=Precision(precision if device == "cuda" else "fp32"),
            threads=1, options={"prompt_tokens": 20, "new_tokens": 8},
        )  # fmt: skip
        runtime = open_backend(name)
        runtime.import_runtime(prepared.artifacts[kind])
        session = runtime.load(prepared.artifacts[kind], case)
        made[name] = session.bind({"input_ids": prompt_ids(1, 20, 512)})()["token_ids"]
        assert session.evidence().device == device
        session.close()
    if precision == "fp32":
        np.testing.assert_array_equal(made["pytorch"], made[backend])
    assert made[backend].shape == (1, 8)
