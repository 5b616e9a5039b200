"""The commands. Each is one short function that calls the steps of the pipeline in order; data goes one way."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from cyclopts import App, Parameter

from zoobench import api
from zoobench.backends import BACKENDS, CUDA_BACKENDS, DEFAULT_BACKENDS
from zoobench.cli import COMMANDS, CONFIG_FILE, build_app
from zoobench.errors import INTERRUPTED_EXIT, USAGE_EXIT, UsageError
from zoobench.executors import open_executor
from zoobench.machine import cache_folder, usable_cpu_count
from zoobench.outcome import Status
from zoobench.spec import Effort, OnExisting, OptionValue, Precision, WeightsPolicy

if TYPE_CHECKING:
    from zoobench.doctor.software import Probe
    from zoobench.driver import Settings
    from zoobench.plan import Request
    from zoobench.results.record import Record

Names = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
Numbers = Annotated[list[int] | None, Parameter(consume_multiple=True, negative=())]
_FORMATS: dict[str, Literal["md", "html", "json"]] = {
    "md": "md",
    "markdown": "md",
    "html": "html",
    "json": "json",
}

_INF = float("inf")

_SHOWN_CELLS = 100
"""More than a person reads on a terminal; drawing thousands of rows takes seconds."""

Flag = Annotated[bool, Parameter(negative=())]


def run(
    *,
    models: Names = None,
    batch_sizes: Numbers = None,
    backends: Names = None,
    gpu: Flag = False,
    precisions: Names = None,
    effort: Effort = Effort.QUICK,
    scenario: str = "single_stream",
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
    wait: Flag = False,
    dry_run: Flag = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Measure models on runtimes; results go to --results-dir, the table to stdout.

    Parameters
    ----------
    models
        Names, globs ('resnet*'), Hub ids (timm/resnet18.a1_in1k), local folders or .onnx files.
    batch_sizes
        Items per call.
    backends
        Runtimes to compare; `zoobench doctor` says which can run here.
    gpu
        Add the CUDA backends.
    precisions
        fp32, tf32, fp16, bf16, int8, int4.
    effort
        How much evidence is bought.
    scenario
        How load is applied.
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
        Runtime options, name=value: graph_optimization=all|extended|basic|none, compile_mode=..., channels_last=true.
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
    wait
        Wait for another measurement on this machine to end.
    dry_run
        Print the cells, the downloads and a time estimate; measure nothing.
    as_json
        Print the records as JSON.
    """
    from zoobench.driver import Settings
    from zoobench.show.progress import watch

    chosen = list(DEFAULT_BACKENDS if backends is None else backends) + (list(CUDA_BACKENDS) if gpu else [])
    request = api.request(
        api.DEFAULT_MODELS if models is None else models,
        batch_sizes=(1,) if batch_sizes is None else batch_sizes,
        backends=chosen,
        precisions=(Precision.FP32,) if precisions is None else precisions,
        effort=effort,
        scenario=scenario,
        threads=threads,
        options=_options(options or (), gap_ms=gap, io_binding=io_binding),
        registry=registry,
    )
    if gpu:
        _insist_on_gpu(request)
    settings = Settings(
        results_dir=results_dir,
        on_existing=on_existing,
        weights=weights,
        allow_pickle=allow_pickle,
        max_case_time_s=max_case_time,
        inputs=inputs,
        seed=seed,
        wait=wait,
        argv=sys.argv,
    )
    if dry_run:
        return _dry_run(request, settings, as_json=as_json)
    with watch() as observer:
        records = api.run_request(request, settings=settings, observer=observer)
    _print_records(records, as_json=as_json)
    code = _exit_code(records)
    if code == USAGE_EXIT:
        print("zoobench: nothing could be measured; the reasons stand above", file=sys.stderr)
    return code


def models(
    *, registry: Path | None = None, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False
) -> int:
    """List the models that are known by name.

    Parameters
    ----------
    registry
        A TOML or Python file with models of your own, listed too.
    as_json
        Print JSON.
    """
    from zoobench.catalog import MODEL_REGISTRY, known_models, load_registry

    entries = MODEL_REGISTRY if registry is None else {**MODEL_REGISTRY, **load_registry(registry)}
    known = known_models(entries)
    if as_json:
        _print_json([model.model_dump(mode="json") for model in known])
    else:
        from zoobench.show.listings import models_table

        _print_rich(models_table(known))
    return 0


def export(
    model: str,
    *,
    output: Path | None = None,
    opset: int | None = None,
    weights: WeightsPolicy = WeightsPolicy.AUTO,
    registry: Path | None = None,
    allow_pickle: Flag = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Export one model to ONNX and compare it with its reference.

    Parameters
    ----------
    model
        A name, Hub id or local folder.
    output
        Where to copy the .onnx file; default: MODEL.onnx here.
    opset
        ONNX opset; default: the catalog's.
    weights
        auto, pretrained or random.
    registry
        A TOML or Python file with models of your own.
    allow_pickle
        Accept a model that has only a pickle.
    as_json
        Print the manifest as JSON.
    """
    from zoobench.show.progress import watch

    with watch() as observer:
        artifact, file = api.export(
            model,
            output,
            opset=opset,
            weights=weights,
            registry=registry,
            allow_pickle=allow_pickle,
            observer=observer,
        )
    check = artifact.validation
    if as_json:
        _print_json({"file": str(file), **artifact.model_dump(mode="json")})
    else:
        how = f"opset {artifact.opset} (asked {artifact.opset_asked}), {artifact.export_rung}, {artifact.weights} weights"
        print(f"{file}: {artifact.size_bytes / 1e6:.1f} MB, {how}")
        if check:
            print(
                f"against {check.reference}: max |Δ| / max |reference| = {check.max_rel:.2e} "
                f"(tolerance {check.tolerance:g}), {'passed' if check.passed else 'FAILED'}"
            )
    return 0 if check is None or check.passed else 1


def report(
    *,
    results_dir: Path = Path("results"),
    output: Path = Path("RESULTS.md"),
    format: Literal["md", "html", "json"] | None = None,  # noqa: A002 - the flag's documented name
) -> int:
    """Write a report (Markdown, HTML or JSON) from stored results.

    Parameters
    ----------
    results_dir
        Where the results are.
    output
        The file to write; results.csv and the charts go beside it.
    format
        Default: told from the ending of --output.
    """
    from zoobench.show.report import write_report

    ending = output.suffix.lstrip(".").lower()
    chosen = format or _FORMATS.get(ending)
    if chosen is None:
        raise UsageError(
            f"--output {output}: the ending names no format; use .md, .html or .json, or give --format"
        )
    files = write_report(results_dir, output, chosen)
    print(f"wrote {files.report}" + "".join(f", {extra}" for extra in files.beside), file=sys.stderr)
    return 0


def doctor(
    *,
    results_dir: Path = Path("results"),
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Say what is wrong with this machine for measuring, and what to do.

    Parameters
    ----------
    results_dir
        The folder whose disk is looked at.
    as_json
        Print JSON.
    """
    from zoobench.doctor import examine, findings_table
    from zoobench.executors.local import LocalExecutor

    executor = LocalExecutor()
    findings = examine(cast("Probe", executor.probe_details), hub=executor.reach, results_dir=results_dir)
    if as_json:
        _print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        _print_rich(findings_table(findings))
    return 1 if any(finding.level == "problem" for finding in findings) else 0


def schema() -> int:
    """Print the JSON Schema of a record."""
    from zoobench.results.record import Record

    _print_json(Record.model_json_schema(mode="serialization"))
    return 0


def init(path: Path = Path(CONFIG_FILE), *, force: Flag = False) -> int:
    """Write a commented zoobench.toml.

    Parameters
    ----------
    path
        The file to write.
    force
        Overwrite one that is there.
    """
    if path.exists() and not force:
        raise UsageError(f"{path} exists; --force overwrites it")
    try:
        path.write_text(_CONFIG)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    print(f"wrote {path}; flags on the command line win over it", file=sys.stderr)
    return 0


cache = App(name="cache", help=COMMANDS["cache"])


@cache.command
def ls(*, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False) -> int:
    """List the artifacts.

    Parameters
    ----------
    as_json
        Print JSON.
    """
    from zoobench.prepare.cache import ArtifactCache
    from zoobench.show.listings import cache_table

    entries = ArtifactCache(cache_folder()).entries()
    if as_json:
        _print_json(
            [
                {**asdict(e), "made_at": e.made_at.isoformat(), "last_used": e.last_used.isoformat()}
                for e in entries
            ]
        )
    else:
        _print_rich(cache_table(entries))
    return 0


@cache.command
def prune(*, older_than_days: float | None = None, everything: Flag = False) -> int:
    """Delete artifacts; they are made again when they are needed.

    Parameters
    ----------
    older_than_days
        Those that were not used for so long.
    everything
        All of them.
    """
    from zoobench.prepare.cache import ArtifactCache
    from zoobench.show.numbers import format_bytes

    if older_than_days is None and not everything:
        raise UsageError("say what to delete: --older-than-days N or --everything")
    freed = ArtifactCache(cache_folder()).prune(older_than_days=older_than_days, everything=everything)
    print(f"freed {format_bytes(freed)}", file=sys.stderr)
    return 0


def completion(shell: Literal["bash", "zsh", "fish"] | None = None, *, install: Flag = False) -> int:
    """Print or install the shell's completion.

    Parameters
    ----------
    shell
        Default: the shell of this session.
    install
        Put it where the shell looks for it, instead of printing it.
    """
    app = build_app()
    if install:
        print(f"wrote {app.install_completion(shell=shell)}", file=sys.stderr)
    else:
        print(app.generate_completion(shell=shell))
    return 0


def _options(pairs: Sequence[str], *, gap_ms: float, io_binding: bool) -> dict[str, OptionValue]:
    """`name=value` pairs, typed as TOML would type them."""
    found: dict[str, OptionValue] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name or not text:
            raise UsageError(f"--options {pair!r}: write name=value")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        if not isinstance(value, bool | int | float | str) or value != value or value in (_INF, -_INF):
            raise UsageError(f"--options {pair!r}: a number, true, false or a word is needed")
        found[name] = value
    if not 0 <= gap_ms <= 60_000:
        raise UsageError(f"--gap {gap_ms:g}: 0 to 60000 milliseconds")
    if gap_ms:
        found["gap_ms"] = gap_ms
    if io_binding:
        found["io_binding"] = True
    return found


def _insist_on_gpu(request: Request) -> None:
    """`--gpu` without a usable GPU is refused before anything is measured."""
    reasons = open_executor("local").probe(CUDA_BACKENDS)
    if any(reason is None for reason in reasons.values()):
        return
    cells = [
        f"  {model.name} · {backend} · batch {batch}"
        for model in request.models
        for batch in request.batch_sizes
        for backend in CUDA_BACKENDS
    ]
    print("--gpu would have run:", *cells, sep="\n", file=sys.stderr)
    print("but:", *(f"  {name}: {reason}" for name, reason in reasons.items()), sep="\n", file=sys.stderr)
    raise UsageError(
        "no usable GPU for --gpu; `python diagnos/check_gpu.py` or `zoobench doctor` says what to do, "
        "or leave --gpu out to measure on the CPU"
    )


def _dry_run(request: Request, settings: Settings, *, as_json: bool) -> int:
    from zoobench.driver import effort_plan
    from zoobench.estimate import estimate
    from zoobench.plan import Inventory, check
    from zoobench.show.listings import estimate_tables

    executor = open_executor("local")
    check(request, cpus := usable_cpu_count())
    inventory = Inventory(cpus, executor.probe(request.backends))
    random = settings.weights is WeightsPolicy.RANDOM
    weigh = (lambda _: None) if random else executor.weigh
    found = estimate(request, inventory, effort_plan(request.effort, settings), weigh)
    if as_json:
        _print_json(found.as_dict())
    else:
        _print_rich(*estimate_tables(found))
    return 0


def _exit_code(records: Sequence[Record]) -> int:
    """0 when every cell was measured, 1 when one failed, 2 when nothing could be, 130 when interrupted."""
    statuses = {record.status for record in records}
    if Status.INTERRUPTED in statuses:
        return INTERRUPTED_EXIT
    if Status.OK not in statuses:
        measured = any(record.latency for record in records)
        return 1 if measured or not _all_refused(records) else USAGE_EXIT
    return 0 if statuses <= {Status.OK, Status.SKIPPED} else 1


def _all_refused(records: Sequence[Record]) -> bool:
    return all(
        record.error is not None
        and (record.error.stage in ("plan", "prepare") or record.error.type == UsageError.__name__)
        for record in records
    )


def _print_records(records: Sequence[Record], *, as_json: bool) -> None:
    if as_json:
        _print_json([record.model_dump(mode="json") for record in records])
        return
    from zoobench.show.tables import console_table

    _print_rich(*console_table(records[:_SHOWN_CELLS]))
    if len(records) > _SHOWN_CELLS:
        print(
            f"the first {_SHOWN_CELLS} of {len(records)} cells; `zoobench report` shows all", file=sys.stderr
        )


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def _print_rich(*renderables: Any) -> None:
    from rich.console import Console

    console = Console()
    # A file or a pipe has no width of its own; 80 would cut the table.
    if not console.is_terminal:
        console = Console(width=140)
    console.print(*renderables)


_CONFIG = f"""\
# zoobench.toml: what the flags say, kept in a file. Flags on the command line win.

[run]
# Names, globs, Hub ids, local folders or .onnx files.
models = {json.dumps(list(api.DEFAULT_MODELS))}
# One of: {", ".join(name for name, row in BACKENDS.items() if row.ranked)}
backends = {json.dumps(list(DEFAULT_BACKENDS))}
batch_sizes = [1]
precisions = ["fp32"]
# quick, standard or thorough: how much evidence is bought.
effort = "quick"
# auto falls back to seeded random weights when the Hub cannot be reached; pretrained makes that an error.
weights = "auto"
results_dir = "results"
# threads = 2
# max_case_time = 20.0
# options = ["graph_optimization=all"]

[report]
results_dir = "results"
output = "RESULTS.md"
"""
