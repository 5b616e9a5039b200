"""`zoobench run`: measure models on runtimes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoobench import api
from zoobench.backends import BACKENDS, CUDA_BACKENDS
from zoobench.commands.flags import AsJson, Flag, Names, Numbers
from zoobench.commands.options import runtime_options, tuned_file
from zoobench.commands.pictures import DataFlags, Pictures
from zoobench.commands.printing import print_blocks, print_json
from zoobench.commands.text import Text, TextFlags
from zoobench.data import check_local
from zoobench.errors import INTERRUPTED_EXIT, USAGE_EXIT, UsageError, printable
from zoobench.executors import open_executor
from zoobench.machine import usable_cpu_count
from zoobench.terms import (
    NOISE_CODES,
    UNSTABLE_CODES,
    Effort,
    OnExisting,
    OptionValue,
    Status,
    VerdictValue,
    WeightsPolicy,
)

if TYPE_CHECKING:
    from zoobench.driver import Settings
    from zoobench.plan import Request
    from zoobench.results.record import Record
    from zoobench.search.serving import MaxRate


_SHOWN_CELLS = 100
"""More than a person reads on a terminal; drawing thousands of rows takes seconds."""


def run(
    *,
    models: Names = None,
    batch_sizes: Numbers = None,
    backends: Names = None,
    gpu: Flag = False,
    precisions: Names = None,
    effort: Effort = Effort.QUICK,
    scenario: str = "single_stream",
    target_qps: float | None = None,
    max_latency: str | None = None,
    max_batch: int | None = None,
    batch_timeout: str | None = None,
    task: str | None = None,
    text: Text = None,
    pictures: Pictures = None,
    weights: WeightsPolicy = WeightsPolicy.AUTO,
    threads: int | None = None,
    results_dir: Path = Path("results"),
    on_existing: OnExisting = OnExisting.RESUME,
    registry: Path | None = None,
    options: Names = None,
    max_case_time: float | None = None,
    inputs: Path | None = None,
    gap: float = 0.0,
    io_binding: Flag = False,
    allow_pickle: Flag = False,
    seed: int | None = None,
    sequential: Flag = False,
    wait: Flag = False,
    dry_run: Flag = False,
    as_json: AsJson = False,
) -> int:
    """Measure models on runtimes; results go to --results-dir, the table to stdout.

    Parameters
    ----------
    models
        Names, globs ('resnet*'), Hub ids (timm/resnet18.a1_in1k), local folders or .onnx files.
    batch_sizes
        Items per call.
    backends
        Runtimes to compare; `zoobench doctor` says which can run here. Default: pytorch and onnx_cpu; of language models
        pytorch and ort_genai.
    gpu
        Add the CUDA backends.
    precisions
        fp32, tf32, fp16, bf16, int8, int8_dynamic, int4.
    effort
        How much evidence is bought.
    scenario
        How load is applied: single_stream (one call after another), or by MLPerf LoadGen multi_stream (queries of a
        batch, one after another), offline (everything at once), server (queries that come by themselves).
    target_qps
        server: queries a second. offline: the rate that LoadGen sizes its test by.
    max_latency
        server: the percentile and limit that make a rate hold, p99:50ms; without --target-qps the highest rate that
        holds is searched. With a rate and no limit LoadGen's p99:100ms.
    max_batch
        server: join at most so many waiting queries into one call.
    batch_timeout
        server: how long a query waits for others to join it, 2ms.
    task
        Of Hub ids that are not in the catalog: text_generation, object_detection, image_classification; of .onnx files:
        object_detection, image_classification.
    weights
        auto falls back to seeded random weights when the Hub cannot be reached; pretrained makes that an error.
    threads
        Intra-op threads; default: every CPU that this process may use.
    results_dir
        Where results are kept.
    on_existing
        What to do about cells whose result is already there.
    registry
        A TOML or Python file with models of your own.
    options
        Runtime options, name=value: graph_optimization=all|extended|basic|none, allow_spinning=false, compile_mode=...,
        channels_last=true, performance_hint=throughput; or a file that `zoobench tune` wrote, tuned.toml: its cells run with
        those options and, in turns, with the defaults.
    max_case_time
        Seconds that one cell's calls may take at most, after loading and warm-up.
    inputs
        An .npz file with your own input tensors.
    gap
        Milliseconds between calls: clocks and caches cool down, as they do under light load.
    io_binding
        Leave the copies between host and device out of the timing.
    allow_pickle
        Accept a model that has only a pickle (loaded with weights_only).
    seed
        Of the order of turns.
    sequential
        Measure the cells of a model one after another, each alone in memory, instead of in turns; done anyway where they do
        not fit together.
    wait
        Wait for another measurement on this machine to end.
    dry_run
        Print the cells, the downloads and a time estimate; measure nothing.
    as_json
        Print the records as JSON.
    """
    from zoobench.driver import Settings

    spoken = text or TextFlags()
    pairs, file = tuned_file(options or ())
    tuned = [] if file is None else api.tuned_options(file)
    request = api.request(
        models,
        batch_sizes=(1,) if batch_sizes is None else batch_sizes,
        concurrency=(1,) if spoken.concurrency is None else spoken.concurrency,
        backends=spoken.backends(backends),
        precisions=precisions,
        effort=effort,
        scenario=scenario,
        threads=threads,
        options={
            **runtime_options(pairs, gap_ms=gap, io_binding=io_binding),
            **_load(target_qps, max_latency, max_batch, batch_timeout),
            **spoken.options(),
        },
        data=(pictures or DataFlags()).data(),
        tasks=spoken.tasks(),
        registry=registry,
        task=task,
        tuned=tuned,
    )
    for remark in api.tuned_remarks(request, tuned):
        print(printable(remark), file=sys.stderr)
    if gpu:
        request = replace(request, backends=[*request.backends, *_cuda_backends(request)])
        _insist_on_gpu(request)
    settings = Settings(
        results_dir=results_dir,
        on_existing=on_existing,
        weights=weights,
        allow_pickle=allow_pickle,
        max_case_time_s=max_case_time,
        inputs=inputs,
        seed=seed,
        sequential=sequential,
        wait=wait,
        argv=sys.argv,
    )
    if inputs is not None and not inputs.is_file():
        raise UsageError(f"--inputs {inputs}: there is no such file")
    searched = scenario == "server" and target_qps is None and max_latency is not None
    if dry_run:
        return _dry_run(request, settings, searched=searched, as_json=as_json)
    return _measure(request, settings, searched=searched, as_json=as_json)


def _load(
    target_qps: float | None, max_latency: str | None, max_batch: int | None, batch_timeout: str | None
) -> dict[str, OptionValue]:
    """The flags of the load, as options of the case."""
    from zoobench.scenarios.load import parse_batch_timeout, parse_max_latency

    return {
        **({} if target_qps is None else {"target_qps": target_qps}),
        **({} if max_latency is None else parse_max_latency(max_latency)),
        **({} if max_batch is None else {"max_batch": max_batch}),
        **({} if batch_timeout is None else parse_batch_timeout(batch_timeout)),
    }


def _cuda_backends(request: Request) -> list[str]:
    """Those that run any of the models' tasks, and are not named already."""
    tasks = {model.task for model in request.models}
    return [n for n in CUDA_BACKENDS if tasks & set(BACKENDS[n].tasks) and n not in request.backends]


def _insist_on_gpu(request: Request) -> None:
    """`--gpu` without a usable GPU is refused before anything is measured."""
    names = [name for name in request.backends if name in CUDA_BACKENDS]
    reasons = open_executor("local").probe(names)
    if any(reason is None for reason in reasons.values()):
        return
    cells = [
        f"  {model.name} · {backend} · batch {batch}"
        for model in request.models
        for batch in request.batch_sizes
        for backend in names
    ]
    print("--gpu would have run:", *cells, sep="\n", file=sys.stderr)
    print("but:", *(f"  {name}: {reason}" for name, reason in reasons.items()), sep="\n", file=sys.stderr)
    raise UsageError(
        "no usable GPU for --gpu; `python diagnos/check_gpu.py` or `zoobench doctor` says what to do, "
        "or leave --gpu out to measure on the CPU"
    )


def _measure(request: Request, settings: Settings, *, searched: bool, as_json: bool) -> int:
    """Run it, print what came of it, and say what is to be doubted."""
    from zoobench.show.progress import watch

    rates: list[MaxRate] | None = None
    with watch() as observer:
        if searched:
            from zoobench import searches

            records, rates = searches.find_max_rates(request, settings=settings, observer=observer)
        else:
            records = api.run_request(request, settings=settings, observer=observer)
    _print_records(records, rates, as_json=as_json)
    code = _exit_code(records)
    if doubt := _doubt(records):
        print(doubt, file=sys.stderr)
    if code == USAGE_EXIT:
        print("zoobench: nothing could be measured; the reasons stand above", file=sys.stderr)
    return code


def _dry_run(request: Request, settings: Settings, *, searched: bool, as_json: bool) -> int:
    """What would be measured, from where, and about how long it takes."""
    if searched:
        raise UsageError("--dry-run cannot foresee which rates a search will try; add --target-qps 50")
    from zoobench.driver import effort_plan
    from zoobench.estimate import estimate
    from zoobench.plan import Inventory, check
    from zoobench.show.listings import estimate_blocks

    executor = open_executor("local")
    check(request, cpus := usable_cpu_count())
    for asked in (request.data.evaluation, request.data.calibration):
        if asked is not None:
            check_local(asked)
    inventory = Inventory(cpus, executor.probe(request.backends))
    random = settings.weights is WeightsPolicy.RANDOM
    weigh = (lambda _: None) if random else executor.weigh
    found = estimate(request, inventory, effort_plan(request.effort, settings), weigh)
    if as_json:
        print_json(found.as_dict())
    else:
        print_blocks(estimate_blocks(found))
    return 0


def _exit_code(records: Sequence[Record]) -> int:
    """0 when every cell was measured, 1 when one failed or an accuracy was asked for in vain, 2 when nothing could be, 130
    when interrupted."""
    statuses = {record.status for record in records}
    if Status.INTERRUPTED in statuses:
        return INTERRUPTED_EXIT
    if Status.OK not in statuses:
        measured = any(record.latency for record in records)
        return 1 if measured or not _all_refused(records) else USAGE_EXIT
    without = any(
        w.code in ("no_accuracy", "no_quality") for r in records if r.verdict for w in r.verdict.warnings
    )
    return 0 if statuses <= {Status.OK, Status.SKIPPED} and not without else 1


def _doubt(records: Sequence[Record]) -> str | None:
    """How many numbers not to rely on, and what to do about it; None when all can be believed."""
    verdicts = [record.verdict for record in records if record.verdict]
    values = [verdict.value for verdict in verdicts]
    counts = [
        f"{values.count(value)} {value.value}"
        for value in (VerdictValue.INVALID, VerdictValue.UNSTABLE)
        if value in values
    ]
    if not counts:
        return None
    told = f"{' and '.join(counts)} of {len(values)} cells: the notes say why"
    # Outputs that differ from the reference differ next time too: only what lies in the moment may pass.
    if any(v.reasons and {r.code for r in v.reasons} <= UNSTABLE_CODES | NOISE_CODES for v in verdicts):
        told += ", `zoobench doctor` what disturbs now; --on-existing rerun measures again"
    return told


def _all_refused(records: Sequence[Record]) -> bool:
    return all(
        record.error is not None
        and (record.error.stage in ("plan", "prepare") or record.error.type == UsageError.__name__)
        for record in records
    )


def _print_records(records: Sequence[Record], rates: Sequence[MaxRate] | None, *, as_json: bool) -> None:
    if as_json:
        body = [record.model_dump(mode="json") for record in records]
        print_json(body if rates is None else {"records": body, "max_rates": [asdict(r) for r in rates]})
        return
    from zoobench.show.console import run_blocks

    print_blocks(run_blocks(records[:_SHOWN_CELLS]))
    if len(records) > _SHOWN_CELLS:
        print(
            f"the first {_SHOWN_CELLS} of {len(records)} cells; `zoobench report` shows all", file=sys.stderr
        )
    for rate in rates or ():
        print(rate.line)
