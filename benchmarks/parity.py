"""Does zoobench report what a bare loop would? The same artifact, the same minute, in turns.

    --against same_session   a bare loop over the very call that the slots time, in the same worker process, in turns
                             call by call (`bare_session.py`): does the measuring add anything?
    --against own_process    a script that shares no code with zoobench (`bare_loop.py`), in turns slot by slot: does
                             zoobench also set the runtime up as a careful person would? Two processes of the same
                             program differ by themselves, though, by placement and address layout.

Prints both p50, their ratio, which is judged, and the ratio within a slot (geometric mean over the slots' ratios of
medians, with its 95% interval by Student's t): a machine whose speed wanders moves both sides of a slot alike.

usage: python benchmarks/parity.py [--models …] [--backends …] [--batch-sizes 1 8] [--against …] [--seconds 60]
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from zoobench import api, machine
from zoobench.backends import BACKENDS
from zoobench.executors.local import LocalExecutor
from zoobench.measure.channel import Launch, Worker, WorkerProcess
from zoobench.measure.conductor import Stage, conduct
from zoobench.measure.effort import EFFORTS, EffortPlan
from zoobench.measure.sensors import Sensors, timer_resolution_ns
from zoobench.measure.stats import percentile
from zoobench.outcome import Latency
from zoobench.spec import Artifact, Case, Seat
from zoobench.tasks import open_task
from zoobench.terms import Effort, WeightsPolicy

LIMIT = 0.02
HERE = Path(__file__).resolve().parent
PLAN = replace(EFFORTS[Effort.QUICK], min_calls=200, min_time_s=4.0, target_half_width=0.003)
"""More evidence than `quick` buys: calls of eager PyTorch scatter by 10% on a virtual machine."""

Slots = Sequence[Sequence[int]]
"""Nanoseconds of each timed call, slot by slot."""
Pair = tuple[Latency, Slots, Slots]
"""What zoobench reports, its slots, and the bare loop's beside them."""


class PairedWorker(WorkerProcess):
    """zoobench's own session worker, with a bare loop beside every slot."""

    def __init__(self, case: Case) -> None:
        launch = Launch(module="bare_session", env={"PYTHONPATH": str(HERE)})
        super().__init__("session", launch, threads=case.threads)
        self.bare: list[list[int]] = []

    def request(self, verb: str, args: dict[str, Any], **how: Any) -> Any:
        reply = super().request(verb, args, **how)
        if verb == "slot":
            self.bare.append(reply.pop("bare_ns"))
        return reply


class BareScript:
    """`bare_loop.py` behind the worker's interface: it answers only what the conductor needs to time it."""

    def __init__(self, case: Case, artifact: Artifact, images: Path) -> None:
        kind = "onnx" if artifact.format == "onnx" else "torch"
        command = [sys.executable, str(HERE / "bare_loop.py"), kind, str(artifact.path)]
        command += [str(case.batch), str(case.threads), str(images)]
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=Launch().environment(threads=case.threads),
        )
        self.pid = self.process.pid
        self.call_s = 0.0
        self._answer()
        self.start_s = time.perf_counter() - begin

    def request(self, verb: str, args: dict[str, Any], *, deadline_s: float, on_event: object = None) -> Any:
        if verb == "slot":
            budget = args["budget"]
            calls = budget["slow_min_calls"] if self.call_s > budget["slow_call_s"] else budget["min_calls"]
            samples = self._slot(calls, budget["min_seconds"])
            return {
                "settling_ns": samples[0],
                "samples_ns": samples,
                "inner_loops": 1,
                "elapsed_ns": sum(samples),
                "cpu_s": None,
            }
        if verb == "warm_up":
            samples = self._slot(10, 1.0)
            self.call_s = float(np.median(samples)) / 1e9
            return {"calls": 10, "seconds": 1.0, "steady": True, "window_medians_ms": [self.call_s * 1e3]}
        return {"load": {"import_s": 0.0}, "first_call": {"first_call_ms": 0.0}, "memory": {}}.get(verb)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _slot(self, calls: int, seconds: float) -> list[int]:
        assert self.process.stdin
        self.process.stdin.write(f"slot {calls} {seconds}\n")
        self.process.stdin.flush()
        answer: list[int] = self._answer()
        return answer

    def _answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("bare_loop.py ended; its error stands above")
        return json.loads(line)


def stage(workers: dict[str, Worker]) -> Stage:
    """The conductor's stage, with the arms' workers, each opened when its turn comes."""
    return Stage(
        open_worker=lambda case: workers[case.arm],
        open_sensor=lambda case, worker: Sensors(worker_pid=worker.pid),
        timer_ns=timer_resolution_ns(),
    )


def in_same_session(case: Case, artifact: Artifact, plan: EffortPlan, seed: int) -> Pair:
    """The bare loop's calls stand between zoobench's own."""
    # The gap is the pause in which the bare loop makes its call; nothing sleeps.
    case = case.model_copy(update={"options": {"gap_ms": 0.001}})
    worker = PairedWorker(case)
    seat = Seat(case, artifact, BACKENDS[case.backend].provider)
    (ours,) = conduct([seat], plan, stage({"base": worker}), seed=seed).results
    assert ours.latency, ours.error
    return ours.latency, [slot.samples_ns for slot in ours.slots], worker.bare


def in_own_process(case: Case, artifact: Artifact, plan: EffortPlan, seed: int, images: Path) -> Pair:
    """The script's slots take turns with zoobench's."""
    workers: dict[str, Worker] = {
        "base": WorkerProcess("session", Launch(), threads=case.threads),
        "bare": BareScript(case, artifact, images),
    }
    provider = BACKENDS[case.backend].provider
    seats = [Seat(case.model_copy(update={"arm": arm}), artifact, provider) for arm in workers]
    ours, bare = conduct(seats, plan, stage(workers), seed=seed).results
    assert ours.latency, ours.error
    # The slower one may run out of time a round earlier.
    rounds = zip(ours.slots, bare.slots, strict=False)
    return ours.latency, *map(list, zip(*((a.samples_ns, b.samples_ns) for a, b in rounds), strict=True))


def p50_ms(slots: Slots) -> float:
    """Of all calls, by zoobench's own rule."""
    return percentile(np.sort(np.concatenate([np.asarray(slot, dtype=float) for slot in slots])), 0.5) / 1e6


def within_slots(ours: Slots, bare: Slots) -> tuple[float, float, float]:
    """Geometric mean of the slots' ratios of medians, and its 95% interval."""
    logs = np.log([np.median(a) / np.median(b) for a, b in zip(ours, bare, strict=True)])
    half = float(student.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / len(logs) ** 0.5)
    mean = float(logs.mean())
    return float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(mean + half))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(api.DEFAULT_MODELS))
    parser.add_argument("--backends", nargs="+", default=["pytorch", "onnx_cpu"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--against", choices=["same_session", "own_process"], default="same_session")
    parser.add_argument("--threads", type=int, default=machine.usable_cpu_count())
    parser.add_argument("--seconds", type=float, default=60.0, help="for each cell's calls, at most")
    asked = parser.parse_args()
    plan = replace(PLAN, max_case_time_s=asked.seconds)
    prepared = LocalExecutor().prepare(
        [(spec, ["torch", "onnx"]) for spec in api.request(asked.models).models],
        weights=WeightsPolicy.AUTO,
        allow_pickle=False,
        on_progress=lambda model, text: print(f"preparing {model}: {text}", file=sys.stderr),
    )
    print(f"zoobench ÷ bare loop ({asked.against}), {machine.describe().short}, {asked.threads} threads")
    print(
        f"{'model':<16}{'backend':<9}{'batch':>5}{'calls':>6}{'p50 ms':>8}{'bare ms':>8}  ratio  within slots"
    )
    words: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, preparation in enumerate(list(prepared)):
            if preparation.error:
                raise SystemExit(f"{preparation.model.name}: {preparation.error}")
            items = open_task(preparation.model.task).check_inputs(preparation.artifacts["onnx"].input_shape)
            images = Path(folder) / "images.npy"
            np.save(images, items)
            for backend, batch in itertools.product(asked.backends, asked.batch_sizes):
                artifact = preparation.artifacts[BACKENDS[backend].format]
                case = Case(model=artifact.model, backend=backend, batch=batch, threads=asked.threads)
                if asked.against == "same_session":
                    latency, ours, bare = in_same_session(case, artifact, plan, number)
                else:
                    latency, ours, bare = in_own_process(case, artifact, plan, number, images)
                assert latency.p50_ms
                ratio = latency.p50_ms / p50_ms(bare)
                mean, low, high = within_slots(ours, bare)
                words.append("ok" if abs(ratio - 1) <= LIMIT else "MISSED")
                print(
                    f"{artifact.model:<16}{backend:<9}{batch:>5}{latency.n:>6}{latency.p50_ms:>8.2f}{p50_ms(bare):>8.2f}"
                    f"  {ratio:.3f}  {mean:.3f} [{low:.3f}, {high:.3f}] {words[-1]}",
                    flush=True,
                )
    print(f"{words.count('ok')} of {len(words)} cells within {LIMIT:.0%}")
    return 0 if set(words) == {"ok"} else 1


if __name__ == "__main__":
    sys.exit(main())
