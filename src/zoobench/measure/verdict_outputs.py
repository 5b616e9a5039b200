"""Verdict rules on the artifact and its outputs: is it the model, and did it run where it was asked to?"""

from __future__ import annotations

from collections.abc import Iterator

from zoobench.outcome import Check, Evidence
from zoobench.spec import Case, Validation
from zoobench.terms import TOKENS, TOLERANCE, Precision, Reason

MIN_PROVIDER_SHARE = 0.9
FULL_PROVIDER_SHARE = 0.99
_CPU_PROVIDERS = frozenset({"cpu", "cpuexecutionprovider"})


def outputs(case: Case, check: Check | None) -> Iterator[Reason]:
    """The outputs are not what they must be."""
    if check is None:
        return
    if not check.finite:
        yield Reason(
            code="outputs_not_finite",
            message="the outputs hold NaN or infinity; try fp32, or export the model again",
        )
    if check.finds_nothing:
        # Scores that are all zero are constant and denormal too, and weights are not what is wrong with them.
        yield finds_nothing(check.surest or 0.0, check.reference_surest or 0.0, case.precision)
        return
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
    elif case.scenario == TOKENS and case.precision is not Precision.FP32:
        # What fewer bits cost a language model is told by its quality pass, in nats, and not by its largest logit.
        return
    elif case.precision in TOLERANCE and tolerance is not None and not check.max_rel <= tolerance:
        yield Reason(
            code="differs_from_reference",
            message=f"the outputs differ from the reference by {check.max_rel:.2g} of its largest value, "
            f"{tolerance:.2g} is allowed at {case.precision.value}; {_remedy(case.precision)}",
        )


def finds_nothing(surest: float, reference_surest: float, precision: Precision) -> Reason:
    """A detector that sees nothing any more.

    Args:
        surest: how sure it is of its surest find, from 0 to 1; `reference_surest`: the same of fp32.
    """
    remedy = (
        "quantize again with --calibration (pictures with things to find) or with detection_head left out, or use fp32"
        if precision in (Precision.INT8, Precision.INT8_DYNAMIC)
        else "use fp32, or export the model again"
    )
    return Reason(
        code="finds_nothing",
        message=f"it finds nothing: its surest box has a score of {surest:.2g}, the reference's has {reference_surest:.2g}; {remedy}",
    )


def _remedy(precision: Precision) -> str:
    if precision is Precision.FP32:
        return "export the model again, or set `tolerance` in its registry entry if that is its nature"
    return "use a wider precision; random weights lose more than trained ones do"


def artifact(validation: Validation | None) -> Iterator[Reason]:
    """The artifact failed when it was made."""
    if validation is None or validation.passed:
        return
    if validation.tolerance is None:
        message = (
            f"the artifact's outputs on {validation.runtime} are not finite; quantize it with other data"
        )
    else:
        message = (
            f"the artifact differed from {validation.reference} by {validation.max_rel:.2g} of its largest "
            f"value on {validation.runtime} ({validation.tolerance:.2g} is allowed); export it again with another "
            "opset"
        )
    yield Reason(code="artifact_failed_validation", message=message)


def what_ran(case: Case, evidence: Evidence | None, provider: str | None) -> Iterator[Reason]:
    """Something else ran than was asked for."""
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


def unproved_warnings(
    case: Case, check: Check | None, evidence: Evidence | None, provider: str | None, why: str | None
) -> Iterator[Reason]:
    """What nothing proves or refutes; of a server nothing can be known."""
    if case.device == "remote":
        return
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
