"""Does the reported p50 equal a bare loop's? The same artifact, the same minute, in turns.

The conductor measures two seats of one group: zoobench's own worker, and a plain script (`bare_loop.py`) in a
process of its own that shares no code with zoobench. Prints the ratio of the two reported medians for each cell.

usage: python benchmarks/parity.py [--models …] [--batch-sizes 1 8] [--repeat N]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zoobench import api, machine
from zoobench.backends import BACKENDS
from zoobench.executors.local import LocalExecutor
from zoobench.measure.channel import Launch, Worker, WorkerProcess
from zoobench.measure.conductor import Stage, conduct
from zoobench.measure.effort import EFFORTS
from zoobench.measure.sensors import Sensors, timer_resolution_ns
from zoobench.spec import Artifact, Case, Effort, Seat, WeightsPolicy
from zoobench.tasks import open_task

LIMIT = 0.02
PLAN = replace(
    EFFORTS[Effort.QUICK], min_calls=200, min_time_s=4.0, target_half_width=0.01, max_case_time_s=20.0
)
"""More evidence than `quick` buys, because 2% is to be seen; one process each, so that it ends within minutes."""


class BareLoop:
    """The script behind the worker's interface: it answers only what the conductor needs to time it."""

    def __init__(self, case: Case, artifact: Artifact, images: Path) -> None:
        kind = "onnx" if artifact.format == "onnx" else "torch"
        script = Path(__file__).with_name("bare_loop.py")
        command = [
            sys.executable,
            str(script),
            kind,
            str(artifact.path),
            str(case.batch),
            str(case.threads),
            str(images),
        ]
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=Launch().environment(threads=case.threads, secrets=False),
        )
        self._answer()
        self.start_s = time.perf_counter() - begin

    @property
    def pid(self) -> int:
        return self.process.pid

    def request(self, verb: str, args: dict[str, Any], *, deadline_s: float, on_event: object = None) -> Any:
        if verb == "slot":
            budget = args["budget"]
            samples = self._ask(f"slot {budget['min_calls']} {budget['min_seconds']}")
            return {
                "settling_ns": samples[0],
                "samples_ns": samples,
                "inner_loops": 1,
                "elapsed_ns": sum(samples),
                "cpu_s": None,
            }
        if verb == "warm_up":
            samples = self._ask("slot 10 1.0")
            return {
                "calls": len(samples),
                "seconds": 1.0,
                "steady": True,
                "window_medians_ms": [np.median(samples) / 1e6],
            }
        return {
            "load": {"import_s": 0.0, "load_s": 0.0},
            "first_call": {"first_call_ms": 0.0},
            "memory": {},
        }.get(verb)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _ask(self, line: str) -> list[int]:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer: list[int] = self._answer()
        return answer

    def _answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the bare loop ended")
        return json.loads(line)


def measure(
    artifact: Artifact, backend: str, batch: int, threads: int, seed: int, images: Path
) -> tuple[float, float]:
    """p50 of zoobench's worker and of the bare loop, milliseconds."""

    def seat(arm: str) -> Seat:
        case = Case(model=artifact.model, backend=backend, batch=batch, threads=threads, arm=arm)
        return Seat(case, artifact, BACKENDS[backend].provider)

    def open_worker(case: Case) -> Worker:
        if case.arm == "bare":
            return BareLoop(case, artifact, images)
        return WorkerProcess("session", Launch(), threads=threads)

    stage = Stage(
        open_worker=open_worker,
        open_sensor=lambda case, worker: Sensors(worker_pid=worker.pid),
        timer_ns=timer_resolution_ns(),
    )
    result = conduct([seat("base"), seat("bare")], PLAN, stage, seed=seed)
    ours, bare = (one.latency for one in result.results)
    assert ours and bare and ours.p50_ms and bare.p50_ms, [one.error for one in result.results]
    return ours.p50_ms, bare.p50_ms


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(api.DEFAULT_MODELS))
    parser.add_argument("--backends", nargs="+", default=["pytorch", "onnx_cpu"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 8])
    asked = parser.parse_args()
    threads = machine.usable_cpu_count()
    executor = LocalExecutor()
    specs = list(api.request(asked.models).models)
    prepared = executor.prepare(
        [(spec, ["torch", "onnx"]) for spec in specs],
        weights=WeightsPolicy.AUTO,
        allow_pickle=False,
        on_progress=lambda model, text: print(f"preparing {model}: {text}", file=sys.stderr),
    )
    print(f"p50 of zoobench against a bare loop, in turns, on {machine.describe().short}, {threads} threads")
    print(f"{'model':<18}{'backend':<10}{'batch':>6}{'zoobench ms':>13}{'bare ms':>10}{'ratio':>8}")
    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        for number, preparation in enumerate(list(prepared)):
            if preparation.error:
                raise SystemExit(preparation.error)
            items = open_task("image_classification").check_inputs(preparation.artifacts["onnx"].input_shape)
            images = Path(folder) / "images.npy"
            np.save(images, items)
            for backend in asked.backends:
                for batch in asked.batch_sizes:
                    artifact = preparation.artifacts[BACKENDS[backend].format]
                    ours, bare = measure(artifact, backend, batch, threads, number, images)
                    ratio = ours / bare
                    worst = max(worst, ratio, 1 / ratio)
                    print(
                        f"{artifact.model:<18}{backend:<10}{batch:>6}{ours:>13.2f}{bare:>10.2f}{ratio:>8.3f}",
                        flush=True,
                    )
    print(f"furthest from 1: {worst:.3f} (limit {1 + LIMIT})")
    return 0 if worst <= 1 + LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
