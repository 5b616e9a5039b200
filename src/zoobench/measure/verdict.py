"""Can the number be believed? Pure rules from what was measured to `valid`, `unstable` or `invalid`.

Sensors never drop a sample: what they saw is judged here, with the figure that was seen and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zoobench.measure.accuracy import accuracy_warnings
from zoobench.measure.effort import MIN_TIMER_STEPS, EffortPlan
from zoobench.measure.quality import quality_warnings
from zoobench.measure.stats import half_width
from zoobench.measure.verdict_noise import (
    contention,
    machine_warnings,
    noise_warnings,
    placement,
    placement_warnings,
    throttling,
)
from zoobench.measure.verdict_outputs import artifact, finds_nothing, outputs, unproved_warnings, what_ran
from zoobench.outcome import Accuracy, Check, Evidence, Latency, LoadSummary, Noise, Quality, Verdict, WarmUp
from zoobench.spec import Case, Validation
from zoobench.terms import TOKENS, Reason, VerdictValue

MAX_DRIFT = 0.03
TOO_WIDE = 2.0
MANY_OUTLIERS = 0.01
MAX_LITTLE_ERROR = 0.02

_MOST_ADVICE = 3
_LONGER_TEST = {
    "server": "raise --max-case-time or --effort, so that a test holds more queries",
    "multi_stream": "raise --max-case-time, so that a test holds more queries",
    "offline": "measure again on a quiet machine (--on-existing rerun), or give a higher --target-qps",
}

Reasons = Iterator[Reason]


def judge(
    *,
    case: Case,
    check: Check | None,
    latency: Latency | None,
    warm_up: WarmUp | None,
    noises: Sequence[Noise],
    evidence: Evidence | None,
    plan: EffortPlan,
    validation: Validation | None = None,
    provider: str | None = None,
    timer_ns: float | None = None,
    inner_loops: int = 1,
    hyperthreads: bool = False,
    unproved: str | None = None,
    untimed: str | None = None,
    load: LoadSummary | None = None,
    accuracy: Accuracy | None = None,
    quality: Quality | None = None,
    unassessed: str | None = None,
    unscored: str | None = None,
) -> Verdict:
    """Judge one case. `invalid` beats `unstable`; every reason of both is listed, the graver ones first.

    Args:
        check: the outputs on the check items; None when they were not looked at.
        latency: None when nothing was timed.
        noises: one a slot.
        validation: the artifact's, made when it was exported.
        provider: the name under which the evidence must show the graph; None: any that is on the case's device.
        timer_ns: resolution of the clock.
        inner_loops: calls per timed sample, the largest of the slots.
        hyperthreads: two of the CPUs that were used are threads of one core.
        unproved: why there is no evidence.
        untimed: why a detector's stages have no times.
        load: what LoadGen says of its tests; None where it drove none.
        accuracy: what the accuracy pass found; None where there was none.
        quality: what the quality pass of a language model found.
        unassessed: why an accuracy or quality pass that was due has no result.
        unscored: why there is none of lm-evaluation-harness.
    """
    # Where queries queue, their latencies vary with the load and not with the machine: LoadGen judges those.
    closed = latency if case.scenario != "server" else None
    invalid = [
        *outputs(case, check),
        *_finds(case, check, accuracy),
        *artifact(validation),
        *what_ran(case, evidence, provider),
        *contention(noises),
        *throttling(noises, _timed_s(latency, load)),
        *_load_test(case, load),
    ]
    samples = [] if latency and closed is None else _samples(latency, plan)
    unstable = [*_warm_up(warm_up), *samples, *placement(case, noises)]
    warnings = [
        *unproved_warnings(case, check, evidence, provider, unproved),
        *_stage_warnings(untimed),
        *(() if case.device == "remote" else noise_warnings(noises, _timed_s(latency, load))),
        *placement_warnings(case, noises),
        *_sample_warnings(closed, plan, inner_loops),
        *_load_warnings(load),
        *(
            quality_warnings(quality, unassessed, unscored)
            if case.scenario == TOKENS
            else accuracy_warnings(accuracy, unassessed)
        ),
        *_timer_warnings(latency, timer_ns, inner_loops),
        *machine_warnings(noises, hyperthreads),
    ]
    value = VerdictValue.INVALID if invalid else VerdictValue.UNSTABLE if unstable else VerdictValue.VALID
    return Verdict(value=value, reasons=(*invalid, *unstable), warnings=tuple(warnings))


def with_accuracy(verdict: Verdict, case: Case, check: Check | None, accuracy: Accuracy) -> Verdict:
    """The verdict of a case whose accuracy another case's pass found: what a reader must know of it, and whether it is any."""
    invalid = tuple(_finds(case, check, accuracy))
    return verdict.model_copy(
        update={
            "value": VerdictValue.INVALID if invalid else verdict.value,
            "reasons": (*invalid, *verdict.reasons),
            "warnings": (*verdict.warnings, *accuracy_warnings(accuracy, None)),
        }
    )


def _finds(case: Case, check: Check | None, accuracy: Accuracy | None) -> Reasons:
    """What synthetic inputs did not show, pictures do."""
    boxes = accuracy.fidelity.boxes if accuracy and accuracy.fidelity else None
    if boxes is not None and boxes.finds_nothing and not (check and check.finds_nothing):
        yield finds_nothing(boxes.surest or 0.0, boxes.reference_surest or 0.0, case.precision)


def _stage_warnings(untimed: str | None) -> Reasons:
    if untimed is not None:
        yield Reason(
            code="no_stages",
            message=f"what a picture takes before and after the model was not measured: {untimed}",
        )


def _load_test(case: Case, load: LoadSummary | None) -> Reasons:
    if load is None or load.is_valid:
        return
    told = [line.rstrip(".") for line in load.advice if "satisfied" not in line]
    said = "; ".join(told[:_MOST_ADVICE])
    if load.over_limit_tests:
        over = [one for one in load.limits if one[2] is not None and one[2] > one[1]] or load.limits
        missed = " and ".join(
            f"p{load.latency_percentile:g}{name} ≤ {limit:g} ms"
            + (
                ""
                if seen is None
                else f" (it was {seen:.4g} ms)"
                if seen < 1e4
                else f" (it was {seen / 1e3:.3g} s)"
            )
            for name, limit, seen in over
        )
        lower = "lower --target-qps"
        if load.latency_limit_ms is not None:
            lower += ", or leave it out to search for the highest rate"
        yield Reason(
            code="over_latency_limit",
            message=f"at {load.target_qps:g} queries/s {load.over_limit_tests} of {load.tests} LoadGen tests missed "
            f"{missed}; {lower} (LoadGen: {said})",
        )
    if load.tests - load.valid_tests > load.over_limit_tests:
        yield Reason(
            code="load_test_not_valid",
            message=f"LoadGen calls {load.tests - load.valid_tests} of {load.tests} tests INVALID ({said}); "
            f"{_LONGER_TEST.get(case.scenario, 'measure again')}",
        )


def _load_warnings(load: LoadSummary | None) -> Reasons:
    if load is not None and load.little_error is not None and abs(load.little_error) > MAX_LITTLE_ERROR:
        yield Reason(
            code="littles_law",
            message=f"the mean number of queries in flight is {abs(load.little_error):.1%} "
            f"{'above' if load.little_error > 0 else 'below'} throughput × mean latency: queries were lost or their times "
            "are wrong; report it with the record's samples",
        )


def _timed_s(latency: Latency | None, load: LoadSummary | None) -> float:
    if load is not None and load.completed_qps > 0:
        # Queries overlap, so their latencies do not add up to the time.
        return load.queries * load.samples_per_query / load.completed_qps
    return latency.n * latency.mean_ms / 1e3 if latency else 0.0


def _warm_up(warm_up: WarmUp | None) -> Reasons:
    if warm_up is None or warm_up.steady:
        return
    last = warm_up.window_medians_ms[-3:]
    spread = f"{max(last) / min(last) - 1:.0%}" if last and min(last) > 0 else "far"
    yield Reason(
        code="no_steady_state",
        message=f"after {warm_up.calls} warm-up calls in {warm_up.seconds:.1f} s the last windows' medians were "
        f"still {spread} apart; stop what else is running and measure again (--on-existing rerun)",
    )


def _samples(latency: Latency | None, plan: EffortPlan) -> Reasons:
    width = half_width(latency) if latency else None
    if latency is None or width is None:
        yield Reason(
            code="too_few_samples",
            message=f"{_weight(latency) if latency else 'no call'}: not enough for an interval of the median; raise --max-case-time",
        )
    elif width > TOO_WIDE * plan.target_half_width:
        yield Reason(
            code="interval_too_wide",
            message=f"p50 is known to ±{width:.1%}, {TOO_WIDE * plan.target_half_width:.1%} is the limit at this "
            "effort; raise --max-case-time, or quieten the machine",
        )
    if latency is not None and latency.drift is not None and abs(latency.drift) > MAX_DRIFT:
        yield Reason(
            code="drift",
            message=f"the second half of the calls was {abs(latency.drift):.1%} "
            f"{'slower' if latency.drift > 0 else 'faster'} than the first; let the machine settle (clocks, "
            "heat, other work) and measure again (--on-existing rerun)",
        )


def _weight(latency: Latency) -> str:
    """How many calls there are, and how many independent ones they are worth when that is fewer."""
    if latency.n_eff >= 0.95 * latency.n:
        return f"{latency.n} calls"
    return f"{latency.n} calls that weigh as {latency.n_eff:.0f} independent ones (they are correlated)"


def _sample_warnings(latency: Latency | None, plan: EffortPlan, inner_loops: int) -> Reasons:
    if latency is None:
        return
    if latency.outliers > max(1.0, MANY_OUTLIERS * latency.n):
        yield Reason(
            code="outliers",
            message=f"{latency.outliers} of {latency.n} calls lie far from the median (they are kept); something "
            "interrupts the process now and then: look at p95 and not at the mean",
        )
    values = {50: latency.p50_ms, 95: latency.p95_ms, 99: latency.p99_ms}
    missing = [p for p in plan.percentiles if p != 50 and values[p] is None]
    if missing and inner_loops == 1:
        yield Reason(
            code="percentile_not_supported",
            message=f"{_weight(latency)} are too few for {' and '.join(f'p{p}' for p in missing)}; raise --effort "
            "or --max-case-time",
        )


def _timer_warnings(latency: Latency | None, timer_ns: float | None, inner_loops: int) -> Reasons:
    if inner_loops > 1:
        yield Reason(
            code="calls_looped",
            message=f"a call is so short that {inner_loops} were timed together, which hides the tail; use a larger "
            "batch to see percentiles",
        )
    elif latency and timer_ns and latency.min_ms * 1e6 < MIN_TIMER_STEPS * timer_ns:
        yield Reason(
            code="near_timer_resolution",
            message=f"the shortest call ({latency.min_ms * 1e3:.3g} µs) is under {MIN_TIMER_STEPS} steps of the "
            f"{timer_ns:.0f} ns timer; use a larger batch",
        )
