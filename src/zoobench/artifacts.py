"""The Python API of what makes files: an export, and another precision of it.

Apart from `api`, because nothing is measured for it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from zoobench.api import Quiet, member, request
from zoobench.backends import BACKENDS, artifact_key
from zoobench.card import append_card, card_of
from zoobench.data import DataRequest
from zoobench.driver import Observer, Settings, exclusive
from zoobench.errors import PrepareError, UsageError
from zoobench.executors import open_executor
from zoobench.spec import Artifact, ModelSpec
from zoobench.terms import TEXT, Precision, WeightsPolicy


def export(
    model: str | ModelSpec,
    output: Path | None = None,
    *,
    opset: int | None = None,
    weights: WeightsPolicy = WeightsPolicy.AUTO,
    registry: Path | None = None,
    allow_pickle: bool = False,
    wait: bool = False,
    observer: Observer | None = None,
) -> tuple[Artifact, Path]:
    """Export one model to ONNX and validate it by running it.

    Args:
        output: the file to write, with its external data beside it; None: `MODEL.onnx` in the current folder.
        opset: None: the catalog's.
        wait: for another measurement on this machine to end.

    Returns:
        The artifact (its `validation` says how it compared with PyTorch) and the file that was written.

    Raises:
        PrepareError: it could not be downloaded, loaded or exported.
        UsageError: `output` cannot be written.
        BusyError: a measurement holds this machine.
    """
    spec = request([model], registry=registry).models[0]
    if opset is not None:
        if not 7 <= opset <= 30:
            raise UsageError(f"--opset {opset} is out of range; 7 to 30 exist")
        spec = spec.model_copy(update={"opset": opset})
    _check_output(output, spec, ".onnx")
    artifact = _prepared(
        spec, "onnx", weights=weights, allow_pickle=allow_pickle, observer=observer or Quiet(), wait=wait
    )
    return artifact, _copied(artifact, spec, output or Path(f"{_file_name(spec)}.onnx"))


def quantize(
    model: str | ModelSpec,
    output: Path | None = None,
    *,
    precision: str | Precision = Precision.INT8,
    backend: str = "onnx_cpu",
    calibration: DataRequest | None = None,
    weights: WeightsPolicy = WeightsPolicy.AUTO,
    registry: Path | None = None,
    allow_pickle: bool = False,
    wait: bool = False,
    observer: Observer | None = None,
) -> tuple[Artifact, Path]:
    """Make a file of another precision for one runtime, and compare it with fp32 by running both.

    Args:
        output: the file to write, with its weights beside it where the runtime keeps them apart; None:
            `MODEL.PRECISION.onnx` (or `.xml`) in the current folder.
        precision: one that `backend` has files of its own for: `int8`, `int8_dynamic`, `fp16`.
        calibration: pictures for int8, see `pictures`; None: noise.
        wait: for another measurement on this machine to end.

    Returns:
        The artifact (`ladder` says which recipes were tried) and the file that was written.

    Raises:
        PrepareError: it cannot be made; the message says why.
        UsageError: `backend` has no such files, or `output` cannot be written.
        BusyError: a measurement holds this machine.
    """
    chosen = member(Precision, "--precision", precision)
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)}")
    row = BACKENDS[backend]
    if chosen.value not in row.own_artifact:
        known = ", ".join(row.own_artifact) or "none: it converts fp32's when it loads it"
        why = row.refusals.get(chosen.value)
        raise UsageError(
            f"--precision {chosen.value}: {why}"
            if why
            else f"--precision {chosen.value}: {backend} has files of its own for {known}"
        )
    if TEXT in row.tasks:
        raise UsageError(
            f"{backend} runs a folder of files, which `zoobench run --precisions {chosen.value}` makes and keeps in the cache"
        )
    spec = request([model], registry=registry).models[0]
    _check_output(output, spec, ".xml" if backend == "openvino" else ".onnx")
    artifact = _prepared(
        spec,
        artifact_key(backend, chosen),
        weights=weights,
        allow_pickle=allow_pickle,
        observer=observer or Quiet(),
        calibration=calibration,
        wait=wait,
    )
    assert artifact.file is not None
    name = f"{_file_name(spec)}.{chosen.value}{Path(artifact.file).suffix}"
    return artifact, _copied(artifact, spec, output or Path(name))


def _check_output(output: Path | None, spec: ModelSpec, ending: str) -> None:
    """Refuse what would overwrite the model itself, or could not be found again under its ending."""
    if output is None:
        return
    if output.suffix.lower() != ending:
        raise UsageError(f"--output {output}: the file is written in the format of {ending}; end its name so")
    if output.exists() and not output.is_file():
        raise UsageError(f"--output {output} is there and no file; name another")
    source = Path(spec.path).resolve() if spec.path else None
    if source is not None and source in (output.resolve(), *output.resolve().parents):
        raise UsageError(f"--output {output} is the model itself or lies in its folder; name another place")


def _prepared(
    spec: ModelSpec,
    key: str,
    *,
    weights: WeightsPolicy,
    allow_pickle: bool,
    observer: Observer,
    calibration: DataRequest | None = None,
    wait: bool = False,
) -> Artifact:
    executor = open_executor("local")
    # Preparing would spoil what a run measures meanwhile.
    with exclusive(Settings(wait=wait), observer):
        pictures = (
            executor.collect(calibration, beside=None, on_progress=observer.preparing)
            if calibration
            else None
        )
        (made,) = executor.prepare(
            [(spec, [key])],
            weights=weights,
            allow_pickle=allow_pickle,
            on_progress=observer.preparing,
            calibration=pictures,
        )
    for note in made.notes:
        observer.note(f"{spec.name}: {note}")
    if made.error is not None:
        raise PrepareError(made.error)
    if key not in made.artifacts:
        raise PrepareError(made.failed.get(key, f"{spec.name}: there is no {key} of it"))
    return made.artifacts[key]


def _file_name(spec: ModelSpec) -> str:
    return spec.name.strip("/").replace("/", "_").removesuffix(".onnx")


def _copied(artifact: Artifact, spec: ModelSpec, target: Path) -> Path:
    assert artifact.file is not None
    beside = [
        artifact.path / Path(artifact.file).with_suffix(".bin"),
        *artifact.path.glob(f"{artifact.file}.*"),
    ]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / artifact.file, target)
        for data in (file for file in beside if file.is_file()):
            # A graph names its external data by file name; OpenVINO finds its weights by the model's own.
            name = target.with_suffix(".bin").name if data.suffix == ".bin" else data.name
            shutil.copyfile(data, target.parent / name)
        if artifact.format == "onnx":
            append_card(target, card_of(artifact, spec.licence))
    except OSError as error:
        raise UsageError(f"--output {target}: cannot be written ({error.strerror})") from error
    return target
