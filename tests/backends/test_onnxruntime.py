"""What only ONNX Runtime's own sessions have to get right."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from zoobench.backends import open_backend
from zoobench.spec import Artifact, Case


@pytest.mark.slow
def test_a_graph_that_leaves_its_size_open_is_profiled_at_the_artifacts(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["image"], ["out"])]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", "width"])
        for name in ("image", "out")
    ]
    graph = helper.make_graph(nodes, "relu", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    artifact = Artifact(
        path=tmp_path,
        format="onnx",
        file="model.onnx",
        sha256="0" * 64,
        size_bytes=1,
        model="relu",
        input_name="image",
        input_shape=(3, 20, 30),
        outputs=("out",),
    )
    session = open_backend("onnx_cpu").load(artifact, Case(model="relu", backend="onnx_cpu", threads=1))
    assert session.evidence().provider_nodes == {"CPUExecutionProvider": 1.0}
    session.close()
