"""`zoobench quantize`: one model in another precision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zoobench import artifacts
from zoobench.commands.flags import AsJson, Flag
from zoobench.commands.printing import print_blocks, print_json
from zoobench.shell import command_line, flag_words
from zoobench.spec import Artifact
from zoobench.terms import Precision, WeightsPolicy


def quantize(
    model: str,
    *,
    precision: Annotated[Precision, Parameter(show_choices=False)] = Precision.INT8,
    backend: str = "onnx_cpu",
    calibration: str | None = None,
    calibration_samples: int | None = None,
    calibration_split: str | None = None,
    output: Path | None = None,
    weights: WeightsPolicy = WeightsPolicy.AUTO,
    registry: Path | None = None,
    allow_pickle: Flag = False,
    wait: Flag = False,
    as_json: AsJson = False,
) -> int:
    """Make an int8 or fp16 file of one model; says which recipes were tried.

    Parameters
    ----------
    model
        A name, Hub id, local folder or .onnx file.
    precision
        int8, int8_dynamic or fp16 (onnx_cuda): what the backend has files of its own for.
    backend
        The runtime that the file is for: onnx_cpu, openvino, onnx_cuda.
    calibration
        Pictures that set int8's ranges: a folder (class/name.jpg, or COCO's layout), a COCO .json, parquet, a Hub id or a short name; default: noise.
    calibration_samples
        How many of them; default: 200, or all where there are fewer.
    calibration_split
        Of those pictures; default: their test or validation split.
    output
        The file to write; default: MODEL.PRECISION.onnx here. OpenVINO's are two, .xml and beside it .bin.
    weights
        auto, pretrained or random.
    registry
        A TOML or Python file with models of your own.
    allow_pickle
        Accept a model that has only a pickle.
    wait
        Wait for another measurement on this machine to end.
    as_json
        Print the manifest as JSON.
    """
    from zoobench.commands.pictures import DataFlags
    from zoobench.show.progress import watch

    asked = DataFlags(
        calibration=calibration,
        calibration_samples=calibration_samples,
        calibration_split=calibration_split,
    ).data()
    with watch() as observer:
        artifact, file = artifacts.quantize(
            model,
            output,
            precision=precision,
            backend=backend,
            calibration=asked.calibration,
            weights=weights,
            registry=registry,
            allow_pickle=allow_pickle,
            wait=wait,
            observer=observer,
        )
    if as_json:
        print_json({"file": str(file), **artifact.model_dump(mode="json")})
        return 0
    print(
        f"{file}: {artifact.size_bytes / 1e6:.2f} MB, {artifact.precision.value}, {artifact.weights} weights{_calibrated(artifact)}"
    )
    if artifact.ladder:
        from zoobench.show.listings import ladder_blocks

        print_blocks(ladder_blocks(artifact.ladder))
    for note in artifact.notes:
        print(note)
    print(
        f"what it gets right and how fast it is says `zoobench run {command_line(flag_words('--models', model))} --backends {backend} "
        f"--precisions fp32 {artifact.precision.value} --dataset …{_calibration(calibration, calibration_samples, calibration_split)}`"
    )
    return 0


def _calibration(calibration: str | None, samples: int | None, split: str | None) -> str:
    if calibration is None:
        return ""
    told = flag_words("--calibration", calibration)
    told += ("--calibration-samples", str(samples)) if samples else ()
    told += flag_words("--calibration-split", split) if split else ()
    return f" {command_line(told)}"


def _calibrated(artifact: Artifact) -> str:
    return f", calibrated on {artifact.calibration}" if artifact.calibration else ""
