"""The guard's loop: measure, judge, and where the judge cannot decide measure once more."""

from __future__ import annotations

from collections.abc import Iterator

from zoobench.driver.contest import Bout, Contest
from zoobench.judge import Decision, Finding
from zoobench.judge.gate import ARMS, BASE, HEAD, Margin, judge_gate
from zoobench.measure.effort import EffortPlan
from zoobench.outcome import CaseResult

GUARD_EFFORT = EffortPlan(
    min_calls=360,
    min_time_s=9.0,
    forks=6,
    target_half_width=float("inf"),
    max_case_time_s=120.0,
    percentiles=(50,),
)
"""Six fresh processes an arm, each with six slots or so: the process is the replicate, so more calls in one would
not make the gate surer. The interval needs no target: a gate that cannot decide doubles the forks."""

ATTEMPTS = 2
"""The forks are doubled once."""


def guard_contest(contest: Contest, margin: Margin, effort: EffortPlan = GUARD_EFFORT) -> Iterator[Finding]:
    """Decide every case of a contest with the arms of `judge.gate.ARMS`, one after another."""
    shared = margin.shared_by(sum(_is_ready(bout) for bout in contest.bouts))
    for bout in contest.bouts:
        yield _decide(contest, bout, shared, effort) if _is_ready(bout) else _unready(bout)


def _is_ready(bout: Bout) -> bool:
    return all(arm in bout.seats for arm in ARMS)


def _decide(contest: Contest, bout: Bout, margin: Margin, effort: EffortPlan) -> Finding:
    attempts: list[dict[str, CaseResult]] = []
    while True:
        attempts.append(contest.measure(bout, effort, len(attempts)))
        finding = judge_gate(bout.name, attempts, margin, last=len(attempts) == ATTEMPTS)
        if finding.decision is not Decision.MORE:
            return finding


def _unready(bout: Bout) -> Finding:
    """A case that not every arm has."""
    if BASE in bout.seats and HEAD in bout.refusals:
        message = f"newly failing: base is ready to run, head is not: {bout.refusals[HEAD]}"
        return Finding(bout.name, Decision.FAIL, message)
    if HEAD in bout.seats:
        why = bout.refusals.get(BASE, "base does not know it")
        return Finding(bout.name, Decision.SKIPPED, f"new: only head has it ({why}); nothing to compare with")
    if BASE in bout.seats:
        return Finding(bout.name, Decision.NOT_COMPARABLE, "gone: base has it, head does not know it")
    why = next(iter(bout.refusals.values()), "it is not ready")
    return Finding(bout.name, Decision.SKIPPED, f"it cannot run here: {why}")
