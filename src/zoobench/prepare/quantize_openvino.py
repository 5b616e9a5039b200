"""INT8 for OpenVINO: NNCF puts FakeQuantize nodes into a model of OpenVINO's own, which its CPU plugin then fuses.

A Q/DQ file made for ONNX Runtime runs in OpenVINO too, but NNCF knows which nodes its plugin runs in int8.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoobench.backends.openvino  # noqa: F401 - it keeps openvino and nncf from calling home
from zoobench.errors import PrepareError, explained, install_extra
from zoobench.prepare.detection_tail import HEAD, Node, head_of, tail_of, told, words_of
from zoobench.prepare.quantize import Quantized

if TYPE_CHECKING:
    import numpy as np

_COUNTED_NAME = re.compile(r"[A-Za-z]+_\d+(/.*)?")
_WEIGHTED = frozenset(
    {
        "Convolution",
        "GroupConvolution",
        "ConvolutionBackpropData",
        "GroupConvolutionBackpropData",
        "MatMul",
    }
)
_NOT_COMPUTING = frozenset({"Constant", "Parameter", "Result", "FakeQuantize", "Convert"})


def quantize_openvino(
    source: Path,
    target: Path,
    calibration: Iterable[np.ndarray],
    *,
    leave_out: Sequence[str] = (),
    extremes: bool = False,
) -> Quantized:
    """Write the ONNX model `source` as OpenVINO IR in INT8: `target` (.xml), and its weights beside it (.bin).

    The batch stays dynamic, and inputs and outputs keep their names and float32. What is not quantized stays fp32.

    Args:
        source: an fp32 ONNX model with one input.
        target: the .xml file.
        calibration: float32 batches of shape (items, *input_shape). NNCF passes over them several times, so
            they are kept in memory.
        leave_out: OpenVINO operation types that stay in fp32, such as `GroupConvolution`, the depthwise ones; or `detection_tail`,
            `detection_head`, see `zoobench.prepare.detection_tail`.
        extremes: an activation's range is what any item reaches; else the mean of what each reaches, NNCF's usual.

    Raises:
        PrepareError: nncf or openvino is not installed; there is no calibration data; the model cannot be
            read, run or quantized.
    """
    if target.suffix != ".xml":
        raise PrepareError(
            f"OpenVINO keeps a model in an .xml file and a .bin file; {target.name} is not .xml"
        )
    items = [batch[i : i + 1] for batch in calibration for i in range(len(batch))]
    if not items:
        raise PrepareError(
            f"{source.name}: there is no calibration data; give at least one batch of pictures"
        )
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise PrepareError(
            f"INT8 for OpenVINO needs the package {error.name}; {install_extra('nncf')}"
        ) from error
    nncf.set_log_level(logging.ERROR)
    with (
        explained(f"{source.name} cannot be quantized for OpenVINO"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        plain = openvino.Core().read_model(source)
        if words_of(leave_out):
            _make_ready(plain)
        tail = _tail(plain, leave_out)
        model = nncf.quantize(
            plain,
            nncf.Dataset(items),
            # Asymmetric activations: SiLU, GELU and their like go below zero by little.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(items),
            ignored_scope=_ignored(leave_out, tail),
            advanced_parameters=_ranges_by_extremes() if extremes else None,
        )
        name_evenly(model)
        _save(model, target)
    made = _counted(model, target)
    return made.model_copy(update={"left_out": tail, "notes": (*told(leave_out, tail), *made.notes)})


def _ignored(leave_out: Sequence[str], tail: Sequence[str]) -> Any:
    """NNCF's scope for both, None for neither."""
    import nncf

    if not leave_out:
        return None
    types = [word for word in leave_out if word not in words_of(leave_out)]
    # Nothing is missed where a model has no such type, or NNCF's graph leaves a node out that computes shapes.
    return nncf.IgnoredScope(names=list(tail), types=types, validate=False)


def _ranges_by_extremes() -> Any:
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
    )


def _make_ready(model: Any) -> None:
    """Fold constants: NNCF 3 fails on what is picked from one (KeyError), such as a position embedding. And name nodes for good."""
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    name_evenly(model)


def _tail(model: Any, leave_out: Sequence[str]) -> tuple[str, ...]:
    """Names of the nodes that `leave_out` means by words of the tail, in the order in which they run.

    OpenVINO's own graph is asked, since it renames, splits and fuses what it reads: a convolution's bias is a node there.
    """
    words = words_of(leave_out)
    if not words:
        return ()
    operations = model.get_ordered_ops()
    nodes = [
        Node(
            name=op.get_friendly_name(),
            layer=op.get_type_name() in _WEIGHTED,
            reads=tuple(value.get_node().get_friendly_name() for value in op.input_values()),
            writes=(op.get_friendly_name(),),
        )
        for op in operations
        if op.get_type_name() != "Constant"
    ]
    constants = {
        op.get_friendly_name(): math.prod(op.get_output_shape(0))
        for op in operations
        if op.get_type_name() == "Constant"
    }
    wanted = (head_of if HEAD in words else tail_of)(nodes, constants)
    return tuple(
        op.get_friendly_name() for op in operations if op.get_friendly_name() in wanted and _computes(op)
    )


def _computes(operation: Any) -> bool:
    """Whether it makes floats; sizes and indices are never quantized."""
    makes_floats = any(value.get_element_type().is_real() for value in operation.outputs())
    return makes_floats and operation.get_type_name() not in _NOT_COMPUTING


def open_for_judging(file: Path, threads: int) -> Any:
    """A compiled model with the `run(None, feed)` of an ONNX Runtime session, for `zoobench.prepare.ladder`."""
    import openvino

    properties = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    return _Judged(openvino.Core().compile_model(str(file), "CPU", properties))


class _Judged:
    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        found = self.compiled(list(feed.values()))
        return [found[output].copy() for output in self.compiled.outputs]


def name_evenly(model: Any) -> None:
    """Number anew what was named by a counter that counts on through the life of the process."""
    for i, node in enumerate(model.get_ordered_ops()):
        if _COUNTED_NAME.fullmatch(node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}_{i}")


def _save(model: Any, target: Path) -> None:
    import openvino

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.{os.getpid()}.", dir=target.parent) as folder:
        unfinished = Path(folder) / target.name
        openvino.save_model(model, unfinished, compress_to_fp16=False)
        for file in (unfinished.with_suffix(".bin"), unfinished):
            file.replace(target.with_name(file.name))


def _counted(model: Any, target: Path) -> Quantized:
    constant: set[str] = set()
    quantized = floating = 0
    for node in model.get_ordered_ops():
        sources = [value.get_node() for value in node.input_values()]
        if node.get_type_name() != "Parameter" and all(n.get_friendly_name() in constant for n in sources):
            # What only unpacks weights is folded when the model is compiled.
            constant.add(node.get_friendly_name())
        elif node.get_type_name() not in _NOT_COMPUTING:
            from_bytes = any(n.get_type_name() == "FakeQuantize" for n in sources)
            quantized, floating = quantized + from_bytes, floating + (not from_bytes)
    if not quantized:
        raise PrepareError(f"{target.name}: NNCF found nothing to quantize; the model stays as it is")
    return Quantized(
        quantized_nodes=quantized,
        float_nodes=floating,
        reduce_range=False,
        size_bytes=target.stat().st_size + target.with_suffix(".bin").stat().st_size,
    )
