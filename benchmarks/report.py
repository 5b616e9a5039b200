"""How long the HTML report over 2,000 records takes, in multiples of `python -c pass`, and how large it is.

The records are those of a run on the fake backend, with their samples, under other names and batch sizes.

usage: python benchmarks/report.py
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from processes import NOTHING, ZOOBENCH, best, show

RECORDS, MODELS, BATCHES = 2_000, 40, (1, 2, 4, 8, 16)
BACKENDS = ("pytorch", "torch_compile", "onnx_cpu", "openvino")


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
    unit = best(NOTHING, 20)
    print(f"python -c pass: {unit * 1000:.1f} ms")
    with tempfile.TemporaryDirectory() as name:
        folder, page = Path(name), Path(name) / "R.html"
        made = ["--models", "resnet18", "resnet34", "--backends", "fake", "--batch-sizes", "1", "2", "4"]
        best([*ZOOBENCH, "run", *made, "--results-dir", str(folder / "fake")], 1)
        multiply(folder / "fake", folder / "many")
        command = [*ZOOBENCH, "report", "--results-dir", str(folder / "many"), "--output", str(page)]
        held = [
            show(f"an HTML report over {RECORDS:,} records", best(command, 5) / unit, 150),
            show("its size", page.stat().st_size / 1e6, 8, "MB"),
        ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
