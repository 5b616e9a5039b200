"""A detector that knows something, trained here, and pictures to ask it about: shapes that are drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("square", "disc", "triangle")
EDGE = 96
"""Pixels of a picture, and of the detector's input."""
_STEPS, _BATCH, _LEARNING_RATE = 200, 16, 0.02
_WIDTH = 0.0625
"""A quarter of YOLOv8n's: 355,121 parameters."""

Drawn = tuple[Image.Image, list[tuple[int, tuple[float, float, float, float]]]]
"""A picture, and of each object its class and its box: left, top, width, height."""


def drawn(count: int, seed: int, *, edge: int = EDGE, at_least: int = 0) -> Iterator[Drawn]:
    """Pictures with up to three shapes that do not overlap."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        picture = Image.new("RGB", (edge, edge), tuple(rng.integers(0, 90, 3).tolist()))
        pen = ImageDraw.Draw(picture)
        objects: list[tuple[int, tuple[float, float, float, float]]] = []
        for _ in range(int(rng.integers(at_least, 4))):
            size = int(rng.integers(edge // 6, edge // 2))
            left, top = (int(value) for value in rng.integers(0, edge - size, 2))
            if any(
                left < x + w and x < left + size and top < y + h and y < top + size
                for _, (x, y, w, h) in objects
            ):
                continue
            shape, colour = int(rng.integers(3)), tuple(rng.integers(140, 256, 3).tolist())
            corner = left + size - 1, top + size - 1
            if shape == 0:
                pen.rectangle((left, top, *corner), fill=colour)
            elif shape == 1:
                pen.ellipse((left, top, *corner), fill=colour)
            else:
                pen.polygon([(left, corner[1]), corner, (left + size // 2, top)], fill=colour)
            objects.append((shape, (left, top, size, size)))
        yield picture, objects


def write_shapes(folder: Path, *, train: int = 40, val: int = 80) -> None:
    """A dataset in COCO's layout: `train` to calibrate on, `val` to judge with. A few pictures are empty."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", train, 1), ("val", val, 2)):
        (folder / split).mkdir(exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, (picture, objects) in enumerate(drawn(count, seed)):
            name = f"{number:04}.png"
            picture.save(folder / split / name)
            images.append({"id": number, "file_name": name, "width": picture.width, "height": picture.height})
            annotations += [
                {
                    "id": len(annotations) + place + 1,
                    "image_id": number,
                    "category_id": shape + 1,
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
                for place, (shape, box) in enumerate(objects)
            ]
        categories = [{"id": place + 1, "name": name} for place, name in enumerate(SHAPES)]
        body = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(body))


def train_shapes(folder: Path) -> None:
    """A narrow YOLOv8 that was trained on drawn shapes for some seconds, as `model.pt` in the form of ultralytics' own."""
    import torch

    from zoobench.backends.torch_yolo import description_of, import_ultralytics

    tasks = import_ultralytics()
    from ultralytics.utils.loss import v8DetectionLoss

    threads = torch.get_num_threads()
    # Layers are small: two threads wait for one another longer than they compute.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        description = {**description_of("yolov8n"), "scales": {"n": [0.33, _WIDTH, 1024]}, "nc": len(SHAPES)}
        model = tasks.DetectionModel(description, ch=3, nc=len(SHAPES), verbose=False).train()
        model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, reg_max=16, epochs=1)
        loss = v8DetectionLoss(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=_STEPS)
        pictures = list(drawn(400, 0, at_least=1))
        rng = np.random.default_rng(0)
        for _ in range(_STEPS):
            taken = [pictures[place] for place in rng.integers(0, len(pictures), _BATCH)]
            total, _ = loss(model(_tensor([one[0] for one in taken])), _targets(taken))
            optimizer.zero_grad()
            total.sum().backward()
            optimizer.step()
            schedule.step()
    finally:
        torch.set_num_threads(threads)
    model = model.eval().half()
    model.args, model.names = {"imgsz": EDGE}, dict(enumerate(SHAPES))
    model.criterion = None
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": -1, "model": model, "ema": None, "train_args": {"imgsz": EDGE}}, folder / "model.pt")


def _tensor(pictures: list[Image.Image]) -> Any:
    import torch

    pixels = np.stack([np.asarray(picture) for picture in pictures]).transpose(0, 3, 1, 2)
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def _targets(taken: list[Drawn]) -> dict[str, Any]:
    """As ultralytics' loss wants them: which picture, which class, and the box as shares, centre and size."""
    import torch

    rows = [
        (place, shape, (x + w / 2) / EDGE, (y + h / 2) / EDGE, w / EDGE, h / EDGE)
        for place, (_, objects) in enumerate(taken)
        for shape, (x, y, w, h) in objects
    ]
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return {"batch_idx": table[:, 0], "cls": table[:, 1:2], "bboxes": table[:, 2:]}
