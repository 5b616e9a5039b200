"""Proofs on this machine: whole gates of ResNet18 on ONNX Runtime, each with its control, every attempt printed.

    same      base against itself: no gate may fail, at most one in ten may decide nothing
    slower    head's graph does about a tenth more work (convolutions with an identity kernel, which no optimiser takes
              out and which leave the outputs as they are): at least nine in ten must fail
    hog       base against itself while another process computes on one of the CPUs: INCONCLUSIVE or INVALID, not FAIL
    memory    the same while another process copies memory

usage: python benchmarks/proof/gates.py [same=20] [slower=10] [hog=3] [memory=3] [--results-dir DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from zoobench import api, machine
from zoobench.api import Quiet
from zoobench.driver import Settings
from zoobench.driver.contest import Side, open_contest
from zoobench.executors.local import LocalExecutor
from zoobench.judge import Decision, Finding
from zoobench.judge.gate import BASE, COPY, HEAD, Margin
from zoobench.search.guard import GUARD_EFFORT, guard_contest
from zoobench.spec import ModelSpec
from zoobench.terms import WeightsPolicy

MODEL, BACKEND = "resnet18", "onnx_cpu"
EXTRA_CONVOLUTIONS = 15
# They end with this process, however it ends: one that stays spoils every later figure.
HOGS = {
    "hog": "import os\np = os.getppid()\nwhile os.getppid() == p: pass",
    "memory": "import os, numpy as n\np = os.getppid(); a = n.ones(1 << 26); b = a.copy()\n"
    "while os.getppid() == p: b[:] = a; a[:] = b",
}


def graph_of_base() -> Path:
    """The exported model, from the cache or made now."""
    (made,) = LocalExecutor().prepare(
        [(api.request([MODEL]).models[0], ["onnx"])],
        weights=WeightsPolicy.RANDOM,
        allow_pickle=False,
        on_progress=lambda model, text: None,
    )
    assert made.error is None, made.error
    artifact = made.artifacts["onnx"]
    assert artifact.file
    return artifact.path / artifact.file


def add_work(graph: Path, slower: Path, convolutions: int) -> None:
    """Write `graph` again with so many more 1 × 1 convolutions, whose kernel is the identity, behind its first pooling."""
    model = onnx.load(graph)
    nodes = list(model.graph.node)
    at = next(number for number, node in enumerate(nodes) if node.op_type == "MaxPool")
    name, channels = nodes[at].output[0], 64
    kernel = np.eye(channels, dtype=np.float32).reshape(channels, channels, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "identity"))
    last, extra = name, []
    for number in range(convolutions):
        extra.append(
            helper.make_node("Conv", [last, "identity"], [f"extra_{number}"], name=f"extra_{number}")
        )
        last = f"extra_{number}"
    for node in nodes[at + 1 :]:
        node.input[:] = [last if one == name else one for one in node.input]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[: at + 1], *extra, *nodes[at + 1 :]])
    onnx.checker.check_model(model)
    onnx.save(model, slower)


@contextlib.contextmanager
def disturbed(how: str) -> Iterator[None]:
    """Another process at work, which is none of zoobench's."""
    if how not in HOGS:
        yield
        return
    hog = subprocess.Popen([sys.executable, "-c", HOGS[how]])
    try:
        yield
    finally:
        hog.kill()
        hog.wait()


def gate(base: Path, head: Path, results: Path) -> Finding:
    """One whole gate."""

    def side(arm: str, graph: Path) -> Side:
        model = ModelSpec(name=MODEL, library="onnx", path=graph)
        return Side(arm, api.request([model], backends=[BACKEND]), LocalExecutor())

    sides = [side(BASE, base), side(COPY, base), side(HEAD, head)]
    with open_contest(
        sides, LocalExecutor(), GUARD_EFFORT, Settings(results_dir=results, wait=True), Quiet()
    ) as contest:
        (finding,) = guard_contest(contest, Margin())
    return finding


def show(how: str, count: int, base: Path, head: Path, results: Path) -> list[Finding]:
    """Run and print so many gates."""
    print(f"== {how}: {count} gates of {MODEL} on {BACKEND}, {machine.describe().short}", flush=True)
    print(f"{'':>3} {'decision':<13}{'head ÷ base':<24}{'copy ÷ base':<24}{'forks':>5}{'base ms':>9}{'s':>6}")
    found = []
    for number in range(count):
        begin = time.perf_counter()
        with disturbed(how):
            finding = gate(base, head, results)
        found.append(finding)
        f = finding.figures
        spans = ["—", "—"]
        if f:
            spans = [
                f"{f[key]:.3f} [{f[key + '_low']:.3f}, {f[key + '_high']:.3f}]"
                for key in ("ratio", "copy_ratio")
            ]
        print(
            f"{number + 1:>3} {finding.decision.value:<13}{spans[0]:<24}{spans[1]:<24}{f.get('forks', '—'):>5}"
            f"{f.get('base_ms', float('nan')):>9.2f}{time.perf_counter() - begin:>6.0f}",
            flush=True,
        )
        if not f:
            print(f"    {finding.message}", flush=True)
    print(", ".join(f"{n} {decision.value}" for decision, n in Counter(f.decision for f in found).items()))
    ratios = [float(f.figures["ratio"]) for f in found if f.figures]  # type: ignore[arg-type]
    if ratios:
        print(f"geometric mean of head ÷ base {float(np.exp(np.log(ratios).mean())):.3f}", flush=True)
    return found


def holds(how: str, found: list[Finding]) -> bool:
    """What the issue of each kind must be."""
    count = Counter(finding.decision for finding in found)
    undecided = count[Decision.INCONCLUSIVE] + count[Decision.INVALID]
    if how == "same":
        return count[Decision.FAIL] == 0 and undecided <= len(found) / 10
    if how == "slower":
        return count[Decision.FAIL] >= 0.9 * len(found)
    return count[Decision.FAIL] == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", default=["same=20", "slower=10", "hog=3", "memory=3"])
    parser.add_argument("--extra", type=int, default=EXTRA_CONVOLUTIONS)
    parser.add_argument("--results-dir", type=Path, default=None)
    asked = parser.parse_args()
    base = graph_of_base()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        slower = Path(folder) / "slower.onnx"
        add_work(base, slower, asked.extra)
        results = asked.results_dir or Path(folder) / "results"
        for kind in asked.kinds:
            how, _, count = kind.partition("=")
            found = show(how, int(count or 1), base, slower if how == "slower" else base, results)
            word = "ok" if holds(how, found) else "MISSED"
            print(f"{how}: {word}", flush=True)
            good &= word == "ok"
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
