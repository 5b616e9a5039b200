"""A parquet column of objects, as detection datasets on the Hub have: a struct of lists, or a list of structs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_BOXES = ("bbox", "bboxes", "boxes")
_CLASSES = ("category", "categories", "category_id", "label", "labels", "class")
_AREAS = ("area", "areas")
_CROWDS = ("iscrowd", "is_crowd")
_ROUNDING = 1.0
_FLAWED = 0.05
"""Share of boxes that may contradict how they are written: every large dataset has some that are wrong."""
_ALIKE, _UNLIKE = 0.9, 0.5
"""Share of areas that are the box's own in the right reading, and are not in the wrong one."""
_SAME_AREA = 0.01

Reading = Literal["xywh", "corners"]
"""What a box's four numbers are: left, top, width and height, or left, top, right and bottom."""


@dataclass(frozen=True)
class Fields:
    """Which fields of the column hold what; None where there is no such one."""

    boxes: str
    classes: str
    areas: str | None
    crowds: str | None

    def paths(self, column: str, kind: pa.DataType) -> list[str]:
        """What to read of a parquet file."""
        if _is_list(kind):
            return [column]
        used = (self.boxes, self.classes, self.areas, self.crowds)
        return [f"{column}.{name}" for name in used if name is not None]


@dataclass(frozen=True)
class Written:
    """The objects of consecutive rows, one row's after the other's, as they are written.

    Attributes:
        counts: int64, one a row.
        classes: int64 with -1 for none, or text with None for none; one an object.
        boxes: float64, (objects, 4).
        areas: float64, NaN where there is none.
        crowds: bool.
    """

    counts: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowds: np.ndarray


def fields_of(kind: pa.DataType) -> Fields | None:
    """What a column of this type holds of objects; None where it is no such column."""
    import pyarrow as pa

    kinds = _kinds(kind)
    boxes = _first(_BOXES, {name: k for name, k in kinds.items() if _is_list(k) and _is_number(k.value_type)})
    classes = _first(_CLASSES, {n: k for n, k in kinds.items() if pa.types.is_integer(k) or _is_text(k)})
    if boxes is None or classes is None:
        return None
    areas = _first(_AREAS, {name: k for name, k in kinds.items() if _is_number(k)})
    crowds = _first(
        _CROWDS, {n: k for n, k in kinds.items() if pa.types.is_boolean(k) or pa.types.is_integer(k)}
    )
    return Fields(boxes, classes, areas, crowds)


def written(values: pa.ChunkedArray, fields: Fields) -> Written:
    """What some rows hold.

    Raises:
        ValueError: boxes that are not four numbers, or more classes than boxes.
    """
    import pyarrow as pa

    counts, boxes = _flat(values, fields.boxes)
    lengths, numbers = _unlisted(boxes)
    if (lengths != 4).any():
        raise ValueError("a box has not four numbers; take its row out")

    def of_each(name: str) -> pa.Array:
        its, flat = _flat(values, name)
        if not np.array_equal(its, counts):
            raise ValueError(f"a row has not as many {name} as {fields.boxes}; take it out")
        return flat

    classes = of_each(fields.classes)
    return Written(
        counts,
        classes.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        if pa.types.is_integer(classes.type)
        else np.array(classes.to_pylist(), dtype=object),
        _floats(numbers).reshape(-1, 4),
        _floats(of_each(fields.areas)) if fields.areas else np.full(len(classes), np.nan),
        of_each(fields.crowds).cast(pa.bool_()).fill_null(False).to_numpy(zero_copy_only=False)
        if fields.crowds
        else np.zeros(len(classes), bool),
    )


def readings(boxes: np.ndarray, areas: np.ndarray, sizes: np.ndarray) -> tuple[Reading, ...]:
    """How the boxes can be meant, judged by all of them; two where the numbers do not tell, none where they fit neither.

    A width or height that is not positive, or an end beyond the picture, speaks against a reading. Where both are left, the
    areas tell: none is larger than its box, and many datasets state the box's own.

    Args:
        boxes: float64, (objects, 4).
        areas: float64, (objects,), NaN where not known.
        sizes: (objects, 2), width and height of each one's picture, 0 where not known.
    """
    sound = np.isfinite(boxes).all(axis=1)
    boxes, areas, sizes = boxes[sound], areas[sound], sizes[sound]
    if not len(boxes):
        return ("xywh",)
    first, second = boxes[:, :2], boxes[:, 2:]
    spans: dict[Reading, np.ndarray] = {"xywh": second, "corners": second - first}
    ends: dict[Reading, np.ndarray] = {"xywh": first + second, "corners": second}
    beyond = {name: (end > sizes + _ROUNDING) & (sizes > 0) for name, end in ends.items()}
    left = [n for n in spans if ((spans[n] <= 0) | beyond[n]).any(axis=1).mean() <= _FLAWED]
    stated = areas > 0
    if len(left) < 2 or not stated.any():
        return tuple(left)
    covered = {name: span[stated].prod(axis=1) for name, span in spans.items()}
    areas = areas[stated]
    room = [n for n in left if (areas > covered[n] * (1 + _SAME_AREA) + 1).mean() <= _FLAWED]
    if len(room) == 1:
        return tuple(room)
    alike = {n: float((np.abs(areas - covered[n]) <= _SAME_AREA * areas + 1).mean()) for n in left}
    best = max(left, key=lambda name: alike[name])
    if alike[best] >= _ALIKE and min(alike.values()) < _UNLIKE:
        return (best,)
    return tuple(left)


def as_sizes(boxes: np.ndarray, reading: Reading) -> np.ndarray:
    """Left, top, width and height."""
    if reading == "xywh":
        return boxes
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def feature_below(feature: Any, field: str) -> Any:
    """What a schema's features or a card say of `field` of a column that holds others: the first of that name; None: nothing."""
    if isinstance(feature, Mapping):
        if field in feature:
            return feature[field]
        if feature.get("name") == field:
            return feature
        feature = list(feature.values())
    if isinstance(feature, list):
        return next((found for part in feature if (found := feature_below(part, field)) is not None), None)
    return None


def _kinds(kind: pa.DataType) -> dict[str, pa.DataType]:
    """Field → type of what it holds of one object."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return {field.name: field.type.value_type for field in kind if _is_list(field.type)}
    if _is_list(kind) and pa.types.is_struct(kind.value_type):
        return {field.name: field.type for field in kind.value_type}
    return {}


def _flat(values: pa.ChunkedArray, name: str) -> tuple[np.ndarray, pa.Array]:
    """(how many each row has, one after the other) of a field."""
    import pyarrow.compute as pc

    whole = values.combine_chunks()
    if _is_list(whole.type):
        counts, objects = _unlisted(whole)
        return counts, pc.struct_field(objects, [objects.type.get_field_index(name)])
    return _unlisted(pc.struct_field(whole, [whole.type.get_field_index(name)]))


def _unlisted(values: pa.Array) -> tuple[np.ndarray, pa.Array]:
    import pyarrow.compute as pc

    lengths = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64), pc.list_flatten(values)


def _floats(values: pa.Array) -> np.ndarray:
    import pyarrow as pa

    found: np.ndarray = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _first(names: Sequence[str], there: Mapping[str, Any]) -> str | None:
    return next((name for name in names if name in there), None)


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
