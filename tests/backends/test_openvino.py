"""What OpenVINO says it ran: int8 is what computes on bytes, and not what only holds some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.prepare.small_nets import SIZE, pictures, squeezed_net

from zoobench.backends.openvino import OpenVinoSession
from zoobench.prepare.quantize_openvino import quantize_openvino
from zoobench.spec import Artifact, Case

pytestmark = pytest.mark.slow


def precision_of(file: Path, shape: tuple[int, ...]) -> str:
    artifact = Artifact(
        path=file.parent,
        format="openvino",
        sha256="0",
        size_bytes=1,
        file=file.name,
        model="m",
        input_shape=shape,
    )
    return OpenVinoSession(artifact, Case(model="m", backend="openvino", threads=1)).evidence().precision


def masked_product(file: Path) -> Path:
    """A matrix product whose small values are masked out, as attention does: the mask is of bytes."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Greater", ["product", "zero"], ["positive"]),
        helper.make_node("Less", ["product", "one"], ["small"]),
        helper.make_node("And", ["positive", "small"], ["mask"]),
        helper.make_node("Where", ["mask", "product", "zero"], ["kept"]),
    ]
    constants = {"w": np.eye(8, dtype=np.float32), "zero": np.float32(0), "one": np.float32(1)}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "masked",
        [value("x", TensorProto.FLOAT, ["batch", 8])],
        [value("kept", TensorProto.FLOAT, ["batch", 8]), value("mask", TensorProto.BOOL, ["batch", 8])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    return file


def test_a_mask_does_not_make_a_model_int8(tmp_path: Path) -> None:
    assert precision_of(masked_product(tmp_path / "model.onnx"), (8,)) == "fp32"


def test_a_quantized_model_is_int8(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    net = squeezed_net(tmp_path / "net.onnx")
    quantize_openvino(net, tmp_path / "int8" / "model.xml", [pictures(4)])
    assert precision_of(net, (3, SIZE, SIZE)) == "fp32"
    assert precision_of(tmp_path / "int8" / "model.xml", (3, SIZE, SIZE)) == "int8"
