"""What the accuracy pass costs, whether its memory stays flat, and what int8 gains beside a bare loop.

    pass      pictures a second of a pass ÷ of a bare loop of the same session over tensors that were decoded before, by
              turns in one process: at least 0.85 where the model is the limit; and ÷ of Pillow alone decoding, resizing and
              cropping the same pictures in as many threads, with a model that costs next to nothing: at least 0.85
    memory    peak of a process after a pass over 10 times as many pictures, less after the few: below 30 MB
    int8      fp32's p50 ÷ int8's as `zoobench run` measures it, beside two bare sessions that take turns in one process

usage: python benchmarks/accuracy.py [pass] [memory] [int8] [--pictures 400] [--models resnet18 …]
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoobench import api, artifacts
from zoobench.backends import open_backend
from zoobench.data import DataRequest, open_source
from zoobench.data.loader import batches
from zoobench.data.pack import Pack, collect
from zoobench.driver import Settings
from zoobench.machine import usable_cpu_count
from zoobench.spec import Artifact, Case, Preprocessing
from zoobench.tasks.image_classification import ImageClassification
from zoobench.terms import OnExisting, Precision
from zoobench.worker.accuracy import BATCH, assess

LIMIT = 0.85
FLAT_BYTES = 30e6
ROUNDS = 5
MODELS = ("resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0")
IMAGENET = Preprocessing(resize=(256, 256), crop=(224, 224))


def make_pictures(folder: Path, count: int) -> Path:
    """Photograph-like JPEGs of ImageNet's usual size: waves, an edge and some grain."""
    rng = np.random.Generator(np.random.PCG64(1))
    y, x = np.mgrid[0:375, 0:500]
    for number in range(count):
        waves = [np.sin(x / rng.uniform(8, 60) + c) + np.cos(y / rng.uniform(8, 60)) for c in range(3)]
        grain = rng.normal(0, 0.15, (375, 500, 3))
        pixels = ((np.stack(waves, -1) + grain + (x[..., None] > rng.uniform(50, 450)) + 2) / 5 * 255).clip(
            0, 255
        )
        home = folder / str(number % 10)
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(home / f"{number:05}.jpg", quality=90)
    return folder


def packed(folder: Path, samples: int | None = None) -> Pack:
    """The pictures as a worker reads them."""
    asked = DataRequest(str(folder / "pictures"), samples)
    return collect(open_source(asked), asked, folder / "cache")


def pass_rate(pack: Pack, folder: Path, artifact: Artifact, case: Case, load: Callable[..., Any]) -> float:
    """Pictures a second of one accuracy pass."""
    found = assess(
        case,
        artifact,
        pack=pack.folder,
        outputs=folder / "outputs",
        reference=None,
        open_session=load,
        progress=lambda _: None,
        workers=usable_cpu_count(),
    )
    return float(found["images"]) / float(found["seconds"])


def bare_rate(tensors: np.ndarray, artifact: Artifact, session: Any) -> float:
    """Pictures a second of the same session over tensors that are there."""
    begin = time.perf_counter()
    for start in range(0, len(tensors), BATCH):
        session.bind({artifact.input_name: tensors[start : start + BATCH]})()
    return len(tensors) / (time.perf_counter() - begin)


def pillow_rate(pack: Pack) -> float:
    """Pictures a second of Pillow in as many threads: open, convert, resize, crop, as floats. None of zoobench's code."""

    def one(index: int) -> np.ndarray:
        picture = Image.open(io.BytesIO(pack.read(index))).convert("RGB")
        short = 256 / min(picture.size)
        picture = picture.resize(
            (int(picture.width * short), int(picture.height * short)), Image.Resampling.BICUBIC
        )
        left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
        pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32)
        return np.ascontiguousarray(((pixels / 255 - 0.45) / 0.225).transpose(2, 0, 1))

    begin = time.perf_counter()
    with ThreadPoolExecutor(usable_cpu_count()) as pool:
        for _ in pool.map(one, range(len(pack))):
            pass
    return len(pack) / (time.perf_counter() - begin)


class Weightless:
    """A model that costs next to nothing."""

    def bind(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        (tensors,) = inputs.values()
        rows = np.tile(np.arange(10, dtype=np.float32), (len(tensors), 1))
        return lambda: {"logits": rows}

    def close(self) -> None:
        """Nothing to free."""


def show(name: str, ratios: list[float], limit: float | None) -> bool:
    """Print the median of ratios; True when it is within the limit."""
    middle = statistics.median(ratios)
    good = limit is None or middle >= limit
    word = "no limit: decoding is one" if limit is None else f"limit {limit} {'ok' if good else 'MISSED'}"
    print(f"{name:<58}{middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f})  {word}", flush=True)
    return good


def show_pass(folder: Path, models: list[str]) -> bool:
    """The pass beside a bare loop, and beside Pillow."""
    pack, good = packed(folder), True
    for name in models:
        artifact = prepared(name)
        case = Case(model=name, backend="onnx_cpu", threads=usable_cpu_count(), batch=BATCH)
        backend = open_backend("onnx_cpu")
        session = backend.load(artifact, case)
        task, how = ImageClassification(), artifact.preprocessing or IMAGENET
        count = len(pack) // BATCH * BATCH
        tensors = np.concatenate(
            [b.tensors for b in batches(pack, lambda p, h=how, t=task: t.item(p, h), BATCH)]
        )[:count]
        bare_rate(tensors[: 4 * BATCH], artifact, session)
        rates = [
            (pass_rate(pack, folder, artifact, case, backend.load), bare_rate(tensors, artifact, session))
            for _ in range(ROUNDS)
        ]
        spare = pillow_rate(pack)
        bare = statistics.median(rate for _, rate in rates)
        # What both need of the CPUs adds up, so this is what a pass could reach at best.
        bound = 1 / (1 + bare / spare)
        print(
            f"{name}: bare loop {bare:.0f}/s, Pillow alone {spare:.0f}/s; sharing the CPUs allows {bound:.2f} of the bare loop"
        )
        good &= show(
            "   pass ÷ bare loop on decoded tensors",
            [a / b for a, b in rates],
            LIMIT if bound >= LIMIT + 0.03 else None,
        )
    artifact = Artifact(
        path=folder,
        format="onnx",
        sha256="0" * 64,
        size_bytes=0,
        model="weightless",
        preprocessing=IMAGENET,
        weights="local",
    )
    case = Case(model="weightless", backend="onnx_cpu", threads=usable_cpu_count(), batch=BATCH)
    rates = [
        (pass_rate(pack, folder, artifact, case, lambda *_: Weightless()), pillow_rate(pack))
        for _ in range(ROUNDS)
    ]
    return show("a weightless model: pass ÷ Pillow alone", [a / b for a, b in rates], LIMIT) and good


def prepared(name: str) -> Artifact:
    """The model's fp32 ONNX artifact."""
    with tempfile.TemporaryDirectory() as folder:
        artifact, _ = artifacts.export(name, Path(folder) / "model.onnx")
    return artifact


def _peak(folder: Path, samples: int, name: str, pipe: Any) -> None:
    artifact = prepared(name)
    case = Case(model=name, backend="onnx_cpu", threads=usable_cpu_count(), batch=BATCH)
    pass_rate(packed(folder, samples), folder, artifact, case, open_backend("onnx_cpu").load)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def show_memory(folder: Path, count: int) -> bool:
    """Peaks of two fresh processes."""
    peaks = []
    for samples in (count // 10, count):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_peak, args=(folder, samples, "mobilenetv2_100", theirs)
        )
        process.start()
        peaks.append(ours.recv())
        process.join()
    good = peaks[1] - peaks[0] < FLAT_BYTES
    print(
        f"peak with {count // 10} pictures {peaks[0] / 1e6:.0f} MB, with {count} {peaks[1] / 1e6:.0f} MB  "
        f"limit +{FLAT_BYTES / 1e6:.0f} MB {'ok' if good else 'MISSED'}"
    )
    return good


def show_int8(folder: Path, models: list[str], batch_sizes: list[int]) -> None:
    """The speed-up as measured by turns in processes of their own, and as two bare sessions in one process have it."""
    from zoobench.machine import cache_folder
    from zoobench.prepare.cache import load_artifact

    records = api.run(
        models,
        backends=["onnx_cpu"],
        precisions=["fp32", "int8"],
        batch_sizes=batch_sizes,
        settings=Settings(results_dir=folder / "results", on_existing=OnExisting.RERUN, wait=True),
    )
    cells = {(r.case.model, r.case.batch, r.case.precision): r for r in records}
    print(f"{'model':<18}{'batch':>5}{'fp32 ms':>10}{'int8 ms':>10}{'speed-up':>10}{'bare':>8}  recipe")
    for name in models:
        for batch in batch_sizes:
            pair = [cells[name, batch, p] for p in (Precision.FP32, Precision.INT8)]
            files = [
                load_artifact(cache_folder() / "artifacts" / "by_content" / r.artifact.sha256) for r in pair
            ]
            p50 = [r.latency.p50_ms for r in pair]
            rungs = pair[1].artifact.ladder
            print(
                f"{name:<18}{batch:>5}{p50[0]:>10.2f}{p50[1]:>10.2f}{p50[0] / p50[1]:>10.2f}{bare_ratio(files, batch):>8.2f}  "
                f"{rungs['rungs'][rungs['chosen']]['recipe']['name']} ({', '.join(r.verdict.value.value for r in pair)})",
                flush=True,
            )


def bare_ratio(files: list[Artifact], batch: int) -> float:
    """Median over rounds of fp32's time ÷ int8's; the sessions take turns in this process."""
    backend = open_backend("onnx_cpu")
    calls = []
    for file in files:
        case = Case(model="m", backend="onnx_cpu", threads=usable_cpu_count(), batch=batch)
        items = ImageClassification().check_inputs(file.input_shape)
        calls.append(
            backend.load(file, case).bind(
                {file.input_name: np.take(items, range(batch), axis=0, mode="wrap")}
            )
        )
    ratios = []
    for number in range(21):
        took = [0.0, 0.0]
        for which in (0, 1) if number % 2 else (1, 0):
            calls[which]()
            times: list[float] = []
            while len(times) < 3 or sum(times) < 0.1:
                begin = time.perf_counter()
                calls[which]()
                times.append(time.perf_counter() - begin)
            took[which] = statistics.median(times)
        ratios.append(took[0] / took[1])
    return statistics.median(ratios)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=["pass", "memory", "int8", []], default=[])
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 8])
    asked = parser.parse_args()
    parts, good = asked.parts or ["pass", "memory", "int8"], True
    print(f"accuracy, {api.machine_name()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if {"pass", "memory"} & set(parts):
            make_pictures(folder / "pictures", asked.pictures)
        if "pass" in parts:
            good &= show_pass(folder, ["resnet50", *(m for m in asked.models if m != "resnet50")][:2])
        if "memory" in parts:
            good &= show_memory(folder, asked.pictures)
        if "int8" in parts:
            show_int8(folder, asked.models, asked.batch_sizes)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
