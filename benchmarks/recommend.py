"""How long a recommendation over 20,000 records takes, in multiples of `python -c pass` in the same minutes.

Whole processes, which take turns: each round times one recommendation and ten times nothing, and the medians are compared.

usage: python benchmarks/recommend.py
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from random import Random

from processes import NOTHING, ZOOBENCH, seconds, show

RECORDS, ROUNDS, LIMIT = 20_000, 7, 60
CELLS = [
    "--models",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "--backends",
    "fake",
    "--batch-sizes",
    "1",
]
WANTED = ["--max-latency", "p95:50ms", "--min-throughput", "20", "--max-drop", "1%", "--price", "0.40/h"]


def multiply(source: Path, target: Path) -> None:
    """A folder with many records, made of few: other models, batches and backends, and none of them fake."""
    random = Random(0)
    (run,) = (source / "runs").iterdir()
    lines = (run / "records.jsonl").read_text().splitlines()
    copy = target / "runs" / run.name
    copy.mkdir(parents=True)
    (copy / "manifest.json").write_text((run / "manifest.json").read_text())
    with (copy / "records.jsonl").open("w") as out:
        for number in range(RECORDS):
            record = json.loads(lines[number % len(lines)])
            at = number // len(lines)
            record["case"]["model"] += f"_{at // 100}"
            record["case"]["batch"] = 1 + at % 25
            record["case"]["backend"] = ("pytorch", "onnx_cpu", "openvino", "torch_compile")[at // 25 % 4]
            record["case"]["options"] = {}
            record["model"]["weights"] = "pretrained"
            record["measurement_key"] = f"{number:032x}"
            # No two are alike: neither in time nor in memory.
            scale, latency = 0.5 + random.random() * record["case"]["batch"], record["latency"]
            for name in ("mean_ms", "p50_ms", "p95_ms"):
                latency[name] = latency[name] and latency[name] * scale
            for name in ("p50_interval_ms", "p95_interval_ms"):
                latency[name] = latency[name] and [scale * edge for edge in latency[name]]
            record["throughput_per_s"] = 1e3 * record["case"]["batch"] / latency["mean_ms"]
            record["memory"] = {"peak_bytes": round(1e8 * (1 + random.random()))}
            out.write(json.dumps(record) + "\n")


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds([*ZOOBENCH, "run", *CELLS, "--results-dir", str(folder / "fake")])
        multiply(folder / "fake", folder / "many")
        command = [*ZOOBENCH, "recommend", "--results-dir", str(folder / "many")]
        held = []
        for what, words in (("the lowest median", []), ("under three limits, with a price", WANTED)):
            taken, nothing = [], []
            for _ in range(ROUNDS):
                nothing += [seconds(NOTHING) for _ in range(10)]
                taken.append(seconds([*command, *words], answers=(0, 1)))
            ratio = statistics.median(taken) / statistics.median(nothing)
            held += [show(f"recommend over {RECORDS:,} records, {what}:", ratio, LIMIT, width=69)]
        return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
