"""The command that makes the file of a configuration, to ship it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from zoobench.judge.asks import Carried
from zoobench.results.row import RankedRow
from zoobench.terms import TEXT, Precision

_EXPORTED = {"onnx_cpu", "onnx_cuda", "onnx_tensorrt", "openvino"}
"""Backends whose fp32 is the exported .onnx file; TF32 is a switch of the runtime, not of the file."""
_QUANTIZED = {"onnx_cpu", "onnx_cuda", "openvino"}
_OF_EXPORT = {"--registry": 1, "--weights": 1, "--allow-pickle": 0}
_OF_CALIBRATION = {"--calibration": 1, "--calibration-samples": 1, "--calibration-split": 1}


def file_words(row: RankedRow, carried: Mapping[str, Carried]) -> tuple[str, ...] | None:
    """Word by word; None where there is no such file: eager PyTorch, a server, a language model, or the .onnx file that was typed."""
    if row.is_fake or row.task == TEXT:
        return None
    known = carried.get(row.run_id, Carried())
    model = known.typed.get(row.model, row.model)
    if row.precision in (Precision.FP32, Precision.TF32) and row.backend in _EXPORTED:
        if model.endswith(".onnx"):
            return None
        return ("zoobench", "export", model, *_kept(known.flags, _OF_EXPORT))
    own = row.precision in (Precision.INT8, Precision.INT8_DYNAMIC) or (
        row.precision == Precision.FP16 and row.backend == "onnx_cuda"
    )
    if not own or row.backend not in _QUANTIZED:
        return None
    flags = _kept(known.flags, _OF_EXPORT | (_OF_CALIBRATION if row.precision == Precision.INT8 else {}))
    return ("zoobench", "quantize", model, "--precision", row.precision, "--backend", row.backend, *flags)


def _kept(flags: Sequence[str], names: Mapping[str, int]) -> Iterator[str]:
    for at, word in enumerate(flags):
        name, joined, _ = word.partition("=")
        if name in names:
            yield from (word,) if joined else flags[at : at + 1 + names[name]]
