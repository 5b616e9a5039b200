"""The plan: what was asked for, against what there is, becomes groups of cases and skips with a reason. Pure."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zoobench.backends import BACKENDS, COMMON_OPTIONS
from zoobench.data import DataRequest
from zoobench.errors import UsageError, install_extra
from zoobench.scenarios.load import MAX_LIMIT_MS, MISSING
from zoobench.scenarios.load import check as check_load
from zoobench.spec import Case, Group, ModelSpec, TextTask, concurrency_of
from zoobench.terms import (
    CLIENT_OPTIONS,
    LOADGEN_SCENARIOS,
    TEXT,
    TOKEN_OPTIONS,
    TOKENS,
    Effort,
    OptionValue,
    Precision,
)

MAX_BATCH = 65_536
MAX_GAP_MS = 60_000
MAX_TOKENS = 1_000_000
MAX_CLIENTS = 4096

_CLIENT_FLAGS = {"concurrency": "--concurrency", "ttft_limit_ms": "--max-ttft", "tpot_limit_ms": "--max-tpot"}
assert set(_CLIENT_FLAGS) == set(CLIENT_OPTIONS)


@dataclass(frozen=True)
class Data:
    """Labelled pictures.

    Attributes:
        evaluation: to measure accuracy with; None: accuracy is not measured.
        calibration: to find the ranges of int8 activations with; None: noise is taken, and no accuracy claimed.
        max_drop: how much of top-1 a precision may lose against fp32, a share: 0.01 is one point.
    """

    evaluation: DataRequest | None = None
    calibration: DataRequest | None = None
    max_drop: float = 0.01


@dataclass(frozen=True)
class Variant:
    """Options and threads that some cells are run with; of what says which cells those are, None fits all.

    What the request says itself goes before it.
    """

    options: Mapping[str, OptionValue] = field(default_factory=dict)
    threads: int | None = None
    model: str | None = None
    backend: str | None = None
    precision: Precision | None = None
    batch: int | None = None

    def fits(self, case: Case) -> bool:
        """Whether the case is to be run with it."""
        asked = (self.model, self.backend, self.precision, self.batch)
        its = (case.model, case.backend, case.precision, case.batch)
        return all(mine is None or mine == one for mine, one in zip(asked, its, strict=True))


@dataclass(frozen=True)
class Request:
    """What a person asked for, parsed and typed.

    Attributes:
        batch_sizes: items per call.
        concurrency: numbers of clients that ask a language model at once.
        threads: intra-op threads; None means all the CPUs that this process may use.
        options: for every backend that understands the name.
        data: the pictures to measure accuracy with and to calibrate on.
        tasks: of lm-evaluation-harness, for language models.
        variants: each cell is run with every one that fits it, in turns; one that none fits is run as it is.
    """

    models: Sequence[ModelSpec]
    backends: Sequence[str]
    batch_sizes: Sequence[int] = (1,)
    concurrency: Sequence[int] = (1,)
    precisions: Sequence[Precision] = (Precision.FP32,)
    effort: Effort = Effort.QUICK
    scenario: str = "single_stream"
    threads: int | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    arm: str = "base"
    data: Data = Data()
    tasks: Sequence[TextTask] = ()
    variants: Sequence[Variant] = ()


@dataclass(frozen=True)
class Inventory:
    """What this machine can do.

    Attributes:
        cpus: how many CPUs this process may use.
        unavailable: for every backend that was asked about, why it cannot run here; None when it can.
    """

    cpus: int
    unavailable: Mapping[str, str | None]


@dataclass(frozen=True)
class Skip:
    """A cell that was asked for and cannot be run, with the reason."""

    case: Case
    reason: str


@dataclass(frozen=True)
class Plan:
    """What will be measured, in order, and what will not."""

    groups: tuple[Group, ...]
    skips: tuple[Skip, ...]

    @property
    def cases(self) -> list[Case]:
        """All cases that will be measured, in order."""
        return [case for group in self.groups for case in group.cases]


def plan(request: Request, inventory: Inventory) -> Plan:
    """Cross models, batches, precisions and backends; cases of one model and batch form a group.

    Raises:
        UsageError: numbers or names that cannot be meant.
    """
    check(request, inventory.cpus)
    threads = request.threads or inventory.cpus
    groups: list[Group] = []
    skips: list[Skip] = []
    for model in request.models:
        for batch, clients in itertools.product(request.batch_sizes, request.concurrency):
            cases: list[Case] = []
            for precision, name in _pairs(request):
                plain = _case(request, model, name, precision, batch, clients, threads)
                reason = _refusal(request, model, plain, inventory)
                if reason:
                    skips.append(Skip(plain, reason))
                else:
                    cases += _varied(plain, request)
            if cases:
                groups.append(Group(cases=tuple(cases)))
    return Plan(tuple(groups), tuple(skips))


def _pairs(request: Request) -> list[tuple[Precision, str]]:
    """A server runs what it runs, whatever precisions are asked for."""
    served = [name for name in request.backends if BACKENDS[name].precisions == (Precision.SERVED.value,)]
    own = [(p, name) for p in request.precisions for name in request.backends if name not in served]
    return own + [(Precision.SERVED, name) for name in served]


def check(request: Request, cpus: int) -> None:
    """Refuse what cannot be meant; needs no inventory, so it can come before anything is started.

    Args:
        cpus: how many this process may use, for the message.

    Raises:
        UsageError: one line naming the flag, the value and what would do.
    """
    for flag, values in (
        ("--models", request.models),
        ("--backends", request.backends),
        ("--batch-sizes", request.batch_sizes),
        ("--concurrency", request.concurrency),
        ("--precisions", request.precisions),
    ):
        if not values:
            raise UsageError(f"{flag} is empty; name at least one")
    for name in request.backends:
        if name not in BACKENDS:
            raise UsageError(
                f"unknown backend {name!r}; {_nearest(name)}there are {', '.join(n for n, row in BACKENDS.items() if row.ranked)}"
            )
    for batch in request.batch_sizes:
        if not 1 <= batch <= MAX_BATCH:
            raise UsageError(f"--batch-sizes {batch} is out of range; 1 to {MAX_BATCH} can be measured")
    if request.threads is not None and not 1 <= request.threads <= cpus:
        # More threads than CPUs wait for each other at every layer: that would measure the scheduler.
        raise UsageError(f"--threads {request.threads} is out of range; this process may use {cpus} CPUs")
    for variant in request.variants:
        if request.threads is None and variant.threads is not None and not 1 <= variant.threads <= cpus:
            raise UsageError(
                f"tuned options of {variant.backend} say {variant.threads} threads, and this process may use {cpus} CPUs; "
                "give --threads, or `zoobench tune` here"
            )
    names = [model.name for model in request.models]
    if len(names) > len(set(names)):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two of the models are called {twice!r}; rename one or run them apart")
    _check_load(request)
    if not 0 < request.data.max_drop < 1:
        raise UsageError(f"--max-drop {request.data.max_drop:%}: more than 0% and less than 100%")
    gap = request.options.get("gap_ms", 0)
    if isinstance(gap, bool | str) or not 0 <= gap <= MAX_GAP_MS:
        raise UsageError(f"--gap {gap}: 0 to {MAX_GAP_MS} milliseconds")
    for clients in request.concurrency:
        if not 1 <= clients <= MAX_CLIENTS:
            raise UsageError(
                f"--concurrency {clients} is out of range; 1 to {MAX_CLIENTS} clients can ask at once"
            )
    text = any(model.task == TEXT for model in request.models)
    if "endpoint" in request.backends and not request.options.get("endpoint"):
        raise UsageError("--backends endpoint needs the server's address: --endpoint http://127.0.0.1:8000")
    for name in ("ttft_limit_ms", "tpot_limit_ms"):
        limit = request.options.get(name, 1.0)
        if isinstance(limit, bool | str) or not 0 < limit <= MAX_LIMIT_MS:
            raise UsageError(f"{_CLIENT_FLAGS[name]} {limit}: a time above 0, such as 500ms")
    for name, flag in _CLIENT_FLAGS.items():
        if not text and (
            name in request.options or (name == "concurrency" and tuple(request.concurrency) != (1,))
        ):
            raise UsageError(f"{flag} is for language models; none of --models is one")
    for name in TOKEN_OPTIONS:
        count = request.options.get(name, 1)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_TOKENS:
            raise UsageError(f"--{name.replace('_', '-')} {count}: a whole number from 1 to {MAX_TOKENS}")
        if name in request.options and not text:
            raise UsageError(f"--{name.replace('_', '-')} is for language models; none of --models is one")
    if request.tasks:
        _check_tasks(request, text=text)
    understood = {*COMMON_OPTIONS, *(o for name in request.backends for o in BACKENDS[name].options)}
    for option in request.options:
        if option not in understood:
            raise UsageError(
                f"--options {option}: none of {', '.join(request.backends)} understands it; "
                f"they know {', '.join(sorted(understood - {'inputs_sha256', *TOKEN_OPTIONS, *CLIENT_OPTIONS}))}"
            )


def _check_tasks(request: Request, *, text: bool) -> None:
    if not text:
        raise UsageError("--lm-eval is for language models; none of --models is one")
    for name in request.backends:
        if BACKENDS[name].device == "remote":
            raise UsageError(f"--lm-eval goes by logits, which {name} does not tell; leave one of them out")
    if importlib.util.find_spec("lm_eval") is None:
        raise UsageError(f"--lm-eval: lm-eval is not installed; {install_extra('lm_eval')}")


def _check_load(request: Request) -> None:
    spoken = [model.task == TEXT for model in request.models]
    if request.scenario in LOADGEN_SCENARIOS and any(spoken) and not all(spoken):
        raise UsageError(
            f"--scenario {request.scenario}: language models and others have other limits; run them apart"
        )
    check_load(request.scenario, request.options, request.batch_sizes, text=any(spoken))
    if request.scenario not in LOADGEN_SCENARIOS:
        return
    if importlib.util.find_spec("mlperf_loadgen") is None:
        raise UsageError(f"--scenario {request.scenario}: {MISSING}{install_extra('loadgen')}")
    for name in request.backends:
        if BACKENDS[name].inline and request.options.get("fake_clock") != "wall":
            raise UsageError(
                f"--scenario {request.scenario} goes by the real clock; give {name} --options fake_clock=wall"
            )


def _case(
    request: Request,
    model: ModelSpec,
    backend: str,
    precision: Precision,
    batch: int,
    clients: int,
    threads: int,
) -> Case:
    row = BACKENDS[backend]
    text = model.task == TEXT
    known = {*COMMON_OPTIONS, *row.options} - (set() if text else {*TOKEN_OPTIONS, *CLIENT_OPTIONS})
    options = {
        **(TOKEN_OPTIONS if text else {}),
        **request.options,
        **({"concurrency": clients} if clients > 1 else {}),
    }
    return Case(
        model=model.name,
        backend=backend,
        device=row.device,
        precision=precision,
        batch=batch,
        shape=None if text else model.input_shape,
        threads=threads,
        # One request after another, of which every token is timed.
        scenario=TOKENS if text and request.scenario == "single_stream" else request.scenario,
        options={name: value for name, value in sorted(options.items()) if name in known},
        arm=request.arm,
    )


def _varied(plain: Case, request: Request) -> list[Case]:
    """The cell with each variant that fits it, each case once; the cell itself where none does."""
    cases = [
        plain.model_copy(
            update={
                "options": dict(sorted({**variant.options, **plain.options}.items())),
                "threads": request.threads or variant.threads or plain.threads,
            }
        )
        for variant in request.variants
        if variant.fits(plain)
    ]
    return list({case.id: case for case in cases}.values()) or [plain]


def _refusal(request: Request, model: ModelSpec, case: Case, inventory: Inventory) -> str | None:
    name, precision = case.backend, case.precision
    row = BACKENDS[name]
    reason = inventory.unavailable.get(name)
    if reason:
        return reason
    if precision.value in row.refusals:
        return row.refusals[precision.value]
    if precision.value not in row.precisions:
        return f"{name} does not run {precision.value} here; it runs {', '.join(row.precisions)}"
    if model.task not in row.tasks:
        return f"{name} does not run {model.task}"
    if model.task == TEXT and request.scenario not in ("single_stream", "tokens", "server"):
        return f"{request.scenario} is not for language models; leave --scenario out, or take server"
    if row.largest_batch is not None and case.batch > row.largest_batch:
        instead = f"ask with --concurrency {case.batch}" if row.clients else "take batch 1"
        return f"{name} takes {row.largest_batch} prompt a request; {instead}"
    if not row.clients and concurrency_of(case) > 1:
        return f"{name} answers one request at a time; leave --concurrency out, or start a server of it and give --endpoint"
    if row.format == "torch" and model.library == "onnx":
        return f"{model.name} is an .onnx file, which {name} cannot run; use onnx_cpu or openvino"
    return None


def _nearest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, BACKENDS, n=1)
    return f"did you mean {close[0]!r}? " if close else ""
