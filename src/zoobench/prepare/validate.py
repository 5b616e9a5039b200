"""Does the artifact compute what PyTorch computes? It is run to find out.

An exporter has broken ResNets silently before; a graph that the checker likes proves nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobench.errors import explained
from zoobench.spec import TOLERANCE, Precision, Validation
from zoobench.tasks import open_task

if TYPE_CHECKING:
    import numpy as np

    Run = Callable[[np.ndarray], np.ndarray]

EAGER = "pytorch eager fp32"
_BATCHES = (1, 2, 5)


@dataclass(frozen=True)
class Validated:
    """The comparison, None when nothing here can run the file, and what else there is to say."""

    validation: Validation | None
    notes: tuple[str, ...] = ()


def validate_onnx(
    file: Path,
    reference_inputs: np.ndarray,
    reference_outputs: np.ndarray,
    *,
    tolerance: float | None = TOLERANCE[Precision.FP32],
    fixed_batch: int | None = None,
    reference: str = EAGER,
    task: str = "image_classification",
) -> Validated:
    """Run `file` with the optimisations of everyday use and compare it with the reference.

    Args:
        file: an ONNX model with one input.
        reference_inputs: float32, shape (items, *input_shape): the task's check inputs.
        reference_outputs: one row for each item.
        tolerance: max |difference| / max |reference| that passes; None: whatever is finite.
        fixed_batch: the one batch that the model takes; None: any, and 1, 2 and 5 are run, all items covered.
        reference: what made `reference_outputs`.
        task: whose rule says when two rows decide alike.

    Raises:
        PrepareError: the runtime cannot load or run the file.
    """
    opened = _open(file)
    if opened is None:
        note = "not validated: neither onnxruntime nor openvino is installed; pip install onnxruntime"
        return Validated(None, (note,))
    runtime, run = opened
    batches = (fixed_batch,) if fixed_batch else _BATCHES
    with explained(f"{runtime} cannot run {file.name}"):
        outputs = run_in_batches(run, reference_inputs, batches)
        if outputs.shape != reference_outputs.shape:
            raise ValueError(
                f"its outputs are {outputs.shape}, the reference's are {reference_outputs.shape}"
            )
    return _compared(reference_outputs, outputs, tolerance, batches, reference, runtime, task)


def run_in_batches(run: Run, inputs: np.ndarray, batches: tuple[int, ...]) -> np.ndarray:
    """Cut `inputs` into batches of the given sizes, cyclically, and return one row of outputs for each item.

    The last cut is filled up with the first items when they do not suffice, and what is over is dropped.
    """
    import numpy as np

    rows: list[np.ndarray] = []
    start, turn = 0, 0
    while start < len(inputs):
        size = batches[turn % len(batches)]
        taken = np.arange(start, start + size) % len(inputs)
        rows.append(run(np.ascontiguousarray(inputs[taken])))
        if len(rows[-1]) != size:
            raise ValueError(f"a batch of {size} gave {len(rows[-1])} rows")
        start, turn = start + size, turn + 1
    return np.concatenate(rows)[: len(inputs)]


def _compared(
    expected: np.ndarray,
    outputs: np.ndarray,
    tolerance: float | None,
    batches: tuple[int, ...],
    reference: str,
    runtime: str,
    task: str,
) -> Validated:
    import numpy as np

    expected = expected.reshape(len(expected), -1).astype(np.float64)
    actual = outputs.reshape(len(outputs), -1).astype(np.float64)
    broken = int((~np.isfinite(actual)).sum())
    # Figures must be numbers to travel as JSON: what is not finite counts as zero there, and never passes.
    actual = np.where(np.isfinite(actual), actual, 0.0)
    max_abs = float(np.abs(actual - expected).max())
    scale = float(np.abs(expected).max())
    max_rel = max_abs / scale if scale > 0 else float(max_abs > 0)
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)
    cosines = (expected * actual).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    validation = Validation(
        reference=reference,
        runtime=runtime,
        passed=not broken and (tolerance is None or max_rel <= tolerance),
        tolerance=tolerance,
        max_abs=max_abs,
        max_rel=max_rel,
        cosine=float(np.clip(cosines.min(), -1.0, 1.0)),
        top1_agreement=open_task(task).top1_agreement(expected, actual),
        batches=batches,
    )
    return Validated(validation, (f"{broken} outputs are not finite",) if broken else ())


def _open(file: Path) -> tuple[str, Run] | None:
    openers: list[tuple[str, Callable[[Path], Run]]] = [("openvino", _run_openvino)]
    if file.suffix == ".onnx":
        openers.insert(0, ("onnxruntime", run_onnxruntime))
    for package, opener in openers:
        if importlib.util.find_spec(package):
            name = f"{package} {version_of(package)}"
            with explained(f"{name} cannot load {file.name}"):
                return name, opener(file)
    return None


def version_of(package: str) -> str:
    """The installed version of the distribution that provides `package`, without importing it."""
    names = importlib.metadata.packages_distributions().get(package, [package])
    return importlib.metadata.version(names[0])


def run_onnxruntime(file: Path, *, optimised: bool = True) -> Run:
    """Load `file` in ONNX Runtime on the CPU and return its first output as a function of its input."""
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(inputs: np.ndarray) -> np.ndarray:
        return _array(session.run([output], {name: inputs})[0])

    return run


def _run_openvino(file: Path) -> Run:
    import openvino  # after the backend's module, which keeps it from calling home

    model = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: np.ndarray) -> np.ndarray:
        return _array(model([inputs])[0])

    return run


def _array(value: Any) -> np.ndarray:
    import numpy as np

    return np.array(value, copy=True)
