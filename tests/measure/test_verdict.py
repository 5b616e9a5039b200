"""Every rule, alone and together: the value, the code, and a message with the figure that was seen."""

import re
from pathlib import Path

import pytest

from zoobench.measure.effort import EFFORTS
from zoobench.measure.verdict import judge
from zoobench.measure.verdict_outputs import outputs, provider_share
from zoobench.outcome import Check, Evidence, Latency, LoadSummary, Noise, WarmUp
from zoobench.spec import Case, Validation
from zoobench.terms import UNSTABLE_CODES, Effort, Precision, VerdictValue

CASE = Case(model="m", backend="onnx_cpu", threads=2)
CUDA = Case(model="m", backend="onnx_cuda", device="cuda", threads=2)
CHECK = Check(
    finite=True, constant=False, denormal=False, compared=True, max_rel=1e-6, tolerance=1e-3, passed=True
)
LATENCY = Latency(
    n=100,
    n_eff=100,
    vif=None,
    mean_ms=10,
    stdev_ms=0.1,
    min_ms=9.8,
    max_ms=10.5,
    p50_ms=10,
    p50_interval_ms=(9.9, 10.1),
    p95_ms=10.3,
    p95_interval_ms=(10.2, 10.5),
    p99_ms=None,
    p99_interval_ms=None,
    interval_kind="within_process",
    outliers=0,
    drift=0.001,
)
WARM = WarmUp(calls=100, seconds=1, steady=True, window_medians_ms=(10, 10, 10))
EVIDENCE = Evidence(
    runtime="onnxruntime", device="cpu", precision="fp32", provider_time={"CPUExecutionProvider": 1.0}
)
ON_CUDA = EVIDENCE.model_copy(update={"device": "cuda", "provider_time": {"CUDAExecutionProvider": 1.0}})
QUIET = Noise(foreign_cpu=0.01, steal=0.0, parent_cpu=0.001, throttled_s=0.0, cpu_mhz=3000)
SERVER = Case(model="m", backend="onnx_cpu", threads=2, scenario="server")
LOAD = LoadSummary(
    tests=2,
    valid_tests=2,
    advice=("Min queries satisfied: NO", "Reduce target QPS to improve latency."),
    target_qps=50,
    completed_qps=49.5,
    latency_percentile=99,
    latency_limit_ms=40,
    percentile_ms=61.25,
    queries=100,
    little_error=0.001,
)
OVER = LOAD.model_copy(update={"valid_tests": 0, "over_limit_tests": 2})
VALIDATION = Validation(
    reference="pytorch eager fp32",
    runtime="onnxruntime",
    passed=True,
    tolerance=1e-3,
    max_abs=1e-5,
    max_rel=1e-6,
    cosine=1.0,
    batches=(1, 2, 5),
)


def verdict(**changes):
    facts = {
        "case": CASE,
        "check": CHECK,
        "latency": LATENCY,
        "warm_up": WARM,
        "noises": [QUIET] * 8,
        "evidence": EVIDENCE,
        "plan": EFFORTS[Effort.QUICK],
        "validation": VALIDATION,
        "timer_ns": 50.0,
    }
    return judge(**{**facts, **changes})


def but(model, **changes):
    return model.model_copy(update=changes)


def noisy(count, of=8, **changes):
    return [but(QUIET, **changes)] * count + [QUIET] * (of - count)


def codes(reasons):
    return [reason.code for reason in reasons]


def test_a_quiet_proved_measurement_is_valid_without_a_word():
    result = verdict()
    assert (result.value, result.reasons, result.warnings) == (VerdictValue.VALID, (), ())
    assert verdict(case=CUDA, evidence=ON_CUDA).value is VerdictValue.VALID


INVALID = [
    ("outputs_not_finite", "NaN", {"check": but(CHECK, finite=False, compared=False, passed=None)}),
    ("outputs_constant", "weights", {"check": but(CHECK, constant=True)}),
    ("outputs_denormal", "weights", {"check": but(CHECK, denormal=True)}),
    ("differs_from_reference", "0.0012", {"check": but(CHECK, max_rel=1.2e-3)}),
    ("differs_from_reference", "shape", {"check": but(CHECK, max_rel=None, passed=False)}),
    ("finds_nothing", "a score of 0.00012, the reference's has 0.87; use fp32", {"check": but(CHECK, constant=True, denormal=True, finds_nothing=True, surest=1.2e-4, reference_surest=0.87)}),
    ("artifact_failed_validation", "0.5", {"validation": but(VALIDATION, passed=False, max_rel=0.5)}),
    ("wrong_provider", "cuda was asked", {"case": CUDA}),
    ("wrong_provider", "40%", {"case": CUDA, "evidence": but(ON_CUDA, provider_time={"CUDAExecutionProvider": 0.4, "CPUExecutionProvider": 0.6})}),
    ("wrong_provider", "CUDAExecutionProvider", {"case": CUDA, "evidence": ON_CUDA, "provider": "TensorrtExecutionProvider"}),
    ("wrong_provider", "nothing proves", {"case": CUDA, "evidence": None}),
    ("wrong_provider", "80%", {"case": CUDA, "evidence": but(ON_CUDA, provider_time={"CUDAExecutionProvider": 0.8, "CPUExecutionProvider": 0.2})}),
    ("wrong_provider", "shows no node", {"case": CUDA, "evidence": but(ON_CUDA, provider_time={}), "provider": "CUDAExecutionProvider"}),
    ("wrong_threads", "it ran on 1 threads, 2 were asked for", {"evidence": but(EVIDENCE, threads=1)}),
    ("wrong_precision", "bf16", {"evidence": but(EVIDENCE, precision="bf16")}),
    ("cpu_contended", "38% of the CPUs in 3 of 8", {"noises": noisy(3, foreign_cpu=0.38)}),
    ("over_latency_limit", "missed p99 TTFT ≤ 500 ms (it was 612 ms); lower --target-qps (LoadGen", {"case": SERVER, "load": but(OVER, latency_limit_ms=None, ttft_limit_ms=500.0, ttft_percentile_ms=612.0)}),
    ("over_latency_limit", "missed p99 TTFT ≤ 500 ms (it was 25.5 s); lower", {"case": SERVER, "load": but(OVER, latency_limit_ms=None, ttft_limit_ms=500.0, ttft_percentile_ms=25502.0, tpot_limit_ms=50.0, tpot_percentile_ms=40.0)}),
    ("throttled", "0.2 s", {"noises": noisy(1, throttled_s=0.2)}),
    ("over_latency_limit", "at 50 queries/s 2 of 2 LoadGen tests missed p99 ≤ 40 ms (it was 61.25 ms)", {"case": SERVER, "load": OVER}),
    ("load_test_not_valid", "1 of 2 tests INVALID (Reduce target QPS to improve latency)", {"case": SERVER, "load": but(LOAD, valid_tests=1)}),
    ("load_test_not_valid", "--target-qps", {"case": but(SERVER, scenario="offline"), "load": but(LOAD, valid_tests=0)}),
    ("throttled", "hw_thermal", {"noises": noisy(1, gpu={"clock_event_reasons": ["hw_thermal"]})}),
]  # fmt: skip

UNSTABLE = [
    ("no_steady_state", "300 warm-up calls", {"warm_up": WarmUp(calls=300, seconds=15, steady=False, window_medians_ms=(10, 12, 11))}),
    ("no_steady_state", "20% apart", {"warm_up": WarmUp(calls=300, seconds=15, steady=False, window_medians_ms=(50, 10, 12, 11))}),
    ("drift", "4.0% slower", {"latency": but(LATENCY, drift=0.04)}),
    ("drift", "4.0% faster", {"latency": but(LATENCY, drift=-0.04)}),
    ("too_few_samples", "5 calls", {"latency": but(LATENCY, n=5, n_eff=5, p50_ms=None, p50_interval_ms=None)}),
    ("too_few_samples", "no call", {"latency": None}),
    ("cpus_apart", "3 of 8 slots the CPUs were on cores without a common cache (data took 1.6", {"noises": noisy(3, cpu_crossing=1.76, cpu_crossing_best=1.1)}),
    ("interval_too_wide", "±7.0%, 6.0%", {"latency": but(LATENCY, p50_interval_ms=(9.3, 10.7))}),
]  # fmt: skip

WARNINGS = [
    ("no_evidence", "(the disk was full)", {"evidence": None, "unproved": "the disk was full"}),
    ("no_evidence", "shows no node", {"evidence": but(EVIDENCE, provider_time={}), "provider": "CPUExecutionProvider"}),
    ("cpus_moved", "2 of 8 slots", {"noises": noisy(2, cpu_crossing=1.76, cpu_crossing_best=1.1)}),
    ("contended_slots", "38% of the CPUs in 2 of 8", {"noises": noisy(2, foreign_cpu=0.38)}),
    ("noise_unseen", "quiet", {"noises": [Noise()] * 3}),
    ("steal", "5.0%", {"noises": noisy(4, steal=0.1)}),
    ("throttled_briefly", "0.005 s", {"noises": noisy(1, throttled_s=0.005)}),
    ("parent_busy", "2.0%", {"noises": noisy(8, parent_cpu=0.02)}),
    ("outliers", "2 of 100", {"latency": but(LATENCY, outliers=2)}),
    ("percentile_not_supported", "p95", {"latency": but(LATENCY, p95_ms=None, p95_interval_ms=None)}),
    ("percentile_not_supported", "p99", {"latency": but(LATENCY, p50_interval_ms=(9.99, 10.01)), "plan": EFFORTS[Effort.THOROUGH]}),
    ("littles_law", "2.5% below", {"case": SERVER, "load": but(LOAD, little_error=-0.025)}),
    ("calls_looped", "7 were timed", {"inner_loops": 7}),
    ("near_timer_resolution", "40 µs", {"latency": but(LATENCY, min_ms=0.04)}),
    ("hyperthread_siblings", "--threads", {"hyperthreads": True}),
    ("cpu_clock_varied", "3000 to 2000 MHz", {"noises": noisy(1, cpu_mhz=2000)}),
    ("gpu_power_capped", "nvidia-smi", {"noises": noisy(1, gpu={"clock_event_reasons": ["sw_power_cap"]})}),
    ("gpu_shared", "77", {"noises": noisy(1, gpu={"foreign_pids": [77]})}),
    ("outputs_unchecked", "run again", {"check": None}),
    ("outputs_not_compared", "reference", {"check": but(CHECK, compared=False, max_rel=None, passed=None)}),
    ("no_evidence", "profile", {"evidence": None}),
    ("partial_fallback", "5.0%", {"case": CUDA, "evidence": but(ON_CUDA, provider_time={"CUDAExecutionProvider": 0.95, "CPUExecutionProvider": 0.05})}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "figure", "changes"), INVALID)
def test_what_makes_a_measurement_invalid(code, figure, changes):
    result = verdict(**changes)
    assert result.value is VerdictValue.INVALID
    assert codes(result.reasons) == [code]
    assert figure in result.reasons[0].message


@pytest.mark.parametrize(("code", "figure", "changes"), UNSTABLE)
def test_what_makes_a_measurement_unstable(code, figure, changes):
    result = verdict(**changes)
    assert result.value is VerdictValue.UNSTABLE
    assert codes(result.reasons) == [code]
    assert figure in result.reasons[0].message


@pytest.mark.parametrize(("code", "figure", "changes"), WARNINGS)
def test_warnings_do_not_change_the_value(code, figure, changes):
    result = verdict(**changes)
    assert result.value is VerdictValue.VALID
    assert codes(result.warnings) == [code]
    assert figure in result.warnings[0].message


def test_what_helps_a_blind_detector_depends_on_what_blinded_it():
    blind = but(CHECK, max_rel=1.0, finds_nothing=True, surest=0.0, reference_surest=0.5)
    int8 = verdict(
        case=but(CASE, precision=Precision.INT8), evidence=but(EVIDENCE, precision="int8"), check=blind
    )
    assert codes(int8.reasons) == ["finds_nothing"]
    assert "--calibration" in int8.reasons[0].message and "a score of 0, " in int8.reasons[0].message
    assert "--calibration" not in verdict(check=blind).reasons[0].message


def test_where_queries_queue_their_latencies_may_vary():
    varied = but(LATENCY, drift=0.5, outliers=20, p50_interval_ms=(5, 20))
    assert verdict(case=SERVER, latency=varied, load=LOAD).value is VerdictValue.VALID
    assert verdict(latency=varied).value is VerdictValue.UNSTABLE


def test_little_may_be_off_by_two_percent():
    assert not verdict(case=SERVER, load=but(LOAD, little_error=0.019)).warnings
    assert not verdict(case=SERVER, load=but(LOAD, little_error=None)).warnings


def test_invalid_beats_unstable_and_every_reason_is_listed():
    result = verdict(
        check=but(CHECK, constant=True, denormal=True),
        latency=but(LATENCY, drift=0.2, p50_interval_ms=(5, 15)),
        noises=noisy(8, foreign_cpu=0.5),
        hyperthreads=True,
    )
    assert result.value is VerdictValue.INVALID
    assert codes(result.reasons) == [
        "outputs_constant",
        "outputs_denormal",
        "cpu_contended",
        "interval_too_wide",
        "drift",
    ]
    assert codes(result.warnings) == ["hyperthread_siblings"]


@pytest.mark.parametrize(
    ("noises", "value"),
    [
        (noisy(2, foreign_cpu=0.5), VerdictValue.VALID),
        (noisy(3, foreign_cpu=0.5), VerdictValue.INVALID),
        (noisy(8, foreign_cpu=0.10), VerdictValue.VALID),
        (noisy(8, foreign_cpu=0.11), VerdictValue.INVALID),
        (noisy(8, foreign_cpu=None), VerdictValue.VALID),
        ([], VerdictValue.VALID),
    ],
)
def test_contention_needs_a_tenth_of_the_cpus_in_over_a_quarter_of_the_slots(noises, value):
    assert verdict(noises=noises).value is value


@pytest.mark.parametrize(
    ("precision", "max_rel", "alike"),
    [
        ("fp32", 0.9e-3, True),
        ("fp32", 1.1e-3, False),
        ("fp32", float("nan"), False),
        ("bf16", 1.9e-2, True),
        ("bf16", 2.1e-2, False),
        ("fp16", 2.1e-2, False),
        ("tf32", 2.1e-2, False),
        ("int8", 0.9, True),
        ("int4", 0.9, True),
    ],
)
def test_the_difference_that_a_precision_may_show(precision, max_rel, alike):
    result = verdict(
        case=but(CASE, precision=Precision(precision)),
        evidence=but(EVIDENCE, precision=precision),
        check=but(CHECK, max_rel=max_rel, tolerance=None, passed=None),
    )
    assert ("differs_from_reference" not in codes(result.reasons)) is alike


def test_the_models_own_tolerance_counts_first():
    check = but(CHECK, max_rel=5e-3, tolerance=1e-2)
    assert verdict(check=check).value is VerdictValue.VALID
    assert verdict(check=but(check, tolerance=1e-4)).value is VerdictValue.INVALID


def test_the_width_is_judged_by_the_effort():
    latency = but(LATENCY, p50_interval_ms=(9.7, 10.3))
    assert verdict(latency=latency).value is VerdictValue.VALID
    standard = verdict(latency=latency, plan=EFFORTS[Effort.STANDARD])
    assert codes(standard.reasons) == ["interval_too_wide"]


def test_where_the_cpus_are_does_not_matter_to_one_thread_or_to_a_machine_that_is_always_so():
    apart = noisy(8, cpu_crossing=1.76, cpu_crossing_best=1.1)
    assert verdict(noises=apart).value is VerdictValue.UNSTABLE
    assert verdict(noises=apart, case=but(CASE, threads=1)).value is VerdictValue.VALID
    assert verdict(noises=noisy(8, cpu_crossing=3.1, cpu_crossing_best=3.0)).warnings == ()


def test_slots_that_came_before_the_best_was_known_are_judged_by_it_too():
    first, later = (
        noisy(6, cpu_crossing=1.8, cpu_crossing_best=1.8)[:6],
        noisy(2, cpu_crossing=1.1, cpu_crossing_best=1.1)[:2],
    )
    assert codes(verdict(noises=first + later).reasons) == ["cpus_apart"]


def test_looped_calls_are_not_also_said_to_be_too_few():
    latency = but(LATENCY, p95_ms=None, p95_interval_ms=None, min_ms=0.001)
    assert codes(verdict(latency=latency, inner_loops=50).warnings) == ["calls_looped"]


def test_a_fused_engine_is_judged_by_time_and_not_by_its_leftover_nodes():
    evidence = but(
        ON_CUDA,
        provider_nodes={"TensorrtExecutionProvider": 0.25, "CPUExecutionProvider": 0.75},
        provider_time={"TensorrtExecutionProvider": 0.995, "CPUExecutionProvider": 0.005},
    )
    assert provider_share(CUDA, evidence, "TensorrtExecutionProvider") == 0.995
    assert (
        verdict(case=CUDA, evidence=evidence, provider="TensorrtExecutionProvider").value
        is VerdictValue.VALID
    )
    nodes_only = but(evidence, provider_time={})
    assert provider_share(CUDA, nodes_only, "TensorrtExecutionProvider") == 0.25


def test_a_named_provider_is_proved_on_the_cpu_too():
    result = verdict(
        evidence=but(EVIDENCE, provider_time={"OtherProvider": 1.0}), provider="CPUExecutionProvider"
    )
    assert codes(result.reasons) == ["wrong_provider"]


def test_every_code_is_explained():
    root = Path(__file__).parents[2]
    home = root / "src/zoobench/measure"
    files = (*home.glob("verdict*.py"), home / "accuracy.py", home / "quality.py")
    rules = "".join(file.read_text() for file in files)
    codes_given = set(re.findall(r'code="(\w+)"', rules))
    page = (root / "docs/verdicts.md").read_text()
    invalid, unstable, warnings = (
        page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        for name in ("Invalid", "Unstable", "Warnings")
    )
    rows = {
        kind: set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", text, re.M))))
        for kind, text in (("invalid", invalid), ("unstable", unstable), ("warnings", warnings))
    }
    assert set.union(*rows.values()) == codes_given
    assert rows["unstable"] == UNSTABLE_CODES
    assert rows["invalid"] == {code for code, _, _ in INVALID}


def test_fewer_bits_of_a_language_model_are_judged_by_their_quality() -> None:
    check = Check(
        finite=True, constant=False, denormal=False, compared=True, max_rel=0.03, tolerance=0.02, passed=False
    )
    case = Case(model="m", backend="pytorch", threads=1, scenario="tokens")
    found = {
        p: [r.code for r in outputs(case.model_copy(update={"precision": p}), check)]
        for p in (Precision.FP32, Precision.BF16)
    }
    assert found == {Precision.FP32: ["differs_from_reference"], Precision.BF16: []}
