"""What the outputs of somebody's own detector mean: told by their names and shapes, by what an exporter wrote beside the
graph, and by what comes out on the check inputs. Pure; what is not plain is refused, because a guess would look like a result.

The layouts are those that exporters write: ultralytics' YOLOv8 and later (4 + classes, candidates), YOLOv5 (candidates, 5 +
classes) with three anchors a cell at strides 8, 16 and 32, boxes with score and class index after suppression in the graph
(candidates, 6), and logits or scores with boxes apart, as DETR's descendants in transformers and most others have them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from zoobench.spec import Detector, Labels

if TYPE_CHECKING:
    from zoobench.tasks import Outputs, Parts

_SOURCE = "inferred from names, shapes and values"
_STRIDES = (8, 16, 32), (8, 16, 32, 64)
_YOLOV5_ANCHORS = 3
_FEW = 1000
"""As many candidates at most were chosen by queries or by the graph; more are a head's own, and overlap."""
_COCO: dict[int, Labels] = {80: "coco-80", 91: "coco-91"}
_SHARE, _PIXELS = 1.5, 0.25
"""Boxes that end below 1.5 are shares, and pixels where they reach a quarter of the input; between them it is not plain."""


class UnclearError(ValueError):
    """It cannot be told; the text is the reason, without the file."""


@dataclass(frozen=True)
class Told:
    """What an exporter wrote beside the graph.

    Attributes:
        task: ultralytics' word, such as `detect`; None: it says nothing.
        names: of the classes, by index.
        edges: height and width that the model was exported for, pixels.
        licence: in its own words, shortened to the name where that is known.
    """

    task: str | None = None
    names: tuple[str, ...] = ()
    edges: tuple[int, int] | None = None
    licence: str | None = None


def told_by(metadata: Mapping[str, str]) -> Told:
    """Read ultralytics' `metadata_props`; what cannot be read says nothing."""
    edges = [int(edge) for edge in re.findall("[0-9]{1,4}", metadata.get("imgsz", ""))]
    square = edges * 2 if len(edges) == 1 else edges
    return Told(
        task=metadata.get("task"),
        names=_names(metadata.get("names", "")),
        edges=(square[0], square[1]) if len(square) == 2 and all(square) else None,
        licence=_licence(metadata.get("license", "")),
    )


def _licence(text: str) -> str | None:
    """`AGPL-3.0 License (https://ultralytics.com/license)` is AGPL-3.0."""
    found = re.match(r"[\w.+-]{2,40}", text.strip(), re.ASCII)
    return found[0] if found else None


def _names(text: str) -> tuple[str, ...]:
    try:
        said = ast.literal_eval(text)
        names = [said[index] for index in range(len(said))] if isinstance(said, dict | list) else []
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return ()
    return tuple(names) if all(isinstance(name, str) and name.strip() for name in names) else ()


def inferred(
    outputs: Outputs, input_shape: tuple[int, ...], told: Told, *, chooses: bool = False, names: int = 0
) -> Detector:
    """How these outputs are read.

    Args:
        outputs: of the check inputs, by name, one row an item.
        input_shape: of one item, (channels, height, width).
        chooses: whether the graph holds operators that choose candidates (TopK, NonMaxSuppression).
        names: how many classes there are, where somebody says so; 0: as many as `told` names, or unknown.

    Raises:
        UnclearError: it is not plain, or the model is no detector.
    """
    if told.task not in (None, "detect"):
        raise UnclearError(f"its metadata says task {told.task!r}, and only detect is read")
    known = names or len(told.names)
    boxes = _boxes_apart(outputs)
    if boxes is not None:
        return _apart(outputs, boxes, input_shape, known, chooses)
    pictures = [
        name
        for name, values in outputs.items()
        if values.ndim == 3 and np.issubdtype(values.dtype, np.floating)
    ]
    if len(pictures) != 1:
        raise UnclearError("which of its outputs are boxes and scores cannot be told")
    return _together(pictures[0], outputs[pictures[0]], input_shape, known, chooses)


def labels(detector: Detector, parts: Parts, told: Told) -> Labels | None:
    """The classes by name, or COCO's where so many can hardly be anything else."""
    count = parts["scores"].shape[-1] - (detector.nothing == "last")
    if detector.classes is not None or len(told.names) == count:
        return told.names or None
    return _COCO.get(count)


def is_yolo(detector: Detector, input_shape: tuple[int, ...], parts: Parts) -> bool:
    """Whether these are the outputs of a YOLO that wants its pictures on a grey border; YOLOX, which has another, is not."""
    one = detector.boxes == detector.scores and detector.box_unit == "pixels"
    return one and not (detector.objectness and parts["boxes"].shape[1] in _cells(input_shape))


def _together(
    name: str, values: np.ndarray, input_shape: tuple[int, ...], known: int, chooses: bool
) -> Detector:
    """One output that holds all."""
    _, rows, numbers = values.shape
    if numbers == 6 and rows > 1 and _are_indices(values[..., 5], known):
        return Detector(
            boxes=name,
            scores=name,
            classes=name,
            box_format="xyxy",
            box_unit=_unit(values[..., :4], input_shape),
            activation="none",
            ordered=False,
            source=_SOURCE,
        )
    columns = rows < numbers
    if columns:
        values, rows, numbers = values.transpose(0, 2, 1), numbers, rows
    objectness = _has_objectness(rows, numbers, columns, input_shape, known)
    suppress = columns or objectness or rows > _FEW
    return Detector(
        boxes=name,
        scores=name,
        axes="columns" if columns else "rows",
        box_format=_format(name, values[..., :4], name),
        box_unit=_unit(values[..., :4], input_shape),
        activation="none" if _are_shares(values[..., 4:]) else "sigmoid",
        objectness=objectness,
        suppress=suppress,
        ordered=suppress or not chooses,
        source=_SOURCE,
    )


def _has_objectness(rows: int, numbers: int, columns: bool, input_shape: tuple[int, ...], known: int) -> bool:
    """Whether a candidate's numbers are 4 + 1 + classes, and not 4 + classes.

    Raises:
        UnclearError: they could be either, or neither.
    """
    if known:
        if numbers - known not in (4, 5):
            raise UnclearError(
                f"a candidate has {numbers} numbers, which is neither 4 nor 5 more than its {known} classes"
            )
        if numbers - known == 5 and columns and rows in _cells(input_shape):
            # A name too few must not make objectness of the first class.
            raise UnclearError(
                f"its {rows} candidates in columns are a YOLOv8's, which would have {numbers - 4} classes, and {known} are named"
            )
        return numbers - known == 5
    cells = _cells(input_shape)
    if rows in [_YOLOV5_ANCHORS * count for count in cells] and numbers > 5:
        return True
    if columns and rows in cells and numbers > 4:
        return False
    if numbers - 5 in _COCO or numbers - 4 in _COCO:
        return numbers - 5 in _COCO
    raise UnclearError(
        f"{numbers} numbers a candidate could be 4 of a box and any classes, with or without objectness"
    )


def _boxes_apart(outputs: Outputs) -> str | None:
    """The one output of four numbers a candidate, where there are others of as many candidates."""
    fours = [name for name, values in outputs.items() if values.ndim == 3 and values.shape[-1] == 4]
    if len(fours) > 1:
        fours = [name for name in fours if "box" in name.lower()]
    if len(fours) != 1 or not _beside(outputs, fours[0]):
        return None
    return fours[0]


def _beside(outputs: Outputs, boxes: str) -> dict[str, np.ndarray]:
    """The other outputs of as many candidates, as (items, candidates, numbers)."""
    return {
        name: values.reshape(*values.shape[:2], -1)
        for name, values in outputs.items()
        if name != boxes and values.ndim in (2, 3) and values.shape[1] == outputs[boxes].shape[1]
    }


def _apart(outputs: Outputs, boxes: str, input_shape: tuple[int, ...], known: int, chooses: bool) -> Detector:
    """Boxes in one output, scores in another, perhaps class indices in a third."""
    others = _beside(outputs, boxes)
    indices = [
        name
        for name, values in others.items()
        if values.shape[-1] == 1
        and re.search("class|label|cls", name.lower())
        and _are_indices(values, known)
    ]
    scores = [name for name in others if name not in indices]
    if len(scores) != 1 or len(indices) > 1:
        raise UnclearError("which of its outputs are boxes and scores cannot be told")
    values, candidates = others[scores[0]], outputs[boxes].shape[1]
    activation = "none" if indices else _activation(values, candidates, known)
    return Detector(
        boxes=boxes,
        scores=scores[0],
        classes=indices[0] if indices else None,
        box_format=_format(boxes, outputs[boxes], scores[0]),
        box_unit=_unit(outputs[boxes], input_shape),
        activation=activation,
        suppress=not indices and candidates > _FEW,
        ordered=not (chooses or indices),
        source=_SOURCE,
    )


def _activation(values: np.ndarray, candidates: int, known: int) -> Literal["none", "sigmoid", "softmax"]:
    count = values.shape[-1]
    if _are_shares(values):
        if count > 1 and count != known and np.allclose(values.sum(axis=-1), 1, atol=1e-3):
            raise UnclearError(
                'its scores sum to 1, so one class means that there is no object: say no_object = "first" or "last"'
            )
        return "none"
    if count == known or (not known and count in _COCO):
        return "sigmoid"
    if count - 1 != known and (known or count - 1 not in _COCO):
        raise UnclearError(
            f"whether its {count} scores a candidate want a sigmoid or a softmax cannot be told"
        )
    if candidates > _FEW:
        raise UnclearError(
            'one of its classes means that there is no object: say no_object = "first" or "last"'
        )
    return "softmax"


def _format(name: str, boxes: np.ndarray, scores: str) -> Literal["cxcywh", "xyxy"]:
    """By transformers' names, else by whether the second corner always comes after the first."""
    if name == "pred_boxes" or "logit" in scores.lower():
        return "cxcywh"
    return "xyxy" if bool((boxes[..., 2:] >= boxes[..., :2]).all()) else "cxcywh"


def _unit(boxes: np.ndarray, input_shape: tuple[int, ...]) -> Literal["pixels", "share"]:
    farthest = float(np.abs(boxes).max(initial=0.0))
    if farthest > _PIXELS * min(input_shape[-2:]):
        return "pixels"
    if 0 < farthest < _SHARE:
        return "share"
    raise UnclearError(
        f"its boxes reach to {farthest:g} at most, so whether they are pixels or shares of the input cannot be told"
    )


def _cells(input_shape: tuple[int, ...]) -> list[int]:
    """How many cells the heads of a YOLO have on such an input, with three strides and with four."""
    height, width = input_shape[-2:]
    return [sum(-(-height // stride) * -(-width // stride) for stride in strides) for strides in _STRIDES]


def _are_shares(values: np.ndarray) -> bool:
    return bool((values >= 0).all() and (values <= 1).all())


def _are_indices(values: np.ndarray, known: int) -> bool:
    """Whole numbers from 0 up, below the number of classes where that is known."""
    whole = bool((values == np.rint(values)).all() and (values >= 0).all())
    return whole and not (known and values.max(initial=0) >= known)
