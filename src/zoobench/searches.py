"""The Python API of what searches: the highest rate that holds, and the runtime options that are fastest.

Apart from `api`, because a run that searches for nothing does without the statistics that they import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from zoobench import machine
from zoobench.api import Quiet, member, request
from zoobench.driver import Observer, Settings
from zoobench.errors import UsageError
from zoobench.executors import Executor, open_executor
from zoobench.plan import Request, check
from zoobench.results.record import Record
from zoobench.search.serving import MaxRate, at_rate, max_rates
from zoobench.search.tune import tune as tune_backends
from zoobench.search.tuned_file import Tuned, entries_of
from zoobench.search.tuning import Goal, Tuning
from zoobench.spec import ModelSpec
from zoobench.terms import Effort, OptionValue, Precision


def find_max_rates(
    asked: Request,
    *,
    settings: Settings | None = None,
    executor: Executor | None = None,
    observer: Observer | None = None,
) -> tuple[list[Record], list[MaxRate]]:
    """The highest rate that each cell of a `server` request without `target_qps` holds within its latency limit.

    Returns:
        Every record that the search made or found, and one answer for each model, precision and backend.

    Raises:
        UsageError: it is no such request.
    """
    if asked.scenario != "server" or "target_qps" in asked.options:
        raise UsageError("only --scenario server without --target-qps has a highest rate to search for")
    if asked.variants:
        raise UsageError(
            "a search for the highest rate takes options as name=value, not a file of tuned ones"
        )
    check(at_rate(asked, 1.0), machine.usable_cpu_count())
    records, found = [], []
    for made, answer in max_rates(
        asked, settings or Settings(), executor or open_executor("local"), observer or Quiet()
    ):
        records += made
        found.append(answer)
    return records, found


def tune(
    model: str | ModelSpec,
    *,
    backends: Sequence[str] | None = None,
    precision: str | Precision = Precision.FP32,
    batch_sizes: Sequence[int] | None = None,
    minimize: str | Goal = Goal.LATENCY,
    effort: str | Effort = Effort.QUICK,
    options: Mapping[str, OptionValue] | None = None,
    registry: Path | None = None,
    settings: Settings | None = None,
    executor: Executor | None = None,
    observer: Observer | None = None,
) -> list[Tuning]:
    """Search the runtimes' own options for a model; see `zoobench.search.tune`.

    Args:
        batch_sizes: None: batch 1; of `throughput` doubled until a larger one buys less than a tenth.
        minimize: `latency`, the time of a call, or `throughput`, that of an item.
        options: held fast in every configuration.

    Returns:
        What was found, by backend. `tuned_entries` makes of it what `run` takes as `tuned`.

    Raises:
        UsageError: it cannot be meant, or is a language model.
        BusyError: another measurement holds this machine.
    """
    asked = request(
        [model],
        backends=backends,
        precisions=[precision],
        batch_sizes=(1,) if batch_sizes is None else batch_sizes,
        effort=effort,
        options=options,
        registry=registry,
    )
    return list(
        tune_backends(
            asked,
            settings or Settings(),
            executor or open_executor("local"),
            observer or Quiet(),
            goal=member(Goal, "--minimize", minimize),
            batches_given=batch_sizes is not None,
        )
    )


def tuned_entries(found: Sequence[Tuning]) -> list[Tuned]:
    """What was found, as entries of a file of tuned options, of this machine; what could not be decided is none."""
    return entries_of(found, machine.describe().fingerprint)
