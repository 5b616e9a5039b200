"""Columns of objects in every layout, and how the four numbers of a box are meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoobench.data.object_column import Fields, as_sizes, feature_below, fields_of, readings, written

pa = pytest.importorskip("pyarrow")

ROWS: list[list[dict[str, Any]]] = [
    [{"bbox": [1.0, 2.0, 3.0, 4.0], "category": 5}, {"bbox": [0.0, 0.0, 1.0, 1.0], "category": 6}],
    [],
    [{"bbox": [7.0, 7.0, 7.0, 7.0], "category": 0}],
]
LISTS = [{field: [one[field] for one in row] for field in ("bbox", "category")} for row in ROWS]


def column(rows: Any, *kind: Any) -> Any:
    return pa.chunked_array([pa.array(rows, *kind)])


@pytest.mark.parametrize(
    "values",
    [
        column(LISTS),
        column(ROWS),
        column(
            LISTS,
            pa.struct([("bbox", pa.list_(pa.list_(pa.float32(), 4))), ("category", pa.list_(pa.int8()))]),
        ),
        column(ROWS, pa.large_list(pa.struct([("bbox", pa.list_(pa.float64())), ("category", pa.uint16())]))),
        pa.chunked_array([pa.array(LISTS[:1]), pa.array(LISTS[1:])]),
    ],
)
def test_both_layouts_say_the_same(values: Any) -> None:
    fields = fields_of(values.type)
    assert fields == Fields("bbox", "category", None, None)
    found = written(values, fields)
    assert found.counts.tolist() == [2, 0, 1]
    assert found.boxes.tolist() == [[1, 2, 3, 4], [0, 0, 1, 1], [7, 7, 7, 7]]
    assert found.classes.tolist() == [5, 6, 0] and found.classes.dtype == np.int64
    assert np.isnan(found.areas).all() and not found.crowds.any()


def test_rows_that_are_null_have_no_objects() -> None:
    for rows in ([None, LISTS[0]], [{"bbox": None, "category": None}, LISTS[0]]):
        values = column(rows)
        fields = fields_of(values.type)
        assert fields is not None and written(values, fields).counts.tolist() == [0, 2]


@pytest.mark.parametrize(("area", "crowd"), [("area", "iscrowd"), ("areas", "is_crowd")])
def test_areas_and_crowds_by_several_names(area: str, crowd: str) -> None:
    values = column(
        [
            [
                {"boxes": [0, 0, 1, 1], "label": "cat", area: 3, crowd: 1},
                {"boxes": [0, 0, 2, 2], "label": None, area: None, crowd: None},
            ]
        ]
    )
    fields = fields_of(values.type)
    assert fields == Fields("boxes", "label", area, crowd)
    assert fields is not None
    found = written(values, fields)
    assert found.classes.tolist() == ["cat", None] and found.crowds.tolist() == [True, False]
    assert found.areas[0] == 3 and np.isnan(found.areas[1])


@pytest.mark.parametrize(
    "kind",
    [
        pa.int64(),
        pa.list_(pa.int64()),
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        pa.list_(pa.struct([("bbox", pa.list_(pa.float32()))])),
        pa.struct([("bbox", pa.list_(pa.float32())), ("category", pa.int64())]),
        pa.struct([("bbox", pa.list_(pa.string())), ("category", pa.list_(pa.int64()))]),
    ],
)
def test_other_columns_hold_no_objects(kind: Any) -> None:
    assert fields_of(kind) is None


def test_only_what_is_used_is_read() -> None:
    fields = Fields("bbox", "category", "area", None)
    assert fields.paths("objects", column(LISTS).type) == ["objects.bbox", "objects.category", "objects.area"]
    assert fields.paths("objects", column(ROWS).type) == ["objects"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"bbox": [[1.0, 2.0, 3.0]], "category": [1]}], "not four numbers"),
        ([{"bbox": [None, [1.0, 2.0, 3.0, 4.0]], "category": [1, 1]}], "not four numbers"),
        ([{"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [1, 2]}], "not as many category as bbox"),
    ],
)
def test_rows_that_do_not_fit(rows: Any, words: str) -> None:
    values = column(rows)
    fields = fields_of(values.type)
    assert fields is not None
    with pytest.raises(ValueError, match=words):
        written(values, fields)


def boxes(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Left, top, width, height on pictures of 640 × 480, and the outlines' areas."""
    rng = np.random.Generator(np.random.PCG64(0))
    spans = rng.uniform(0.05, 0.9, (count, 2)) * (640, 480)
    starts = rng.uniform(0, 1, (count, 2)) * ((640, 480) - spans)
    return np.hstack([starts, spans]), spans.prod(axis=1) * rng.uniform(0.4, 0.9, count)


def corners(sizes: np.ndarray) -> np.ndarray:
    return np.hstack([sizes[:, :2], sizes[:, :2] + sizes[:, 2:]])


XYWH, AREAS = boxes()
UNKNOWN = np.full(len(XYWH), np.nan)
SIZES = np.tile((640, 480), (len(XYWH), 1))
NO_SIZES = np.zeros_like(SIZES)


@pytest.mark.parametrize("areas", [AREAS, UNKNOWN, XYWH[:, 2:].prod(axis=1)])
def test_the_numbers_tell(areas: np.ndarray) -> None:
    assert readings(XYWH, areas, SIZES) == ("xywh",)
    assert readings(corners(XYWH), areas, SIZES) == ("corners",)
    assert readings(XYWH, areas, NO_SIZES) == ("xywh",)


def test_without_sizes_corners_are_told_by_areas_of_boxes_alone() -> None:
    found = corners(XYWH)
    assert readings(found, XYWH[:, 2:].prod(axis=1), NO_SIZES) == ("corners",)
    assert readings(found, UNKNOWN, NO_SIZES) == readings(found, AREAS, NO_SIZES) == ("xywh", "corners")


def test_areas_larger_than_their_boxes_tell() -> None:
    """Small boxes near the corner, which are sound either way."""
    found = np.array([[1.0, 1, 5, 5], [2, 1, 6, 4]])
    sizes = np.tile((640, 480), (2, 1))
    assert readings(found, np.array([20.0, 20]), sizes) == ("xywh",)
    assert readings(found, np.array([10.0, 8]), sizes) == ("xywh", "corners")
    assert readings(found, np.full(2, np.nan), sizes) == ("xywh", "corners")


def test_some_wrong_boxes_do_not_matter() -> None:
    wrong = XYWH.copy()
    wrong[:8, 2] = 0
    wrong[8] = np.nan
    assert readings(wrong, AREAS, SIZES) == ("xywh",)
    turned = corners(XYWH)
    turned[:8] = turned[:8, [2, 3, 0, 1]]
    assert readings(turned, AREAS, SIZES) == ("corners",)


def test_boxes_of_neither_kind() -> None:
    assert readings(XYWH * 10, AREAS, SIZES) == ()
    assert readings(XYWH * (-1, -1, -1, -1), UNKNOWN, SIZES) == ()


def test_no_boxes_are_written_in_any_way() -> None:
    assert readings(np.empty((0, 4)), np.empty(0), np.empty((0, 2))) == ("xywh",)


def test_corners_as_sizes() -> None:
    np.testing.assert_allclose(as_sizes(corners(XYWH), "corners"), XYWH)
    assert as_sizes(XYWH, "xywh") is XYWH


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": {"bbox": {}, "category": "here"}, "_type": "Sequence"},
        [{"bbox": {}, "category": "here"}],
        {"bbox": {"feature": {}}, "category": "here"},
    ],
)
def test_a_field_of_a_schema(feature: Any) -> None:
    assert feature_below(feature, "category") == "here"
    assert feature_below(feature, "label") is None


def test_a_field_of_a_card() -> None:
    inner = {"name": "category", "dtype": {"class_label": {"names": {"0": "cat"}}}}
    for key in ("sequence", "list", "struct"):
        assert feature_below({"name": "objects", key: [{"name": "bbox"}, inner]}, "category") == inner
