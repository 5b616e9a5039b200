"""From an fp32 ONNX file to one of another precision: INT8 with a recipe, dynamic INT8, fp16, INT8 for OpenVINO.

Pure functions over files: they read `source`, write `target`, and give the same bytes for the same input.

INT8 pays on ONNX Runtime where whole chains of nodes run in it. A node left in fp32 between quantized ones costs a
DequantizeLinear before it and a QuantizeLinear after it, passes over the whole activation that are often dearer than
the node, and it keeps the activations out of the channels-last layout. So means over the picture become
GlobalAveragePool, which has an int8 kernel where ReduceMean has none.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from zoobench.errors import PrepareError, explained
from zoobench.machine.cpus import cpu_flags
from zoobench.prepare import onnx_graph
from zoobench.prepare.detection_tail import told, words_of
from zoobench.spec import Frozen

if TYPE_CHECKING:
    import numpy as np

OP_TYPES = ("Conv", "Gemm", "MatMul", "Add", "MaxPool", "GlobalAveragePool", "Relu", "Clip")
"""What is quantized unless a recipe says otherwise. Each has an int8 kernel in ONNX Runtime, or fuses into one."""

_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_X86 = "sse2"
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
_LEFT_NAMED = 6


class Recipe(Frozen):
    """How to quantize. Two files made by equal recipes from equal inputs are equal, on CPUs of one kind."""

    name: str
    method: Literal["minmax", "percentile", "entropy"] = Field(
        default="minmax", description="how an activation's range is found from what calibration shows"
    )
    percentile: float = Field(
        default=99.99, gt=50, le=100, description="of the values that lie in the range; for that method only"
    )
    op_types: tuple[str, ...] = OP_TYPES
    extra_op_types: tuple[str, ...] = Field(default=(), description="quantized besides `op_types`")
    activations: Literal["u8", "s8"] = "u8"
    weights: Literal["s8", "u8"] = "s8"
    per_channel: bool = Field(default=True, description="one scale for each output channel of a weight")
    reduce_range: bool | None = Field(
        default=None, description="7-bit weights; None: where the CPU would saturate with 8, see `saturates`"
    )
    exclude: tuple[str, ...] = Field(
        default=(),
        description="nodes left in fp32: `squeeze_excite`, `first_last`, `before_stride_N` (until pictures are N times smaller), "
        "`detection_tail`, `detection_head`, or names of `make_ready`'s nodes",
    )


class Quantized(Frozen):
    """What came of it. Nodes are counted after constants were folded, without those that only convert."""

    quantized_nodes: int = Field(description="nodes whose activations come out of a DequantizeLinear")
    float_nodes: int
    reduce_range: bool
    size_bytes: int = Field(description="of the file")
    left_out: tuple[str, ...] = Field(
        default=(), description="names of the nodes that the recipe excludes, in the order in which they run"
    )
    notes: tuple[str, ...] = ()


def saturates(flags: Iterable[str]) -> bool:
    """Whether 8-bit weights overflow on a CPU with these flags: x86 without a dot product of bytes.

    There vpmaddubsw adds two products of bytes in 16 bits. With VNNI or AMX, and on Arm, they are added in 32.
    """
    flags = frozenset(flags)
    return _X86 in flags and not flags & _VNNI


def quantize_static(
    source: Path, target: Path, recipe: Recipe, calibration: Iterable[np.ndarray]
) -> Quantized:
    """Write `source` with Q/DQ pairs around what the recipe quantizes.

    Args:
        source: an fp32 ONNX model with one input.
        target: is written, or left as it was when something fails.
        recipe: how.
        calibration: float32 batches of shape (items, *input_shape). They are read once and one at a time, and
            run item by item where the model takes any batch, so memory does not grow with their number or size.

    Raises:
        PrepareError: the model cannot be read, run or quantized; there is no calibration data; nothing is
            quantized; `exclude` names a node that the graph has not.
    """
    with tempfile.TemporaryDirectory(prefix="zoobench-quantize-") as folder:
        ready = Path(folder) / "ready.onnx"
        make_ready(source, ready)
        ranges = calibrate_ranges(ready, recipe, calibration, what=source.name)
        return write_quantized(ready, target, recipe, ranges, what=source.name)


def make_ready(source: Path, ready: Path) -> None:
    """Write `source` as the quantizer wants it: constants folded, shapes inferred, nodes named, means as pooling.

    It computes what `source` computes; names of inputs and outputs and a dynamic batch stay.

    Raises:
        PrepareError: it cannot be read or optimised.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with explained(f"{source.name} cannot be made ready to quantize"):
        # Symbolic shape inference needs sympy and is for transformers; ONNX's own suffices for the rest.
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        model = onnx.load(ready)
        onnx_graph.pool_means(model)
        onnx_graph.name_nodes(model)
        save_model(model, ready)


def calibrate_ranges(
    ready: Path, recipe: Recipe, calibration: Iterable[np.ndarray], *, what: str = "the model"
) -> Any:
    """The range of every float tensor of `ready` (ONNX Runtime's `TensorsData`), found by the recipe's method.

    It holds for every recipe with the same method and percentile, whatever they quantize.

    Raises:
        PrepareError: `calibration` is empty, or the model does not run on it.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    methods = {
        "minmax": (CalibrationMethod.MinMax, {}),
        "percentile": (CalibrationMethod.Percentile, {"percentile": recipe.percentile}),
        "entropy": (CalibrationMethod.Entropy, {}),
    }
    method, options = methods[recipe.method]
    with (
        tempfile.TemporaryDirectory(prefix="zoobench-calibrate-") as folder,
        explained(f"{what} does not run on its calibration data"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        calibrator = create_calibrator(
            ready,
            None,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=method,
            extra_options=options,
        )
        # A calibrator keeps the outputs of all that it reads in one go: whole activations with histograms. So it
        # is given one feed at a time, which it merges into what it knows. (Its own max_intermediate_outputs
        # drops what it collected: ONNX Runtime 1.32 clears the list before it looks at it.)
        fed = False
        for feed in _feeds(ready, calibration):
            calibrator.collect_data(_OneFeed(feed))
            fed = True
        if not fed:
            raise PrepareError(f"{what}: there is no calibration data; give at least one batch of pictures")
        return calibrator.compute_data()


class _OneFeed:
    """Satisfies ONNX Runtime's `CalibrationDataReader` with one feed."""

    def __init__(self, feed: dict[str, np.ndarray]) -> None:
        self.feed: dict[str, np.ndarray] | None = feed

    def get_next(self) -> dict[str, np.ndarray] | None:
        feed, self.feed = self.feed, None
        return feed


def _feeds(ready: Path, calibration: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """One item a feed, or whole batches where the model takes only those."""
    import numpy as np
    import onnx

    name, fixed_batch = onnx_graph.only_input(onnx.load(ready, load_external_data=False), ready.name)
    for batch in calibration:
        if fixed_batch is not None:
            yield {name: np.ascontiguousarray(batch)}
            continue
        for i in range(len(batch)):
            yield {name: np.ascontiguousarray(batch[i : i + 1])}


def write_quantized(
    ready: Path, target: Path, recipe: Recipe, ranges: Any, *, what: str = "the model"
) -> Quantized:
    """The last step of `quantize_static`: `ready` is from `make_ready`, `ranges` from `calibrate_ranges`.

    Raises:
        PrepareError: as `quantize_static` does.
    """
    import onnx
    from onnxruntime.quantization import QDQQuantizer, QuantType
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    types = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
    reduce_range = recipe.reduce_range if recipe.reduce_range is not None else saturates(cpu_flags())
    graph = onnx.load(ready, load_external_data=False)
    left_out = _in_order(graph, onnx_graph.excluded_nodes(graph, recipe.exclude, what))
    tail = _in_order(graph, onnx_graph.excluded_nodes(graph, words_of(recipe.exclude), what))
    with (
        explained(f"{what} cannot be quantized by the recipe {recipe.name!r}"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        quantizer = QDQQuantizer(
            load_model_with_shape_infer(ready),
            recipe.per_channel,
            reduce_range,
            types[recipe.weights],
            types[recipe.activations],
            ranges,
            [],
            list(left_out),
            list(dict.fromkeys(recipe.op_types + recipe.extra_op_types)),
            {},
        )
        model = quantizer.quantize_model()
        quantized, left = _counted(model)
        if not quantized:
            raise PrepareError(
                f"{what}: the recipe {recipe.name!r} quantizes no node; it names "
                f"{', '.join(recipe.op_types + recipe.extra_op_types)} and leaves out {len(left_out)} nodes"
            )
        if not _weights_in_bytes(model):
            raise PrepareError(
                f"{what}: the recipe {recipe.name!r} leaves every weight in fp32, so nothing would be gained"
            )
        save_model(model, target)
    notes = told(recipe.exclude, tail)
    if left:
        most = ", ".join(f"{count} {kind}" for kind, count in left.most_common(_LEFT_NAMED))
        notes.append(f"left in fp32: {most}" + (" and others" if len(left) > _LEFT_NAMED else ""))
    if reduce_range:
        notes.append("7-bit weights (reduce_range)")
    return Quantized(
        quantized_nodes=quantized,
        float_nodes=left.total(),
        reduce_range=reduce_range,
        size_bytes=target.stat().st_size,
        left_out=left_out,
        notes=tuple(notes),
    )


def _in_order(model: Any, names: set[str]) -> tuple[str, ...]:
    return tuple(node.name for node in model.graph.node if node.name in names)


def _counted(model: Any) -> tuple[int, Counter[str]]:
    """Nodes that ONNX Runtime can run on bytes, and the operators of the others."""
    from_bytes = {o for n in model.graph.node if n.op_type == "DequantizeLinear" for o in n.output}
    computed = {o for n in model.graph.node for o in n.output} | {i.name for i in model.graph.input}
    quantized, left = 0, Counter[str]()
    for node in model.graph.node:
        if node.op_type in _QDQ or node.op_type == "Constant":
            continue
        # A constant weight that was not quantized keeps its node in fp32, whatever its activations come from.
        weighted = node.op_type in onnx_graph.WEIGHTED
        needed = node.input[:2] if weighted else [name for name in node.input if name in computed]
        if needed and from_bytes.issuperset(needed):
            quantized += 1
        else:
            left[node.op_type] += 1
    return quantized, left


def _weights_in_bytes(model: Any) -> bool:
    """Whether a node with weights has them out of a DequantizeLinear."""
    from_bytes = {o for n in model.graph.node if n.op_type == "DequantizeLinear" for o in n.output}
    return any(
        node.op_type in onnx_graph.WEIGHTED and from_bytes.issuperset(node.input[:2])
        for node in model.graph.node
    )


def quantize_dynamic(source: Path, target: Path) -> Quantized:
    """Write `source` with the weights of MatMul and Gemm in 8 bits; activations are quantized at every call.

    Convolutions stay in fp32: as ConvInteger they would be many times slower.

    Raises:
        PrepareError: there is neither MatMul nor Gemm with a constant weight; it cannot be read or quantized.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic as quantize

    reduce_range = saturates(cpu_flags())
    with tempfile.TemporaryDirectory(prefix="zoobench-quantize-") as folder:
        ready, written = Path(folder) / "ready.onnx", Path(folder) / "written.onnx"
        make_ready(source, ready)
        before = Counter(node.op_type for node in onnx.load(ready).graph.node)
        if not onnx_graph.has_weighted(onnx.load(ready), ("MatMul", "Gemm")):
            raise PrepareError(
                f"{source.name} has no MatMul or Gemm with a constant weight, so dynamic quantization would change "
                f"nothing (convolutions would become ConvInteger, many times slower); quantize it statically"
            )
        with explained(f"{source.name} cannot be quantized dynamically"):
            quantize(
                ready,
                written,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                reduce_range=reduce_range,
                weight_type=QuantType.QInt8,
            )
            model = onnx.load(written)
            save_model(model, target)
    quantized = sum(node.op_type == "MatMulInteger" for node in model.graph.node)
    return Quantized(
        quantized_nodes=quantized,
        float_nodes=before.total() - quantized,
        reduce_range=reduce_range,
        size_bytes=target.stat().st_size,
        notes=("activations are quantized at every call",),
    )


def convert_fp16(source: Path, target: Path) -> Quantized:
    """Write `source` in fp16 for GPUs; inputs and outputs stay float32. A CPU would only cast it back.

    There is no bf16 like it: the installed tools convert to bfloat16 only nodes that fp16 leaves out.

    Raises:
        PrepareError: it cannot be read or converted.
    """
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    with explained(f"{source.name} cannot be converted to fp16"):
        with warnings.catch_warnings(record=True) as clipped:
            warnings.simplefilter("always")
            model = convert_float_to_float16(onnx.load(source), keep_io_types=True)
        _drop_twins(model.graph)
        save_model(model, target)
    halves = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    casts = sum(node.op_type == "Cast" for node in model.graph.node)
    notes = [f"{len(clipped)} weights hold values beyond fp16, which were clipped"] if clipped else []
    if not halves:
        notes.append("it has no float32 weights")
    kept = sum(node.op_type in DEFAULT_OP_BLOCK_LIST for node in model.graph.node)
    return Quantized(
        quantized_nodes=len(model.graph.node) - casts - kept,
        float_nodes=kept,
        reduce_range=False,
        size_bytes=target.stat().st_size,
        notes=tuple(notes),
    )


def _drop_twins(graph: Any) -> None:
    """Of nodes that make the same tensor in the same way keep one.

    Before ONNX Runtime 1.32 the converter casts a tensor once for each reader, always under the same name: two
    up-sampling nodes that share their scales made a file that no runtime opens.
    """
    known: set[tuple[str, ...]] = set()
    for node in list(graph.node):
        key = (node.op_type, *node.input, "", *node.output)
        if key in known:
            graph.node.remove(node)
        known.add(key)


def save_model(model: Any, target: Path) -> None:
    """Write `model` whole or not at all, sorted, without what tells where and how it was made (stack traces, paths)."""
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel

    onnx_graph.strip_provenance(model)
    # The quantizer appends what it adds; ONNX wants nodes after those that they read, though ONNX Runtime does not mind.
    ordered = ONNXModel(model)
    ordered.topological_sort()
    model = ordered.model
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        onnx.save(model, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
