"""What it costs to make boxes of a detector's outputs, beside ultralytics' own code on the same tensors.

    usual        one picture, 8,400 candidates of 80 classes, some hundreds above 0.25: below 5 ms on one core
    evaluation   the same outputs down to 0.001, each candidate for every class above it; no limit, for nobody waits for it

Both suppress with one thread, in turns, and must find the same boxes. Ratios are ultralytics' time ÷ zoobench's.

usage: python benchmarks/postprocessing.py [--rounds 21]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from zoobench import api
from zoobench.spec import Detector
from zoobench.tasks.boxes import EVALUATION, USUAL, Thresholds
from zoobench.tasks.object_detection import ObjectDetection

LIMIT_MS = 5.0
INPUT = (3, 640, 640)
CANDIDATES, CLASSES, CLUSTERS = 8400, 80, 60
YOLO = Detector(
    boxes="output0", scores="output0", axes="columns", box_unit="pixels", activation="none", suppress=True
)


def outputs(hot: int) -> np.ndarray:
    """What a YOLOv8 gives of one picture: `hot` candidates crowd around sixty objects, the others are faint."""
    rng = np.random.default_rng(hot)
    boxes = np.concatenate([rng.uniform(0, 640, (CANDIDATES, 2)), rng.uniform(5, 200, (CANDIDATES, 2))], 1)
    objects = np.concatenate([rng.uniform(50, 590, (CLUSTERS, 2)), rng.uniform(30, 250, (CLUSTERS, 2))], 1)
    chosen, which = rng.choice(CANDIDATES, hot, replace=False), rng.integers(0, CLUSTERS, hot)
    boxes[chosen] = objects[which] + rng.normal(0, 6, (hot, 4))
    scores = 0.2 * rng.uniform(0, 1, (CANDIDATES, CLASSES)) ** 60
    scores[chosen, rng.integers(0, CLASSES, CLUSTERS)[which]] = rng.uniform(0.25, 0.95, hot)
    return np.ascontiguousarray(np.concatenate([boxes, scores], 1).T[None], np.float32)


def theirs(values: np.ndarray, thresholds: Thresholds) -> Callable[[], np.ndarray]:
    """ultralytics' suppression of the same numbers: (found, 6), box, score, class."""
    import torch
    import torchvision  # noqa: F401  ultralytics takes its suppression where somebody has imported it
    from ultralytics.utils.nms import non_max_suppression

    torch.set_num_threads(1)
    tensor = torch.from_numpy(values)

    def call() -> np.ndarray:
        (found,) = non_max_suppression(
            # It writes into what it is given.
            tensor.clone(),
            conf_thres=thresholds.score,
            iou_thres=thresholds.iou,
            max_det=thresholds.most,
            multi_label=thresholds.several_classes,
            max_time_img=60,
        )
        return found.numpy()

    return call


def times_ms(calls: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Of each call, by turns; the first round warms up and is not counted."""
    took: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 1):
        for call, times in zip(calls, took, strict=True):
            begin = time.perf_counter()
            call()
            if number:
                times.append((time.perf_counter() - begin) * 1e3)
    return took


def show(name: str, hot: int, thresholds: Thresholds, rounds: int, limit: float | None) -> bool:
    """Print one line; True when the boxes are the same and the median is within the limit."""
    values = outputs(hot)
    task, other = ObjectDetection(YOLO), theirs(values, thresholds)
    (found,), expected = task.detections({"output0": values}, INPUT, thresholds), other()
    same = len(found) == len(expected) and np.abs(found.boxes - expected[:, :4]).max() < 1e-3
    ours_ms, theirs_ms = times_ms(
        [lambda: task.detections({"output0": values}, INPUT, thresholds), other], rounds
    )
    middle = statistics.median(ours_ms)
    ratio = statistics.median(b / a for a, b in zip(ours_ms, theirs_ms, strict=True))
    good = same and (limit is None or middle <= limit)
    asked = "" if limit is None else f"  limit {limit:.0f} ms {'ok' if good else 'MISSED'}"
    print(
        f"{name:<12}{hot:>6} warm {len(found):>5} boxes{'' if same else ', not the same'}"
        f"{middle:>9.2f} ms{statistics.median(theirs_ms):>10.2f} ms by ultralytics  ratio {ratio:.2f}{asked}",
        flush=True,
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=21)
    asked = parser.parse_args()
    print(f"boxes of one picture, {api.machine_name()}, one thread")
    with tempfile.TemporaryDirectory() as folder:
        # It writes into the home folder and calls home unless it is told not to.
        os.environ.update(YOLO_OFFLINE="true", YOLO_CONFIG_DIR=folder, YOLO_VERBOSE="false")
        good = [
            show("usual", 300, USUAL, asked.rounds, LIMIT_MS),
            show("usual", 900, USUAL, asked.rounds, LIMIT_MS),
            show("evaluation", 300, EVALUATION, max(3, asked.rounds // 4), None),
        ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
