"""The gate on the virtual clock: what it lets through, what it catches, and what it refuses to decide."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from benchmarks.proof.virtual import CALM, ORDINARY, covered, gate, order_ratio

from zoobench.judge import Decision, Undecided, exit_code
from zoobench.judge.gate import ARMS, BASE, COPY, HEAD, Margin, judge_gate
from zoobench.judge.ratio import paired_ratio
from zoobench.outcome import CaseError, CaseResult, Slot, Verdict
from zoobench.terms import Effort, Reason, Status, VerdictValue


def slots(times_ms: Any, fork: int = 0, first_round: int = 0) -> list[Slot]:
    """A slot a round, all of whose calls take as long."""
    return [
        Slot(fork=fork, round=first_round + n, position=0, settling_ns=1, samples_ns=(round(ms * 1e6),) * 20)
        for n, ms in enumerate(times_ms)
    ]


def result(factor: float, *, forks: int = 6, jitter: float = 0.002, seed: int = 0, **more: Any) -> CaseResult:
    """An arm whose processes take `factor` × 5 ms."""
    rng = np.random.default_rng(seed)
    made = [
        slot
        for fork in range(forks)
        for slot in slots(5 * factor * np.exp(jitter * rng.standard_normal(6)), fork=fork)
    ]
    return CaseResult(**{"case_id": "x", "status": Status.OK, "slots": tuple(made), **more})


def attempt(of_head: float = 1.0, of_copy: float = 1.0, **arms: CaseResult) -> dict[str, CaseResult]:
    found = {BASE: result(1, seed=1), COPY: result(of_copy, seed=2), HEAD: result(of_head, seed=3)}
    return {**found, **arms}


def decide(*attempts: dict[str, CaseResult], last: bool = True) -> Decision:
    return judge_gate("m", attempts or (attempt(),), Margin(), last=last).decision


def invalid(code: str) -> Verdict:
    return Verdict(value=VerdictValue.INVALID, reasons=(Reason(code=code, message=f"because of {code}"),))


# --- decisions


@pytest.mark.parametrize(
    ("head", "decision"),
    [(0.5, "pass"), (1.0, "pass"), (1.04, "pass"), (1.06, "fail"), (1.10, "fail"), (3.0, "fail")],
)
def test_the_margin_is_5_percent(head: float, decision: str) -> None:
    assert decide(attempt(head)) == decision


def test_at_the_margin_more_is_asked_for_and_then_nothing_decided() -> None:
    assert decide(attempt(1.05), last=False) is Decision.MORE
    assert decide(attempt(1.05)) is Decision.INCONCLUSIVE


@pytest.mark.parametrize("copy", [0.9, 1.1])
def test_where_the_copy_of_base_differs_nothing_means_anything(copy: float) -> None:
    assert decide(attempt(1.3, copy)) is Decision.INVALID
    assert decide(attempt(1.3, copy), last=False) is Decision.MORE


def test_minima_and_medians_on_two_sides_decide_nothing() -> None:
    calls = (5_000_000,) * 9 + (6_000_000,) * 11
    slow_middle = result(1).model_copy(
        update={
            "slots": tuple(
                s.model_copy(update={"samples_ns": tuple(x + n % 7 * 100 for n, x in enumerate(calls))})
                for s in result(1, seed=3).slots
            )
        }
    )
    finding = judge_gate("m", [attempt(**{HEAD: slow_middle})], Margin(), last=True)
    assert finding.decision is Decision.INCONCLUSIVE and "medians" in finding.message


def test_a_fail_says_the_ratio_its_interval_and_the_margin() -> None:
    finding = judge_gate("m", [attempt(1.2)], Margin(), last=True)
    assert "1.2" in finding.message and "[" in finding.message and "5%" in finding.message
    low, high = finding.figures["ratio_low"], finding.figures["ratio_high"]
    assert isinstance(low, float) and isinstance(high, float) and low < 1.2 < high
    assert finding.figures["forks"] == 6 and finding.figures["rounds"] == 36


def test_several_models_share_alpha() -> None:
    assert Margin().shared_by(4).alpha == 0.025 / 4
    base, head = result(1, seed=1, jitter=0.02), result(1.05, seed=2, jitter=0.02)
    wide, narrow = (paired_ratio(base.slots, head.slots, alpha) for alpha in (0.025 / 4, 0.025))
    assert wide and narrow and wide.interval[0] < narrow.interval[0] < narrow.interval[1] < wide.interval[1]


# --- what has no times


def test_head_that_fails_is_a_regression_and_base_that_fails_is_not_comparable() -> None:
    failed = CaseResult(
        case_id="x", status=Status.FAILED, error=CaseError(stage="load", message="no such op")
    )
    finding = judge_gate("m", [attempt(**{HEAD: failed})], Margin(), last=True)
    assert finding.decision is Decision.FAIL and "no such op" in finding.message
    assert decide(attempt(**{BASE: failed})) is Decision.NOT_COMPARABLE
    assert decide(attempt(**{BASE: failed, COPY: failed, HEAD: failed})) is Decision.NOT_COMPARABLE


def test_head_with_wrong_outputs_is_a_regression_however_fast() -> None:
    wrong = result(0.5, verdict=invalid("differs_from_reference"))
    assert decide(attempt(**{HEAD: wrong})) is Decision.FAIL


def test_a_contended_attempt_buys_another_one_and_decides_nothing() -> None:
    noisy = attempt(1.5, **{COPY: result(1, verdict=invalid("cpu_contended"))})
    assert decide(noisy, last=False) is Decision.MORE
    assert decide(noisy) is Decision.INVALID
    assert decide(noisy, attempt(1.0)) is Decision.PASS


def test_what_is_only_unstable_beside_noise_is_no_wrong_answer() -> None:
    reasons = (Reason(code="cpu_contended", message="x"), Reason(code="drift", message="y"))
    shaken = result(1, verdict=Verdict(value=VerdictValue.INVALID, reasons=reasons))
    assert decide(attempt(**{HEAD: shaken})) is Decision.INVALID


# --- the ratio


def test_pairs_are_made_within_a_round() -> None:
    """A machine that doubles its time from round to round changes no ratio."""
    times = [5 * 2.0**n for n in range(6)]
    base = [slot for fork in range(6) for slot in slots(times, fork)]
    other = [slot for fork in range(6) for slot in slots([1.1 * t for t in times], fork)]
    ratio = paired_ratio(base, other)
    assert ratio and ratio.estimate == pytest.approx(1.1, rel=1e-6)
    assert ratio.interval == pytest.approx((1.1, 1.1), rel=1e-5) and ratio.rounds == 36
    without_a_round = paired_ratio([s for s in base if s.round != 2], other)
    assert without_a_round and without_a_round.rounds == 30


def test_the_process_is_the_replicate() -> None:
    """Many calls of one odd process are one odd value."""
    base = [slot for fork in range(6) for slot in slots([5] * 50, fork)]
    other = [slot for fork in range(6) for slot in slots([5 if fork else 10] * 50, fork)]
    ratio = paired_ratio(base, other)
    assert ratio and ratio.interval[0] < 1 < ratio.interval[1]


def test_one_process_is_marked_and_too_little_is_none() -> None:
    one = paired_ratio(slots([5, 5.1, 5.2]), slots([6, 6.1, 6.2]))
    assert one and one.kind == "within_process"
    assert paired_ratio(slots([5, 5]), slots([6, 6])) is None
    assert paired_ratio([], []) is None


# --- the proofs in short; `make proof` runs them in full


@pytest.mark.slow
def test_no_false_alarm_and_few_undecided() -> None:
    tally = Counter(gate(1.0, ORDINARY, seed).decision for seed in range(60))
    assert tally[Decision.FAIL] == 0
    assert tally[Decision.PASS] >= 54


@pytest.mark.slow
def test_a_slowdown_of_a_tenth_is_caught() -> None:
    tally = Counter(gate(1.10, ORDINARY, seed).decision for seed in range(40))
    assert tally[Decision.FAIL] >= 36


@pytest.mark.slow
def test_two_and_a_half_percent_are_let_through() -> None:
    assert Counter(gate(1.025, CALM, seed).decision for seed in range(20))[Decision.PASS] >= 18


def test_a_drifting_machine_favours_nobody() -> None:
    assert float(np.exp(np.mean([np.log(order_ratio(seed)) for seed in range(20)]))) == pytest.approx(
        1, abs=0.005
    )


@pytest.mark.slow
def test_intervals_hold_the_truth() -> None:
    found = covered(Effort.QUICK, {**CALM, "fake_correlation": 0.5}, 300)
    there, held = found["p50"]
    assert there == 300 and 0.92 <= held / there <= 0.995


# --- exit codes


def finding(decision: Decision) -> Any:
    from zoobench.judge import Finding

    return Finding("m", decision, "")


def test_exit_codes_and_their_order() -> None:
    def code(*decisions: Decision, undecided: Undecided = Undecided.REPORT) -> int:
        return exit_code(map(finding, decisions), undecided)

    assert code(Decision.PASS, Decision.SKIPPED) == 0
    assert code(Decision.PASS, Decision.FAIL, Decision.INVALID, Decision.INCONCLUSIVE) == 3
    assert code(Decision.INVALID, Decision.INCONCLUSIVE) == code(Decision.NOT_COMPARABLE) == 5
    assert code(Decision.INCONCLUSIVE, Decision.PASS) == 4
    assert code(Decision.INCONCLUSIVE, undecided=Undecided.PASS) == 0
    assert code(Decision.INCONCLUSIVE, undecided=Undecided.FAIL) == 3
    assert set(ARMS) == {BASE, COPY, HEAD}
