"""From pixels to boxes: what is timed as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from zoobench.measure.stages import summarise_stages
from zoobench.spec import Artifact, Case, Detector, Preprocessing
from zoobench.tasks.object_detection import ObjectDetection
from zoobench.worker.stages import time_stages

MS = 1_000_000
HOW = Preprocessing(resize=(32, 32), fit="squash", scale=1 / 255, mean=(0, 0, 0), std=(1, 1, 1))
ARTIFACT = Artifact(
    path=Path("/nowhere"), format="onnx", sha256="a" * 64, size_bytes=1, model="m", input_shape=(3, 32, 32),
    task="object_detection", outputs=("found",), preprocessing=HOW,
    detector=Detector(boxes="found", scores="found", box_format="xyxy", box_unit="share", activation="none"),
)  # fmt: skip


class Clock:
    """Moves only when somebody works."""

    now = 0

    def __call__(self) -> int:
        return self.now


class Session:
    """Takes 50 ms, and finds two boxes on each picture."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.shapes = clock, set()

    def bind(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        (tensor,) = inputs.values()
        self.shapes.add(tensor.shape)
        row = [[0.1, 0.1, 0.5, 0.5, 0.9], [0.6, 0.6, 0.9, 0.9, 0.3], [0, 0, 1, 1, 0.1]]

        def run() -> dict[str, np.ndarray]:
            self.clock.now += 50 * MS
            return {"found": np.tile(np.array(row, np.float32), (len(tensor), 1, 1))}

        return run


def test_each_stage_has_its_own_time_and_all_of_them_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    spent = {"item": 7 * MS, "detections": 2 * MS, "placed": MS // 2}
    for name, takes in spent.items():
        real = getattr(ObjectDetection, name)

        def slow(self, *args, _real=real, _takes=takes):
            clock.now += _takes
            return _real(self, *args)

        monkeypatch.setattr(ObjectDetection, name, slow)
    session = Session(clock)
    case = Case(model="m", backend="onnx_cpu", threads=1, batch=2)
    found = summarise_stages(time_stages(session, ARTIFACT, case, pack=None, clock=clock))
    # Two pictures are prepared one after the other; the outputs are decoded together, and each one's boxes placed.
    assert (found.preprocessing.p50_ms, found.model.p50_ms, found.postprocessing.p50_ms) == (14.0, 50.0, 3.0)
    assert found.end_to_end.p50_ms == 67.0
    assert session.shapes == {(2, 3, 32, 32)}
    assert (found.boxes, found.pictures) == (2.0, "8 made pictures of 640 × 480 pixels")
    # About two seconds, and each of the eight pictures as often.
    assert found.end_to_end.n == 32


def test_a_slow_model_sees_every_picture_all_the_same() -> None:
    clock = Clock()
    session = Session(clock)
    bind = session.bind

    def slow(inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        clock.now += 5_000 * MS
        return bind(inputs)

    session.bind = slow
    raw = time_stages(
        session, ARTIFACT, Case(model="m", backend="onnx_cpu", threads=1), pack=None, clock=clock
    )
    assert len(raw["samples_ns"]["model"]) == 8
