"""From a torch module to an ONNX file, down a ladder of exporters, and the same bytes every time.

The rungs, first that works: torch's dynamo exporter with a dynamic batch, the same with batch 1 fixed, and
the deprecated TorchScript exporter. What came out is read from the file: opset, batch axis, names.
"""

from __future__ import annotations

import builtins
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoobench.errors import PrepareError, first_line
from zoobench.prepare.opset import EXPORTER_FLOOR, NoWayDown, lowered, opset_of

MODEL_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"
EXTERNAL_DATA_BYTES = 1_500_000_000
"""Above this the weights lie in a file of their own: a protobuf message ends at 2 GiB."""

_EXAMPLE_BATCH = 2
_UNCHECKED = "TRANSFORMERS_DISABLE_TORCH_CHECK"
_TORCHSCRIPT_CEILING = 20


@dataclass(frozen=True)
class Exported:
    """An ONNX file and what it turned out to be.

    Attributes:
        file: name of the file in the folder.
        rung: which step of the ladder made it.
        opset: what the file says, which may not be what was asked.
        dynamic_batch: axis 0 of input and output is symbolic.
        fixed_batch: the batch it was made for when it is not.
        notes: why higher rungs failed, and why the opset is not the one asked.
    """

    file: str
    rung: str
    opset: int
    dynamic_batch: bool
    fixed_batch: int | None
    notes: tuple[str, ...]


def export_onnx(
    module: Any,
    folder: Path,
    *,
    input_shape: tuple[int, ...],
    input_name: str = "pixel_values",
    output_names: tuple[str, ...] = ("logits",),
    opset: int = 17,
    accept: Callable[[Exported], None] | None = None,
) -> Exported:
    """Export `module` into `folder`/model.onnx.

    Args:
        module: torch module in evaluation mode on the CPU, one tensor in, one or several out.
        folder: exists; gets the file, and model.onnx.data beside it when the model is large.
        input_shape: one item, without the batch axis.
        input_name: of the graph's input.
        output_names: of its outputs, as many as the module returns.
        opset: asked; what cannot be expressed there keeps the exporter's own, with a note.
        accept: runs the file and raises when it cannot be run; then the next rung is tried.

    Raises:
        PrepareError: no rung gave a sound file; the reasons of all of them.
    """
    failed: list[str] = []
    asked = _Asked(module, input_shape, input_name, output_names, opset)
    for name, rung in _RUNGS.items():
        try:
            with _quietly(), _traceable():
                model = rung(asked)
                notes = _finish(model, folder, opset)
            exported = _described(folder, name, (*failed, *notes))
            if accept:
                accept(exported)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - exporters raise everything; the reason is kept in a note
            failed.append(f"{name} export failed: {first_line(error)}")
            _remove(folder)
        else:
            return exported
    raise PrepareError("no ONNX file could be made: " + "; ".join(failed))


@dataclass(frozen=True)
class _Asked:
    """What a rung is given."""

    module: Any
    shape: tuple[int, ...]
    input_name: str
    output_names: tuple[str, ...]
    opset: int


def _dynamo(asked: _Asked, *, dynamic: bool) -> Any:
    import torch

    batch = {0: torch.export.Dim("batch")}
    program = torch.onnx.export(
        asked.module,
        # A batch of 1 would be taken for a constant.
        (torch.zeros((_EXAMPLE_BATCH if dynamic else 1, *asked.shape)),),
        dynamo=True,
        dynamic_shapes=(batch,) if dynamic else None,
        opset_version=max(asked.opset, EXPORTER_FLOOR),
        input_names=[asked.input_name],
        output_names=list(asked.output_names),
        verbose=False,
    )
    model = program.model_proto
    if dynamic and not _dynamic(model.graph):
        raise ValueError("the batch axis came out fixed")
    return model


def _dynamo_dynamic(asked: _Asked) -> Any:
    return _dynamo(asked, dynamic=True)


def _dynamo_static(asked: _Asked) -> Any:
    return _dynamo(asked, dynamic=False)


def _torchscript(asked: _Asked) -> Any:
    import onnx
    import torch

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / MODEL_FILE
        torch.onnx.export(
            asked.module,
            (torch.zeros((_EXAMPLE_BATCH, *asked.shape)),),
            file,
            dynamo=False,
            dynamic_axes={name: {0: "batch"} for name in (asked.input_name, *asked.output_names)},
            opset_version=min(asked.opset, _TORCHSCRIPT_CEILING),
            input_names=[asked.input_name],
            output_names=list(asked.output_names),
        )
        return onnx.load(file)


Rung = Callable[[_Asked], Any]
_RUNGS: dict[str, Rung] = {
    "dynamo_dynamic": _dynamo_dynamic,
    "dynamo_static": _dynamo_static,
    "torchscript": _torchscript,
}


@contextmanager
def _quietly() -> Iterator[None]:
    """No chatter: what matters is raised, or read from the file afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _traceable() -> Iterator[None]:
    """Let models be traced that ask a batch for its length, or check their own shapes.

    `len(tensor)` must be an int, so torch.export fixes the batch at the example's (pytorch/pytorch#185804; RT-DETR and D-FINE
    do that); within its tracing it replaces max and min for the same reason. And transformers' checks of its own tensors
    become an operator that ONNX has not, unless its documented variable turns them off.
    """
    import torch

    length, checks = builtins.len, os.environ.get(_UNCHECKED)

    def symbolic(value: Any) -> Any:
        return value.shape[0] if isinstance(value, torch.Tensor) and value.dim() else length(value)

    builtins.len = symbolic
    os.environ[_UNCHECKED] = "1"
    try:
        yield
    finally:
        builtins.len = length
        os.environ.pop(_UNCHECKED)
        if checks is not None:
            os.environ[_UNCHECKED] = checks


def _finish(model: Any, folder: Path, opset: int) -> tuple[str, ...]:
    """Lower, strip, write and check. Returns notes."""
    import onnx

    notes: tuple[str, ...] = ()
    if opset < opset_of(model):
        try:
            model = lowered(model, opset)
        except NoWayDown as reason:
            notes = (f"opset {opset_of(model)} instead of {opset}: {reason}",)
    strip_metadata(model)
    _write(model, folder)
    onnx.checker.check_model(str(folder / MODEL_FILE), full_check=True)
    return notes


def strip_metadata(model: Any) -> None:
    """Remove what differs from machine to machine and is not needed to run: stack traces with paths."""
    model.doc_string = ""
    del model.metadata_props[:]
    _strip_graph(model.graph)
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        _strip_nodes(function.node)


def _strip_graph(graph: Any) -> None:
    graph.doc_string = ""
    del graph.metadata_props[:]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    _strip_nodes(graph.node)


def _strip_nodes(nodes: Any) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                _strip_graph(graph)


def _write(model: Any, folder: Path) -> None:
    import onnx

    if sum(len(t.raw_data) for t in model.graph.initializer) > EXTERNAL_DATA_BYTES:
        onnx.save_model(
            model,
            str(folder / MODEL_FILE),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=DATA_FILE,
        )
    else:
        (folder / MODEL_FILE).write_bytes(model.SerializeToString(deterministic=True))


def _remove(folder: Path) -> None:
    for name in (MODEL_FILE, DATA_FILE):
        (folder / name).unlink(missing_ok=True)


def _described(folder: Path, rung: str, notes: tuple[str, ...]) -> Exported:
    import onnx

    model = onnx.load(folder / MODEL_FILE, load_external_data=False)
    dynamic = _dynamic(model.graph)
    fixed = None if dynamic else int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value) or None
    exported = Exported(MODEL_FILE, rung, opset_of(model), dynamic, fixed, notes)
    if fixed is not None:
        return replace(exported, notes=(*notes, f"the batch is fixed at {fixed}"))
    return exported


def _dynamic(graph: Any) -> bool:
    """Whether axis 0 of the input and of every output is symbolic."""
    ends = (graph.input[0], *graph.output)
    return all(end.type.tensor_type.shape.dim[0].WhichOneof("value") == "dim_param" for end in ends)
