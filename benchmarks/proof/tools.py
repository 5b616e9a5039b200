"""Do four tools agree? A bare loop, zoobench's slot, torch.utils.benchmark and MLPerf LoadGen's SingleStream.

All time the very same call of the same artifact in one process and take turns, in a random cyclic Latin square. Judged
is the median over the rounds of a tool's median ÷ the bare loop's: within a round the machine is the same, and a round
in which it was not (a virtual CPU moved) does not count for more than its neighbour. The bare loop takes two turns a
round: what it differs from itself by is how well this can tell.

usage: python benchmarks/proof/tools.py [--models resnet18] [--backends pytorch onnx_cpu] [--blocks 16]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
from scipy.stats import binom
from tools_session import TOOLS

from zoobench import api, machine
from zoobench.backends import BACKENDS
from zoobench.executors.local import LocalExecutor
from zoobench.measure.channel import Launch, WorkerProcess
from zoobench.measure.conductor import turns
from zoobench.spec import Artifact, Case
from zoobench.terms import WeightsPolicy

LIMIT = 0.02
HERE = Path(__file__).resolve().parent


def medians(case: Case, artifact: Artifact, blocks: int, seed: int) -> np.ndarray:
    """Milliseconds, (rounds, tools)."""
    names, rng = list(TOOLS), np.random.Generator(np.random.PCG64(seed))
    launch = Launch(module="tools_session", env={"PYTHONPATH": str(HERE)})
    worker = WorkerProcess("session", launch, threads=case.threads)
    try:
        body = {**artifact.model_dump(mode="json"), "path": str(artifact.path)}
        worker.request("load", {"case": case.model_dump(mode="json"), "artifact": body}, deadline_s=600)
        worker.request("warm_up", {}, deadline_s=120)
        for name in names:
            # What a tool does once (importing torch, LoadGen's threads) is not its measurement.
            worker.request("time_with", {"tool": name}, deadline_s=300)
        rows = []
        for _ in range(blocks):
            for order in turns(len(names), rng):
                row = np.empty(len(names))
                for at in order:
                    samples = worker.request("time_with", {"tool": names[at]}, deadline_s=300)
                    row[at] = np.median(samples) / 1e6
                rows.append(row)
        return np.array(rows)
    finally:
        worker.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["resnet18"])
    parser.add_argument("--backends", nargs="+", default=["pytorch", "onnx_cpu"])
    parser.add_argument("--blocks", type=int, default=16, help="of as many rounds each as there are turns")
    asked = parser.parse_args()
    threads = machine.usable_cpu_count()
    print(
        f"tool ÷ bare loop, {machine.describe().short}, {threads} threads, {len(TOOLS) * asked.blocks} rounds"
    )
    print(f"{'model':<14}{'backend':<10}{'tool':<24}{'median ms':>10}  within rounds")
    good = True
    prepared = LocalExecutor().prepare(
        [(spec, ["torch", "onnx"]) for spec in api.request(asked.models).models],
        weights=WeightsPolicy.RANDOM,
        allow_pickle=False,
        on_progress=lambda model, text: None,
    )
    for preparation, backend in itertools.product(list(prepared), asked.backends):
        artifact = preparation.artifacts[BACKENDS[backend].format]
        case = Case(model=artifact.model, backend=backend, threads=threads)
        found = medians(case, artifact, asked.blocks, seed=0)
        logs = np.log(found / found[:, :1])
        for at, name in enumerate(TOOLS):
            text = ""
            if at:
                ratios = np.sort(np.exp(logs[:, at]))
                rank = int(binom.ppf(0.025, len(ratios), 0.5))
                middle = float(np.median(ratios))
                inside = abs(middle - 1) <= LIMIT
                good &= inside
                text = f"{middle:.3f} [{ratios[rank - 1]:.3f}, {ratios[-rank]:.3f}] "
                text += "ok" if inside else "MISSED"
            print(
                f"{artifact.model:<14}{backend:<10}{name:<24}{np.median(found[:, at]):>10.2f}  {text}",
                flush=True,
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
