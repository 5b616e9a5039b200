"""How long the HTML report over 2,000 records takes, in multiples of `python -c pass`, and how large it is.

The records are those of a run on the fake backend, with their samples, under other names and batch sizes.

usage: python benchmarks/report.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ZOOBENCH = [sys.executable, "-m", "zoobench"]
RECORDS, MODELS, BATCHES = 2_000, 40, (1, 2, 4, 8, 16)
BACKENDS = ("pytorch", "torch_compile", "onnx_cpu", "openvino")


def best(command: list[str], repeat: int) -> float:
    """The shortest of `repeat` runs, seconds: the one that was disturbed the least."""
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - begin)
    return min(times)


def multiply(folder: Path, target: Path) -> None:
    """A results folder of `RECORDS` cells that are shown as real ones, each with samples of its own."""
    source = next((folder / "runs").iterdir())
    lines = (source / "records.jsonl").read_text().splitlines()
    run = target / "runs" / source.name
    (run / "samples").mkdir(parents=True)
    shutil.copy(source / "manifest.json", run / "manifest.json")
    with (run / "records.jsonl").open("w") as out:
        for number in range(RECORDS):
            record = json.loads(lines[number % len(lines)])
            at, model = divmod(number, MODELS)
            at, backend = divmod(at, len(BACKENDS))
            precision, batch = divmod(at, len(BATCHES))
            record["case"] |= {
                "model": f"model_{model:03}",
                "backend": BACKENDS[backend],
                "batch": BATCHES[batch],
                "precision": ("fp32", "bf16", "int8")[precision],
            }
            record["model"]["weights"] = "random"
            record["artifact"] = {
                "sha256": f"{model:064x}",
                "size_bytes": 10**6 * (model + 5),
                "format": "onnx",
            }
            record["measurement_key"] = f"{number:032x}"
            kept = f"samples/{number:05}.json.gz"
            (run / kept).hardlink_to(source / record["samples_file"])
            record["samples_file"] = kept
            out.write(json.dumps(record) + "\n")


def main() -> int:
    unit = best([sys.executable, "-c", "pass"], 20)
    print(f"python -c pass: {unit * 1000:.1f} ms")
    missed = False

    def show(what: str, value: float, limit: float, unit_: str) -> None:
        nonlocal missed
        missed = missed or value > limit
        print(
            f"{what:<44}{value:>7.1f} {unit_}  limit {limit:g} {unit_}  {'ok' if value <= limit else 'MISSED'}",
            flush=True,
        )

    with tempfile.TemporaryDirectory() as name:
        folder, page = Path(name), Path(name) / "R.html"
        made = ["--models", "resnet18", "resnet34", "--backends", "fake", "--batch-sizes", "1", "2", "4"]
        best([*ZOOBENCH, "run", *made, "--results-dir", str(folder / "fake")], 1)
        multiply(folder / "fake", folder / "many")
        command = [*ZOOBENCH, "report", "--results-dir", str(folder / "many"), "--output", str(page)]
        show(f"an HTML report over {RECORDS:,} records", best(command, 5) / unit, 150, "×")
        show("its size", page.stat().st_size / 1e6, 8, "MB")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
