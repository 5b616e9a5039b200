"""Can the number be believed? Pure rules from what was measured to `valid`, `unstable` or `invalid`.

Sensors never drop a sample: what they saw is judged here, with the figure that was seen and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from zoobench.measure.effort import MIN_TIMER_STEPS, EffortPlan
from zoobench.measure.stats import half_width
from zoobench.outcome import (
    CONTENDED_CPU,
    NOTABLE_STEAL,
    Check,
    Evidence,
    Latency,
    LoadSummary,
    Noise,
    Reason,
    Verdict,
    VerdictValue,
    WarmUp,
    apart,
)
from zoobench.spec import TOLERANCE, Case, Precision, Validation

CONTENDED_SLOTS = 0.25
THROTTLED_SHARE = 0.01
MAX_DRIFT = 0.03
TOO_WIDE = 2.0
MIN_PROVIDER_SHARE = 0.9
FULL_PROVIDER_SHARE = 0.99
MANY_OUTLIERS = 0.01
MAX_PARENT_CPU = 0.01
MAX_LITTLE_ERROR = 0.02
FREQUENCY_DROP = 0.10
GPU_THROTTLES = frozenset({"hw_slowdown", "hw_thermal", "sw_thermal", "power_brake"})
_CPU_PROVIDERS = frozenset({"cpu", "cpuexecutionprovider"})

_MOST_ADVICE = 3
_LONGER_TEST = {
    "server": "raise --max-case-time or --effort, so that a test holds more queries, or lower the rate a little",
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
    load: LoadSummary | None = None,
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
        load: what LoadGen says of its tests; None where it drove none.
    """
    # Where queries queue, their latencies vary with the load and not with the machine: LoadGen judges those.
    closed = latency if case.scenario != "server" else None
    invalid = [
        *_outputs(case, check),
        *_artifact(validation),
        *_what_ran(case, evidence, provider),
        *_contention(noises),
        *_throttling(noises, _timed_s(latency, load)),
        *_load_test(case, load),
    ]
    samples = [] if latency and closed is None else _samples(latency, plan)
    unstable = [*_warm_up(warm_up), *samples, *_placement(case, noises)]
    warnings = [
        *_unproved(case, check, evidence, provider, unproved),
        *_noise_warnings(noises, _timed_s(latency, load)),
        *_placement_warnings(case, noises),
        *_sample_warnings(closed, plan, inner_loops),
        *_load_warnings(load),
        *_timer_warnings(latency, timer_ns, inner_loops),
        *_machine_warnings(noises, hyperthreads),
    ]
    value = VerdictValue.INVALID if invalid else VerdictValue.UNSTABLE if unstable else VerdictValue.VALID
    return Verdict(value=value, reasons=(*invalid, *unstable), warnings=tuple(warnings))


def _outputs(case: Case, check: Check | None) -> Reasons:
    if check is None:
        return
    if not check.finite:
        yield Reason(
            code="outputs_not_finite",
            message="the outputs hold NaN or infinity; try fp32, or export the model again",
        )
    if check.constant:
        yield Reason(
            code="outputs_constant",
            message="every input gives the same output: the weights are dead or were not loaded; use real weights",
        )
    if check.denormal:
        yield Reason(
            code="outputs_denormal",
            message="the outputs are smaller than any normal float: activations have died out, and speed with them "
            "means nothing; use real weights",
        )
    if not check.compared:
        return
    tolerance = check.tolerance or TOLERANCE.get(case.precision)
    if check.max_rel is None:
        yield Reason(
            code="differs_from_reference",
            message="the outputs do not have the reference's shape or cannot be compared; export the model again",
        )
    elif case.precision in TOLERANCE and tolerance is not None and not check.max_rel <= tolerance:
        yield Reason(
            code="differs_from_reference",
            message=f"the outputs differ from the reference by {check.max_rel:.2g} of its largest value, "
            f"{tolerance:.2g} is allowed at {case.precision.value}; {_remedy(case.precision)}",
        )


def _remedy(precision: Precision) -> str:
    if precision is Precision.FP32:
        return "export the model again, or set `tolerance` in its registry entry if that is its nature"
    return "use a wider precision; random weights lose more than trained ones do"


def _artifact(validation: Validation | None) -> Reasons:
    if validation is not None and not validation.passed:
        yield Reason(
            code="artifact_failed_validation",
            message=f"the artifact differed from {validation.reference} by {validation.max_rel:.2g} of its largest "
            f"value on {validation.runtime} ({validation.tolerance:.2g} is allowed); export it again with another "
            "opset",
        )


def _what_ran(case: Case, evidence: Evidence | None, provider: str | None) -> Reasons:
    if evidence is None:
        if case.device != "cpu":
            yield Reason(
                code="wrong_provider",
                message=f"nothing proves that the graph ran on {case.device}; run again, and see the log if the "
                "profile fails again",
            )
        return
    if evidence.threads is not None and evidence.threads != case.threads:
        yield Reason(
            code="wrong_threads",
            message=f"it ran on {evidence.threads} threads, {case.threads} were asked for; ask for "
            f"--threads {evidence.threads}",
        )
    share = provider_share(case, evidence, provider)
    if evidence.device != case.device:
        yield Reason(
            code="wrong_provider",
            message=f"it ran on {evidence.device}, {case.device} was asked for; `zoobench doctor` says why",
        )
    elif share is None and case.device != "cpu":
        yield Reason(
            code="wrong_provider",
            message=f"the runtime's profile shows no node, so nothing proves that the graph ran on {case.device}; "
            "`zoobench doctor` tries the provider",
        )
    elif share is not None and share < MIN_PROVIDER_SHARE:
        yield Reason(
            code="wrong_provider",
            message=f"{provider or case.device} ran {share:.0%} of the graph, the rest fell back to "
            f"{_others(case, evidence, provider)}; `zoobench doctor` says why",
        )
    if evidence.precision is not None and evidence.precision != case.precision.value:
        yield Reason(
            code="wrong_precision",
            message=f"it ran in {evidence.precision}, {case.precision.value} was asked for; pin the runtime's "
            f"precision, or ask for --precisions {evidence.precision}",
        )


def provider_share(case: Case, evidence: Evidence, provider: str | None = None) -> float | None:
    """Share of the graph that ran where it was asked to: of node time, or of nodes where no time is known.

    Time and not nodes, because a fused engine is one node and its few leftovers are many. None when the profile
    shows nothing, or when nothing else than the CPU could have run it.
    """
    shares = evidence.provider_time or evidence.provider_nodes
    if not shares or (provider is None and case.device == "cpu"):
        return None
    return sum(share for name, share in shares.items() if _is_wanted(name, provider))


def _is_wanted(name: str, provider: str | None) -> bool:
    return name.lower() not in _CPU_PROVIDERS if provider is None else name == provider


def _others(case: Case, evidence: Evidence, provider: str | None) -> str:
    shares = evidence.provider_time or evidence.provider_nodes
    return ", ".join(name for name in shares if not _is_wanted(name, provider)) or "nothing that was profiled"


def _contended(noises: Sequence[Noise]) -> list[float]:
    return [n.foreign_cpu for n in noises if n.foreign_cpu is not None and n.foreign_cpu > CONTENDED_CPU]


def _contention(noises: Sequence[Noise]) -> Reasons:
    contended = _contended(noises)
    if len(contended) > CONTENDED_SLOTS * len(noises):
        yield Reason(
            code="cpu_contended",
            message=f"other processes used up to {max(contended):.0%} of the CPUs in {len(contended)} of "
            f"{len(noises)} slots; stop them, or run when the machine is quiet",
        )


def _far(case: Case, noises: Sequence[Noise]) -> list[Noise]:
    """The slots in which threads were far from each other; one thread is near itself."""
    return apart(noises) if case.threads > 1 else []


def _placement(case: Case, noises: Sequence[Noise]) -> Reasons:
    far = _far(case, noises)
    if len(far) > CONTENDED_SLOTS * len(noises):
        best = min(n.cpu_crossing_best for n in noises if n.cpu_crossing_best is not None)
        factor = median(n.cpu_crossing for n in far if n.cpu_crossing is not None) / best
        yield Reason(
            code="cpus_apart",
            message=f"in {len(far)} of {len(noises)} slots the CPUs were on cores without a common cache (data took "
            f"{factor:.1f} times as long from one to the other as at best on this machine), which slows work on "
            "several threads; measure again later (--on-existing rerun), or pin the virtual CPUs",
        )


def _placement_warnings(case: Case, noises: Sequence[Noise]) -> Reasons:
    far = _far(case, noises)
    if far and len(far) <= CONTENDED_SLOTS * len(noises):
        yield Reason(
            code="cpus_moved",
            message=f"in {len(far)} of {len(noises)} slots the CPUs were on cores without a common cache, which slows "
            "work on several threads; p95 and the mean hold those calls: look at p50, or pin the virtual CPUs",
        )


def _load_test(case: Case, load: LoadSummary | None) -> Reasons:
    if load is None or load.is_valid:
        return
    told = [line.rstrip(".") for line in load.advice if "satisfied" not in line]
    said = "; ".join(told[:_MOST_ADVICE])
    if load.over_limit_tests:
        seen = (
            ""
            if load.percentile_ms is None
            else f": p{load.latency_percentile:g} was {load.percentile_ms:.4g} ms"
        )
        yield Reason(
            code="over_latency_limit",
            message=f"at {load.target_qps:g} queries/s {load.over_limit_tests} of {load.tests} LoadGen tests missed the "
            f"limit of {load.latency_limit_ms:g} ms{seen}; lower --target-qps, or leave it out to search for the "
            f"highest rate (LoadGen: {said})",
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


def _throttling(noises: Sequence[Noise], timed_s: float) -> Reasons:
    throttled = sum(n.throttled_s or 0.0 for n in noises)
    if throttled > 0 and throttled > THROTTLED_SHARE * timed_s:
        yield Reason(
            code="throttled",
            message=f"the cgroup's CPU quota held the process back for {throttled:.2g} s; raise the quota, or set "
            "--threads no higher than it",
        )
    seen = {reason for n in noises for reason in _gpu_reasons(n)} & GPU_THROTTLES
    if seen:
        yield Reason(
            code="throttled",
            message=f"the GPU lowered its clock ({', '.join(sorted(seen))}); let it cool down, or lock a clock it "
            "can hold with `nvidia-smi -lgc`",
        )


def _timed_s(latency: Latency | None, load: LoadSummary | None) -> float:
    if load is not None and load.completed_qps > 0:
        # Queries overlap, so their latencies do not add up to the time.
        return load.queries * load.samples_per_query / load.completed_qps
    return latency.n * latency.mean_ms / 1e3 if latency else 0.0


def _gpu_reasons(noise: Noise) -> list[str]:
    return list((noise.gpu or {}).get("clock_event_reasons") or ())


def _warm_up(warm_up: WarmUp | None) -> Reasons:
    if warm_up is None or warm_up.steady:
        return
    last = warm_up.window_medians_ms[-3:]
    spread = f"{max(last) / min(last) - 1:.0%}" if last and min(last) > 0 else "far"
    yield Reason(
        code="no_steady_state",
        message=f"after {warm_up.calls} warm-up calls in {warm_up.seconds:.1f} s the last windows' medians were "
        f"still {spread} apart; stop what else is running, or raise --effort",
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


def _unproved(
    case: Case, check: Check | None, evidence: Evidence | None, provider: str | None, why: str | None
) -> Reasons:
    if check is None:
        yield Reason(
            code="outputs_unchecked", message="the outputs were not looked at; run again to check them"
        )
    elif not check.compared and check.finite:
        yield Reason(
            code="outputs_not_compared",
            message="there was no reference to compare the outputs with; export the model again to get one",
        )
    if evidence is None:
        yield Reason(
            code="no_evidence",
            message=f"the runtime's profile is missing{f' ({why})' if why else ''}; measure again to prove what ran "
            "(--on-existing rerun)",
        )
        return
    share = provider_share(case, evidence, provider)
    if share is None and provider is not None:
        yield Reason(
            code="no_evidence",
            message="the runtime's profile shows no node, so nothing proves which provider ran; report it with the "
            "runtime's version",
        )
    if share is not None and MIN_PROVIDER_SHARE <= share < FULL_PROVIDER_SHARE:
        yield Reason(
            code="partial_fallback",
            message=f"{1 - share:.1%} of the graph ran on {_others(case, evidence, provider)}; see the record's "
            "evidence for the operators",
        )


def _noise_warnings(noises: Sequence[Noise], timed_s: float) -> Reasons:
    contended = _contended(noises)
    if contended and len(contended) <= CONTENDED_SLOTS * len(noises):
        yield Reason(
            code="contended_slots",
            message=f"other processes used up to {max(contended):.0%} of the CPUs in {len(contended)} of "
            f"{len(noises)} slots; stop them, or raise --effort",
        )
    if noises and all(n.foreign_cpu is None for n in noises):
        yield Reason(
            code="noise_unseen",
            message="this system does not show what other processes used; make sure that it is quiet",
        )
    steal = [n.steal for n in noises if n.steal is not None]
    if steal and sum(steal) / len(steal) > NOTABLE_STEAL:
        yield Reason(
            code="steal",
            message=f"the hypervisor took {sum(steal) / len(steal):.1%} of the CPUs' time ({max(steal):.0%} in the "
            "worst slot); use a machine with CPUs of its own",
        )
    throttled = sum(n.throttled_s or 0.0 for n in noises)
    if 0 < throttled <= THROTTLED_SHARE * timed_s:
        yield Reason(
            code="throttled_briefly",
            message=f"the cgroup's CPU quota held the process back for {throttled:.2g} s; raise the quota, or set "
            "--threads no higher than it",
        )
    parent = sorted(n.parent_cpu for n in noises if n.parent_cpu is not None)
    if parent and parent[len(parent) // 2] > MAX_PARENT_CPU:
        yield Reason(
            code="parent_busy",
            message=f"zoobench's own process used {parent[len(parent) // 2]:.1%} of a core during slots; redirect "
            "stderr to a file, so that it draws no progress",
        )


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


def _machine_warnings(noises: Sequence[Noise], hyperthreads: bool) -> Reasons:
    if hyperthreads:
        yield Reason(
            code="hyperthread_siblings",
            message="two of the CPUs are hyperthreads of one core and slow each other down; set --threads to the "
            "number of cores",
        )
    clocks = [n.cpu_mhz for n in noises if n.cpu_mhz]
    if clocks and min(clocks) < (1 - FREQUENCY_DROP) * max(clocks):
        yield Reason(
            code="cpu_clock_varied",
            message=f"the CPU clock went from {max(clocks):.0f} to {min(clocks):.0f} MHz between slots; fix it with "
            "the governor `performance`, or let the machine cool down",
        )
    if any("sw_power_cap" in _gpu_reasons(n) for n in noises):
        yield Reason(
            code="gpu_power_capped",
            message="the GPU ran at its power limit, so its clock is not the highest; that is how it behaves under "
            "this load, or raise the limit with `nvidia-smi -pl`",
        )
    foreign = {pid for n in noises for pid in (n.gpu or {}).get("foreign_pids") or ()}
    if foreign:
        yield Reason(
            code="gpu_shared",
            message=f"other processes hold the GPU too (pid {', '.join(map(str, sorted(foreign)))}); stop them",
        )
