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

from zoobench.errors import explained, install_extra
from zoobench.spec import Validation
from zoobench.tasks import Task
from zoobench.tasks.comparison import are_comparable, compare, shapes
from zoobench.terms import TOLERANCE, Precision

if TYPE_CHECKING:
    import numpy as np

    from zoobench.tasks import Parts

    Run = Callable[[np.ndarray], dict[str, np.ndarray]]

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
    reference_parts: Parts,
    *,
    task: Task,
    tolerance: float | None = TOLERANCE[Precision.FP32],
    fixed_batch: int | None = None,
    reference: str = EAGER,
) -> Validated:
    """Run `file` with the optimisations of everyday use and compare it with the reference.

    Args:
        file: an ONNX model with one input.
        reference_inputs: float32, shape (items, *input_shape): the task's check inputs.
        reference_parts: what of the outputs is compared, one row for each item.
        task: says what that is, and when two rows decide alike.
        tolerance: max |difference| / max |reference| that passes; None: whatever is finite.
        fixed_batch: the one batch that the model takes; None: any, and 1, 2 and 5 are run, all items covered.
        reference: what made `reference_parts`.

    Raises:
        PrepareError: the runtime cannot load or run the file.
    """
    opened = _open(file)
    if opened is None:
        note = f"not validated: neither onnxruntime nor openvino is installed; {install_extra('cpu')}"
        return Validated(None, (note,))
    runtime, run = opened
    batches = (fixed_batch,) if fixed_batch else _BATCHES
    with explained(f"{runtime} cannot run {file.name}"):
        parts = task.parts(run_in_batches(run, reference_inputs, batches))
        if not are_comparable(reference_parts, parts):
            raise ValueError(
                f"its outputs are {shapes(parts)}, the reference's are {shapes(reference_parts)}"
            )
    found = compare(reference_parts, parts, task)
    validation = Validation(
        reference=reference,
        runtime=runtime,
        passed=not found.broken and (tolerance is None or found.max_rel <= tolerance),
        tolerance=tolerance,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        cosine=found.cosine,
        top1_agreement=found.agreement,
        batches=batches,
    )
    return Validated(validation, (f"{found.broken} outputs are not finite",) if found.broken else ())


def run_in_batches(run: Run, inputs: np.ndarray, batches: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Cut `inputs` into batches of the given sizes, cyclically; of every output one row for each item.

    The last cut is filled up with the first items when they do not suffice, and what is over is dropped.
    """
    import numpy as np

    found: list[dict[str, np.ndarray]] = []
    start, turn = 0, 0
    while start < len(inputs):
        size = batches[turn % len(batches)]
        taken = np.arange(start, start + size) % len(inputs)
        found.append(run(np.ascontiguousarray(inputs[taken])))
        for name, rows in found[-1].items():
            if len(rows) != size:
                raise ValueError(f"a batch of {size} gave {len(rows)} rows of {name}")
        start, turn = start + size, turn + 1
    return {name: np.concatenate([one[name] for one in found])[: len(inputs)] for name in found[0]}


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
    """Load `file` in ONNX Runtime on the CPU and return its outputs as a function of its input."""
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name, outputs = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]

    def run(inputs: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(outputs, map(_array, session.run(outputs, {name: inputs})), strict=True))

    return run


def _run_openvino(file: Path) -> Run:
    import openvino  # after the backend's module, which keeps it from calling home

    model = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: np.ndarray) -> dict[str, np.ndarray]:
        found = model([inputs])
        return {output.any_name: _array(found[output]) for output in model.outputs}

    return run


def _array(value: Any) -> np.ndarray:
    import numpy as np

    return np.array(value, copy=True)
