"""What a run costs beside what it measures: wall time, the parent's CPU, the worker's memory.

Runs `zoobench run` twice in a folder of its own (the first time fills the artifact cache) and reads the records.

usage: python benchmarks/run_cost.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from zoobench.results.store import read_samples

MODELS = ("resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0")
MIB = 2**20


def run(folder: Path, *words: str) -> tuple[float, list[dict[str, Any]]]:
    """Wall seconds and records of one run."""
    command = [sys.executable, "-m", "zoobench", "run", "--json", "--results-dir", str(folder), *words]
    begin = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - begin, json.loads(done.stdout)


def accounted_s(folder: Path, record: dict[str, Any]) -> float:
    """Worker start, load, warm-up and timed calls of one cell, seconds."""
    slots = read_samples(folder / "runs" / record["run_id"] / record["samples_file"])
    timed = sum(sum(slot.samples_ns) * slot.inner_loops for slot in slots) / 1e9
    return float(record["worker_start_s"] + record["load_s"] + record["warm_up"]["seconds"] + timed)


def main() -> int:
    failed: list[str] = []

    def show(what: str, value: float, limit: float, unit: str = "") -> None:
        good = value <= limit
        print(
            f"{what:<66}{value:>9.3f}{unit} limit {limit:.3f}{unit} {'ok' if good else 'MISSED'}", flush=True
        )
        if not good:
            failed.append(what)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder / "warm", "--models", *MODELS, "--max-case-time", "1")
        wall, records = run(folder / "four", "--models", *MODELS)
        parts = sum(accounted_s(folder / "four", record) for record in records)
        show("four models × two backends: wall ÷ (1.5 × accounted + 2 s)", wall / (1.5 * parts + 2), 1.0)
        print(f"   wall {wall:.1f} s; worker start, load, warm-up and timed calls {parts:.1f} s")
        parents = [r["noise"]["parent_cpu_max"] for r in records]
        show("parent's CPU during slots, worst slot, share of one core", max(parents), 0.01)
        for record in records:
            if record["case"]["backend"] == "onnx_cpu":
                peak, size = record["memory"]["peak_bytes"], record["artifact"]["size_bytes"]
                what = f"{record['case']['model']} onnx_cpu batch 1: peak ÷ (3 × size + 150 MB)"
                show(what, peak / (3 * size + 150e6), 1.0)
                print(f"   peak {peak / MIB:.0f} MiB, model {size / MIB:.0f} MiB")
        wall, _ = run(folder / "one", "--models", "resnet18", "--backends", "onnx_cpu")
        show("resnet18 onnx_cpu, one cell, whole command", wall, 6.0, " s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
