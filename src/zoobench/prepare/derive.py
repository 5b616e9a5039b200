"""Other precisions of an ONNX artifact, each an artifact of its own: quantized or converted, validated, hashed.

An INT8 file needs data to find the ranges of its activations. With pictures every fifth judges the recipes that the
others calibrated; without any, both are noise, and nobody may claim an accuracy of the result.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobench.errors import PrepareError, explained
from zoobench.machine.cpus import cpu_flags
from zoobench.prepare.build import load_reference, save_reference
from zoobench.prepare.cache import content_of
from zoobench.prepare.quantize import Quantized, convert_fp16, quantize_dynamic, saturates
from zoobench.prepare.validate import validate_onnx
from zoobench.prepare.versions import ONNX_FILE_PACKAGES, versions
from zoobench.spec import Artifact, ArtifactFormat
from zoobench.tasks import CHECK_ITEMS, open_task
from zoobench.terms import DETECTION, TOLERANCE, Precision

if TYPE_CHECKING:
    import numpy as np

    from zoobench.prepare.ladder import Rung

_PACKAGES = (*ONNX_FILE_PACKAGES, "nncf", "numpy")
_NOISE_ITEMS = 16
_JUDGED = 3
"""Every third picture judges the recipes that the others calibrated."""
MIN_AGREEMENT = 0.9
"""Share of the judged pictures that keep fp32's class: small networks keep 90 to 97 in a hundred and lose no accuracy."""
MIN_COSINE = 0.9
"""Of the worst judged picture's outputs to fp32's: few pictures may keep their class while all outputs bend."""
_LADDER_BUDGET_S = 240.0
_CALIBRATED = frozenset({Precision.INT8})


@dataclass(frozen=True)
class Calibration:
    """Pictures for int8.

    Attributes:
        label: for people and records.
        sha256: over the pictures.
        items: they as inputs of an artifact, float32, (pictures, *input_shape).
    """

    label: str
    sha256: str
    items: Callable[[Artifact], np.ndarray]


def split_key(key: str) -> tuple[ArtifactFormat, Precision]:
    """`onnx:int8` → its format and precision; without a colon it is fp32."""
    name, _, precision = key.partition(":")
    return name, Precision(precision or "fp32")  # type: ignore[return-value]


def derived_recipe(key: str, source: Artifact, calibration: Calibration | None) -> dict[str, Any]:
    """All that decides what the derived artifact holds; JSON."""
    _, precision = split_key(key)
    calibrated: dict[str, Any] | None = None
    if precision in _CALIBRATED:
        how = source.preprocessing.model_dump(mode="json") if source.preprocessing and calibration else None
        calibrated = {"pictures": calibration.sha256 if calibration else None, "preprocessing": how}
    return {
        "recipe": 4,
        "key": key,
        "from": source.sha256,
        "weights": source.weights,
        "calibration": calibrated,
        # Which recipe is fastest is this CPU's word, and so is whether 8 bits saturate.
        "threads": len(os.sched_getaffinity(0)),
        "cpu": sorted(f for f in cpu_flags() if "vnni" in f or "amx" in f or "avx" in f),
        "versions": versions(_PACKAGES),
    }


def build_derived(
    folder: Path,
    key: str,
    source: Artifact,
    calibration: Calibration | None,
    *,
    recipe: dict[str, Any],
    progress: Callable[[str], None],
) -> Artifact:
    """Make the artifact `key` of the fp32 ONNX artifact `source` in the empty `folder`.

    Raises:
        PrepareError: it cannot be made; one line says why.
    """
    kind, precision = split_key(key)
    assert source.file is not None
    origin = source.path / source.file
    file = folder / ("model.xml" if kind == "openvino" else "model.onnx")
    progress(f"making {precision.value} of the {source.format} file" + _on(precision, calibration))
    ladder: dict[str, Any] | None = None
    if precision is Precision.INT8:
        calibrating, judging = _pictures(source, calibration)
        made, ladder = _climb(origin, file, source, calibrating, judging, calibration, progress)
    elif precision is Precision.INT8_DYNAMIC:
        made = quantize_dynamic(origin, file)
    elif precision is Precision.FP16:
        made = convert_fp16(origin, file)
    else:
        raise PrepareError(f"{source.model}: no {precision.value} file can be made of an ONNX file")
    sha256, size_bytes = content_of(folder)
    reference = load_reference(source.path)
    validated = validate_onnx(
        file,
        open_task(source.task).check_inputs(source.input_shape),
        reference,
        task=open_task(source.task, source.detector),
        tolerance=TOLERANCE.get(precision),
        fixed_batch=source.fixed_batch,
    )
    save_reference(folder, reference)
    on_noise = precision in _CALIBRATED and calibration is None
    return source.model_copy(
        update={
            "path": folder,
            "format": kind,
            "sha256": sha256,
            "size_bytes": size_bytes,
            "file": file.name,
            "precision": precision,
            "validation": validated.validation,
            "calibration": None
            if precision not in _CALIBRATED
            else calibration.label
            if calibration
            else "noise",
            "calibrated_on_noise": on_noise,
            "ladder": ladder,
            "derived_from": source.sha256,
            "recipe": recipe,
            "made_with": versions(_PACKAGES),
            "notes": (*_told(made), *validated.notes),
        }
    )


def _on(precision: Precision, calibration: Calibration | None) -> str:
    if precision not in _CALIBRATED:
        return ""
    return f", calibrated on {calibration.label}" if calibration else ", calibrated on noise"


def _told(made: Quantized) -> list[str]:
    return [f"{made.quantized_nodes} nodes quantized or converted, {made.float_nodes} not", *made.notes]


def _pictures(source: Artifact, calibration: Calibration | None) -> tuple[list[np.ndarray], np.ndarray]:
    """Batches to calibrate on, and items that judge: pictures where there are any, else noise."""
    import numpy as np

    if calibration is None:
        items = open_task(source.task).check_inputs(source.input_shape, CHECK_ITEMS + _NOISE_ITEMS)
        judged = np.arange(len(items)) < CHECK_ITEMS
    else:
        items = calibration.items(source)
        judged = np.arange(len(items)) % _JUDGED == _JUDGED - 1
        if len(items) < _JUDGED:
            raise PrepareError(
                f"{source.model}: {calibration.label} gives {len(items)} pictures to calibrate on; at least {_JUDGED} "
                "are needed (--calibration-samples)"
            )
    rest, batch = items[~judged], source.fixed_batch or 8
    rest = rest[: len(rest) // batch * batch] if source.fixed_batch else rest
    return [rest[i : i + batch] for i in range(0, len(rest), batch)], items[judged]


def _climb(
    origin: Path,
    file: Path,
    source: Artifact,
    calibrating: list[np.ndarray],
    judging: np.ndarray,
    calibration: Calibration | None,
    progress: Callable[[str], None],
) -> tuple[Quantized, dict[str, Any]]:
    """The ladder's best file, and every rung of it."""
    from zoobench.prepare.ladder import climb, climb_openvino

    # On noise, or with weights that know nothing, the class of an item is a matter of rounding.
    fidelity_counts = calibration is not None and source.weights != "random"
    detector = source.task == DETECTION
    with tempfile.TemporaryDirectory(prefix="zoobench-ladder-") as scratch:

        def tell(rung: Rung) -> None:
            agreed = "none decided" if rung.agreement is None else f"{rung.agreement:.0%}"
            figures = (
                f"{rung.speed or 0:.2f} × fp32's speed, {agreed} of its {'boxes' if detector else 'classes'}"
            )
            progress(f"int8 recipe {rung.recipe.name}: {rung.error or figures}")

        asked: dict[str, Any] = {
            "threads": len(os.sched_getaffinity(0)),
            "min_agreement": MIN_AGREEMENT if fidelity_counts else 0.0,
            "min_cosine": MIN_COSINE if fidelity_counts else -1.0,
            "task": open_task(source.task, source.detector) if detector else None,
            "on_rung": tell,
        }
        if file.suffix == ".xml":
            found = climb_openvino(origin, Path(scratch), calibrating, judging, **asked)
        else:
            found = climb(origin, Path(scratch), calibrating, judging, budget_s=_LADDER_BUDGET_S, **asked)
        if found.chosen is None:
            raise PrepareError(f"{source.model}: {found.words}")
        rung = found.rungs[found.chosen]
        assert rung.file is not None
        with explained(f"{source.model}: the quantized file cannot be kept"):
            shutil.copyfile(Path(scratch) / rung.file, file)
            if file.suffix == ".xml":
                weights = (Path(scratch) / rung.file).with_suffix(".bin")
                shutil.copyfile(weights, file.with_suffix(".bin"))
    made = Quantized(
        quantized_nodes=rung.quantized_nodes or 0,
        float_nodes=rung.float_nodes or 0,
        reduce_range=saturates(cpu_flags()),
        size_bytes=rung.size_bytes or 0,
        notes=(found.words, *rung.notes),
    )
    return made, found.model_dump(mode="json")
