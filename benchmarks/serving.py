"""LoadGen's scenarios beside the closed loop: what they add to a call, Little's law, and whether a found rate holds.

    calls     time a call of `offline` and `multi_stream` ÷ of the closed loop: the fake backend's sleepless millisecond,
              and a real model, by turns
    law       mean queries in flight ÷ (throughput × mean latency), within 2% in every test
    search    the highest rate for p99 ≤ six calls' time; four fifths of it should hold when asked again, and half as
              much again not (LoadGen lets two of 838 queries miss the limit, so at the rate itself it is a matter of luck)

usage: python benchmarks/serving.py [calls] [search] [--model resnet18] [--backend onnx_cpu] [--rounds 3]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from zoobench import api, searches
from zoobench.driver import Settings
from zoobench.measure.verdict import MAX_LITTLE_ERROR
from zoobench.results.record import Record
from zoobench.terms import OnExisting

FAKE_LIMIT = 0.02
"""Of a call of 1 ms: 20 µs."""
BELOW, ABOVE = 0.8, 1.5
CHECKS = 3
CALLS_OF_LIMIT = 6


class Bench:
    """Cells of one model and backend, measured anew each time; keeps the worst error of Little's law."""

    def __init__(self, folder: Path, model: str, backend: str, options: dict[str, Any]) -> None:
        self.settings = Settings(results_dir=folder, on_existing=OnExisting.RERUN, wait=True)
        self.model, self.backend, self.options = model, backend, options
        self.law: list[float] = []

    def measure(self, scenario: str, **options: Any) -> Record:
        """One cell."""
        (record,) = api.run(
            [self.model],
            backends=[self.backend],
            scenario=scenario,
            options={**self.options, **options},
            settings=self.settings,
        )
        if record.load and record.load.little_error is not None:
            self.law.append(record.load.little_error)
        return record


def ms(record: Record) -> float:
    """Of a call, the median."""
    assert record.latency and record.latency.p50_ms, record
    return record.latency.p50_ms


def show_calls(bench: Bench, rounds: int, limit: float | None) -> bool:
    """Print the ratios; True when there is no limit or they are within it."""
    scenarios = ("single_stream", "offline", "multi_stream")
    found = np.array([[ms(bench.measure(scenario)) for scenario in scenarios] for _ in range(rounds)])
    good = True
    for at, scenario in enumerate(scenarios[1:], start=1):
        ratios = found[:, at] / found[:, 0]
        word = ""
        if limit is not None:
            inside = abs(float(np.median(ratios)) - 1) <= limit
            good &= inside
            word = f"limit 1 ± {limit:.0%} {'ok' if inside else 'MISSED'}"
        print(
            f"{bench.model:<12}{bench.backend:<10}{scenario:<14}{np.median(found[:, at]):>9.3f} ms  "
            f"÷ closed loop {np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f})  {word}",
            flush=True,
        )
    return good


def show_search(bench: Bench) -> bool:
    """Search a rate, and ask it again."""
    limit_ms = CALLS_OF_LIMIT * ms(bench.measure("single_stream"))
    limits = {"latency_percentile": 99.0, "latency_limit_ms": limit_ms}
    asked = api.request(
        [bench.model], backends=[bench.backend], scenario="server", options={**bench.options, **limits}
    )
    records, (answer,) = searches.find_max_rates(asked, settings=bench.settings)
    bench.law += [r.load.little_error for r in records if r.load and r.load.little_error is not None]
    print(answer.line)
    if answer.qps is None:
        return False
    good = True
    for factor in (BELOW, ABOVE):
        again = [bench.measure("server", target_qps=factor * answer.qps, **limits) for _ in range(CHECKS)]
        held = sum(record.load is not None and record.load.is_valid for record in again)
        good &= held * 2 > CHECKS if factor == BELOW else held * 2 < CHECKS
        print(f"   asked again at {factor:g} × that: LoadGen calls {held} of {CHECKS} VALID", flush=True)
    print("   " + ("ok" if good else "MISSED"))
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=["calls", "search", []], default=[])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--backend", default="onnx_cpu")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(f"LoadGen's scenarios, {api.machine_name()}")
    with tempfile.TemporaryDirectory() as folder:
        fake = Bench(
            Path(folder), "resnet18", "fake", {"fake_clock": "wall", "fake_p50_ms": 1.0, "fake_sigma": 0.0}
        )
        real = Bench(Path(folder), asked.model, asked.backend, {})
        good, parts = True, asked.parts or ["calls", "search"]
        if "calls" in parts:
            good &= show_calls(fake, asked.rounds, FAKE_LIMIT)
            show_calls(real, asked.rounds, None)
        if "search" in parts:
            good &= show_search(real)
        for bench in (fake, real):
            if not bench.law:
                continue
            worst = max(bench.law, key=abs)
            inside = abs(worst) <= MAX_LITTLE_ERROR
            good &= inside
            print(
                f"{bench.model} {bench.backend}: Little's law, worst of {len(bench.law)} cells {worst:+.2%}, "
                f"limit {MAX_LITTLE_ERROR:.0%} {'ok' if inside else 'MISSED'}"
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
