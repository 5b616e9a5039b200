"""The Python API: what `import zoobench` offers. The command line is a client of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args

from zoobench import machine
from zoobench.backends import DEFAULT_BACKENDS, DEFAULT_TEXT_BACKENDS
from zoobench.backends.openai_api import base_url, check_options, served_models
from zoobench.catalog import MODEL_REGISTRY, find, load_registry
from zoobench.data import DataRequest
from zoobench.data.harness import text_tasks as text_tasks
from zoobench.driver import Observer, Settings, execute
from zoobench.errors import UsageError
from zoobench.executors import Executor, open_executor
from zoobench.plan import Data, Request
from zoobench.results.query import load_records
from zoobench.scenarios.load import complete
from zoobench.search.tuned_file import Tuned, read_tuned, remarks, with_tuned
from zoobench.spec import Case, ModelSpec, Task, TextTask
from zoobench.terms import SAMPLES, TASK_ALIASES, TEXT, Effort, OptionValue, Precision

if TYPE_CHECKING:
    from zoobench.catalog import Entry
    from zoobench.results.record import Record

_E = TypeVar("_E", bound=StrEnum)

CALIBRATION_SAMPLES, MOST_CALIBRATION = 200, 2000
"""Pictures to calibrate on, where nobody says how many, and at most."""

DEFAULT_MODELS = ("resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0")


class Quiet:
    """An observer that says nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def planned(self, cells: int, done: int) -> None:
        """Say nothing."""

    def preparing(self, model: str, text: str) -> None:
        """Say nothing."""

    def working(self, case: Case, stage: str) -> None:
        """Say nothing."""

    def recorded(self, record: Record) -> None:
        """Say nothing."""


def request(
    models: Sequence[str | ModelSpec] | None = None,
    *,
    backends: Sequence[str] | None = None,
    batch_sizes: Sequence[int] = (1,),
    concurrency: Sequence[int] = (1,),
    precisions: Sequence[str | Precision] | None = None,
    effort: str | Effort = Effort.QUICK,
    scenario: str = "single_stream",
    threads: int | None = None,
    options: Mapping[str, OptionValue] | None = None,
    data: Data | None = None,
    tasks: Sequence[TextTask] = (),
    registry: Path | None = None,
    task: str | None = None,
    tuned: Sequence[Tuned] = (),
) -> Request:
    """What to measure, from names as a person writes them.

    Args:
        models: names, globs, Hub ids, local folders, `.onnx` files, or ready specs; None: `DEFAULT_MODELS`, or all
            that the `endpoint` in `options` serves.
        backends: rows of `zoobench.backends.BACKENDS`; None: `DEFAULT_BACKENDS`, of language models
            `DEFAULT_TEXT_BACKENDS`.
        batch_sizes: items per call.
        concurrency: numbers of clients that ask a language model at once.
        precisions: `fp32`, `tf32`, `fp16`, `bf16`, `int8`, `int8_dynamic`, `int4`; None: fp32.
        effort: `quick`, `standard` or `thorough`.
        threads: intra-op threads; None: every CPU that this process may use.
        options: runtime options, given to every backend that understands the name.
        data: pictures to measure accuracy with and to calibrate int8 on; see `pictures`.
        tasks: of lm-evaluation-harness, for language models; see `text_tasks`.
        registry: a TOML or Python file with models of one's own, beside the catalog.
        task: of the Hub ids and `.onnx` files that are in neither; None: image_classification.
        tuned: what `tune` found, see `tuned_options`: the cells that it is about run with those options and, in turns, with the
            defaults. `threads` and `options` go before it.

    Raises:
        UsageError: an unknown name or an impossible value.
    """
    if data is not None and not isinstance(data, Data):
        raise UsageError(f"data={data!r}: give zoobench.pictures({data!r})")
    entries = MODEL_REGISTRY if registry is None else {**MODEL_REGISTRY, **load_registry(registry)}
    options = dict(options or {})
    if "endpoint" in options:
        options["endpoint"] = base_url(str(options["endpoint"]))
        check_options(options)
        if models is None:
            models = served_models(str(options["endpoint"]))
    elif models is None:
        models = DEFAULT_MODELS
    named = [model for model in models if isinstance(model, str)]
    ready = [model for model in models if isinstance(model, ModelSpec)]
    if not named and not ready:
        raise UsageError("--models is empty; name at least one (`zoobench models` lists them)")
    found = (
        _served(named, entries)
        if set(backends or ()) == {"endpoint"}
        else find(named, entries)
        if named
        else []
    )
    if task is not None:
        found = [_of_task(spec, task, known=spec.name in entries) for spec in found]
    chosen = [*found, *ready]
    asked = Request(
        models=chosen,
        backends=list(dict.fromkeys(_default_backends(chosen) if backends is None else backends)),
        batch_sizes=list(dict.fromkeys(batch_sizes)),
        concurrency=list(dict.fromkeys(concurrency)),
        precisions=list(
            dict.fromkeys(member(Precision, "--precisions", name) for name in precisions or (Precision.FP32,))
        ),
        effort=member(Effort, "--effort", effort),
        scenario=_known_scenario(scenario),
        threads=threads,
        options=complete(scenario, options, text=any(model.task == TEXT for model in chosen)),
        data=data or Data(),
        tasks=list(tasks),
    )
    if not tuned:
        return asked
    return with_tuned(asked, tuned, machine.describe().fingerprint, machine.usable_cpu_count())


def tuned_remarks(asked: Request, tuned: Sequence[Tuned]) -> list[str]:
    """What to know of tuned options before `asked` is run with them: another machine's, or none for a cell."""
    here = machine.describe()
    return remarks(tuned, asked, here.fingerprint, here.short) if tuned else []


def _default_backends(models: Sequence[ModelSpec]) -> tuple[str, ...]:
    return DEFAULT_TEXT_BACKENDS if all(model.task == TEXT for model in models) else DEFAULT_BACKENDS


def _of_task(spec: ModelSpec, task: str, *, known: bool) -> ModelSpec:
    """Of a Hub id or an .onnx file the user is taken at his word; what the catalog or a model's own files say is not overruled.

    Raises:
        UsageError: there is no such task, or the model is known to have another one.
    """
    known_tasks = get_args(get_args(Task)[0])
    wanted = TASK_ALIASES.get(task, task)
    if wanted not in known_tasks:
        raise UsageError(f"--task {task!r} is unknown; one of {', '.join(known_tasks)}")
    if spec.task == wanted:
        return spec
    says_nothing = spec.path is None or (spec.path.suffix == ".onnx" and wanted != TEXT)
    if known or not says_nothing:
        raise UsageError(f"--task {task}: {spec.name} is for {spec.task}; leave --task out, or run it apart")
    return spec.model_copy(update={"task": wanted})


def _served(names: Sequence[str], entries: Mapping[str, Entry]) -> list[ModelSpec]:
    """A server's models have names of its own; of one that is in the catalog more is known."""
    return [
        find([name], entries)[0] if name in entries else ModelSpec(name=name, task=TEXT) for name in names
    ]


def pictures(
    dataset: str | None = None,
    *,
    samples: int | None = None,
    split: str | None = None,
    config: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    calibration: str | None = None,
    calibration_samples: int | None = None,
    calibration_split: str | None = None,
    max_drop: float = 0.01,
) -> Data:
    """Labelled pictures, for the `data` of `request` and `run`.

    Args:
        dataset: to measure accuracy with: a folder (`class/name.jpg`), parquet, a Hub id (`owner/name@revision`),
            `mini-imagenet`, `imagenet-1k` or `imagenette`; for detectors a folder in COCO's layout, its `.json`, or parquet
            with a column of objects; None: accuracy is not measured.
        samples: how many, always the same, class-balanced, or with boxes any; None: 1,000, or all where there are fewer.
        split: of the dataset.
        config, image_column, label_column: of a parquet dataset that has several.
        calibration: to calibrate int8 on, given alike; never the pictures that are judged. None: noise.
        calibration_samples: None: 200, or all where there are fewer.
        calibration_split: of the calibration pictures.
        max_drop: how much of top-1 a precision may lose against fp32, a share.

    Raises:
        UsageError: more calibration pictures than fit into memory.
    """
    if calibration_samples is not None and calibration_samples > MOST_CALIBRATION:
        raise UsageError(
            f"--calibration-samples {calibration_samples}: they are held in memory, and ranges do not change any more; at "
            f"most {MOST_CALIBRATION}"
        )
    return Data(
        evaluation=None
        if dataset is None
        else DataRequest(
            dataset,
            SAMPLES if samples is None else samples,
            at_most=samples is None,
            split=split,
            config=config,
            image_column=image_column,
            label_column=label_column,
        ),
        calibration=None
        if calibration is None
        else DataRequest(
            calibration,
            CALIBRATION_SAMPLES if calibration_samples is None else calibration_samples,
            at_most=calibration_samples is None,
            split=calibration_split,
            config=config,
            image_column=image_column,
            label_column=label_column,
        ),
        max_drop=max_drop,
    )


def run(
    models: Sequence[str | ModelSpec] | None = None,
    *,
    backends: Sequence[str] | None = None,
    batch_sizes: Sequence[int] = (1,),
    concurrency: Sequence[int] = (1,),
    precisions: Sequence[str | Precision] | None = None,
    effort: str | Effort = Effort.QUICK,
    scenario: str = "single_stream",
    threads: int | None = None,
    options: Mapping[str, OptionValue] | None = None,
    data: Data | None = None,
    tasks: Sequence[TextTask] = (),
    registry: Path | None = None,
    tuned: Sequence[Tuned] = (),
    settings: Settings | None = None,
    executor: Executor | None = None,
    observer: Observer | None = None,
) -> list[Record]:
    """Measure, and return one record a cell; each stands in `settings.results_dir` as soon as it is done.

    Cells that were measured before, under the same measurement key and at least the same effort, are taken from
    there. A cell that fails is a record too. See `request` for the arguments that say what to measure.

    Raises:
        UsageError: the request cannot be meant.
        BusyError: another measurement holds this machine.
    """
    asked = request(
        models,
        backends=backends,
        batch_sizes=batch_sizes,
        concurrency=concurrency,
        precisions=precisions,
        effort=effort,
        scenario=scenario,
        threads=threads,
        options=options,
        data=data,
        tasks=tasks,
        registry=registry,
        tuned=tuned,
    )
    for remark in tuned_remarks(asked, tuned):
        (observer or Quiet()).note(remark)
    return run_request(asked, settings=settings, executor=executor, observer=observer)


def run_request(
    asked: Request,
    *,
    settings: Settings | None = None,
    executor: Executor | None = None,
    observer: Observer | None = None,
) -> list[Record]:
    """`run` for a request that was made by `request`."""
    return list(
        execute(asked, settings or Settings(), executor or open_executor("local"), observer or Quiet())
    )


def tuned_options(file: Path | str) -> list[Tuned]:
    """What a file holds that `zoobench tune` wrote, for the `tuned` of `run`.

    Raises:
        UsageError: it cannot be read, or an entry is not valid.
    """
    return read_tuned(Path(file))


def load_results(results_dir: Path | str = "results") -> list[Record]:
    """Every record under `results_dir`, oldest first, lifted to today's schema.

    Raises:
        UsageError: there is no such folder.
    """
    return load_records(Path(results_dir)).records


def machine_name() -> str:
    """This machine in a few words, as the tables name it."""
    return machine.describe().short


def member(kind: type[_E], flag: str, name: str | _E) -> _E:
    """The one of an enumeration that a word names. Raises UsageError."""
    try:
        return kind(name)
    except ValueError:
        raise UsageError(f"{flag} {name!r} is unknown; one of {', '.join(kind)}") from None


def _known_scenario(name: str) -> str:
    from zoobench.scenarios import SCENARIOS

    if name not in SCENARIOS:
        raise UsageError(f"--scenario {name!r} is unknown; one of {', '.join(SCENARIOS)}")
    return name
