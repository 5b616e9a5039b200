"""Small ONNX models with fixed weights, to be quantized in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zoobench.spec import Detector

SIZE = 16
MACHINE_PATH = "/home/somebody/model.py"


def pictures(items: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    """Float32, shape (items, 3, size, size)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((items, 3, size, size), dtype=np.float32)


def squeezed_net(
    file: Path,
    *,
    opset: int = 17,
    classes: int = 4,
    channels: int = 8,
    size: int = SIZE,
    batch: str | int = "batch",
) -> Path:
    """A convolution with SiLU, squeeze-excite, a convolution with SiLU, a global mean and Gemm; 15 nodes."""
    rng = np.random.default_rng(1)
    weights: dict[str, np.ndarray] = {}
    nodes: list[Any] = []

    def node(kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv(name: str, x: str, shape: tuple[int, ...]) -> str:
        scale = 1.5 / np.sqrt(np.prod(shape[1:]))
        weights[f"{name}_w"] = (rng.standard_normal(shape) * scale).astype(np.float32)
        weights[f"{name}_b"] = rng.uniform(-0.1, 0.1, shape[0]).astype(np.float32)
        pad = shape[2] // 2
        return node("Conv", name, x, f"{name}_w", f"{name}_b", pads=[pad] * 4)

    def silu(name: str, x: str) -> str:
        return node("Mul", f"{name}_mul", x, node("Sigmoid", f"{name}_sigmoid", x))

    def mean(name: str, x: str, keepdims: int) -> str:
        if opset < 18:
            return node("ReduceMean", name, x, axes=[2, 3], keepdims=keepdims)
        weights[f"{name}_axes"] = np.array([-2, -1])
        return node("ReduceMean", name, x, f"{name}_axes", keepdims=keepdims)

    x = silu("silu1", conv("conv1", "pixels", (channels, 3, 3, 3)))
    gate = silu("se_silu", conv("se_reduce", mean("se_mean", x, 1), (4, channels, 1, 1)))
    gate = node("Sigmoid", "se_gate", conv("se_expand", gate, (channels, 4, 1, 1)))
    x = node("Mul", "se_scale", x, gate)
    x = silu("silu2", conv("conv2", x, (2 * channels, channels, 3, 3)))
    weights["head_w"] = rng.standard_normal((2 * channels, classes)).astype(np.float32)
    nodes.append(helper.make_node("Gemm", [mean("mean", x, 0), "head_w"], ["logits"], name="head"))
    nodes[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value=MACHINE_PATH)
    nodes[0].doc_string = MACHINE_PATH
    return _save(file, nodes, weights, "pixels", [batch, 3, size, size], [batch, classes], opset)


DETECTOR = Detector(
    boxes="output0", scores="output0", axes="columns", box_unit="pixels", activation="none", suppress=True
)
"""How the outputs of `detector` are read."""
DETECTOR_TAIL = {
    "box_view", "box_swap", "softmax", "dfl", "distances", "sides", "near", "far", "sum", "centre", "size", "boxes", "pixels_of",
    "class_view", "sigmoid", "output",
}  # fmt: skip
"""Nodes of `detector` after its last learned layers, `box` and `class`."""


def detector(file: Path, *, classes: int = 3, channels: int = 24, size: int = SIZE) -> Path:
    """Like YOLOv8: two convolutions with SiLU, a branch for boxes and one for classes, and what makes boxes in pixels of them.

    (batch, 3, size, size) to (batch, 4 + classes, (size / 2)²), boxes of hundreds of pixels.
    """
    rng = np.random.default_rng(3)
    cells = (size // 2) ** 2
    y, x = np.divmod(np.arange(cells), size // 2)
    weights = {
        "stem_w": (rng.standard_normal((channels, 3, 3, 3)) / 3).astype(np.float32),
        "stem_b": rng.uniform(-0.1, 0.1, channels).astype(np.float32),
        "neck_w": (rng.standard_normal((channels, channels, 1, 1)) / 3).astype(np.float32),
        "neck_b": rng.uniform(-0.1, 0.1, channels).astype(np.float32),
        "box_w": (rng.standard_normal((64, channels, 1, 1)) / 3).astype(np.float32),
        "class_w": (rng.standard_normal((classes, channels, 1, 1)) / 2).astype(np.float32),
        "class_b": np.full(classes, -1.0, dtype=np.float32),
        "dfl_w": np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1),
        "by_side": np.array([0, 4, 16, cells]),
        "by_box": np.array([0, 4, cells]),
        "by_class": np.array([0, classes, cells]),
        "halves": np.array([2, 2]),
        "anchors": np.stack([x, y]).astype(np.float32)[None] + 0.5,
        "two": np.array(2.0, dtype=np.float32),
        "stride": np.array(640 / (size // 2), dtype=np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["pixels", "stem_w", "stem_b"], ["v"], name="stem", pads=[1] * 4, strides=[2, 2]),
        node("Sigmoid", ["v"], ["w"], name="stem_sigmoid"),
        node("Mul", ["v", "w"], ["x"], name="stem_mul"),
        node("Conv", ["x", "neck_w", "neck_b"], ["a"], name="neck"),
        node("Sigmoid", ["a"], ["b"], name="neck_sigmoid"),
        node("Mul", ["a", "b"], ["c"], name="neck_mul"),
        node("Conv", ["c", "box_w"], ["d"], name="box"),
        node("Conv", ["c", "class_w", "class_b"], ["e"], name="class"),
        node("Reshape", ["d", "by_side"], ["f"], name="box_view"),
        node("Transpose", ["f"], ["g"], name="box_swap", perm=[0, 2, 1, 3]),
        node("Softmax", ["g"], ["h"], name="softmax", axis=1),
        node("Conv", ["h", "dfl_w"], ["i"], name="dfl"),
        node("Reshape", ["i", "by_box"], ["j"], name="distances"),
        node("Split", ["j", "halves"], ["k", "l"], name="sides", axis=1),
        node("Sub", ["anchors", "k"], ["m"], name="near"),
        node("Add", ["anchors", "l"], ["n"], name="far"),
        node("Add", ["m", "n"], ["o"], name="sum"),
        node("Div", ["o", "two"], ["p"], name="centre"),
        node("Sub", ["n", "m"], ["q"], name="size"),
        node("Concat", ["p", "q"], ["r"], name="boxes", axis=1),
        node("Mul", ["r", "stride"], ["s"], name="pixels_of"),
        node("Reshape", ["e", "by_class"], ["t"], name="class_view"),
        node("Sigmoid", ["t"], ["u"], name="sigmoid"),
        node("Concat", ["s", "u"], ["output0"], name="output", axis=1),
    ]
    shapes = ["batch", 3, size, size], ["batch", 4 + classes, cells]
    return _save(file, nodes, weights, "pixels", *shapes, 17, output="output0")


def perceptron(file: Path) -> Path:
    """Gemm, Relu, MatMul: (batch, 64) to (batch, 4)."""
    rng = np.random.default_rng(2)
    weights = {
        "w1": rng.standard_normal((64, 128)).astype(np.float32) / 8,
        "w2": rng.standard_normal((128, 4)).astype(np.float32) / 8,
    }
    nodes = [
        helper.make_node("Gemm", ["pixels", "w1"], ["hidden"], name="gemm"),
        helper.make_node("Relu", ["hidden"], ["active"], name="relu"),
        helper.make_node("MatMul", ["active", "w2"], ["logits"], name="matmul"),
    ]
    return _save(file, nodes, weights, "pixels", ["batch", 64], ["batch", 4], 17)


def _save(
    file: Path,
    nodes: list[Any],
    weights: dict[str, np.ndarray],
    name: str,
    shape: list[Any],
    out: list[Any],
    opset: int,
    output: str = "logits",
) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), file)
    return file
