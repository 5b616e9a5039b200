"""Preparing: from a model's name to artifacts on disk that sessions load. Runs in a worker.

Where weights come from is decided first, then the cache is asked; torch is only imported when it has nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, computed_field, model_validator

from zoobench.backends import BACKENDS
from zoobench.errors import HubUnreachableError, PrepareError
from zoobench.prepare.cache import ArtifactCache, load_artifact, recipe_key
from zoobench.spec import Artifact, Frozen, ModelSpec
from zoobench.terms import DETECTION, TEXT, Precision, WeightsPolicy

if TYPE_CHECKING:
    from zoobench.hub.snapshots import Snapshot
    from zoobench.prepare.derive import Calibration

__all__ = ["ArtifactCache", "Prepared", "load_artifact", "prepare_model"]

RECIPE_VERSION = 4
"""Counts up when the same inputs are made into something else."""

Progress = Callable[[str], None]
_WORTH_TELLING = 10_000_000


class Prepared(Frozen):
    """What preparing a model gave. Travels as JSON: `folders` carries the artifacts' paths."""

    model: ModelSpec
    artifacts: dict[str, Artifact]
    notes: tuple[str, ...] = ()
    failed: dict[str, str] = Field(
        default_factory=dict, description="format → why it could not be made, where another one could"
    )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def folders(self) -> dict[str, Path]:
        """Format → the artifact's folder."""
        return {name: artifact.path for name, artifact in self.artifacts.items()}

    @model_validator(mode="before")
    @classmethod
    def _folders_give_the_paths(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "folders" not in data:
            return data
        data = dict(data)
        folders = data.pop("folders")
        data["artifacts"] = {
            name: {**body, "path": folders[name]} for name, body in data["artifacts"].items()
        }
        return data


@dataclass(frozen=True)
class _Source:
    """Where weights come from: what identifies them, and how their files are had."""

    weights: Literal["pretrained", "random", "local"]
    identity: dict[str, Any]
    fetch: Callable[[], Snapshot | None] = field(compare=False)
    notes: tuple[str, ...] = ()


def prepare_model(
    spec: ModelSpec,
    *,
    formats: Sequence[str],
    weights: WeightsPolicy,
    allow_pickle: bool,
    cache: ArtifactCache,
    calibration: Calibration | None = None,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> Prepared:
    """Make the artifacts of one model, or find them in the cache.

    Args:
        spec: the model. With `path` its files are local and the Hub is not asked.
        formats: the keys of the artifacts that are wanted: `torch`, `onnx`, or a precision of the ONNX file, `onnx:int8`.
        calibration: pictures for int8; None: noise.
        weights: `pretrained` needs the Hub, `random` never asks it, `auto` falls back to seeded random
            weights when it cannot be reached (not when it refuses).
        allow_pickle: whether weights may come from a pickle (read with `weights_only=True`).
        cache: where artifacts are kept.
        seed: of random weights.
        progress: told what is being done, a line each time.

    Raises:
        HubError: the Hub refused, or could not be reached and there is no fallback.
        PrepareError: the model cannot be loaded or exported; the disk is full.
    """
    derived = [key for key in formats if ":" in key]
    formats = list(dict.fromkeys([*(k for k in formats if ":" not in k), *map(_origin_of, derived)]))
    prepared = _prepare_plain(spec, formats, weights, allow_pickle, cache, seed, progress)
    if derived:
        prepared = _with_derived(prepared, derived, cache, calibration, progress)
    return _without_int8_as_fp32(prepared)


def _prepare_plain(
    spec: ModelSpec,
    formats: Sequence[str],
    weights: WeightsPolicy,
    allow_pickle: bool,
    cache: ArtifactCache,
    seed: int,
    progress: Progress,
) -> Prepared:
    if spec.path is not None and spec.path.suffix == ".onnx":
        return _prepare_file(spec, spec.path, formats, cache, progress)
    try:
        source = _source(spec, weights, allow_pickle, seed, progress)
        return _prepare(spec, source, formats, cache, seed, progress)
    except HubUnreachableError as error:
        if weights is not WeightsPolicy.AUTO:
            raise
        source = _fallback(spec, seed, error)
        return _prepare(spec, source, formats, cache, seed, progress)


def _without_int8_as_fp32(prepared: Prepared) -> Prepared:
    """A user's own int8 file is not run as fp32, nor is anything made of it."""
    source = prepared.artifacts.get("onnx")
    if source is None or source.precision is not Precision.INT8:
        return prepared
    why = f"{prepared.model.name} is int8 already; ask for --precisions int8 (on onnx_cpu)"
    kept = {
        key: artifact
        for key, artifact in prepared.artifacts.items()
        if artifact.derived_from is None and key != "onnx"
    }
    failed = {**prepared.failed, **dict.fromkeys((key for key in prepared.artifacts if key not in kept), why)}
    return prepared.model_copy(update={"artifacts": kept, "failed": failed})


def _with_derived(
    prepared: Prepared,
    keys: Sequence[str],
    cache: ArtifactCache,
    calibration: Calibration | None,
    progress: Progress,
) -> Prepared:
    """Other precisions and formats of a plain artifact; one that fails leaves the others."""
    artifacts, failed = dict(prepared.artifacts), dict(prepared.failed)
    own = artifacts.get("onnx")
    if own is not None and own.precision is Precision.INT8 and "onnx:int8" in keys:
        # A user's own int8 file is what is meant.
        artifacts["onnx:int8"] = own
        keys = [key for key in keys if key != "onnx:int8"]
    for key in keys:
        origin = _origin_of(key)
        source = artifacts.get(origin)
        if source is None:
            failed[key] = failed.get(origin, f"{prepared.model.name} has no {origin} file to make it of")
            continue
        try:
            artifacts[key] = _derived(key, source, cache, calibration, progress)
        except PrepareError as error:
            failed[key] = str(error)
    return prepared.model_copy(update={"artifacts": artifacts, "failed": failed})


_MAKERS = {
    "onnx": ("onnx", "zoobench.prepare.derive"),
    "openvino": ("onnx", "zoobench.prepare.derive"),
    "genai": ("torch", "zoobench.prepare.genai"),
    "genai_cuda": ("torch", "zoobench.prepare.genai"),
    "gguf": ("torch", "zoobench.prepare.gguf"),
    "openvino_text": ("torch", "zoobench.prepare.openvino_text"),
}
"""Format of a derived artifact → the plain one that it is made of, and the module whose `derived_recipe` and
`build_derived` make it."""


def _origin_of(key: str) -> str:
    return _MAKERS[key.partition(":")[0]][0]


def _derived(
    key: str,
    source: Artifact,
    cache: ArtifactCache,
    calibration: Calibration | None,
    progress: Progress,
) -> Artifact:
    maker = importlib.import_module(_MAKERS[key.partition(":")[0]][1])
    recipe = maker.derived_recipe(key, source, calibration)

    def build(folder: Path) -> Artifact:
        made: Artifact = maker.build_derived(
            folder, key, source, calibration, recipe=recipe, progress=progress
        )
        return made

    found = cache.lookup(recipe_key(recipe)) or cache.get_or_build(recipe_key(recipe), build)
    # The source may have been named, and told its pictures, anew since.
    told = ("model", "hf_id", "preprocessing", "labels")
    return found.model_copy(update={name: getattr(source, name) for name in told})


def _source(
    spec: ModelSpec, weights: WeightsPolicy, allow_pickle: bool, seed: int, progress: Progress
) -> _Source:
    from zoobench.hub import snapshots

    if spec.path is not None:
        folder, only = (
            (spec.path.parent, spec.path.name) if spec.path.suffix == ".pt" else (spec.path, spec.file)
        )
        snapshot = snapshots.local_snapshot(folder, allow_pickle=allow_pickle, only=only)
        return _Source("local", {"content": snapshot.commit, **_told(spec)}, lambda: snapshot)
    hf_id = spec.hf_id
    if weights is WeightsPolicy.RANDOM:
        return _random_source(spec, seed)
    if hf_id is None and weights is WeightsPolicy.AUTO:
        return replace(_random_source(spec, seed), notes=("random weights: the model names none on the Hub",))
    if hf_id is None:
        raise PrepareError(f"{spec.name} names no model on the Hub; add an hf_id, or use --weights random")
    progress(f"asking the Hub for {hf_id}")
    commit = snapshots.resolve(hf_id, spec.revision, only=spec.file)

    def fetch() -> Snapshot:
        progress(f"downloading {hf_id} at {commit[:8]}")
        return snapshots.download(
            hf_id, commit, allow_pickle=allow_pickle, progress=_every_tenth(progress), only=spec.file
        )

    return _Source("pretrained", {"hf_id": hf_id, "commit": commit, **_told(spec)}, fetch)


def _told(spec: ModelSpec) -> dict[str, Any]:
    """What decides about the weights where a single file says nothing of what it holds."""
    return {"file": spec.file, "architecture": spec.architecture} if spec.file else {}


def _every_tenth(progress: Progress) -> Callable[[str, int, int], None]:
    """Tells of a file's download at most ten times; small ones need no word."""
    told: dict[str, int] = {}

    def report(name: str, arrived: int, total: int) -> None:
        tenth = 10 * arrived // max(total, 1)
        if total > _WORTH_TELLING and tenth > told.get(name, 0):
            told[name] = tenth
            progress(f"downloading {name}: {arrived / 1e6:.0f} of {total / 1e6:.0f} MB")

    return report


def _random_source(spec: ModelSpec, seed: int) -> _Source:
    identity = {
        "seed": seed,
        "hf_id": spec.hf_id,
        "architecture": spec.architecture,
        "config": spec.config,
        "library": spec.library,
    }
    return _Source("random", identity, lambda: None)


def _fallback(spec: ModelSpec, seed: int, error: HubUnreachableError) -> _Source:
    """Random weights because the Hub is away, where the architecture is known."""
    from zoobench.prepare.weights import architecture_of

    if architecture_of(spec) is None:
        raise PrepareError(
            f"the Hub cannot be reached and {spec.hf_id!r} has no known architecture to build random weights "
            "for; connect to the Hub (HF_ENDPOINT for a mirror), or give a local folder or an .onnx file"
        ) from error
    return replace(_random_source(spec, seed), notes=(f"random weights: {error}",))


def _prepare(
    spec: ModelSpec,
    source: _Source,
    formats: Sequence[str],
    cache: ArtifactCache,
    seed: int,
    progress: Progress,
) -> Prepared:
    """The ONNX artifact derives from the torch artifact, so that one is made (or found) for both."""
    from zoobench.prepare.versions import ONNX_PACKAGES, TORCH_PACKAGES, versions, with_library

    torch_recipe = {
        "recipe": RECIPE_VERSION,
        "format": "torch",
        "weights": source.weights,
        "source": source.identity,
        "task": spec.task,
        "input_shape": spec.input_shape,
        "versions": versions(with_library(TORCH_PACKAGES, spec.library)),
    }
    onnx_recipe = {
        **torch_recipe,
        "format": "onnx",
        "input_name": spec.input_name,
        "opset": spec.opset,
        "tolerance": spec.tolerance,
        "versions": versions(with_library(ONNX_PACKAGES, spec.library)),
    }

    def torch_artifact() -> Artifact:
        return cache.get_or_build(recipe_key(torch_recipe), make_torch)

    def make_torch(folder: Path) -> Artifact:
        snapshot = source.fetch()
        progress(f"loading {source.weights} weights")
        if spec.task == TEXT:
            from zoobench.prepare.text import build_text

            return build_text(folder, spec, snapshot, seed=seed, recipe=torch_recipe)
        from zoobench.prepare.build import build_torch

        return build_torch(folder, spec, snapshot, seed=seed, recipe=torch_recipe)

    def make_onnx(folder: Path) -> Artifact:
        made_from = torch_artifact()
        progress("exporting to ONNX and validating")
        from zoobench.prepare.build import build_onnx

        return build_onnx(folder, spec, made_from, recipe=onnx_recipe)

    artifacts: dict[str, Artifact] = {}
    if "onnx" in formats and spec.task == TEXT:
        runs = [name for name, row in BACKENDS.items() if TEXT in row.tasks and row.device == "cpu"]
        raise PrepareError(f"{spec.name} is a language model, which runs on {', '.join(runs)}")
    if "torch" in formats:
        artifacts["torch"] = cache.lookup(recipe_key(torch_recipe)) or torch_artifact()
    failed: dict[str, str] = {}
    if "onnx" in formats:
        key = recipe_key(onnx_recipe)
        try:
            artifacts["onnx"] = cache.lookup(key) or cache.get_or_build(key, make_onnx)
        except PrepareError as error:
            if not artifacts:
                raise
            # What PyTorch runs is there, whatever became of the export.
            failed["onnx"] = str(error)
    return _prepared(spec, artifacts, source.notes, failed)


def _prepare_file(
    spec: ModelSpec, path: Path, formats: Sequence[str], cache: ArtifactCache, progress: Progress
) -> Prepared:
    from zoobench.prepare.onnx_file import build_from_file, inspect
    from zoobench.prepare.versions import ONNX_FILE_PACKAGES, versions

    notes: tuple[str, ...] = ()
    if "torch" in formats:
        notes = (f"{path.name} is an ONNX file: there is no PyTorch module of it to run",)
    source = inspect(path, spec.input_shape)
    spec = spec.model_copy(
        update={
            "input_shape": source.input_shape,
            "input_name": source.input_name,
            "licence": spec.licence or (source.card and source.card.licence) or source.told.licence,
        }
    )
    if "onnx" not in formats:
        return Prepared(model=spec, artifacts={}, notes=notes)
    recipe: dict[str, Any] = {
        "recipe": RECIPE_VERSION,
        "format": "onnx",
        "weights": "local",
        "source": {"content": source.sha256},
        "task": spec.task,
        "tolerance": spec.tolerance,
        "input_shape": list(source.input_shape),
        "versions": versions(ONNX_FILE_PACKAGES),
    }
    if spec.task == DETECTION:
        recipe["detector"] = spec.detector and spec.detector.model_dump(mode="json")
        recipe["labels"] = list(spec.labels) if isinstance(spec.labels, tuple) else None

    def make(folder: Path) -> Artifact:
        progress(f"checking and validating {path.name}")
        return build_from_file(folder, spec, source, recipe=recipe)

    key = recipe_key(recipe)
    artifact = cache.lookup(key) or cache.get_or_build(key, make)
    return _prepared(spec, {"onnx": artifact}, (*notes, *artifact.notes))


def _prepared(
    spec: ModelSpec,
    artifacts: dict[str, Artifact],
    notes: tuple[str, ...],
    failed: dict[str, str] | None = None,
) -> Prepared:
    """Artifacts under this model's name: two names of one model share what is in the cache."""
    told = {
        name: value
        for name in ("tolerance", "preprocessing", "labels")
        if (value := getattr(spec, name)) is not None
    }
    named = {
        name: artifact.model_copy(update={"model": spec.name, "hf_id": spec.hf_id, **told})
        for name, artifact in artifacts.items()
    }
    shape = next((artifact.input_shape for artifact in named.values()), spec.input_shape)
    model = spec.model_copy(update={"input_shape": shape})
    return Prepared(model=model, artifacts=named, notes=notes, failed=failed or {})
