"""How long the commands that measure nothing take, in multiples of `python -c pass` on the same machine.

usage: python benchmarks/start_up.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ZOOBENCH = [sys.executable, "-m", "zoobench"]
CELLS = ["--models", "resnet18", "resnet34", "resnet50", "resnet101", "--backends", "fake"]
CELLS += ["--precisions", "fp32", "fp16", "bf16", "int8", "--batch-sizes", *map(str, range(1, 64))]


def best(command: list[str], repeat: int) -> float:
    """The shortest of `repeat` runs, seconds: the one that was disturbed the least."""
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - begin)
    return min(times)


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
    unit = best([sys.executable, "-c", "pass"], 20)
    print(f"python -c pass: {unit * 1000:.1f} ms")
    missed = False

    def show(what: str, command: list[str], limit: int, repeat: int) -> None:
        nonlocal missed
        ratio = best(command, repeat) / unit
        missed = missed or ratio > limit
        print(
            f"{what:<44}{ratio:>7.1f} ×  limit {limit} ×  {'ok' if ratio <= limit else 'MISSED'}", flush=True
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        show("zoobench --help", [*ZOOBENCH, "--help"], 10, 10)
        again = [*ZOOBENCH, "run", *CELLS, "--results-dir", str(folder / "fake")]
        best(again, 1)
        show("resuming a finished run of 1,008 fake cells", again, 50, 5)
        multiply(folder / "fake", folder / "many", 20_000)
        report = [
            *ZOOBENCH,
            "report",
            "--results-dir",
            str(folder / "many"),
            "--output",
            str(folder / "R.md"),
        ]
        show("a report over 20,000 records", report, 150, 3)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
