"""Why a cell is as fast as it is: where its time goes, and against fp32 where the difference comes from.

Pure: records and slots in, numbers out; `show/explanation.py` puts them into words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zoobench.judge.compare import VARYING, compare, incomparable
from zoobench.outcome import Accuracy, Evidence, Generation, KernelKind, KernelTime, NodeTime, Quality, Slot
from zoobench.results.record import Record
from zoobench.terms import Interval, Precision, Status, VerdictValue

Pays = Literal["pays", "costs", "undecided"]

_KINDS: tuple[KernelKind, ...] = ("int8", "conversion", "layout", "float")
_OWN_PACE = "single_stream"
"""The only scenario whose p50 is the time of one call and nothing else."""


def _ops(names: str) -> frozenset[str]:
    return frozenset(names.split())


_GROUPS: Mapping[str, frozenset[str]] = {
    "convolution": frozenset({"Conv", "ConvTranspose", "NhwcConv"}),
    "matrix product": frozenset({"Gemm", "MatMul", "MatMulToFloat", "MatMulNBits", "TransposeMatMul"}),
    # SiLU is two nodes, one fused node, or two on bytes, and squeeze-excite's scaling is a Mul as well: only
    # together are they the same work on both sides.
    "activation and scaling": _ops(
        "Sigmoid Mul QuickGelu Gelu FastGelu BiasGelu Erf Tanh Relu Clip LeakyRelu HardSigmoid HardSwish Elu PRelu "
        "Swish Softplus Div"
    ),
    "pooling and means": _ops("GlobalAveragePool AveragePool MaxPool GlobalMaxPool ReduceMean ReduceMax"),
    "addition": frozenset({"Add", "Sum"}),
    "attention and softmax": frozenset({"Attention", "MultiHeadAttention", "Softmax"}),
    "normalisation": _ops(
        "LayerNormalization SkipLayerNormalization SimplifiedLayerNormalization EmbedLayerNormalization "
        "BatchNormalization InstanceNormalization"
    ),
}
_FUSED_FROM = {"QuickGelu": ("Sigmoid", "Mul"), "Swish": ("Sigmoid", "Mul")}
"""A kernel that the runtime makes → the operators that the file holds, which are what a recipe names."""
_ON_BYTES = _ops(
    "Add AveragePool Clip Concat Conv Gemm GlobalAveragePool LeakyRelu MatMul MaxPool Mul Relu Sigmoid Softmax "
    "Where"
)
"""Operators that ONNX Runtime's CPU provider computes on bytes when a recipe names them."""
_MOVES = _ops("Reshape Flatten Squeeze Unsqueeze Gather Slice Split Pad Transpose")
"""They only move what they get, so they need no int8 kernel of their own."""


@dataclass(frozen=True)
class Portion:
    """Kernels of one kind or operator together; `share` is of the profiled time, 0 to 1."""

    name: str
    kind: KernelKind
    nodes: int
    us: float
    share: float
    provider: str | None = None


@dataclass(frozen=True)
class Leftover:
    """An operator that an int8 cell runs on floats.

    Attributes:
        named: the recipe that was chosen names it; None where no recipe is known.
        has_int8: the runtime has a kernel on bytes for it, as far as zoobench knows.
        operators: what the file calls it, where the runtime fused it.
    """

    name: str
    nodes: int
    us: float
    share: float
    operators: tuple[str, ...]
    named: bool | None
    has_int8: bool


@dataclass(frozen=True)
class Slow:
    """One of the slowest nodes."""

    name: str
    op: str
    kind: KernelKind
    us: float
    share: float


@dataclass(frozen=True)
class Difference:
    """The same work in fp32 and here. µs of one call, from either profile."""

    group: str
    fp32_us: float
    us: float
    fp32_nodes: int
    nodes: int
    fp32_ops: tuple[str, ...]
    ops: tuple[str, ...]

    @property
    def delta_us(self) -> float:
        """Below 0: less time here than in fp32."""
        return self.us - self.fp32_us


@dataclass(frozen=True)
class Tried:
    """A rung of the ladder. `speed` is fp32's time ÷ its time."""

    name: str
    speed: float | None
    agreement: float | None
    cosine: float | None
    chosen: bool
    same_as: str | None
    error: str | None
    op_types: tuple[str, ...]


@dataclass(frozen=True)
class Ladder:
    """What was tried to make the file, in order."""

    rungs: tuple[Tried, ...]
    met: bool
    on_noise: bool
    judged: int | None
    alike: str = "classes"

    @property
    def chosen(self) -> Tried | None:
        """The rung whose file was measured."""
        return next((rung for rung in self.rungs if rung.chosen), None)


@dataclass(frozen=True)
class Versus:
    """The cell against its fp32 counterpart.

    Attributes:
        ratio: time here / time in fp32: below 1, this precision is faster. None without an interval.
        kind: how the interval was made: `turns`, `forks` or `intervals` (see `judge.compare.Comparison`).
        refusal: why there is no ratio.
        differences: largest first; empty where one of the two profiles tells no kernels.
        profiled_us: of the fp32 record's profile.
    """

    run_id: str
    case_id: str
    same_run: bool
    p50_ms: float | None
    ratio: float | None
    interval: Interval | None
    kind: str | None
    refusal: str | None
    notes: tuple[str, ...]
    differences: tuple[Difference, ...]
    profiled_us: float | None
    outside_us: float | None
    roofline_fraction: float | None
    roofline_bound: str | None

    @property
    def pays(self) -> Pays | None:
        """None where nothing can be said."""
        if self.interval is None:
            return None
        if self.interval[1] < 1:
            return "pays"
        return "costs" if self.interval[0] > 1 else "undecided"


@dataclass(frozen=True)
class Explanation:
    """All that is known of why one cell is as fast as it is.

    Attributes:
        doubts: why its number is to be doubted: the reasons of a verdict that is not `valid`.
        profiled_us: sum of the kernels of one call; None where the runtime's profile tells no kernels.
        outside_us: p50 less `profiled_us`; below 0 where the profiled calls ran longer, since profiling costs time.
        kinds: `int8`, `conversion`, `layout`, `float`, those that occur.
        leftovers: of an int8 cell what ran on floats, slowest first.
        layers: precision → number of layers, where the runtime tells those.
    """

    name: str
    run_id: str
    case_id: str
    backend: str
    precision: str
    batch: int
    scenario: str
    threads: int
    p50_ms: float | None
    p50_interval_ms: Interval | None
    verdict: str | None
    doubts: tuple[str, ...]
    runtime: str | None
    runtime_version: str | None
    ran_precision: str | None
    ran_threads: int | None
    compile_mode: str | None
    layers: Mapping[str, int]
    profiled_us: float | None
    outside_us: float | None
    kinds: tuple[Portion, ...]
    operators: tuple[Portion, ...]
    slowest: tuple[Slow, ...]
    leftovers: tuple[Leftover, ...]
    roofline_fraction: float | None
    roofline_bound: str | None
    ladder: Ladder | None
    versus: Versus | None
    accuracy: Accuracy | None
    quality: Quality | None
    generation: Generation | None

    def kind(self, name: KernelKind) -> Portion | None:
        """The kernels of one kind together."""
        return next((part for part in self.kinds if part.name == name), None)


def find_counterpart(record: Record, records: Iterable[Record]) -> Record | None:
    """The fp32 record of the same cell: of the same run if there is one, else the latest.

    Those that `compare` would refuse come last: they still tell where time goes, but no ratio.

    Args:
        records: in any order.
    """
    if record.case.precision is Precision.FP32:
        return None
    asked = record.case.model_dump(exclude={"id", "precision"})
    found = [
        other
        for other in records
        if other.case.precision is Precision.FP32
        and other.status is Status.OK
        and other.latency is not None
        and other.machine.fingerprint == record.machine.fingerprint
        and other.case.model_dump(exclude={"id", "precision"}) == asked
        and not _is_of_other_weights(record, other)
    ]
    return max(found, key=lambda other: _nearness(record, other), default=None)


def _is_of_other_weights(record: Record, other: Record) -> bool:
    """What was made of another fp32 file than `other` ran says nothing beside it; a local model may have changed.

    Some runtimes have a file of their own for fp32 too: then both were made of one.
    """
    origin = record.artifact.derived_from if record.artifact else None
    if origin is None or other.artifact is None:
        return False
    return origin not in (other.artifact.sha256, other.artifact.derived_from)


def _nearness(record: Record, other: Record) -> tuple[bool, bool, str]:
    like = incomparable(other, record, VARYING["precision"]) is None
    return like, other.run_id == record.run_id, other.recorded_at


def explain(
    record: Record,
    slots: Sequence[Slot] = (),
    counterpart: tuple[Record, Sequence[Slot]] | None = None,
) -> Explanation:
    """Explain a record that has numbers.

    Args:
        slots: of `record`; without them the ratio comes from the two medians' intervals.
        counterpart: the fp32 record (`find_counterpart`) with its slots.
    """
    case, latency, evidence, verdict = record.case, record.latency, record.evidence, record.verdict
    kernels = evidence.kernels if evidence else ()
    details = evidence.details if evidence else {}
    ladder = _ladder(record)
    total = _total(evidence)
    return Explanation(
        name=case.label,
        run_id=record.run_id,
        case_id=case.id,
        backend=case.backend,
        precision=case.precision.value,
        batch=case.batch,
        scenario=case.scenario,
        threads=case.threads,
        p50_ms=latency.p50_ms if latency else None,
        p50_interval_ms=latency.p50_interval_ms if latency else None,
        verdict=verdict.value.value if verdict else None,
        doubts=tuple(r.message for r in verdict.reasons)
        if verdict and verdict.value is not VerdictValue.VALID
        else (),
        runtime=evidence.runtime if evidence else None,
        runtime_version=evidence.version if evidence else None,
        ran_precision=evidence.precision if evidence else None,
        ran_threads=evidence.threads if evidence else None,
        compile_mode=str(details["compile_mode"]) if "compile_mode" in details else None,
        layers=_layers(details.get("layers")),
        profiled_us=total,
        outside_us=_outside_us(record),
        kinds=_by_kind(kernels, total or 0.0),
        operators=tuple(
            Portion(k.op, k.kind, k.nodes, k.us, _share(k.us, total or 0.0), k.provider)
            for k in sorted(kernels, key=lambda k: -k.us)
        ),
        slowest=tuple(_slow(node, total or 0.0) for node in (evidence.slowest if evidence else ())),
        leftovers=_leftovers(kernels, total or 0.0, ladder) if _on_bytes(kernels) else (),
        roofline_fraction=record.roofline_fraction,
        roofline_bound=record.roofline_bound,
        ladder=ladder,
        versus=_versus(record, slots, *counterpart) if counterpart else None,
        accuracy=record.accuracy,
        quality=record.quality,
        generation=record.generation,
    )


def _total(evidence: Evidence | None) -> float | None:
    return sum(k.us for k in evidence.kernels) if evidence and evidence.kernels else None


def _outside_us(record: Record) -> float | None:
    total, latency = _total(record.evidence), record.latency
    if total is None or latency is None or latency.p50_ms is None or record.case.scenario != _OWN_PACE:
        return None
    return latency.p50_ms * 1000 - total


def _share(us: float, total: float) -> float:
    return us / total if total > 0 else 0.0


def _by_kind(kernels: Sequence[KernelTime], total: float) -> tuple[Portion, ...]:
    found = []
    for kind in _KINDS:
        mine = [k for k in kernels if k.kind == kind]
        us = sum(k.us for k in mine)
        if mine:
            found.append(Portion(kind, kind, sum(k.nodes for k in mine), us, _share(us, total)))
    return tuple(found)


def _slow(node: NodeTime, total: float) -> Slow:
    return Slow(node.name, node.op, node.kind, node.us, _share(node.us, total))


def _on_bytes(kernels: Sequence[KernelTime]) -> bool:
    return any(k.kind == "int8" for k in kernels)


def _layers(told: Any) -> Mapping[str, int]:
    if not isinstance(told, Mapping):
        return {}
    return {str(name): count for name, count in told.items() if isinstance(count, int)}


def _plain_op(op: str) -> str:
    """What the operator is, whatever the runtime fused into it or ran it on: `QLinearConv` → `Conv`."""
    if op in ("QuickGelu", "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear"):
        return op
    for prefix in ("DynamicQuantize", "QLinear", "NhwcFused", "Fused"):
        op = op.removeprefix(prefix)
    if op in ("QGemm", "QAttention", "QEmbedLayerNormalization"):
        op = op[1:]
    return op.replace("Integer", "")


def _group(kernel: KernelTime) -> str:
    if kernel.kind == "conversion":
        return "conversions"
    if kernel.kind == "layout":
        return "layout"
    plain = _plain_op(kernel.op)
    return next((name for name, ops in _GROUPS.items() if plain in ops), "others")


def _leftovers(kernels: Sequence[KernelTime], total: float, ladder: Ladder | None) -> tuple[Leftover, ...]:
    chosen = ladder.chosen if ladder else None
    found = []
    for kernel in sorted((k for k in kernels if k.kind == "float"), key=lambda k: -k.us):
        plain = _plain_op(kernel.op)
        operators = _FUSED_FROM.get(plain, (plain,))
        found.append(
            Leftover(
                name=kernel.op,
                nodes=kernel.nodes,
                us=kernel.us,
                share=_share(kernel.us, total),
                operators=operators,
                named=None if chosen is None else set(operators) <= set(chosen.op_types),
                has_int8=set(operators) <= _ON_BYTES | _MOVES,
            )
        )
    return tuple(found)


def _ladder(record: Record) -> Ladder | None:
    """`artifact.ladder`, which another version may have written: what is not there is left out."""
    told = record.artifact.ladder if record.artifact else None
    rungs = told.get("rungs") if told else None
    if not told or not isinstance(rungs, list):
        return None
    tried = []
    for at, rung in enumerate(rungs):
        if not isinstance(rung, Mapping):
            continue
        recipe = rung.get("recipe") or {}
        tried.append(
            Tried(
                name=str(recipe.get("name", at + 1)),
                speed=rung.get("speed"),
                agreement=rung.get("agreement"),
                cosine=rung.get("cosine"),
                chosen=at == told.get("chosen"),
                same_as=rung.get("same_as"),
                error=rung.get("error"),
                op_types=(*recipe.get("op_types", ()), *recipe.get("extra_op_types", ())),
            )
        )
    noise = bool(record.artifact and record.artifact.calibrated_on_noise)
    return Ladder(
        tuple(tried), bool(told.get("met")), noise, told.get("judged"), told.get("alike", "classes")
    )


def _versus(record: Record, slots: Sequence[Slot], fp32: Record, fp32_slots: Sequence[Slot]) -> Versus:
    refusal: str | None = None
    ratio: float | None = None
    interval: Interval | None = None
    kind: str | None = None
    notes: tuple[str, ...] = ()
    if invalid := _invalid(fp32, record):
        refusal = invalid
    elif record.case.scenario == "server":
        refusal = "in server a query's time is the queue's as well, which no precision is to blame for"
    else:
        # No margin: whether the interval holds 1 is all that is asked.
        found = compare(
            record.case.label,
            (fp32, fp32_slots),
            (record, slots),
            delta=0.0,
            varying=VARYING["precision"],
        )
        ratio, interval, kind, notes = found.ratio, found.interval, found.kind, found.differences
        refusal = found.message if ratio is None else None
    return Versus(
        run_id=fp32.run_id,
        case_id=fp32.case.id,
        same_run=fp32.run_id == record.run_id,
        p50_ms=fp32.latency.p50_ms if fp32.latency else None,
        ratio=ratio,
        interval=interval,
        kind=kind,
        refusal=refusal,
        notes=notes,
        differences=_differences(fp32, record),
        profiled_us=_total(fp32.evidence),
        outside_us=_outside_us(fp32),
        roofline_fraction=fp32.roofline_fraction,
        roofline_bound=fp32.roofline_bound,
    )


def _invalid(fp32: Record, record: Record) -> str | None:
    told = [
        f"the {r.case.precision.value} number is invalid ({', '.join(reason.code for reason in r.verdict.reasons)})"
        for r in (fp32, record)
        if r.verdict and r.verdict.value is VerdictValue.INVALID
    ]
    return f"{' and '.join(told)}, so whether it pays is not known" if told else None


def _differences(fp32: Record, record: Record) -> tuple[Difference, ...]:
    before, after = (r.evidence.kernels if r.evidence else () for r in (fp32, record))
    if not before or not after:
        return ()
    names = dict.fromkeys(map(_group, (*before, *after)))
    found = [_difference(name, _in_group(before, name), _in_group(after, name)) for name in names]
    return tuple(sorted(found, key=lambda d: -abs(d.delta_us)))


def _in_group(kernels: Sequence[KernelTime], name: str) -> list[KernelTime]:
    return [k for k in kernels if _group(k) == name]


def _difference(name: str, before: Sequence[KernelTime], after: Sequence[KernelTime]) -> Difference:
    return Difference(
        group=name,
        fp32_us=sum(k.us for k in before),
        us=sum(k.us for k in after),
        fp32_nodes=sum(k.nodes for k in before),
        nodes=sum(k.nodes for k in after),
        fp32_ops=tuple(dict.fromkeys(k.op for k in before)),
        ops=tuple(dict.fromkeys(k.op for k in after)),
    )
