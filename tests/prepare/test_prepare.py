"""Preparing as a whole: where weights come from, what is found in the cache, and how the answer travels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.loopback_hub import LoopbackHub, tiny_timm_repo, tiny_transformers_repo

from zoobench.errors import HubError, HubUnreachableError, PrepareError
from zoobench.hub import snapshots
from zoobench.prepare import ArtifactCache, Prepared, load_artifact, prepare_model
from zoobench.prepare.build import build_onnx, load_reference, save_reference
from zoobench.prepare.cache import content_of
from zoobench.prepare.eager import reference_outputs
from zoobench.spec import REFERENCE_FILE, Artifact, ModelSpec
from zoobench.tasks import open_task
from zoobench.terms import WeightsPolicy

COMMIT = "c" * 40


class Builders:
    """Stand in for torch: they write small files and remember what they were asked."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []

    def torch(
        self, folder: Path, spec: ModelSpec, snapshot: Any, *, seed: int, recipe: dict[str, Any]
    ) -> Artifact:
        self.made.append(("torch", recipe["weights"]))
        return self._write(folder, spec, "torch", recipe, f"{recipe['source']}")

    def onnx(self, folder: Path, spec: ModelSpec, made_from: Artifact, *, recipe: dict[str, Any]) -> Artifact:
        self.made.append(("onnx", recipe["weights"]))
        return self._write(folder, spec, "onnx", recipe, made_from.sha256 + str(spec.opset))

    def _write(self, folder: Path, spec: ModelSpec, kind: Any, recipe: dict[str, Any], text: str) -> Artifact:
        (folder / "model").write_text(text)
        (folder / REFERENCE_FILE).write_bytes(b"")
        sha256, size = content_of(folder)
        shape = spec.input_shape or (3, 160, 160)
        return Artifact(
            path=folder, format=kind, sha256=sha256, size_bytes=size, model=spec.name, input_shape=shape,
            weights=recipe["weights"],
        )  # fmt: skip


@pytest.fixture
def builders(monkeypatch: pytest.MonkeyPatch) -> Builders:
    made = Builders()
    monkeypatch.setattr("zoobench.prepare.build.build_torch", made.torch)
    monkeypatch.setattr("zoobench.prepare.build.build_onnx", made.onnx)
    return made


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "resolve", lambda hf_id, revision, **_: COMMIT)
    monkeypatch.setattr(
        snapshots, "download", lambda hf_id, commit, **_: snapshots.Snapshot(Path(), hf_id, commit, (), 0)
    )


def _unreachable(*_: Any, **__: Any) -> Any:
    raise HubUnreachableError("the Hub cannot be reached (refused)")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "resolve", _unreachable)


KNOWN = ModelSpec(name="m", hf_id="timm/test_resnet.r160_in1k")
UNKNOWN = ModelSpec(name="m", hf_id="org/model-name")


def prepare(
    spec: ModelSpec,
    cache: Path,
    weights: WeightsPolicy = WeightsPolicy.AUTO,
    formats: Sequence[str] = ("torch", "onnx"),
    **more: Any,
) -> Prepared:
    return prepare_model(
        spec, formats=formats, weights=weights, allow_pickle=False, cache=ArtifactCache(cache), **more
    )


def test_auto_takes_the_hubs_weights(tmp_path: Path, builders: Builders, online: None) -> None:
    prepared = prepare(KNOWN, tmp_path)
    assert builders.made == [("torch", "pretrained"), ("onnx", "pretrained")]
    assert prepared.notes == ()
    assert prepared.artifacts["torch"].recipe == {}
    assert prepared.model.input_shape == (3, 160, 160)


def test_auto_falls_back_to_random_weights_and_says_why(
    tmp_path: Path, builders: Builders, offline: None
) -> None:
    prepared = prepare(KNOWN, tmp_path)
    assert builders.made == [("torch", "random"), ("onnx", "random")]
    assert prepared.notes == ("random weights: the Hub cannot be reached (refused)",)


def test_a_hub_that_goes_away_in_mid_download_counts_as_unreachable(
    tmp_path: Path, builders: Builders, online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "download", _unreachable)
    assert prepare(KNOWN, tmp_path).artifacts["torch"].weights == "random"
    with pytest.raises(HubUnreachableError):
        prepare(KNOWN, tmp_path, WeightsPolicy.PRETRAINED)


def test_without_a_known_architecture_there_is_no_fallback(
    tmp_path: Path, builders: Builders, offline: None
) -> None:
    with pytest.raises(
        PrepareError, match=r"the Hub cannot be reached and 'org/model-name' has no known arch"
    ):
        prepare(UNKNOWN, tmp_path)
    assert builders.made == []


def test_a_hub_that_refuses_is_an_error_under_auto_too(
    tmp_path: Path, builders: Builders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise HubError("401")

    monkeypatch.setattr(snapshots, "resolve", refuse)
    with pytest.raises(HubError, match="401"):
        prepare(KNOWN, tmp_path)
    assert builders.made == []


def test_pretrained_is_an_error_without_a_hub(tmp_path: Path, builders: Builders, offline: None) -> None:
    with pytest.raises(HubUnreachableError):
        prepare(KNOWN, tmp_path, WeightsPolicy.PRETRAINED)
    with pytest.raises(PrepareError, match="add an hf_id"):
        prepare(ModelSpec(name="m", architecture="test_resnet"), tmp_path, WeightsPolicy.PRETRAINED)


def test_random_never_asks_the_hub(
    tmp_path: Path, builders: Builders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "resolve", None)
    prepared = prepare(KNOWN, tmp_path, WeightsPolicy.RANDOM)
    assert prepared.artifacts["onnx"].weights == "random"
    assert prepared.notes == ()


def test_what_is_cached_is_not_built_again(tmp_path: Path, builders: Builders, online: None) -> None:
    first = prepare(KNOWN, tmp_path)
    builders.made.clear()
    renamed = prepare(KNOWN.model_copy(update={"name": "another"}), tmp_path)
    assert builders.made == []
    assert renamed.folders == first.folders
    assert {artifact.model for artifact in renamed.artifacts.values()} == {"another"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"opset": 18}, ["onnx"]),
        ({"tolerance": 0.5}, ["onnx"]),
        ({"input_name": "image"}, ["onnx"]),
        ({"input_shape": (3, 64, 64)}, ["torch", "onnx"]),
        ({"licence": "mit", "parameters": 3}, []),
    ],
)
def test_only_what_a_change_touches_is_built_again(
    tmp_path: Path, builders: Builders, online: None, change: dict[str, Any], expected: list[str]
) -> None:
    prepare(KNOWN, tmp_path)
    builders.made.clear()
    prepare(KNOWN.model_copy(update=change), tmp_path)
    assert [kind for kind, _ in builders.made] == expected


def test_another_seed_commit_or_version_is_another_artifact(
    tmp_path: Path, builders: Builders, online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = {"weights": WeightsPolicy.RANDOM, "formats": ("torch",)}
    folders = {
        prepare(KNOWN, tmp_path, **random).folders["torch"],  # type: ignore[arg-type]
        prepare(KNOWN, tmp_path, **random, seed=1).folders["torch"],  # type: ignore[arg-type]
        prepare(KNOWN, tmp_path).folders["torch"],
    }
    monkeypatch.setattr(snapshots, "resolve", lambda hf_id, revision, **_: "d" * 40)
    folders.add(prepare(KNOWN, tmp_path).folders["torch"])
    assert len(folders) == 4
    builders.made.clear()
    monkeypatch.setattr("zoobench.prepare.versions.versions", lambda packages: {"torch": "99"})
    prepare(KNOWN, tmp_path)
    assert len(builders.made) == 2


def test_an_export_that_fails_leaves_the_torch_artifact(
    tmp_path: Path, builders: Builders, online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise PrepareError("no room left")

    monkeypatch.setattr("zoobench.prepare.build.build_onnx", fail)
    prepared = prepare(KNOWN, tmp_path)
    assert list(prepared.artifacts) == ["torch"] and prepared.failed == {"onnx": "no room left"}
    with pytest.raises(PrepareError, match="no room left"):
        prepare(KNOWN, tmp_path, formats=["onnx"])


def test_onnx_alone_still_derives_from_the_torch_artifact(
    tmp_path: Path, builders: Builders, online: None
) -> None:
    prepared = prepare(KNOWN, tmp_path, formats=("onnx",))
    assert list(prepared.artifacts) == ["onnx"]
    assert [kind for kind, _ in builders.made] == ["torch", "onnx"]


def test_the_answer_travels_as_json(tmp_path: Path, builders: Builders, online: None) -> None:
    prepared = prepare(KNOWN, tmp_path)
    back = Prepared.model_validate_json(prepared.model_dump_json())
    assert back == prepared
    assert back.artifacts["onnx"].path == prepared.artifacts["onnx"].path
    assert load_artifact(prepared.folders["onnx"]) == prepared.artifacts["onnx"].model_copy(
        update={"hf_id": None}
    )


def test_progress_is_told(tmp_path: Path, builders: Builders, online: None) -> None:
    told: list[str] = []
    prepare(KNOWN, tmp_path, progress=told.append)
    assert [line.split()[0] for line in told] == ["asking", "downloading", "loading", "exporting"]
    assert "exporting" in told[-1]


@pytest.mark.slow
@pytest.mark.parametrize("repo", [tiny_timm_repo, tiny_transformers_repo])
def test_from_the_hub_to_both_artifacts(tmp_path: Path, loopback_hub: LoopbackHub, repo: Any) -> None:
    commit = loopback_hub.add("org/tiny", repo())
    prepared = prepare(ModelSpec(name="tiny", hf_id="org/tiny"), tmp_path / "cache")
    torch_artifact, onnx_artifact = prepared.artifacts["torch"], prepared.artifacts["onnx"]
    assert torch_artifact.commit == onnx_artifact.commit == commit
    assert torch_artifact.weights == "pretrained"
    assert onnx_artifact.validation is not None
    assert onnx_artifact.validation.passed
    assert (onnx_artifact.opset_asked, onnx_artifact.opset, onnx_artifact.dynamic_batch) == (17, 17, True)
    references = [load_reference(artifact.path) for artifact in (torch_artifact, onnx_artifact)]
    assert np.array_equal(*(reference["outputs"] for reference in references))
    assert len(references[0]["outputs"]) == 8
    assert load_artifact(onnx_artifact.path) == onnx_artifact


def _artifact_of(module: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """A torch artifact whose module is `module`, which no library could rebuild."""
    inputs = open_task("image_classification").check_inputs((3, 8, 8))
    folder.mkdir()
    save_reference(folder, {"outputs": reference_outputs(module, inputs)["logits"]})
    monkeypatch.setattr("zoobench.prepare.build.load_torch_module", lambda artifact: module)
    return Artifact(path=folder, format="torch", sha256="0", size_bytes=0, model="m", input_shape=(3, 8, 8))


@pytest.mark.slow
def test_a_rung_that_computes_something_else_is_left_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    class Doubling(torch.nn.Module):  # type: ignore[misc]
        """The exporter follows one branch, whatever the batch will be."""

        def forward(self, x: Any) -> Any:
            return x.flatten(1)[:, :5] * (2.0 if x.shape[0] > 1 else 1.0)

    monkeypatch.setattr("zoobench.prepare.eager._REFERENCE_BATCH", 1)
    source = _artifact_of(Doubling().eval(), tmp_path / "torch", monkeypatch)
    (tmp_path / "onnx").mkdir()
    artifact = build_onnx(tmp_path / "onnx", ModelSpec(name="m"), source, recipe={})
    assert (artifact.export_rung, artifact.fixed_batch) == ("dynamo_static", 1)
    assert artifact.validation is not None
    assert artifact.validation.passed
    assert "differ by" in artifact.notes[0]


@pytest.mark.slow
def test_when_no_rung_computes_the_same_the_first_is_kept_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    source = _artifact_of(torch.nn.Flatten().eval(), tmp_path / "torch", monkeypatch)
    save_reference(source.path, {"outputs": load_reference(source.path)["outputs"] * 1.5})
    (tmp_path / "onnx").mkdir()
    artifact = build_onnx(tmp_path / "onnx", ModelSpec(name="m"), source, recipe={})
    assert artifact.export_rung == "dynamo_dynamic"
    assert artifact.validation is not None
    assert not artifact.validation.passed
    assert artifact.validation.max_rel == pytest.approx(1 / 3, rel=1e-3)


CACHED = """
import sys
from pathlib import Path
from zoobench.prepare import ArtifactCache, prepare_model
from zoobench.spec import ModelSpec
from zoobench.terms import WeightsPolicy
prepare_model(ModelSpec(name="m", architecture="test_resnet"), formats=["torch", "onnx"],
              weights=WeightsPolicy.RANDOM, allow_pickle=False, cache=ArtifactCache(Path(sys.argv[1])))
heavy = {"torch", "timm", "transformers", "onnx", "onnxruntime", "numpy"} & set(sys.modules)
raise SystemExit(", ".join(sorted(heavy)) or 0)
"""


def test_a_cache_hit_imports_nothing_heavy(tmp_path: Path, builders: Builders) -> None:
    prepare(ModelSpec(name="m", architecture="test_resnet"), tmp_path, WeightsPolicy.RANDOM)
    ran = subprocess.run(
        [sys.executable, "-c", CACHED, str(tmp_path)],
        env={"PYTHONPATH": str(Path(snapshots.__file__).parents[2]), "PATH": ""},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
