"""What measuring a case produced. Samples are kept, statistics are derived from them.

Times are nanoseconds in samples (`_ns`) and milliseconds in statistics (`_ms`); sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field

from zoobench.spec import DataInfo, Frozen, TextTask
from zoobench.terms import NOISE_CODES, UNSTABLE_CODES, DropDecision, Interval, Reason, Status, VerdictValue


class Verdict(Frozen):
    """`valid`, `unstable` or `invalid`, each with its reasons; `warnings` never change the value."""

    value: VerdictValue
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()


def wrong_answers(verdict: Verdict | None) -> tuple[Reason, ...]:
    """The reasons of an `invalid` verdict that lie in what was run; none where only the moment was bad."""
    if verdict is None or verdict.value is not VerdictValue.INVALID:
        return ()
    return tuple(reason for reason in verdict.reasons if reason.code not in NOISE_CODES | UNSTABLE_CODES)


class CaseError(Frozen):
    """Where and why a case stopped."""

    stage: str = Field(description="prepare, start, load, first_call, check, warm_up, slot, memory, accuracy")
    message: str
    type: str | None = None
    stderr_tail: str | None = None


class Spread(Frozen):
    """Percentiles of something that was seen n times, ms; one that n does not support is None, and so is its interval."""

    n: int
    mean_ms: float
    p50_ms: float | None
    p50_interval_ms: Interval | None
    p95_ms: float | None
    p95_interval_ms: Interval | None
    p99_ms: float | None
    p99_interval_ms: Interval | None


class Generation(Frozen):
    """What a language model's requests took, token by token; `measure/generation.py` has the formulas."""

    prompt_tokens: int
    new_tokens: int
    requests: int
    ttft: Spread = Field(description="until the first token is on the host")
    tpot: Spread = Field(description="of each request, the mean time of a token after the first")
    itl: Spread = Field(description="between neighbouring tokens, of all requests together")
    prefill_tokens_per_s: float
    decode_tokens_per_s: float | None = Field(description="None: one new token leaves nothing to decode")
    itl_by_position_ms: tuple[float, ...] = Field(
        default=(), description="median over requests of the time between token i and token i + 1"
    )
    chunks: float | None = Field(
        default=None, description="of a server's answer, the mean; None: a time for each token"
    )
    concurrency: int = Field(default=1, description="clients that asked at once")
    requests_per_s: float | None = Field(
        default=None, description="over all clients; None: not known of older records"
    )
    tokens_per_s: float | None = Field(
        default=None, description="that were made, over all clients, prefill and all"
    )
    mean_in_flight: float | None = Field(default=None, description="requests")
    joules_per_token: float | None = Field(
        default=None, description="that was made; None: nothing here counts energy"
    )
    ttft_limit_ms: float | None = None
    tpot_limit_ms: float | None = None
    good: int | None = Field(default=None, description="requests that held every limit; None: there is none")
    goodput_per_s: float | None = Field(default=None, description="of those")


class Latency(Frozen):
    """Statistics of one case's timed calls. A percentile that n does not support is None, and so is its interval."""

    model_config = ConfigDict(allow_inf_nan=False)

    n: int
    n_eff: float
    vif: float | None = Field(
        description="variance inflation of the p50 indicator; None: fewer than 10 blocks"
    )
    mean_ms: float
    stdev_ms: float
    min_ms: float
    max_ms: float
    p50_ms: float | None
    p50_interval_ms: Interval | None
    p95_ms: float | None
    p95_interval_ms: Interval | None
    p99_ms: float | None
    p99_interval_ms: Interval | None
    p90_early_stop_ms: float | None = Field(default=None, description="LoadGen's one-sided 99% bound")
    p95_early_stop_ms: float | None = None
    p99_early_stop_ms: float | None = None
    interval_kind: Literal["within_process", "over_forks"]
    confidence: float = 0.95
    outliers: int = Field(description="calls with |x - median| / MAD > 14.8; counted, never removed")
    drift: float | None = Field(description="median of the second half / median of the first half - 1")


CONTENDED_CPU = 0.10
"""Share of our CPUs above which what others used contends with what is measured."""
NOTABLE_STEAL = 0.01
"""Share of our CPUs' time that the hypervisor may take before it is worth a word."""
APART = 1.35
"""Factor over the machine's best crossing above which the CPUs count as apart: seen were 1.1 near, 1.8 apart."""


class Noise(Frozen):
    """What the sensors saw during one slot. CPU figures are shares of the CPUs that this process may use, 0 to 1."""

    foreign_cpu: float | None = Field(
        default=None, description="used by others than the tool's own process tree"
    )
    steal: float | None = Field(default=None, description="taken by the hypervisor")
    parent_cpu: float | None = Field(
        default=None, description="of one core, used by zoobench's own parent process"
    )
    pressure: float | None = Field(default=None, description="share of time some task waited for a CPU (PSI)")
    throttled_s: float | None = Field(default=None, description="cgroup quota throttling")
    involuntary_switches: int | None = None
    cpu_mhz: float | None = None
    load_1m: float | None = None
    cpu_crossing: float | None = Field(
        default=None,
        description="time to read what another of our CPUs has just written / what the reader wrote itself, just "
        "before the slot",
    )
    cpu_crossing_best: float | None = Field(
        default=None, description="the least that was seen on this machine until then"
    )
    energy_j: float | None = Field(
        default=None, description="joules that the CPU packages, or the GPU, counted; of all that ran there"
    )
    gpu: dict[str, Any] | None = None


def apart(noises: Sequence[Noise]) -> list[Noise]:
    """The slots before which our CPUs were on cores that share no cache.

    All are held against the least crossing that any of them knew, so that the order in which they came does not
    matter.
    """
    best = min((n.cpu_crossing_best for n in noises if n.cpu_crossing_best is not None), default=None)
    if best is None:
        return []
    return [n for n in noises if n.cpu_crossing is not None and n.cpu_crossing > APART * best]


class LoadTest(Frozen):
    """One LoadGen test: what was asked, what came, and what LoadGen says of it.

    Rates are samples a second. `server` has one sample a query; `offline` has one query.
    """

    valid: bool = Field(description="LoadGen's `Result is`")
    constraints_met: bool | None = Field(default=None, description="the latency limit; None: there is none")
    advice: tuple[str, ...] = Field(default=(), description="LoadGen's own lines: why, and what would help")
    target_qps: float | None = Field(
        default=None, description="as asked for; None: LoadGen's rate was estimated"
    )
    scheduled_qps: float | None = Field(default=None, description="as the schedule turned out")
    completed_qps: float
    latency_percentile: float | None = Field(default=None, description="percent")
    latency_limit_ms: float | None = None
    percentile_ms: float | None = Field(default=None, description="latency at that percentile")
    ttft_limit_ms: float | None = Field(default=None, description="of a language model, at that percentile")
    tpot_limit_ms: float | None = None
    ttft_percentile_ms: float | None = None
    tpot_percentile_ms: float | None = None
    samples_per_query: int = 1
    queries: int
    samples: int
    duration_s: float = Field(description="from the first query's schedule to the last completion")
    min_duration_s: float = 0.0
    min_queries: int = 0
    batches: dict[int, int] = Field(default_factory=dict, description="items of a call -> number of calls")
    mean_in_flight: float | None = Field(
        default=None, description="queries (samples offline), integrated over their arrivals and completions"
    )
    little_error: float | None = Field(
        default=None, description="mean_in_flight / (LoadGen's throughput x its mean latency) - 1"
    )
    seeds: dict[str, int] = Field(default_factory=dict)


class LoadSummary(Frozen):
    """A case's LoadGen tests together; rates are over the time of all of them."""

    tests: int
    valid_tests: int
    over_limit_tests: int = Field(default=0, description="of those not valid: the latency limit was missed")
    advice: tuple[str, ...] = ()
    target_qps: float | None = None
    scheduled_qps: float | None = None
    completed_qps: float
    latency_percentile: float | None = None
    latency_limit_ms: float | None = None
    percentile_ms: float | None = Field(default=None, description="the worst of the tests'")
    ttft_limit_ms: float | None = None
    tpot_limit_ms: float | None = None
    ttft_percentile_ms: float | None = None
    tpot_percentile_ms: float | None = None
    samples_per_query: int = 1
    queries: int = 0
    batches: dict[int, int] = Field(default_factory=dict)
    mean_in_flight: float | None = None
    little_error: float | None = Field(default=None, description="the largest of the tests', by size")

    @property
    def limits(self) -> list[tuple[str, float, float | None]]:
        """What was limited, the limit and what was seen at the percentile, ms; of whole queries the name is empty."""
        found = (
            ("", self.latency_limit_ms, self.percentile_ms),
            (" TTFT", self.ttft_limit_ms, self.ttft_percentile_ms),
            (" TPOT", self.tpot_limit_ms, self.tpot_percentile_ms),
        )
        return [(name, limit, seen) for name, limit, seen in found if limit is not None]

    @property
    def is_valid(self) -> bool:
        """LoadGen called every test VALID."""
        return self.valid_tests == self.tests


def summarise_load(tests: Sequence[LoadTest]) -> LoadSummary | None:
    """Fold a case's tests; None when there are none."""
    if not tests:
        return None
    seconds = sum(test.duration_s for test in tests)
    errors = [test.little_error for test in tests if test.little_error is not None]
    batches: dict[int, int] = {}
    for test in tests:
        for size, count in test.batches.items():
            batches[size] = batches.get(size, 0) + count
    last = tests[-1]
    return LoadSummary(
        tests=len(tests),
        valid_tests=sum(test.valid for test in tests),
        over_limit_tests=sum(test.constraints_met is False for test in tests),
        advice=tuple(dict.fromkeys(line for test in tests if not test.valid for line in test.advice)),
        target_qps=last.target_qps,
        scheduled_qps=_weighted([(test.scheduled_qps, test.duration_s) for test in tests]),
        completed_qps=sum(test.samples for test in tests) / seconds if seconds > 0 else 0.0,
        latency_percentile=last.latency_percentile,
        latency_limit_ms=last.latency_limit_ms,
        ttft_limit_ms=last.ttft_limit_ms,
        tpot_limit_ms=last.tpot_limit_ms,
        **{
            name: max((found for t in tests if (found := getattr(t, name)) is not None), default=None)
            for name in ("percentile_ms", "ttft_percentile_ms", "tpot_percentile_ms")
        },
        samples_per_query=last.samples_per_query,
        queries=sum(test.queries for test in tests),
        batches=dict(sorted(batches.items())),
        mean_in_flight=_weighted([(test.mean_in_flight, test.duration_s) for test in tests]),
        little_error=max(errors, key=abs, default=None),
    )


def _weighted(pairs: Sequence[tuple[float | None, float]]) -> float | None:
    known = [(value, weight) for value, weight in pairs if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total > 0 else None


class Slot(Frozen):
    """One turn of one case: a settling call, then the timed calls; or one LoadGen test.

    The samples of a LoadGen test are, in order, the latencies of its queries as LoadGen counts them (in `server`
    from the scheduled arrival), and `offline`, where one query holds everything, the times of its calls.
    """

    fork: int
    round: int
    position: int = Field(description="place in the round's order, 0 first")
    inner_loops: int = Field(
        default=1, description="calls per timed sample; above 1 the call is near the timer's grain"
    )
    settling_ns: int
    samples_ns: tuple[int, ...]
    noise: Noise = Noise()
    load: LoadTest | None = None
    begun_ns: tuple[int, ...] = Field(
        default=(), description="of each request of a language model: from the slot's begin to its own"
    )
    token_ns: tuple[tuple[int, ...], ...] = Field(
        default=(), description="of each request: from its begin to each token on the host"
    )


class WarmUp(Frozen):
    """How the warm-up went."""

    calls: int
    seconds: float
    steady: bool
    window_medians_ms: tuple[float, ...]


class Memory(Frozen):
    """Resident memory of the worker process, bytes."""

    after_import_bytes: int | None = None
    after_load_bytes: int | None = None
    peak_bytes: int | None = Field(default=None, description="VmHWM: the highest resident set")
    pss_anonymous_bytes: int | None = None
    pss_file_bytes: int | None = None
    gpu_bytes: int | None = Field(
        default=None, description="held on the GPU after the slots, by the driver, the CUDA context included"
    )
    kv_used_bytes: int | None = Field(
        default=None, description="keys and values of a language model's last request"
    )
    kv_reserved_bytes: int | None = Field(default=None, description="what the runtime set aside for them")


class Check(Frozen):
    """What the session's outputs looked like on the check inputs, against the reference."""

    finite: bool
    constant: bool
    denormal: bool
    compared: bool
    max_abs: float | None = None
    max_rel: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None
    tolerance: float | None = None
    passed: bool | None = None
    surest: float | None = Field(
        default=None,
        description="of a detector: the largest probability that it gives anything on the check inputs; None: of no other task",
    )
    reference_surest: float | None = Field(default=None, description="the same of the reference")
    finds_nothing: bool = Field(
        default=False, description="it sees nothing any more where the reference sees something"
    )


KernelKind = Literal["int8", "conversion", "layout", "float"]
"""Of a kernel that ran: on bytes, between bytes and floats, between memory layouts, or on floats."""


class KernelTime(Frozen):
    """Kernels of one operator in the runtime's profile, together. `us` is microseconds a call of the model."""

    op: str
    kind: KernelKind
    provider: str
    nodes: int
    us: float


class NodeTime(Frozen):
    """One node of the graph as it ran."""

    name: str
    op: str
    kind: KernelKind
    us: float


class Evidence(Frozen):
    """What really ran. `provider_time` and `provider_nodes` are shares from the runtime's own profile."""

    runtime: str
    version: str | None = None
    device: str
    precision: str | None = None
    threads: int | None = None
    provider_nodes: dict[str, float] = Field(default_factory=dict)
    provider_time: dict[str, float] = Field(default_factory=dict)
    kernels: tuple[KernelTime, ...] = Field(
        default=(), description="where the profile tells them, slowest first"
    )
    slowest: tuple[NodeTime, ...] = Field(default=(), description="the slowest nodes by themselves")
    details: dict[str, Any] = Field(default_factory=dict)


class Share(Frozen):
    """`k` of `n`, with its 95% interval; shares run from 0 to 1."""

    k: int
    n: int
    value: float
    interval: Interval


class Drop(Frozen):
    """Top-1 of a reference less that of a candidate, on the same images. Shares from 0 to 1; above 0 something was lost."""

    lost: int = Field(description="images that only the reference has right")
    won: int = Field(description="images that only the candidate has right")
    n: int
    value: float
    interval: Interval = Field(description="95%, Agresti and Min's")
    mcnemar_p: float = Field(description="exact, two-sided")
    max_drop: float
    decision: DropDecision
    images_needed: int | None = Field(
        default=None, description="with which these rates would decide; None: decided, or never"
    )


class MeanAP(Frozen):
    """COCO's precision of boxes. Shares from 0 to 1; None where no object counts, which COCO writes as -1."""

    map: float | None = Field(description="over classes and IoU thresholds from 0.5 to 0.95 in steps of 0.05")
    map50: float | None = Field(description="at IoU 0.5")
    map75: float | None = Field(description="at IoU 0.75")
    small: float | None = Field(description="of objects up to 32² pixels")
    medium: float | None = Field(description="of objects from 32² to 96² pixels")
    large: float | None = Field(description="of objects from 96² pixels")
    interval: Interval | None = Field(description="95% of `map`, see `worker/mean_ap.py`")
    by_class: dict[str, float] = Field(
        default_factory=dict, description="name → its part of `map`, of the classes that occur"
    )
    pictures: int
    objects: int = Field(description="that are to be found; crowds are not among them")
    crowds: int = 0
    categories: int = Field(description="that occur in the objects")
    boxes: int = Field(description="that were judged, before COCO leaves out those beyond `max_detections`")
    not_finite: int = Field(default=0, description="boxes with NaN or infinity, which were left out")
    max_detections: int = Field(default=100, description="of a picture and class, the best first")
    score_threshold: float = Field(default=0.001, description="boxes below it were left out")
    evaluator: str = Field(description="who counted, with the version")
    resamples: int = Field(description="of the bootstrap that made the interval")
    seed: int


class BoxDrop(Frozen):
    """mAP of a reference less that of a candidate, on the same pictures. Shares; above 0 something was lost."""

    value: float
    interval: Interval = Field(description="95%, by a bootstrap that draws the same pictures for both")
    pictures: int
    resamples: int
    seed: int
    max_drop: float
    decision: DropDecision
    images_needed: int | None = Field(
        default=None,
        description="with which an interval as much narrower would decide; None: decided, or never",
    )


class BoxAgreement(Frozen):
    """How far the boxes are those of the fp32 reference, of the boxes that an application would keep."""

    score_threshold: float = Field(description="of the boxes of both that count")
    iou_threshold: float = Field(description="from which on two boxes are the same, if their class is")
    reference_boxes: int
    boxes: int = Field(description="of the candidate")
    found: Share | None = Field(
        description="boxes of the reference that the candidate has; None: it has none"
    )
    extra: Share | None = Field(
        description="boxes of the candidate that the reference has not; None: it has none"
    )
    iou_mean: float | None = Field(description="of the boxes that both have")
    iou_min: float | None
    score_difference_max: float | None = Field(description="of the boxes that both have, by size")
    surest: float | None = Field(default=None, description="the largest score of any box on any picture")
    reference_surest: float | None = Field(default=None, description="the same of the reference")
    finds_nothing: bool = Field(
        default=False, description="it sees nothing any more where the reference sees something"
    )


class Fidelity(Frozen):
    """How far the outputs are those of the fp32 reference on the same images."""

    reference_sha256: str = Field(description="of the reference's artifact")
    agreement: Share | None = Field(
        default=None, description="images with the reference's first class; None: the outputs are no classes"
    )
    cosine_min: float | None = Field(default=None, description="None: the outputs are no classes")
    cosine_mean: float | None = None
    drop: Drop | None = Field(
        default=None, description="None: the reference's accuracy is not claimed either"
    )
    boxes: BoxAgreement | None = Field(default=None, description="of a detector")
    box_drop: BoxDrop | None = Field(default=None, description="of a detector")


class Accuracy(Frozen):
    """What an artifact got right on a runtime; outputs, not opinions: where no accuracy can be claimed, `unclaimed` says why."""

    data: DataInfo
    artifact_sha256: str
    meaning_sha256: str = Field(
        description="of the pre-processing and the labels, see `Artifact.meaning_sha256`"
    )
    images: int = Field(description="that were decoded and judged")
    undecodable: int = 0
    undecodable_ids: tuple[str, ...] = Field(default=(), description="the first of them, with the reason")
    outputs: int = Field(description="the argmax ran over so many classes")
    classes: int | None = Field(default=None, description="so many of them occur in the data")
    top1: Share | None = None
    top5: Share | None = None
    top1_masked: Share | None = Field(
        default=None, description="argmax over the classes of the data only, where those are fewer"
    )
    boxes: MeanAP | None = Field(default=None, description="of a detector")
    published_top1: float | None = Field(default=None, description="percent, as the catalog quotes it")
    published_map: float | None = Field(default=None, description="percent, of COCO val2017, likewise")
    unclaimed: str | None = None
    assumed: str | None = Field(default=None, description="of the labels, what was taken for granted")
    not_finite: int = Field(
        default=0, description="pictures whose outputs hold NaN or infinity; they count as wrong"
    )
    fidelity: Fidelity | None = None
    batch: int
    images_per_s: float = Field(description="decoding, preparing and running together")
    seconds: float
    preprocessing: dict[str, Any]


class TaskScore(Frozen):
    """One metric of one task, as lm-evaluation-harness tells it."""

    asked: TextTask
    task: str = Field(description="its name; a group that was asked for has several")
    metric: str
    filter: str = "none"
    value: float | None = Field(description="None: not finite")
    stderr: float | None = Field(default=None, description="standard error; None: the harness has none")
    samples: int | None = None
    version: str | None = Field(default=None, description="of the task")
    lm_eval: str = Field(description="version of the harness")


class Quality(Frozen):
    """How far a language model's answers are those of fp32 on the same runtime, teacher-forced on the same tokens."""

    source: Literal["passage", "seeded ids"]
    tokens: int = Field(description="positions that were looked at")
    windows: int
    tokens_sha256: str
    perplexity: float | None = Field(
        default=None,
        description="exp(mean negative log-likelihood) of the passage; None: it means nothing to it",
    )
    reference_sha256: str | None = Field(default=None, description="None: compared with nothing")
    kl_mean: float | None = Field(default=None, description="KL(P_ref ‖ P), nats a token")
    kl_median: float | None = None
    kl_p99: float | None = None
    agreement: Share | None = Field(default=None, description="positions with the same most likely token")
    gate: str | None = None
    passed: bool | None = None
    scores: tuple[TaskScore, ...] = Field(default=(), description="of lm-evaluation-harness's tasks")


class Stages(Frozen):
    """What a detector's pictures took from pixels to boxes, batch by batch: each stage apart, and all of them together."""

    preprocessing: Spread = Field(
        description="from decoded RGB pictures to the input's tensor, on one thread"
    )
    model: Spread = Field(description="from there until the outputs are on the host")
    postprocessing: Spread = Field(
        description="from there to boxes in the pictures' pixels: decoding, thresholds, suppression; on one thread"
    )
    end_to_end: Spread
    pictures: str = Field(description="which, for people")
    boxes: float = Field(description="that were kept of a picture, the mean")
    score_threshold: float
    iou_threshold: float
    samples_ns: dict[str, tuple[int, ...]] = Field(
        default_factory=dict, description="in time order, by stage"
    )


class CaseResult(Frozen):
    """All that a worker and the conductor found out about one case."""

    case_id: str
    status: Status
    error: CaseError | None = None
    worker_start_s: float | None = None
    load_s: float | None = None
    compile_s: float | None = Field(
        default=None, description="engine build or compile time, where it is apart"
    )
    first_call_ms: float | None = None
    warm_up: WarmUp | None = None
    slots: tuple[Slot, ...] = ()
    latency: Latency | None = None
    throughput_per_s: float | None = Field(
        default=None,
        description="items per second: batch / mean latency; under LoadGen what was completed, over the test's time",
    )
    joules_per_item: float | None = Field(
        default=None, description="None: nothing here counts energy, or it is no closed loop of calls"
    )
    load: LoadSummary | None = None
    generation: Generation | None = None
    stages: Stages | None = None
    memory: Memory | None = None
    check: Check | None = None
    evidence: Evidence | None = None
    accuracy: Accuracy | None = None
    quality: Quality | None = None
    verdict: Verdict | None = None
    forks: int = 0
    wall_s: float = Field(default=0.0, description="this case's share of the group's wall time")
    seed: int | None = Field(default=None, description="of the order of turns")
