"""What a picture is judged by, and which boxes are mended or left out on the way."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from zoobench.data.truth import Flaws, Objects, Truth


def objects(*boxes: tuple[float, ...], counts: tuple[int, ...] | None = None, **more: Any) -> Objects:
    n = len(boxes)
    return Objects(
        counts=np.array(counts or (n,)),
        sizes=np.array(more.get("sizes", [(0, 0)] * len(counts or (n,)))),
        classes=np.arange(n),
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        areas=np.array(more.get("areas", [math.nan] * n)),
        crowds=np.array(more.get("crowds", [False] * n)),
    )


def test_each_picture_has_its_own_objects() -> None:
    found = objects((0, 0, 1, 1), (2, 0, 2, 1), (3, 0, 1, 3), counts=(1, 0, 2), crowds=[False, True, False])
    truths = [found.truth(row, (10, 8))[0] for row in range(3)]
    assert [truth.classes for truth in truths] == [(0,), (), (1, 2)]
    assert truths[2] == Truth(10, 8, (1, 2), ((2, 0, 2, 1), (3, 0, 1, 3)), areas=(2, 3), crowds=(True, False))
    assert truths[1] == Truth(10, 8)


@pytest.mark.parametrize(
    ("box", "kept", "flaws"),
    [
        ((1, 1, 3, 3), (1, 1, 3, 3), Flaws()),
        # Within a pixel it is rounding, and stays as COCO's own numbers have it.
        ((-1, -0.5, 11.9, 9.5), (-1, -0.5, 11.9, 9.5), Flaws()),
        ((-2, 1, 5, 3), (0, 1, 3, 3), Flaws(cut=1)),
        ((8, 6, 5, 5), (8, 6, 2, 2), Flaws(cut=1)),
        ((10, 1, 5, 3), None, Flaws(outside=1)),
        ((1, -4, 5, 4), None, Flaws(outside=1)),
        ((1, 1, 0, 3), None, Flaws(empty=1)),
        ((4, 4, 3, -1), None, Flaws(empty=1)),
        ((math.nan, 1, 2, 3), None, Flaws(empty=1)),
        ((1, 1, math.inf, 3), None, Flaws(empty=1)),
    ],
)
def test_boxes_are_held_against_the_picture(
    box: tuple[float, ...], kept: tuple[float, ...] | None, flaws: Flaws
) -> None:
    truth, found = objects(box).truth(0, (10, 8))
    assert truth.boxes == ((kept,) if kept else ()) and found == flaws
    assert len(truth.classes) == len(truth.areas) == len(truth.crowds) == len(truth.boxes)


def test_a_picture_of_unknown_size_holds_every_box() -> None:
    truth, flaws = objects((10, 1, 500, 3), (0, 0, 0, 0)).truth(0, None)
    assert (truth.width, truth.height, truth.boxes, flaws) == (0, 0, ((10, 1, 500, 3),), Flaws(empty=1))


def test_areas_are_the_outlines_where_they_are_known() -> None:
    found = objects(*[(0, 0, 4, 2)] * 4, (6, 0, 8, 2), areas=[5, math.nan, 0, -1, 12])
    assert found.truth(0, (10, 8))[0].areas == (5, 8, 8, 8, 8)


def test_a_size_is_stated_or_not() -> None:
    found = objects(counts=(0, 0, 0), sizes=[(4, 3), (0, 0), (4, -1)])
    assert [found.size(row) for row in range(3)] == [(4, 3), None, None]


def test_a_truth_is_stored_to_the_last_digit() -> None:
    truth = Truth(5, 4, (3,), ((0.1, 1 / 3, 2.5, 1.0),), (0.7,), (True,))
    assert Truth.of(json.loads(json.dumps(truth.as_dict()))) == truth


@pytest.mark.parametrize(
    ("height", "width", "words"),
    [(3, 4, None), (4, 3, "turned by a quarter"), (6, 8, "4 × 3 pixels, and it has 8 × 6")],
)
def test_a_picture_of_another_size_is_another_one(height: int, width: int, words: str | None) -> None:
    said = Truth(4, 3).misfit(height, width)
    assert said is None if words is None else words in str(said)
    assert Truth(0, 0).misfit(height, width) is None


def test_flaws_are_counted_and_said() -> None:
    assert Flaws().notes() == ()
    notes = (Flaws(1, 2, 3) + Flaws(cut=1)).notes()
    assert [note.split(", ")[-1] for note in notes] == [
        "cut off at its edge: 2",
        "left out: 2",
        "left out: 3",
    ]
