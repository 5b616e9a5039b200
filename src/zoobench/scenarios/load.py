"""What a LoadGen scenario is asked for: its flags, as options of the case, and which goes with which. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zoobench.errors import UsageError
from zoobench.terms import LOAD_OPTIONS, LOADGEN_SCENARIOS, OptionValue
from zoobench.units import duration_ms, percentile_limit

DEFAULT_PERCENTILE, DEFAULT_LIMIT_MS = 99.0, 100.0
"""LoadGen's own, where a rate is asked for without a limit."""
DEFAULT_TOKEN_LIMITS_MS: dict[str, OptionValue] = {"ttft_limit_ms": 2000.0, "tpot_limit_ms": 200.0}
"""MLPerf Inference's for a chat with Llama 2 70B."""
MISSING = "the scenarios offline, multi_stream and server run on MLPerf LoadGen, which is not installed; "
"""Ends with what installs it."""
MAX_QPS = 1e6
MAX_JOINED = 1024
MAX_LIMIT_MS = 600_000.0

FLAGS = {
    "target_qps": "--target-qps",
    "latency_limit_ms": "--max-latency",
    "latency_percentile": "--max-latency",
    "max_batch": "--max-batch",
    "batch_timeout_ms": "--batch-timeout",
}
_GOES_WITH = {
    "target_qps": ("server", "offline"),
    "latency_limit_ms": ("server",),
    "latency_percentile": ("server",),
    "max_batch": ("server",),
    "batch_timeout_ms": ("server",),
}
assert set(FLAGS) == set(LOAD_OPTIONS)
_OF_QUERIES = {
    "latency_limit_ms": "limits of a language model are --max-ttft 2s and --max-tpot 200ms",
    "max_batch": "a language model works on --concurrency 4 requests at once",
    "batch_timeout_ms": "a language model works on --concurrency 4 requests at once",
}


@dataclass(frozen=True)
class Load:
    """The load of one case, as its options say it.

    Attributes:
        target_qps: queries a second (samples a second offline); None: not asked for.
        max_batch: at most so many waiting queries are joined into one call; 1 joins none.
        batch_timeout_ms: how long a query waits for others to join it.
    """

    target_qps: float | None
    latency_limit_ms: float
    latency_percentile: float
    max_batch: int
    batch_timeout_ms: float

    @classmethod
    def of(cls, options: Mapping[str, OptionValue]) -> Load:
        """From a case's options, which `check` has passed."""
        qps = options.get("target_qps")
        return cls(
            target_qps=None if qps is None else float(qps),
            latency_limit_ms=float(options.get("latency_limit_ms", DEFAULT_LIMIT_MS)),
            latency_percentile=float(options.get("latency_percentile", DEFAULT_PERCENTILE)),
            max_batch=int(options.get("max_batch", 1)),
            batch_timeout_ms=float(options.get("batch_timeout_ms", 0.0)),
        )


def parse_max_latency(text: str) -> dict[str, OptionValue]:
    """`p99:50ms` → percentile and limit.

    Raises:
        UsageError: it is not written like that; the line gives the right spelling.
    """
    if ":" not in text:
        raise UsageError(f"--max-latency {text!r}: write a percentile and a limit, such as p99:50ms")
    percentile, limit = percentile_limit(text, "--max-latency")
    assert percentile is not None
    return {"latency_percentile": percentile, "latency_limit_ms": limit}


def parse_batch_timeout(text: str) -> dict[str, OptionValue]:
    """`2ms` → how long a query waits for others. Raises UsageError."""
    return {"batch_timeout_ms": duration_ms(text, "--batch-timeout", may_be_zero=True)}


def complete(
    scenario: str, options: Mapping[str, OptionValue], *, text: bool = False
) -> dict[str, OptionValue]:
    """The options with numbers of one type, and the limits that `server` is judged by written out.

    So equal questions make equal cases, however they were asked. Of language models (`text`) the limits are of tokens, and
    where none is said MLPerf's for a chat are.
    """
    found = dict(options)
    for name in (*LOAD_OPTIONS, "ttft_limit_ms", "tpot_limit_ms"):
        value = found.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
            found[name] = int(value) if name == "max_batch" and value == int(value) else float(value)
    if scenario == "server":
        found.setdefault("latency_percentile", DEFAULT_PERCENTILE)
        limits = DEFAULT_TOKEN_LIMITS_MS if text else {"latency_limit_ms": DEFAULT_LIMIT_MS}
        if not any(name in found for name in limits):
            found |= limits
    return found


def check(
    scenario: str, options: Mapping[str, OptionValue], batch_sizes: Sequence[int], *, text: bool = False
) -> None:
    """Refuse what does not go together.

    Args:
        text: the models are language models.

    Raises:
        UsageError: one line naming the flag, the value and what would do.
    """
    for name in LOAD_OPTIONS:
        if name in options:
            _check_number(name, options[name])
            if text and name in _OF_QUERIES:
                raise UsageError(f"{FLAGS[name]} is for models that answer at once; {_OF_QUERIES[name]}")
            if text and name == "latency_percentile" and scenario != "server":
                raise UsageError(
                    "--max-ttft and --max-tpot have a percentile with --scenario server; without it each request is counted"
                )
            if scenario not in _GOES_WITH[name]:
                raise UsageError(_stray(name, scenario))
    if scenario not in LOADGEN_SCENARIOS:
        return
    if options.get("gap_ms"):
        raise UsageError(
            f"--gap does not go with --scenario {scenario}, where LoadGen says when a query comes; leave it out"
        )
    if scenario != "server":
        return
    if "target_qps" not in options and text:
        raise UsageError(
            "--scenario server of a language model needs a rate: --target-qps 0.5, requests a second"
        )
    if "target_qps" not in options:
        raise UsageError(
            "--scenario server needs a rate: --target-qps 50; `zoobench run` finds the highest one by itself when "
            "only --max-latency p99:50ms is given"
        )
    if any(batch != 1 for batch in batch_sizes) and text:
        raise UsageError(
            f"--batch-sizes {' '.join(map(str, batch_sizes))}: a query of --scenario server is one prompt; use "
            f"--concurrency {max(batch_sizes)} to work on several at once"
        )
    if any(batch != 1 for batch in batch_sizes):
        raise UsageError(
            f"--batch-sizes {' '.join(map(str, batch_sizes))}: a query of --scenario server is one item; use "
            f"--max-batch {max(batch_sizes)} to join waiting ones"
        )
    if "batch_timeout_ms" in options and options.get("max_batch", 1) == 1:
        raise UsageError("--batch-timeout has nothing to wait for; add --max-batch 8, or leave it out")


def _check_number(name: str, value: OptionValue) -> None:
    least, most = {
        "target_qps": (1e-3, MAX_QPS),
        "latency_limit_ms": (1e-3, MAX_LIMIT_MS),
        "latency_percentile": (1.0, 99.99),
        "max_batch": (1, MAX_JOINED),
        "batch_timeout_ms": (0.0, MAX_LIMIT_MS),
    }[name]
    whole = name != "max_batch" or isinstance(value, int)
    if isinstance(value, bool | str) or not whole or not least <= value <= most:
        kind = "a whole number" if name == "max_batch" else "a number"
        raise UsageError(f"{FLAGS[name]} ({name}={value}): {kind} from {least:g} to {most:g} is needed")


def _stray(name: str, scenario: str) -> str:
    """Why a flag has no meaning here, and what to do instead."""
    fits = " or ".join(f"--scenario {other}" for other in _GOES_WITH[name])
    instead = {
        (
            "target_qps",
            "multi_stream",
        ): "the next query comes when the last one is done, so there is no rate to set",
        ("max_batch", "multi_stream"): "--batch-sizes says how many samples a query has",
        ("max_batch", "offline"): "--batch-sizes says how many samples a call has",
    }.get((name, scenario), f"--scenario {scenario} does not know it")
    return f"{FLAGS[name]} goes with {fits}: {instead}; leave it out or change the scenario"
