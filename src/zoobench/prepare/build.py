"""The builders: each fills an empty folder and says what it made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobench.backends.torch_module import WEIGHTS_FILE, load_torch_module
from zoobench.errors import PrepareError, explained
from zoobench.prepare.cache import content_of
from zoobench.prepare.eager import costs_of, reference_outputs
from zoobench.prepare.export import Exported, export_onnx
from zoobench.prepare.preprocessing import labels_of
from zoobench.prepare.validate import Validated, validate_onnx
from zoobench.prepare.versions import ONNX_PACKAGES, TORCH_PACKAGES, versions, with_library
from zoobench.prepare.weights import (
    load_model,
    save_torch_artifact,
)
from zoobench.spec import REFERENCE_FILE, Artifact, ModelSpec
from zoobench.tasks import open_task

if TYPE_CHECKING:
    from zoobench.hub.snapshots import Snapshot
    from zoobench.tasks import Parts


def build_torch(
    folder: Path, spec: ModelSpec, snapshot: Snapshot | None, *, seed: int, recipe: dict[str, Any]
) -> Artifact:
    """The torch artifact: weights, configuration, and the reference outputs that every runtime is held to."""
    model = load_model(spec, snapshot, seed=seed)
    inputs = open_task(spec.task).check_inputs(model.input_shape)
    with explained(f"{spec.name}: {model.architecture} does not run on inputs of shape {model.input_shape}"):
        outputs = reference_outputs(model.module, inputs, model.outputs)
        save_reference(folder, open_task(spec.task, model.detector).parts(outputs))
        costs = costs_of(model.module, model.input_shape)
    save_torch_artifact(model, folder)
    sha256, size_bytes = content_of(folder)
    return Artifact(
        path=folder,
        format="torch",
        sha256=sha256,
        size_bytes=size_bytes,
        file=WEIGHTS_FILE,
        model=spec.name,
        hf_id=spec.hf_id,
        commit=snapshot.commit if snapshot is not None else None,
        weights=model.weights,
        library=model.library,
        architecture=model.architecture,
        task=spec.task,
        input_name=spec.input_name,
        input_shape=model.input_shape,
        outputs=model.outputs,
        detector=model.detector,
        parameters=costs.parameters,
        flops=costs.flops,
        bytes_moved=costs.bytes_moved,
        tolerance=spec.fp32_tolerance,
        preprocessing=model.preprocessing,
        labels=model.labels
        if model.detector
        else labels_of(model.config, outputs[model.outputs[0]].shape[-1]),
        recipe=recipe,
        made_with=versions(with_library(TORCH_PACKAGES, model.library)),
    )


def build_onnx(
    folder: Path, spec: ModelSpec, torch_artifact: Artifact, *, recipe: dict[str, Any]
) -> Artifact:
    """The ONNX artifact, exported from the torch artifact and validated against its reference outputs."""
    reference = load_reference(torch_artifact.path)
    try:
        exported, validated = _export(folder, spec, torch_artifact, reference)
    except PrepareError as error:
        raise PrepareError(f"{spec.name}: {error}") from error
    sha256, size_bytes = content_of(folder)
    save_reference(folder, reference)
    made = {
        "path": folder,
        "format": "onnx",
        "sha256": sha256,
        "size_bytes": size_bytes,
        "file": exported.file,
        "input_name": spec.input_name,
        "dynamic_batch": exported.dynamic_batch,
        "fixed_batch": exported.fixed_batch,
        "opset_asked": spec.opset,
        "opset": exported.opset,
        "export_rung": exported.rung,
        "validation": validated.validation,
        "tolerance": spec.fp32_tolerance,
        "recipe": recipe,
        "made_with": versions(with_library(ONNX_PACKAGES, torch_artifact.library)),
        "notes": (*exported.notes, *validated.notes),
    }
    return torch_artifact.model_copy(update=made)


def _export(
    folder: Path, spec: ModelSpec, torch_artifact: Artifact, reference: Parts
) -> tuple[Exported, Validated]:
    """Go down the ladder until a file computes what PyTorch computes; if none does, take the first that runs."""
    module = load_torch_module(torch_artifact)
    inputs = open_task(spec.task).check_inputs(torch_artifact.input_shape)
    validated = Validated(None)

    def run(exported: Exported) -> None:
        nonlocal validated
        validated = validate_onnx(
            folder / exported.file,
            inputs,
            reference,
            tolerance=spec.fp32_tolerance,
            fixed_batch=exported.fixed_batch,
            task=open_task(spec.task, torch_artifact.detector),
        )

    def run_and_require_equal(exported: Exported) -> None:
        run(exported)
        found = validated.validation
        if found is not None and not found.passed:
            raise PrepareError(f"its outputs differ by {found.max_rel:.1e} of the reference's scale")

    def export(accept: Callable[[Exported], None]) -> Exported:
        return export_onnx(
            module,
            folder,
            input_shape=torch_artifact.input_shape,
            input_name=spec.input_name,
            output_names=torch_artifact.outputs,
            opset=spec.opset,
            accept=accept,
        )

    try:
        return export(run_and_require_equal), validated
    except PrepareError:
        if validated.validation is None:
            raise
        return export(run), validated


def save_reference(folder: Path, parts: Parts) -> None:
    """Write what the reference gave, one row for each check input, as float32; see `Task.parts`."""
    import numpy as np

    stored: dict[str, Any] = {name: part.astype(np.float32, copy=False) for name, part in parts.items()}
    np.savez(folder / REFERENCE_FILE, **stored)


def load_reference(folder: Path) -> Parts:
    """What an artifact's reference gave, float32, one row for each check input; see `Task.parts`."""
    import numpy as np

    with np.load(folder / REFERENCE_FILE, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
