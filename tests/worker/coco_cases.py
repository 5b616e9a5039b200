"""Small worlds of objects and boxes, and what pycocotools says of them by its own way: files, ids and all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoobench.data.truth import Truth
from zoobench.tasks.boxes import Detections

NAMES = ("cat", "dog", "cow", "bat")
Corners = tuple[float, float, float, float]


def truth(*objects: tuple[int, Corners], crowds: Sequence[bool] = (), share: float = 1.0) -> Truth:
    """A picture with objects, (class, corners); `share` of a box is the object's own area."""
    sizes = [(r - a, b - t) for _, (a, t, r, b) in objects]
    return Truth(
        width=640,
        height=640,
        classes=tuple(one for one, _ in objects),
        boxes=tuple((a, t, r - a, b - t) for _, (a, t, r, b) in objects),
        areas=tuple(share * w * h for w, h in sizes),
        crowds=tuple(crowds) or (False,) * len(objects),
    )


def seen(*boxes: tuple[int, Corners, float]) -> Detections:
    """What was found on a picture: (class, corners, score)."""
    return Detections(
        np.array([box for _, box, _ in boxes], dtype=np.float32).reshape(-1, 4),
        np.array([score for *_, score in boxes], dtype=np.float32),
        np.array([one for one, *_ in boxes], dtype=np.int64),
    )


def random_world(seed: int, pictures: int = 12, tied: bool = True) -> tuple[list[Truth], list[Detections]]:
    """Objects of all sizes, some crowds, boxes that are near, far, doubled, of another class; in quarters of pixels. Tied scores are of twenty values."""
    rng = np.random.default_rng(seed)

    def score() -> float:
        return float(rng.integers(1, 21) / 20 if tied else rng.uniform(0.01, 1.0))

    truths, found = [], []
    for _ in range(pictures):
        objects = [(int(rng.integers(len(NAMES) - 1)), _box(rng)) for _ in range(rng.poisson(3))]
        truths.append(truth(*objects, crowds=[bool(rng.random() < 0.15) for _ in objects], share=0.7))
        boxes = []
        for one, box in objects:
            for _ in range(rng.choice(3, p=(0.2, 0.6, 0.2))):
                shift = np.round(rng.normal(0, 0.08 * (box[2] - box[0]), 4) * 4) / 4
                moved = np.array(box) + shift
                named = one if rng.random() < 0.85 else int(rng.integers(len(NAMES)))
                boxes.append((named, tuple(moved.tolist()), score()))
        boxes += [(int(rng.integers(len(NAMES))), _box(rng), score()) for _ in range(rng.poisson(4))]
        found.append(seen(*boxes))
    return truths, found


def _box(rng: np.random.Generator) -> Corners:
    left, top = np.round(rng.uniform(0, 300, 2) * 4) / 4
    width, height = np.round(np.exp(rng.uniform(2.3, 5.5, 2)) * 4) / 4
    return float(left), float(top), float(left + width), float(top + height)


def by_files(folder: Path, truths: Sequence[Truth], found: Sequence[Detections]) -> list[float]:
    """The first six figures, with ids of another kind than ours; pycocotools reads no empty file of boxes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects = [
        {"id": 0, "image_id": 70 + 2 * i, "category_id": 3 * c + 5, "bbox": b, "area": a, "iscrowd": int(w)}
        for i, one in enumerate(truths)
        for c, b, a, w in zip(one.classes, one.boxes, one.areas, one.crowds, strict=True)
    ]
    content = {
        "images": [{"id": 70 + 2 * i} for i in range(len(truths))],
        "categories": [{"id": 3 * c + 5, "name": name} for c, name in enumerate(NAMES)],
        "annotations": [{**one, "id": 1000 + n} for n, one in enumerate(objects)],
    }
    boxes = [
        {"image_id": 70 + 2 * i, "category_id": 3 * c + 5, "bbox": [a, t, r - a, b - t], "score": s}
        for i, one in enumerate(found)
        for c, (a, t, r, b), s in zip(
            one.classes.tolist(), one.boxes.tolist(), one.scores.tolist(), strict=True
        )
    ]
    (folder / "objects.json").write_text(json.dumps(content))
    (folder / "boxes.json").write_text(json.dumps(boxes))
    coco = COCO(str(folder / "objects.json"))
    judge = COCOeval(coco, coco.loadRes(str(folder / "boxes.json")), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return [float(figure) for figure in judge.stats[:6]]
