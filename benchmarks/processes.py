"""Whole processes, timed in multiples of one that does nothing: `python -c pass` on the same machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

ZOOBENCH = [sys.executable, "-m", "zoobench"]
NOTHING = [sys.executable, "-c", "pass"]
"""The yardstick."""
_INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As where zoobench is installed: its modules were compiled once, and not again at every start."""


def seconds(command: Sequence[str], answers: Sequence[int] = (0,)) -> float:
    """Wall time of one process, which ends with one of these exit codes."""
    begin = time.perf_counter()
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, env=_INSTALLED
    )
    taken = time.perf_counter() - begin
    assert done.returncode in answers, f"{command} ended with {done.returncode}"
    return taken


def best(command: Sequence[str], repeat: int) -> float:
    """The shortest of `repeat` runs, seconds: the one that was disturbed the least."""
    return min(seconds(command) for _ in range(repeat))


def show(what: str, value: float, limit: float, unit: str = "×", width: int = 44) -> bool:
    """Print what was found beside its limit; True where the limit is held."""
    held = value <= limit
    verdict = "ok" if held else "MISSED"
    print(f"{what:<{width}}{value:>7.1f} {unit}  limit {limit:g} {unit}  {verdict}", flush=True)
    return held
