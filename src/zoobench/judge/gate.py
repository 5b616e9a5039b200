"""Base against head: has this case become slower by more than the margin?

Three arms take turns: base, head, and a copy of base. The copy is the gate's own control: where two equal builds seem
to differ by more than the margin, no difference that was seen means anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zoobench.judge import Decision, Finding
from zoobench.judge.ratio import Ratio, paired_ratio
from zoobench.outcome import CaseResult, Slot, wrong_answers
from zoobench.terms import NOISE_CODES, Status, VerdictValue

BASE, COPY, HEAD = "base", "base_copy", "head"
ARMS = (BASE, COPY, HEAD)
SENSED = NOISE_CODES | {"cpus_apart"}
"""Codes that say something about the machine while the arms took turns."""


@dataclass(frozen=True)
class Margin:
    """What counts as a regression, and how sure the gate must be.

    Attributes:
        delta: relative slowdown that is let through, 0.05 for 5%.
        alpha: one-sided error of one case's decision: 0.025 / the number of cases (Bonferroni).
    """

    delta: float = 0.05
    alpha: float = 0.025

    def shared_by(self, cases: int) -> Margin:
        """The same margin when `cases` are decided at once."""
        return Margin(self.delta, self.alpha / max(1, cases))


def judge_gate(
    name: str, attempts: Sequence[Mapping[str, CaseResult]], margin: Margin, *, last: bool
) -> Finding:
    """Decide one case.

    FAIL: the interval lies above 1 + δ. PASS: below. In between: more forks once, then inconclusive. Slot minima
    decide, since noise only ever adds time; where slot medians say the opposite, nothing is decided. INVALID: the copy
    of base leaves ±δ, or an arm's numbers are none.

    Args:
        attempts: for each time it was measured, the result of every arm; fork numbers do not repeat.
        last: no further measurement will be made.
    """
    broken = _broken(name, attempts)
    if broken is not None:
        return broken
    # Numbers from a moment in which others used the CPUs are none: such an attempt buys another one, no decision.
    quiet = [attempt for attempt in attempts if not any(map(_noise, attempt.values()))]
    if not quiet:
        noisy = {arm: why for arm, result in attempts[-1].items() if (why := _noise(result))}
        arm, why = next(iter(noisy.items()))
        where = "every arm was disturbed, " + arm if len(noisy) == len(ARMS) else arm
        message = f"{where}: {why} (`zoobench doctor` looks who that is)"
        return Finding(name, Decision.INVALID if last else Decision.MORE, message)
    slots = {arm: [slot for attempt in quiet for slot in attempt[arm].slots] for arm in ARMS}
    head, copy = (paired_ratio(slots[BASE], slots[arm], margin.alpha) for arm in (HEAD, COPY))
    if head is None or copy is None or head.kind == "within_process":
        return Finding(name, Decision.INVALID, "too few slots in which base and head took turns; try again")
    decision, message = _decide(head, copy, margin)
    if decision in (Decision.INVALID, Decision.INCONCLUSIVE) and not last:
        decision = Decision.MORE
    return Finding(name, decision, message, _figures(head, copy, margin, slots), _warnings(attempts))


def _decide(head: Ratio, copy: Ratio, margin: Margin) -> tuple[Decision, str]:
    limit = 1 + margin.delta
    (low, high), seen = head.interval, f"head takes {_span(head)} of base's time"
    if abs(copy.estimate - 1) > margin.delta:
        return Decision.INVALID, (
            f"a copy of base took {copy.estimate:.3f} of base's own time, so this machine cannot tell {margin.delta:.0%} "
            "now; quiet it (`zoobench doctor`) and try again"
        )
    if low > limit and head.median_estimate > limit:
        return Decision.FAIL, f"{seen}, beyond the {margin.delta:.0%} that are let through"
    if high < limit and head.median_estimate < limit:
        return Decision.PASS, f"{seen}, within {margin.delta:.0%}"
    if low > limit or high < limit:
        return Decision.INCONCLUSIVE, (
            f"{seen} by the smallest calls but {head.median_estimate:.3f} by the medians: they lie on two sides of "
            f"{limit:.3f}"
        )
    return Decision.INCONCLUSIVE, f"{seen}: the interval holds {limit:.3f}, so it cannot be decided"


def _span(ratio: Ratio) -> str:
    low, high = ratio.interval
    return f"{ratio.estimate:.3f} [{low:.3f}, {high:.3f}]"


def _broken(name: str, attempts: Sequence[Mapping[str, CaseResult]]) -> Finding | None:
    """What no times can be judged for; None when they can."""
    for results in attempts:
        failed = {arm: why for arm in ARMS if (why := _failure(results[arm]))}
        if HEAD in failed and not failed.keys() & {BASE, COPY}:
            return Finding(name, Decision.FAIL, f"newly failing: base runs, head does not: {failed[HEAD]}")
        if failed:
            arm, why = next(iter(failed.items()))
            fixed = " (head runs: fixed)" if HEAD not in failed else ""
            return Finding(name, Decision.NOT_COMPARABLE, f"{arm} has no times to compare with{fixed}: {why}")
    return None


def _failure(result: CaseResult) -> str | None:
    """Why there are no times, or why they are those of a wrong answer."""
    if result.status is not Status.OK:
        error = result.error
        return f"{result.status.value} at {error.stage}: {error.message}" if error else result.status.value
    return next((reason.message for reason in wrong_answers(result.verdict)), None)


def _noise(result: CaseResult) -> str | None:
    if result.verdict and result.verdict.value is VerdictValue.INVALID:
        return next((r.message for r in result.verdict.reasons if r.code in NOISE_CODES), None)
    return None


def _warnings(attempts: Sequence[Mapping[str, CaseResult]]) -> tuple[str, ...]:
    """What the sensors saw: one line a code, with the first arm that it was seen in."""
    found: dict[str, str] = {}
    for results in attempts:
        for arm, result in results.items():
            for reason in result.verdict.reasons if result.verdict else ():
                if reason.code in SENSED:
                    found.setdefault(reason.code, f"{arm}: {reason.message}")
    return tuple(found.values())


def _fastest_ms(slots: Sequence[Slot]) -> float:
    return min(min(slot.samples_ns) for slot in slots if slot.samples_ns) / 1e6


def _figures(
    head: Ratio, copy: Ratio, margin: Margin, slots: Mapping[str, Sequence[Slot]]
) -> dict[str, float | int | str | None]:
    return {
        "ratio": head.estimate,
        "ratio_low": head.interval[0],
        "ratio_high": head.interval[1],
        "ratio_of_medians": head.median_estimate,
        "copy_ratio": copy.estimate,
        "copy_ratio_low": copy.interval[0],
        "copy_ratio_high": copy.interval[1],
        "base_ms": _fastest_ms(slots[BASE]),
        "head_ms": _fastest_ms(slots[HEAD]),
        "forks": len(head.by_fork),
        "rounds": head.rounds,
        "margin": margin.delta,
        "alpha": margin.alpha,
    }
