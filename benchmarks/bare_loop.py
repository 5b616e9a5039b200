"""A bare loop, written without zoobench: what a careful person would type to time a model.

It is driven by lines on stdin, so that it can take turns with zoobench's own worker in the same minute:
    slot MIN_CALLS MIN_SECONDS   one untimed call, then timed ones; prints their nanoseconds as a JSON list

usage: bare_loop.py onnx|torch FOLDER BATCH THREADS IMAGES.npy
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def onnx_call(folder: Path, images: np.ndarray, threads: int) -> Callable[[], object]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: images})


def torch_call(folder: Path, images: np.ndarray, threads: int) -> Callable[[], object]:
    import timm
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    config = json.loads((folder / "config.json").read_text())
    model = timm.create_model(config["architecture"], pretrained=False, **config["kwargs"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    model.eval()
    tensor = torch.from_numpy(images)

    def call() -> object:
        with torch.inference_mode():
            return model(tensor).numpy()

    return call


def slot(call: Callable[[], object], min_calls: int, min_seconds: float) -> list[int]:
    """Nanoseconds of each timed call; the untimed one before them wakes caches and threads."""
    call()
    samples: list[int] = []
    while len(samples) < min_calls or sum(samples) < min_seconds * 1e9:
        start = time.perf_counter_ns()
        call()
        samples.append(time.perf_counter_ns() - start)
    return samples


def main() -> None:
    kind, folder, batch, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    images = np.load(sys.argv[5])[:batch]
    call = (onnx_call if kind == "onnx" else torch_call)(folder, np.ascontiguousarray(images), threads)
    slot(call, 10, 1.0)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        _, calls, seconds = line.split()
        print(json.dumps(slot(call, int(calls), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
