"""A user's own .onnx file: looked at with suspicion, then copied into the cache with its external data.

A model file may name other files to read its weights from, so a hostile one could point at any file of this
machine: external data must be plain files beside (or under) the model.
"""

from __future__ import annotations

import hashlib
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zoobench.card import Card, read_card
from zoobench.errors import PrepareError, explained, first_line, install_extra
from zoobench.prepare.build import save_reference
from zoobench.prepare.cache import content_of
from zoobench.prepare.detector_roles import Told, UnclearError, inferred, is_yolo, labels, told_by
from zoobench.prepare.opset import opset_of
from zoobench.prepare.preprocessing import assumed, imagenet_by_count, letterbox
from zoobench.prepare.validate import (
    run_in_batches,
    run_onnxruntime,
    validate_onnx,
    version_of,
)
from zoobench.prepare.versions import ONNX_FILE_PACKAGES, versions
from zoobench.spec import MANIFEST_FILE, REFERENCE_FILE, Artifact, Detector, ModelSpec
from zoobench.tasks import open_task
from zoobench.terms import DETECTION, Precision

if TYPE_CHECKING:
    from zoobench.spec import Labels, Preprocessing
    from zoobench.tasks import Outputs, Parts

ROLES_FILE = "detector.json"
"""Beside a detector's graph: how its outputs are read."""
_FLOAT32 = 1
_MOST_VALUES = 2**28
"""Of one input item: 1 GiB of float32, far above any picture, and eight of them are made."""


@dataclass(frozen=True)
class OnnxFile:
    """A checked .onnx file.

    Attributes:
        path: the file.
        data: external data files, relative to the file's folder.
        sha256: over the file and its external data.
        input_name: of its one input.
        input_shape: one item, without the batch axis.
        fixed_batch: the batch it was exported for, None when the axis is symbolic.
        opset: of the default operator set.
        precision: int8 where it holds quantized nodes.
        told: what its exporter wrote into it.
        card: what zoobench wrote into it, where it was its exporter.
        chooses: whether its operators choose among candidates, as a detector's last ones may.
        opened: whether the file leaves more open than the batch, so that `input_shape` is this run's own.
    """

    path: Path
    data: tuple[str, ...]
    sha256: str
    input_name: str
    input_shape: tuple[int, ...]
    fixed_batch: int | None
    opset: int
    precision: Precision = Precision.FP32
    told: Told = field(default_factory=Told)
    card: Card | None = None
    chooses: bool = False
    opened: bool = False


def inspect(path: Path, wanted_shape: tuple[int, ...] | None = None) -> OnnxFile:
    """Read what the file says about itself; nothing is run.

    Args:
        wanted_shape: of one item; it fixes axes that the file leaves open. None: the size that its metadata tells.

    Raises:
        PrepareError: not there, not ONNX, external data outside its folder, or inputs that cannot be fed.
    """
    with explained(f"{path}: cannot be read as an ONNX model"):
        model = _parse(path)
        data = tuple(sorted(_external_data(model, path)))
        value = _only_input(model, path)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        told, card = told_by(metadata), read_card(metadata)
        dims = value.type.tensor_type.shape.dim
        shape, fixed_batch = _shape_of(value, path, wanted_shape, told)
    if wanted_shape is not None and wanted_shape != shape:
        raise PrepareError(f"{path}: its input is {shape}, not {wanted_shape} as asked; leave the shape out")
    digest = hashlib.sha256()
    for name in (path.name, *data):
        with (path.parent / name).open("rb") as file:
            digest.update(f"{name}\0".encode() + hashlib.file_digest(file, "sha256").digest())
    stored = (
        Precision.INT8 if any(_is_quantized(node.op_type) for node in model.graph.node) else Precision.FP32
    )
    return OnnxFile(
        path,
        data,
        digest.hexdigest(),
        value.name,
        shape,
        fixed_batch,
        opset_of(model),
        stored,
        told,
        card,
        chooses=any(node.op_type in _CHOOSING for node in model.graph.node),
        opened=any(dim.dim_value < 1 for dim in dims[1:]),
    )


_CHOOSING = ("TopK", "NonMaxSuppression")


def _is_quantized(op: str) -> bool:
    return op in ("QuantizeLinear", "DequantizeLinear") or op.startswith("QLinear") or op.endswith("Integer")


def build_from_file(folder: Path, spec: ModelSpec, source: OnnxFile, *, recipe: dict[str, Any]) -> Artifact:
    """Copy the file, check it, and make its reference with ONNX Runtime's graph optimisations disabled."""
    import numpy as np

    for name in (source.path.name, *source.data):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.path.parent / name, folder / name)
    file = folder / source.path.name
    sha256, size_bytes = content_of(folder)
    _check(file, source.path)
    tolerance = spec.fp32_tolerance
    items = math.prod(source.input_shape)
    if items > _MOST_VALUES:
        raise PrepareError(
            f"{source.path}: one input item of shape {source.input_shape} has {items:,} values; "
            f"{_MOST_VALUES:,} is the most that can be measured"
        )
    inputs = open_task(spec.task).check_inputs(source.input_shape)
    runtime = _onnxruntime_version()
    with explained(f"{source.path}: ONNX Runtime cannot run it"):
        outputs = run_in_batches(run_onnxruntime(file, optimised=False), inputs, (source.fixed_batch or 1,))
    meaning = _meaning(spec, source, outputs)
    if meaning.detector is not None:
        # One file that is read in two ways is two artifacts, each with a reference of its own.
        (folder / ROLES_FILE).write_text(meaning.detector.model_dump_json(), encoding="utf-8")
        sha256, _ = content_of(folder)
    if not all(np.isfinite(part).all() for part in meaning.parts.values()):
        raise PrepareError(
            f"{source.path}: its outputs are not finite on ordinary inputs (normal, about -4 to 4); "
            "check the weights and the export"
        )
    validated = validate_onnx(
        file,
        inputs,
        meaning.parts,
        task=open_task(spec.task, meaning.detector),
        # Fused int8 kernels round otherwise than the nodes that they stand for.
        tolerance=None if source.precision is Precision.INT8 else tolerance,
        fixed_batch=source.fixed_batch,
        reference=f"onnxruntime {runtime}, graph optimisations disabled",
    )
    save_reference(folder, meaning.parts)
    return Artifact(
        path=folder,
        format="onnx",
        sha256=sha256,
        size_bytes=size_bytes,
        file=file.name,
        model=spec.name,
        commit=source.sha256[:40],
        weights="local",
        library="onnx",
        task=spec.task,
        input_name=source.input_name,
        input_shape=source.input_shape,
        outputs=tuple(outputs),
        detector=meaning.detector,
        dynamic_batch=source.fixed_batch is None,
        fixed_batch=source.fixed_batch,
        opset=source.opset,
        validation=validated.validation,
        tolerance=tolerance,
        precision=source.precision,
        preprocessing=meaning.preprocessing,
        labels=meaning.labels,
        recipe=recipe,
        made_with=versions(ONNX_FILE_PACKAGES),
        notes=(*meaning.notes, *validated.notes),
    )


@dataclass(frozen=True)
class _Meaning:
    """What a file's outputs stand for, and what it wants to see; `preprocessing` and `labels` are None where nobody knows."""

    parts: Parts
    detector: Detector | None
    preprocessing: Preprocessing | None
    labels: Labels | None
    notes: tuple[str, ...] = ()


def _meaning(spec: ModelSpec, source: OnnxFile, outputs: Outputs) -> _Meaning:
    """Of the outputs on the check inputs, as the model's task has them.

    Raises:
        PrepareError: they are none of that task's, or it is not plain which is what.
    """
    at = (
        ""
        if not source.opened
        else f"it leaves its input open: run at {' × '.join(map(str, source.input_shape))}"
    )
    notes = (at,) if at else ()
    card = source.card if source.card and source.card.task == spec.task else None
    if spec.task == DETECTION:
        return _detections(spec, source, card, outputs, notes)
    first = next(iter(outputs.values()))
    if first.dtype.kind != "f":
        raise PrepareError(f"{source.path}: its first output is {first.dtype}, not numbers to compare")
    if _looks_like_detector(source, outputs):
        notes = (*notes, f"{source.path.name} looks like a detector; add --task {DETECTION}")
    parts = open_task(spec.task).parts(outputs)
    return _Meaning(
        parts,
        None,
        (card and card.preprocessing) or assumed(source.input_shape),
        (card and card.labels) or imagenet_by_count(first.shape[-1]),
        notes,
    )


def _looks_like_detector(source: OnnxFile, outputs: Outputs) -> bool:
    if source.card is not None:
        return source.card.task == DETECTION
    try:
        inferred(outputs, source.input_shape, source.told)
    except UnclearError:
        return source.told.task == "detect"
    return True


def _detections(
    spec: ModelSpec, source: OnnxFile, card: Card | None, outputs: Outputs, notes: tuple[str, ...]
) -> _Meaning:
    named = len(spec.labels) if isinstance(spec.labels, tuple) else 0
    try:
        detector = (
            spec.detector
            or (card and card.detector)
            or inferred(outputs, source.input_shape, source.told, chooses=source.chooses, names=named)
        )
        parts = open_task(spec.task, detector).parts(outputs)
    except ValueError as error:
        there = ", ".join(f"{name} {values.shape[1:]}" for name, values in outputs.items())
        raise PrepareError(
            f"{source.path}: {error}; of each item it gives {there}; say in a registry (--registry FILE) what they are: "
            'detector = { boxes = "…", scores = "…", box_format = "cxcywh", box_unit = "pixels", activation = "none", '
            "suppress = true }"
        ) from error
    if not any(part.any() for name, part in parts.items() if name != "boxes"):
        notes = (*notes, "it finds nothing on the check inputs, so how its outputs differ says little")
    yolo = source.told.task == "detect" or is_yolo(detector, source.input_shape, parts)
    return _Meaning(
        parts,
        detector,
        (card and card.preprocessing) or (letterbox(source.input_shape) if yolo else None),
        (card and card.labels) or labels(detector, parts, source.told),
        notes,
    )


def _parse(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not path.is_file():
        raise PrepareError(f"{path}: no such file; give a folder in hub layout or an .onnx file")
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise PrepareError(
            f"{path} is not an ONNX model, or it is truncated ({first_line(error)})"
        ) from error
    if not model.graph.node:
        raise PrepareError(f"{path} is not an ONNX model, or it is truncated (it has no nodes)")
    return model


def _check(file: Path, origin: Path) -> None:
    import onnx

    with explained(f"{origin} is not a sound ONNX model"):
        onnx.checker.check_model(str(file))


def _onnxruntime_version() -> str:
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise PrepareError(f"an .onnx file needs ONNX Runtime; {install_extra('cpu')}") from error
    return version_of("onnxruntime")


def _external_data(model: Any, path: Path) -> set[str]:
    """Names of the external data files, each proved to be a plain file inside the model's folder."""
    return {_safe(tensor, path) for tensor in _tensors(model) if tensor.data_location == tensor.EXTERNAL}


def _safe(tensor: Any, path: Path) -> str:
    told = {entry.key: entry.value for entry in tensor.external_data}
    location = told.get("location", "")
    parts = PurePosixPath(location)
    if not location or parts.is_absolute() or ".." in parts.parts or "\\" in location or "\0" in location:
        raise PrepareError(
            f"{path}: {tensor.name!r} takes data from {location!r}, outside the model's folder; refused"
        )
    file, home = path.parent / location, path.parent.resolve()
    if parts.as_posix() in (path.name, MANIFEST_FILE, REFERENCE_FILE, ROLES_FILE):
        raise PrepareError(f"{path}: external data cannot lie in a file called {location!r}; rename it")
    if not file.is_file():
        raise PrepareError(f"{path}: its data file {location!r} is missing; put it beside the model")
    if not file.resolve().is_relative_to(home):
        raise PrepareError(f"{path}: {location!r} is a link out of the model's folder; put a real file there")
    if _end_of(told) > file.stat().st_size:
        raise PrepareError(f"{path}: its data file {location!r} is truncated; copy it again")
    return parts.as_posix()


def _end_of(told: dict[str, str]) -> int:
    """Where the data would end, bytes; raises ValueError for what is not a plain number of bytes."""
    numbers = [told.get(key, "0") for key in ("offset", "length")]
    if not all(re.fullmatch("[0-9]{1,18}", number) for number in numbers):
        raise ValueError("its external data has an offset or a length that is not a number of bytes")
    return sum(map(int, numbers))


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor of the model, those in attributes, sub-graphs and functions too."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            if attribute.HasField("g"):
                yield from _graph_tensors(attribute.g)
            for graph in attribute.graphs:
                yield from _graph_tensors(graph)


def _only_input(model: Any, path: Path) -> Any:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise PrepareError(
            f"{path} has {len(inputs)} inputs ({names}); only models with one input can be run"
        )
    if inputs[0].type.tensor_type.elem_type != _FLOAT32:
        raise PrepareError(
            f"{path}: its input {inputs[0].name!r} is not float32; export it with a float32 input"
        )
    return inputs[0]


def _shape_of(
    value: Any, path: Path, wanted: tuple[int, ...] | None, told: Told
) -> tuple[tuple[int, ...], int | None]:
    """One item's shape and the fixed batch; axes that are open are as wanted, else as the exporter told them."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) < 2:
        raise PrepareError(f"{path}: its input {value.name!r} has no batch axis; export it with one")
    known: dict[int, int] = {}
    if wanted is not None and len(wanted) == len(dims) - 1:
        known = dict(enumerate(wanted, 1))
    elif wanted is None and told.edges is not None and len(dims) == 4:
        known = dict(zip((2, 3), told.edges, strict=True))
    sizes = {i: int(dim.dim_value) if dim.dim_value > 0 else known.get(i) for i, dim in enumerate(dims) if i}
    open_axes = [f"{i} ({dims[i].dim_param or 'unnamed'})" for i, size in sizes.items() if size is None]
    if open_axes:
        raise PrepareError(
            f"{path}: axes {', '.join(open_axes)} of its input are not fixed; export it with fixed sizes, only the batch "
            "axis may be open, or say its input_shape in a registry (--registry FILE)"
        )
    shape = tuple(size for size in sizes.values() if size is not None)
    return shape, int(dims[0].dim_value) if dims[0].dim_value > 0 else None
