"""Small ONNX models with fixed weights, to be quantized in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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
) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), file)
    return file
