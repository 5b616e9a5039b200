"""Detectors by ultralytics: weights from its pickles, or seeded ones, as what `zoobench.prepare.weights` makes of the others.

What it saves is a pickle of the whole module. Only the classes that the architecture is made of may come out of it
(`weights_only`), nothing that came out is called, and only its numbers are kept.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobench.backends.torch_yolo import build_yolo, description_of, import_ultralytics
from zoobench.errors import PrepareError, explained
from zoobench.spec import Detector, Preprocessing

if TYPE_CHECKING:
    from zoobench.spec import ModelSpec

OUTPUTS = ("output0",)
"""As ultralytics' own exporter names it."""
SOURCE = "ultralytics, Detect head"
_COCO = 80
_EDGE = 640
_STRIDE = 32
_GREY = (114, 114, 114)
_MOST_REPEATS = 64


def detector() -> Detector:
    """Boxes in pixels and probabilities in one output, (batch, 4 + classes, candidates)."""
    (name,) = OUTPUTS
    return Detector(
        boxes=name,
        scores=name,
        axes="columns",
        box_format="cxcywh",
        box_unit="pixels",
        activation="none",
        suppress=True,
        source=SOURCE,
    )


def letterboxed(input_shape: tuple[int, ...]) -> Preprocessing:
    """The whole picture at its own proportions on grey, values from 0 to 1: `LetterBox` of a fixed size."""
    size = (input_shape[1], input_shape[2])
    return Preprocessing(
        resize=size,
        fit="longest",
        interpolation="linear",
        crop=size,
        border=_GREY,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        source="ultralytics, LetterBox",
    )


def shape_of(spec: ModelSpec) -> tuple[int, ...]:
    """The shape asked, else (3, 640, 640).

    Raises:
        PrepareError: not three channels, or an edge that its strides do not divide.
    """
    shape = spec.input_shape or (3, _EDGE, _EDGE)
    if len(shape) != 3 or shape[0] != 3 or any(edge % _STRIDE for edge in shape[1:]):
        raise PrepareError(
            f"{spec.name}: YOLO takes (3, height, width) in multiples of {_STRIDE}, not {shape}"
        )
    return shape


def blank(spec: ModelSpec) -> tuple[Any, dict[str, Any]]:
    """The module with the weights that the library starts training from, and its configuration.

    Raises:
        PrepareError: the model names no architecture, or none that is known.
    """
    yaml = _described(spec)
    config = _config(spec, yaml, int((spec.config or {}).get("num_labels", _COCO)))
    with explained(f"{spec.name}: ultralytics cannot build {spec.architecture}"):
        return build_yolo(yaml, config["classes"]), config


def unnamed(classes: int) -> tuple[str, ...]:
    """Names of classes that nobody has named, as transformers gives them."""
    return tuple(f"LABEL_{i}" for i in range(classes))


def load(spec: ModelSpec, file: Path) -> tuple[Any, dict[str, Any], tuple[str, ...], int]:
    """The module with the weights in a `.pt` file, its configuration, the names of its classes, and the edge it was trained at.

    Its layers are those of the architecture that the model names; of one that names none they are as the file tells.

    Raises:
        PrepareError: it holds anything but a detector.
    """
    what = f"{spec.name}: {file.name} is no {spec.architecture or 'YOLO detector'} that ultralytics saved"
    with explained(what):
        saved = _unpickled(file)
        found = vars(saved.get("ema") or saved["model"])
        yaml = _described(spec) if spec.architecture else _checked(json.loads(json.dumps(found["yaml"])))
        names = found["names"]
        labels = tuple(str(names[i]) for i in range(len(names)))
        model = build_yolo(yaml, len(labels))
        weights = _tensors(saved.get("ema") or saved["model"])
        model.load_state_dict({name: tensor.float() for name, tensor in weights}, strict=True)
        edge = int((saved.get("train_args") or {}).get("imgsz") or _EDGE)
    return model, _config(spec, yaml, len(labels)), labels, -(-edge // _STRIDE) * _STRIDE


def _checked(yaml: dict[str, Any]) -> dict[str, Any]:
    """A file's own description of its layers, if it names none but layers: some of what ultralytics builds by name fetches
    weights or opens files.

    Raises:
        ValueError: it names something else, or repeats it beyond reason.
    """
    allowed = {kind.__name__ for kind in _modules() if not kind.__name__.endswith("Model")} - {"TorchVision"}
    for _, repeats, layer, _ in (*yaml["backbone"], *yaml["head"]):
        if str(layer).rpartition(".")[2] not in allowed or not 1 <= int(repeats) <= _MOST_REPEATS:
            raise ValueError(f"it tells of the layer {str(layer)[:40]!r}, {repeats} times, which no YOLO has")
    return yaml


def _described(spec: ModelSpec) -> dict[str, Any]:
    if not spec.architecture:
        raise PrepareError(f'{spec.name}: say which of ultralytics\' models it is (architecture = "yolov8n")')
    return description_of(spec.architecture)


def _config(spec: ModelSpec, yaml: dict[str, Any], classes: int) -> dict[str, Any]:
    # A user's own file is called by what its layers were made of, where it says.
    called = spec.architecture or Path(str(yaml.get("yaml_file") or "yolo")).stem
    return {"library": "ultralytics", "architecture": called, "yaml": yaml, "classes": classes}


def _modules() -> set[type]:
    """What ultralytics' detectors are made of: modules of its own, and the layers of torch that they use."""
    import torch

    tasks = import_ultralytics()
    from ultralytics.nn import modules

    own = {
        kind
        for kind in vars(modules).values()
        if isinstance(kind, type) and issubclass(kind, torch.nn.Module)
    }
    built = {type(module) for module in build_yolo(description_of("yolov8n"), _COCO).modules()}
    return {*own, *built, tasks.DetectionModel}


def _unpickled(file: Path) -> dict[str, Any]:
    """The dictionary that ultralytics' trainer saves, where it is made of these modules, tensors and plain values."""
    import numpy as np
    import torch

    modules = _modules()
    from ultralytics.utils import IterableSimpleNamespace

    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [*modules, IterableSimpleNamespace, np.dtype, type(np.dtype(np.float64))]
    # Under the names that other releases of ultralytics and numpy gave them.
    allowed += [(kind, f"ultralytics.nn.modules.{kind.__name__}") for kind in modules]
    allowed += [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals(allowed):
            saved = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own words advise to load it all the same.
        held = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it holds {held[1]}" if held else "it holds something else than modules, tensors and numbers"
        raise ValueError(f"{what}, which no detector needs: another task's model, or no model") from error
    if not isinstance(saved, dict) or not isinstance(saved.get("ema") or saved.get("model"), torch.nn.Module):
        raise ValueError("it holds no whole model, as ultralytics' trainer saves it")
    return saved


def _tensors(module: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What `state_dict` gives, read from the attributes: no method of what was unpickled is called."""
    held = vars(module)
    for kind in ("_parameters", "_buffers"):
        yield from ((prefix + name, tensor) for name, tensor in held[kind].items() if tensor is not None)
    for name, child in held["_modules"].items():
        yield from _tensors(child, f"{prefix}{name}.")
