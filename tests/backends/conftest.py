"""Tiny artifacts of a real network, made once a session, and sessions in real worker processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zoobench.backends import BACKENDS, artifact_key
from zoobench.measure.channel import Launch, WorkerProcess
from zoobench.measure.sensors import process_cpu_s
from zoobench.outcome import Check, Evidence
from zoobench.prepare import ArtifactCache, prepare_model
from zoobench.spec import Artifact, Case, ModelSpec
from zoobench.terms import Precision, WeightsPolicy

TINY = {
    "resnet": ModelSpec(name="resnet", hf_id="timm/test_resnet.r160_in1k", input_shape=(3, 64, 64), opset=18),
    # Few distinct kernels, so that compiling takes seconds and not minutes.
    "vit": ModelSpec(
        name="vit",
        library="transformers",
        input_shape=(3, 16, 16),
        config={
            "model_type": "vit",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": 16,
            "patch_size": 8,
            "num_labels": 7,
        },
    ),
}


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Artifact]:
    """Makes an artifact of a tiny network by its name and what a backend runs (`onnx`, `onnx:fp16`), once."""
    cache = ArtifactCache(tmp_path_factory.mktemp("artifacts"))

    def make(name: str, wanted: str) -> Artifact:
        prepared = prepare_model(
            TINY[name], formats=[wanted], weights=WeightsPolicy.RANDOM, allow_pickle=False, cache=cache
        )
        return prepared.artifacts[wanted]

    return make


class Runner:
    """One worker process with a session of one case."""

    def __init__(self, case: Case, artifact: Artifact) -> None:
        self.case, self.artifact = case, artifact
        self.worker = WorkerProcess("session", Launch(), threads=case.threads)

    def ask(self, verb: str, **args: Any) -> Any:
        return self.worker.request(verb, args, deadline_s=300)

    def load(self, **options: Any) -> dict[str, Any]:
        """Load the case with other options than its own."""
        case = self.case.model_copy(update={"options": {**self.case.options, **options}})
        made = {**self.artifact.model_dump(mode="json"), "path": str(self.artifact.path)}
        loaded: dict[str, Any] = self.ask("load", case=case.model_dump(mode="json"), artifact=made)
        return loaded

    def check(self) -> Check:
        return Check.model_validate(self.ask("check"))

    def evidence(self) -> Evidence:
        return Evidence.model_validate(self.ask("evidence"))

    def maps(self, library: str) -> bool:
        """Whether the worker has that library's file mapped."""
        return library in Path(f"/proc/{self.worker.pid}/maps").read_text()

    def idle_cpu(self, seconds: float = 0.4) -> float:
        """Share of a core that the worker uses while nobody asks it anything."""
        before = process_cpu_s(self.worker.pid)
        time.sleep(seconds)
        after = process_cpu_s(self.worker.pid)
        assert before is not None
        assert after is not None
        return (after - before) / seconds


@pytest.fixture
def start(artifact: Callable[[str, str], Artifact]) -> Iterator[Callable[..., Runner]]:
    """Starts a worker for a tiny network on a backend; all are ended with the test."""
    runners: list[Runner] = []

    def run(
        backend: str,
        *,
        model: str = "resnet",
        batch: int = 1,
        precision: Precision = Precision.FP32,
        threads: int = 1,
        **options: Any,
    ) -> Runner:
        row = BACKENDS[backend]
        case = Case(
            model=model,
            backend=backend,
            device=row.device,
            precision=precision,
            batch=batch,
            threads=threads,
            options=options,
        )
        runners.append(Runner(case, artifact(model, artifact_key(backend, precision))))
        return runners[-1]

    yield run
    for runner in runners:
        runner.worker.close()
