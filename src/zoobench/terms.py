"""The terms that everybody shares: enumerations, the names of tasks, scenarios and options, and what a verdict is made of.

Apart from the nouns of `spec` and `outcome`, because a command that only reads rows needs no more, and building those takes longer
than answering.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Precision(StrEnum):
    """Number format of the arithmetic. On CUDA `fp32` pins TF32 off; `tf32` is its own precision."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT8_DYNAMIC = "int8_dynamic"
    INT4 = "int4"
    SERVED = "served"
    """Whatever a server runs behind its URL, which it does not tell."""


TOLERANCE: dict[Precision, float] = {
    Precision.FP32: 1e-3,
    Precision.TF32: 2e-2,
    Precision.FP16: 2e-2,
    Precision.BF16: 2e-2,
}
"""max |difference| / max |reference| that outputs may show. The integer ones are absent: fidelity and accuracy judge them."""


class Effort(StrEnum):
    """How much evidence is bought; see `measure.effort` for the numbers."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


class WeightsPolicy(StrEnum):
    """Where weights may come from: `auto` falls back to seeded random ones when the Hub cannot be reached."""

    AUTO = "auto"
    PRETRAINED = "pretrained"
    RANDOM = "random"


class OnExisting(StrEnum):
    """What to do about cells whose result is already on disk."""

    RESUME = "resume"
    RERUN = "rerun"
    FAIL = "fail"


TASK_ALIASES = {
    "classification": "image_classification",
    "image-classification": "image_classification",
    "detection": "object_detection",
    "object-detection": "object_detection",
    "text-generation": "text_generation",
}
OptionValue = bool | int | float | str
LOADGEN_SCENARIOS = frozenset({"offline", "multi_stream", "server"})
"""Scenarios that MLPerf LoadGen drives; one of its tests is a slot."""
TEXT = "text_generation"
DETECTION = "object_detection"
TOKENS = "tokens"
"""The scenario of language models: one request after another, each token timed."""
TOKEN_OPTIONS = {"prompt_tokens": 128, "new_tokens": 64}
"""Options of a language model's case, with what they are unless said: tokens of a prompt, and made of each."""
CLIENT_OPTIONS = ("concurrency", "ttft_limit_ms", "tpot_limit_ms")
"""Options of a language model's case: clients that ask at once, and what a request must hold to count as good, ms."""
LOAD_OPTIONS = ("target_qps", "latency_limit_ms", "latency_percentile", "max_batch", "batch_timeout_ms")
"""Options of a case that say its load. Rates are queries a second, the percentile is in percent."""
ASKED_OPTIONS = frozenset({*LOAD_OPTIONS, *TOKEN_OPTIONS, *CLIENT_OPTIONS})
"""Options that say what is asked of a model, whatever runs it."""
CALL_OPTIONS = frozenset({*LOAD_OPTIONS, *CLIENT_OPTIONS, "gap_ms", "io_binding", "inputs_sha256"})
"""Options of a case that say how a model is called and not what it computes."""
SAMPLES = 1000
"""So many pictures accuracy is measured on unless said, or all where there are fewer: they tell top-1 to within 3 points."""


def asked_label(options: Mapping[str, OptionValue]) -> str:
    """What is asked of a language model, to stand after a cell's name: ` · 128 + 64 tokens · 4 clients`; else nothing."""
    if "prompt_tokens" not in options:
        return ""
    tokens = f" · {options['prompt_tokens']} + {options.get('new_tokens', '?')} tokens"
    return tokens + (f" · {n} clients" if (n := options.get("concurrency", 1)) != 1 else "")


class Status(StrEnum):
    """How a cell ended. A failure is a result too."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


class VerdictValue(StrEnum):
    """Whether the number can be believed."""

    VALID = "valid"
    UNSTABLE = "unstable"
    INVALID = "invalid"


UNSTABLE_CODES = frozenset({"no_steady_state", "drift", "too_few_samples", "interval_too_wide", "cpus_apart"})
"""Reasons that make a cell `unstable`; every other reason makes it `invalid`."""
NOISE_CODES = frozenset({"cpu_contended", "throttled"})
"""Reasons of `invalid` that lie in the machine's moment; every other one lies in what was run."""
ANSWER_CODES = frozenset({"over_latency_limit"})
"""Reasons that make a cell `invalid` and yet are the answer to what was asked: measuring again would not help."""
Interval = tuple[float, float]


# Not a model of pydantic's: every row has some, and a reader that knows dataclasses makes them in a tenth of the time.
@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is not `valid`, or a warning beside one that is: a stable code and a line with advice."""

    code: str
    message: str


class DropDecision(StrEnum):
    """Whether a candidate loses no more than the margin against its reference."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
