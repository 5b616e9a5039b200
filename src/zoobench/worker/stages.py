"""From pixels to boxes: pre-processing, the model and post-processing of the same pictures, timed apart and together.

The headline latency is the model's, from turns that other cases shared. These rounds come after them in each worker alone:
they tell what an application pays beside the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.tasks.boxes import USUAL, Thresholds
from zoobench.tasks.object_detection import ObjectDetection
from zoobench.tasks.pictures import made_picture

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from zoobench.backends import Session
    from zoobench.spec import Artifact, Case

_SETTLING = 2
_MOST_ROUNDS = 96
_SECONDS = 2.0
_PICTURES = 8
"""Rounds are a multiple of it, so that every runtime has seen each picture as often."""
_MADE_SIZE = (480, 640)
"""Height and width of the pictures that are made where none are given: COCO's usual."""


def time_stages(
    session: Session,
    artifact: Artifact,
    case: Case,
    *,
    pack: Path | None,
    clock: Callable[[], int],
    thresholds: Thresholds = USUAL,
) -> dict[str, Any]:
    """Rounds of the case's batch, for about two seconds; JSON for `zoobench.measure.stages`.

    A round begins with decoded RGB pictures and ends with boxes in their pixels. Pre- and post-processing are one thread's.

    Args:
        pack: labelled pictures whose first ones are taken; None: some are made.
        clock: nanoseconds.
    """
    how = artifact.preprocessing
    assert how is not None
    task = ObjectDetection(artifact.detector)
    pictures, label = _pictures(pack)
    taken = itertools.cycle(pictures)
    times: dict[str, list[int]] = {
        name: [] for name in ("preprocessing", "model", "postprocessing", "end_to_end")
    }
    boxes = rounds = 0
    begun = clock()
    while _goes_on(rounds - _SETTLING, (clock() - begun) / 1e9):
        batch = [next(taken) for _ in range(case.batch)]
        start = clock()
        tensor = np.stack([task.item(picture, how) for picture in batch])
        prepared = clock()
        outputs = {
            name: np.asarray(value) for name, value in session.bind({artifact.input_name: tensor})().items()
        }
        ran = clock()
        found = task.detections(outputs, artifact.input_shape, thresholds)
        placed = [
            task.placed(one, (picture.height, picture.width), artifact.input_shape, how)
            for one, picture in zip(found, batch, strict=True)
        ]
        done = clock()
        rounds += 1
        if rounds <= _SETTLING:
            continue
        boxes += sum(len(one.scores) for one in placed)
        for name, spent in zip(
            times, (prepared - start, ran - prepared, done - ran, done - start), strict=True
        ):
            times[name].append(spent)
    return {
        "samples_ns": times,
        "pictures": label,
        "boxes": boxes / (case.batch * (rounds - _SETTLING)),
        "score_threshold": thresholds.score,
        "iou_threshold": thresholds.iou,
    }


def _goes_on(rounds: int, seconds: float) -> bool:
    """Whether another round follows so many, those that settle not counted."""
    if rounds < _PICTURES or rounds % _PICTURES:
        return True
    return rounds < _MOST_ROUNDS and seconds < _SECONDS


def _pictures(pack: Path | None) -> tuple[Sequence[Image], str]:
    if pack is None:
        height, width = _MADE_SIZE
        made = [made_picture(height, width, number) for number in range(_PICTURES)]
        return made, f"{_PICTURES} made pictures of {width} × {height} pixels"
    from zoobench.data.decode import UndecodableError, decode
    from zoobench.data.pack import Pack

    found: list[Image] = []
    with Pack.open(pack) as held:
        for index in range(len(held)):
            try:
                found.append(decode(held.read(index), upright=not held.boxes))
            except UndecodableError:
                continue
            if len(found) == _PICTURES:
                break
        label = held.label
    if not found:
        return _pictures(None)
    return found, f"{len(found)} pictures of {label}" if len(found) > 1 else f"a picture of {label}"
