"""`zoobench tune`: a runtime's own options for one model."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from zoobench import api, searches
from zoobench.backends import BACKENDS
from zoobench.commands.flags import AsJson, Flag, Names, Numbers
from zoobench.commands.options import runtime_options
from zoobench.commands.printing import print_blocks, print_json
from zoobench.errors import USAGE_EXIT, UsageError, printable
from zoobench.estimate import OTHER_START_S, START_S, WARM_UP_S
from zoobench.executors import open_executor
from zoobench.machine import usable_cpu_count
from zoobench.plan import Inventory, plan
from zoobench.search.curve import CURVE_S, LARGEST_BATCH
from zoobench.search.halving import course, rung_time
from zoobench.search.space import SPACE, configurations, free
from zoobench.search.tune import FRESH_FORKS, MOST_IN_TURNS, NOTHING_TO_TUNE, RUNG_S, check_tunable
from zoobench.search.tune import tune as search
from zoobench.search.tuned_file import check_writable, merged, read_tuned, write_tuned
from zoobench.search.tuning import Goal
from zoobench.shell import command_line, flag_words
from zoobench.terms import Effort, OnExisting, Precision, WeightsPolicy

if TYPE_CHECKING:
    from zoobench.plan import Request
    from zoobench.search.tuning import Tuning


def tune(
    model: str,
    *,
    backends: Names = None,
    precision: Annotated[Precision, Parameter(show_choices=False)] = Precision.FP32,
    batch_sizes: Numbers = None,
    minimize: Goal = Goal.LATENCY,
    output: Path = Path("tuned.toml"),
    effort: Effort = Effort.QUICK,
    options: Names = None,
    weights: WeightsPolicy = WeightsPolicy.AUTO,
    results_dir: Path = Path("tune-results"),
    on_existing: Annotated[OnExisting, Parameter(show_choices=False)] = OnExisting.RESUME,
    registry: Path | None = None,
    allow_pickle: Flag = False,
    seed: int | None = None,
    wait: Flag = False,
    dry_run: Flag = False,
    as_json: AsJson = False,
) -> int:
    """Search a runtime's own options for one model, and write those that are faster.

    Parameters
    ----------
    model
        A name, Hub id, local folder or .onnx file; no language model.
    backends
        Runtimes to tune. Default: pytorch and onnx_cpu.
    precision
        fp32, tf32, fp16, bf16, int8, int8_dynamic.
    batch_sizes
        Items per call, each tuned; with --minimize throughput those to choose from. Default: 1; of throughput doubled until
        a larger batch brings less than a tenth more.
    minimize
        latency: the time of a call. throughput: the time of an item, so the batch is sought too.
    output
        The file of tuned options, for `zoobench run --options`; entries about other cells stay in it.
    effort
        quick, standard or thorough: how much evidence is bought.
    options
        Runtime options that all configurations share, name=value.
    weights
        auto falls back to seeded random weights when the Hub cannot be reached; pretrained makes that an error.
    results_dir
        Where everything that is measured is kept, apart from what is reported and recommended from.
    on_existing
        resume takes what an earlier search measured; rerun measures again.
    registry
        A TOML or Python file with models of your own.
    allow_pickle
        Accept a model that has only a pickle (loaded with weights_only).
    seed
        Seed of the random order of turns.
    wait
        Wait for another measurement on this machine to end.
    dry_run
        Print what would be tried and about how long it takes; measure nothing.
    as_json
        Print what was found as JSON.
    """
    from zoobench.driver import Settings
    from zoobench.show.progress import watch

    if on_existing is OnExisting.FAIL:
        raise UsageError("--on-existing fail: a search goes on where it was; take resume or rerun")
    asked = api.request(
        [model],
        backends=backends,
        precisions=[precision],
        batch_sizes=(1,) if batch_sizes is None else batch_sizes,
        effort=effort,
        options=runtime_options(options or ()),
        registry=registry,
    )
    check_tunable(asked)
    file = check_writable(output)
    # Before anything is measured: what stands there is kept, or must not be overwritten.
    if file.exists():
        read_tuned(file, "--output")
    if dry_run:
        return _dry_run(
            asked, as_json=as_json, batch_sought=minimize is Goal.THROUGHPUT and batch_sizes is None
        )
    settings = Settings(
        results_dir=results_dir,
        on_existing=on_existing,
        weights=weights,
        allow_pickle=allow_pickle,
        seed=seed,
        wait=wait,
        argv=sys.argv,
    )
    with watch() as observer:
        executor, given = open_executor("local"), batch_sizes is not None
        found = list(search(asked, settings, executor, observer, goal=minimize, batches_given=given))
    entries = searches.tuned_entries(found)
    if entries:
        # Another search may have written there meanwhile.
        old = read_tuned(file, "--output") if file.exists() else []
        write_tuned(file, merged(old, entries))
    _print(found, as_json=as_json)
    if not entries:
        print(
            f"zoobench: nothing could be tuned, so {output} was not written; the reasons stand above",
            file=sys.stderr,
        )
        return USAGE_EXIT
    said = [
        *_said("--precisions", precision, Precision.FP32),
        *_said("--effort", effort, Effort.QUICK),
        *_said("--weights", weights, WeightsPolicy.AUTO),
        *_said("--registry", registry, None),
        *(["--allow-pickle"] if allow_pickle else []),
    ]
    if not any(entry.options for entry in entries):
        print(
            printable(f"wrote {output}, which says so: nothing is faster than the defaults"), file=sys.stderr
        )
        return 0
    use = _use(model, found, said, [str(output), *(options or ())])
    print(printable(f"wrote {output}; use it with `{use}`"), file=sys.stderr)
    return 0


def _print(found: Sequence[Tuning], *, as_json: bool) -> None:
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    from zoobench.show.tuning import tuning_blocks

    print_blocks([*tuning_blocks(found)])


def _use(model: str, found: Sequence[Tuning], said: Sequence[str], options: Sequence[str]) -> str:
    """The command that measures with what was found: the cells that were decided, and what was said beside them."""
    backends = [one.backend for one in found if any(cell.decided for cell in one.cells)]
    batches = sorted({cell.batch for one in found for cell in one.cells if cell.decided})
    sizes = ["--batch-sizes", *map(str, batches)] if batches != [1] else []
    words = ["zoobench", "run", *flag_words("--models", model), "--backends", *backends, *sizes, *said]
    return command_line([*words, *flag_words("--options", *options)])


def _said(flag: str, value: object, default: object) -> list[str]:
    """What need not be said is left out."""
    return [] if value == default else [*flag_words(flag, str(value))]


@dataclass(frozen=True)
class _Foreseen:
    """What a search on one backend would be; `seconds` for one batch size, about."""

    backend: str
    skipped: str | None
    configurations: list[str]
    rungs: list[int]
    seconds: float

    @property
    def line(self) -> str:
        """For a person."""
        if self.skipped is not None:
            return f"{self.backend}: skipped: {self.skipped}"
        counts = " → ".join(map(str, self.rungs))
        return (
            f"{self.backend}: {len(self.configurations)} configurations, the first of them the defaults; rungs of {counts} against "
            f"the defaults, about {self.seconds / 60:.0f} min a batch size, more where a call takes over 10 ms"
        )


def _dry_run(asked: Request, *, as_json: bool, batch_sought: bool) -> int:
    cpus = usable_cpu_count()
    inventory = Inventory(cpus, open_executor("local").probe(asked.backends))
    found = [_foresee(replace(asked, backends=[name]), inventory, cpus) for name in asked.backends]
    foreseen = any(each.skipped is None for each in found)
    if as_json:
        print_json([asdict(each) for each in found])
        return 0 if foreseen else USAGE_EXIT
    if batch_sought and foreseen:
        print(
            f"first the defaults at batch 1, 2, 4, … until the knee, to {LARGEST_BATCH} at most, {CURVE_S:g} s each; then at the batch that "
            "is chosen:"
        )
    for each in found:
        print(printable(each.line))
        for label in each.configurations:
            print(f"  {label}")
    return 0 if foreseen else USAGE_EXIT


def _foresee(asked: Request, inventory: Inventory, cpus: int) -> _Foreseen:
    (backend,) = asked.backends
    planned, tried = plan(asked, inventory), configurations(backend, cpus, free(SPACE, asked.options))
    if not planned.cases or len(tried) < 2:
        reason = planned.skips[0].reason if planned.skips else NOTHING_TO_TUNE
        return _Foreseen(backend, reason, [], [], 0.0)
    rungs, first_s = course(len(tried) - 1), RUNG_S[asked.effort]
    row = BACKENDS[backend]
    start_s = 0.0 if row.inline else START_S.get(row.format, OTHER_START_S) + WARM_UP_S[0]
    processes = [left + math.ceil(left / (MOST_IN_TURNS - 1)) for left in rungs]
    seconds = sum(
        count * (start_s + rung_time(rungs[0], left, first_s))
        for count, left in zip(processes, rungs, strict=True)
    )
    seconds += 2 * FRESH_FORKS * (start_s + 1.0)
    return _Foreseen(backend, None, [one.label for one in tried], rungs, 0.0 if row.inline else seconds)
