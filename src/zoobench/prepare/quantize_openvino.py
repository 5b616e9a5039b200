"""INT8 for OpenVINO: NNCF puts FakeQuantize nodes into a model of OpenVINO's own, which its CPU plugin then fuses.

A Q/DQ file made for ONNX Runtime runs in OpenVINO too, but NNCF knows which nodes its plugin runs in int8.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoobench.backends.openvino  # noqa: F401 - it keeps openvino and nncf from calling home
from zoobench.errors import PrepareError, explained
from zoobench.prepare.quantize import Quantized

if TYPE_CHECKING:
    import numpy as np

_COUNTED_NAME = re.compile(r"[A-Za-z]+_\d+(/.*)?")
_NOT_COMPUTING = frozenset({"Constant", "Parameter", "Result", "FakeQuantize", "Convert"})


def quantize_openvino(
    source: Path, target: Path, calibration: Iterable[np.ndarray], *, leave_out: Sequence[str] = ()
) -> Quantized:
    """Write the ONNX model `source` as OpenVINO IR in INT8: `target` (.xml), and its weights beside it (.bin).

    The batch stays dynamic, and inputs and outputs keep their names and float32. What is not quantized stays fp32.

    Args:
        source: an fp32 ONNX model with one input.
        target: the .xml file.
        calibration: float32 batches of shape (items, *input_shape). NNCF passes over them several times, so
            they are kept in memory.
        leave_out: OpenVINO operation types that stay in fp32, such as `GroupConvolution`, the depthwise ones.

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
            f"INT8 for OpenVINO needs the package {error.name}; pip install nncf openvino"
        ) from error
    nncf.set_log_level(logging.ERROR)
    with (
        explained(f"{source.name} cannot be quantized for OpenVINO"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        model = nncf.quantize(
            openvino.Core().read_model(source),
            nncf.Dataset(items),
            # Asymmetric activations: SiLU, GELU and their like go below zero by little.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(items),
            ignored_scope=nncf.IgnoredScope(types=list(leave_out), validate=False) if leave_out else None,
        )
        name_evenly(model)
        _save(model, target)
    return _counted(model, target)


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
        return [self.compiled(list(feed.values()))[0].copy()]


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
