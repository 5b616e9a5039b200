"""What a run would do and cost, without doing it: `zoobench run --dry-run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from zoobench import plan
from zoobench.backends import BACKENDS, artifact_key
from zoobench.measure.effort import EffortPlan, for_load_tests, for_tokens
from zoobench.plan import Inventory, Plan, Request
from zoobench.spec import Case, ModelSpec
from zoobench.terms import LOADGEN_SCENARIOS, TOKENS, Precision, asked_label

START_S = {"torch": 6.0, "onnx": 1.5, "fake": 0.0}
"""Starting a worker, importing its runtime and loading a model: rough, on two cores."""
OTHER_START_S, _REQUEST_S = 3.0, 0.5
"""Of runtimes of language models, and the shortest request that anybody will wait for."""
WARM_UP_S = (1.0, 15.0)
_BYTES_PER_PARAMETER = 4


@dataclass(frozen=True)
class Download:
    """What a model's weights weigh.

    Attributes:
        bytes: None when neither the Hub nor the catalog says.
        exact: the Hub said so; else it is 4 bytes a parameter.
    """

    model: str
    hf_id: str
    bytes: int | None
    exact: bool


@dataclass(frozen=True)
class Estimate:
    """A run that was not made.

    Attributes:
        cells: (model, backend, precision, batch, device, threads, asked) of each cell that would be measured.
        skips: (label, reason) of each that would not.
        downloads: of the models that come from the Hub; those that lie in its cache are not fetched again.
        seconds: shortest and longest time for measuring, without downloads and exports.
        besides: what comes on top and nobody can foresee, in words.
    """

    cells: tuple[dict[str, Any], ...]
    skips: tuple[tuple[str, str], ...]
    downloads: tuple[Download, ...]
    seconds: tuple[float, float]
    besides: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def estimate(
    request: Request,
    inventory: Inventory,
    effort: EffortPlan,
    weigh: Callable[[ModelSpec], int | None],
) -> Estimate:
    """Plan `request` and add up what it would take.

    Args:
        inventory: what this machine can do.
        effort: the numbers of the request's effort.
        weigh: asks the Hub how many bytes a model's download is; None when it does not say.
    """
    planned = plan.plan(request, inventory)
    low = high = 0.0
    for case in planned.cases:
        if BACKENDS[case.backend].inline:
            continue
        start = START_S.get(BACKENDS[case.backend].format, OTHER_START_S)
        least, most = _timed_s(case, effort)
        low += effort.forks * (start + WARM_UP_S[0]) + least
        high += effort.forks * (start + WARM_UP_S[1]) + most
    used = {case.model for case in planned.cases if not BACKENDS[case.backend].inline}
    return Estimate(
        cells=tuple(
            {
                **case.model_dump(
                    mode="json", include={"model", "backend", "precision", "batch", "device", "threads"}
                ),
                "asked": asked_label(case.options).removeprefix(" · "),
            }
            for case in planned.cases
        ),
        skips=tuple((skip.case.label, skip.reason) for skip in planned.skips),
        downloads=tuple(
            _download(model, model.hf_id, weigh)
            for model in request.models
            if model.name in used and model.hf_id and model.path is None
        ),
        seconds=(low, high),
        besides=tuple(_besides(request, planned)),
    )


def _besides(request: Request, planned: Plan) -> Iterator[str]:
    """Accuracy and int8's recipes go at the model's own speed, which is what is to be found out."""
    pictures = request.data.evaluation
    if pictures and planned.cases:
        many = f"{pictures.samples:,}" if pictures.samples else "all"
        passes = len(
            {(c.model, artifact_key(c.backend, c.precision), c.backend, c.precision) for c in planned.cases}
        )
        most = "up to " if pictures.at_most else ""
        yield f"accuracy on {most}{many} pictures of {pictures.said}: {passes} {'pass' if passes == 1 else 'passes'}, a picture's latency each"
    ladders = {
        (c.model, artifact_key(c.backend, c.precision))
        for c in planned.cases
        if c.precision is Precision.INT8 and c.scenario != TOKENS
    }
    if ladders:
        files = f"{len(ladders)} int8 file{'s' * (len(ladders) != 1)}"
        yield f"the search for a recipe of {files}, up to 4 min each where it was not made before"


def _timed_s(case: Case, effort: EffortPlan) -> tuple[float, float]:
    """The timed time that is bought, at least and at most: slots of calls, or whole LoadGen tests."""
    if case.scenario == TOKENS:
        effort = for_tokens(effort)
        return min(effort.requests * _REQUEST_S, effort.max_case_time_s), effort.max_case_time_s
    if case.scenario not in LOADGEN_SCENARIOS:
        return effort.min_time_s, effort.max_case_time_s
    most = for_load_tests(effort).max_case_time_s
    return min(effort.tests * effort.test_s, most), most


def _download(model: ModelSpec, hf_id: str, weigh: Callable[[ModelSpec], int | None]) -> Download:
    exact = weigh(model)
    if exact is not None:
        return Download(model.name, hf_id, exact, exact=True)
    guess = model.parameters * _BYTES_PER_PARAMETER if model.parameters else None
    return Download(model.name, hf_id, guess, exact=False)
