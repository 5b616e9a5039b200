"""How long the commands that measure nothing take, in multiples of `python -c pass` on the same machine.

usage: python benchmarks/start_up.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from processes import NOTHING, ZOOBENCH, best, show

CELLS = ["--models", "resnet18", "resnet34", "resnet50", "resnet101", "--backends", "fake"]
CELLS += ["--precisions", "fp32", "fp16", "bf16", "int8", "--batch-sizes", *map(str, range(1, 64))]


def multiply(folder: Path, target: Path, records: int) -> None:
    """A results folder with `records` records, made of those in `folder` under other batch sizes."""
    source = next((folder / "runs").iterdir())
    lines = (source / "records.jsonl").read_text().splitlines()
    run = target / "runs" / source.name
    run.mkdir(parents=True)
    (run / "manifest.json").write_text((source / "manifest.json").read_text())
    with (run / "records.jsonl").open("w") as out:
        for number in range(records):
            record = json.loads(lines[number % len(lines)])
            record["case"]["batch"] += 64 * (number // len(lines))
            record["case"]["backend"] = ("pytorch", "onnx_cpu")[number % 2]
            record["measurement_key"] = f"{number:032x}"
            out.write(json.dumps(record) + "\n")


def main() -> int:
    unit = best(NOTHING, 20)
    print(f"python -c pass: {unit * 1000:.1f} ms")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held = [show("zoobench --help", best([*ZOOBENCH, "--help"], 10) / unit, 10)]
        again = [*ZOOBENCH, "run", *CELLS, "--results-dir", str(folder / "fake")]
        best(again, 1)
        held += [show("resuming a finished run of 1,008 fake cells", best(again, 5) / unit, 50)]
        multiply(folder / "fake", folder / "many", 20_000)
        report = [
            *ZOOBENCH,
            "report",
            "--results-dir",
            str(folder / "many"),
            "--output",
            str(folder / "R.md"),
        ]
        held += [show("a report over 20,000 records", best(report, 3) / unit, 150)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
