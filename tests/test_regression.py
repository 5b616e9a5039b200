"""Latency limits as a test: `pytest -m regression` fails when a model is slower than its configured limit.

Limits stand in limits.toml ($ZOOBENCH_LIMITS names another file); `zoobench guard --set-limits limits.toml` writes it.
One without a machine holds everywhere; one of another machine is skipped, and says so. The self-check runs always.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from zoobench.api import Quiet
from zoobench.catalog import find
from zoobench.driver import Settings
from zoobench.executors import open_executor
from zoobench.judge import Decision, Finding
from zoobench.judge.limits import Limit
from zoobench.judge.limits_file import read_limits
from zoobench.machine import describe, usable_cpu_count
from zoobench.search.guard import Bench, guard_limits
from zoobench.terms import OnExisting

LIMITS = Path(os.environ.get("ZOOBENCH_LIMITS", Path(__file__).resolve().parents[1] / "limits.toml"))


def decide(limit: Limit, results_dir: Path) -> Finding:
    """Measure the limit's cell, as often as it takes to decide; skip what belongs to another machine."""
    settings = Settings(results_dir=results_dir, on_existing=OnExisting.RERUN, wait=True)
    (model,) = find([limit.model])
    bench = Bench({model.name: model}, settings, open_executor("local"), Quiet())
    named = replace(limit, model=model.name)
    (finding,) = guard_limits([named], bench, describe().fingerprint, usable_cpu_count())
    if finding.decision is Decision.SKIPPED:
        pytest.skip(finding.message)
    return finding


@pytest.mark.regression
@pytest.mark.parametrize(
    "limit",
    read_limits(LIMITS) if LIMITS.exists() or "ZOOBENCH_LIMITS" in os.environ else [],
    ids=lambda limit: limit.name,
)
def test_no_model_exceeds_its_limit(limit: Limit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What was prepared for the user's own runs is what is held to the limits.
    for name in ("ZOOBENCH_CACHE", "ZOOBENCH_LOCK"):
        monkeypatch.delenv(name)
    finding = decide(limit, tmp_path)
    assert finding.decision is Decision.PASS, f"{finding.name}: {finding.message}"


def limit_of(ms: float, machine: str | None = None) -> Limit:
    """Of the fake backend, whose p50 is 5 ms and p95 5.17 ms."""
    return Limit("resnet18", "fake", ms, machine=machine, where="the self-check")


def test_a_model_inside_its_limit_passes(tmp_path: Path) -> None:
    assert decide(limit_of(6.0), tmp_path).decision is Decision.PASS


def test_a_model_outside_its_limit_fails_with_the_interval_and_the_limit(tmp_path: Path) -> None:
    finding = decide(limit_of(4.9), tmp_path)
    assert finding.decision is Decision.FAIL
    assert all(part in finding.message for part in ("p95 5.1", "[", "limit of 4.9 ms"))


def test_a_limit_of_another_machine_is_a_skip_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception) as skipped:
        decide(limit_of(1.0, machine="0123456789ab"), tmp_path)
    assert "0123456789ab" in str(skipped.value) and describe().fingerprint in str(skipped.value)


def test_a_limit_of_this_machine_is_held(tmp_path: Path) -> None:
    assert decide(limit_of(1.0, machine=describe().fingerprint), tmp_path).decision is Decision.FAIL
