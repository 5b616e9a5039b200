"""What quantizing needs to know about a graph, on graphs that are small enough to see it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from tests.prepare.small_nets import DETECTOR_TAIL, MACHINE_PATH, detector, perceptron, pictures, squeezed_net

from zoobench.errors import PrepareError
from zoobench.prepare import onnx_graph

SQUEEZE_EXCITE = {"se_reduce", "se_silu_sigmoid", "se_silu_mul", "se_expand", "se_gate"}


@pytest.mark.parametrize("opset", [17, 18])
def test_means_over_the_picture_become_pooling(tmp_path: Path, opset: int) -> None:
    model = onnx.load(squeezed_net(tmp_path / "net.onnx", opset=opset))
    feed = {"pixels": pictures(3)}
    expected = ReferenceEvaluator(model).run(None, feed)[0]
    assert onnx_graph.pool_means(model) == 2
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("ReduceMean"), kinds.count("GlobalAveragePool"), kinds.count("Flatten")) == (0, 2, 1)
    assert not [t.name for t in model.graph.initializer if t.name.endswith("_axes")]
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(ReferenceEvaluator(model).run(None, feed)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("axes", "rank"), [([1], 4), ([1, 2], 4), ([2], 4), ([1, 2, 3], 4), ([1, 2], 3)])
def test_other_means_stay(axes: list[int], rank: int) -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=axes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4, 5][:rank])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert onnx_graph.pool_means(model) == 0
    assert model.graph.node[0].op_type == "ReduceMean"


def test_squeeze_excite_lies_between_pool_and_scale(tmp_path: Path) -> None:
    model = onnx.load(squeezed_net(tmp_path / "net.onnx"))
    assert onnx_graph.squeeze_excite(model) == SQUEEZE_EXCITE
    onnx_graph.pool_means(model)
    assert onnx_graph.squeeze_excite(model) == SQUEEZE_EXCITE


def test_exclusions_mean_nodes(tmp_path: Path) -> None:
    model = onnx.load(squeezed_net(tmp_path / "net.onnx"))
    assert onnx_graph.excluded_nodes(model, ("first_last", "conv2"), "net") == {"conv1", "head", "conv2"}
    assert onnx_graph.excluded_nodes(model, ("squeeze_excite",), "net") == SQUEEZE_EXCITE
    with pytest.raises(PrepareError, match="net has no node 'conv3' to exclude"):
        onnx_graph.excluded_nodes(model, ("conv3",), "net")


def test_every_node_gets_a_name_of_its_own() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["b"], name="Relu_0")]
    graph = helper.make_graph(nodes, "g", [], [])
    model = helper.make_model(graph)
    onnx_graph.name_nodes(model)
    assert [node.name for node in model.graph.node] == ["Relu_0", "Relu_0_"]


def test_where_it_was_made_is_forgotten(tmp_path: Path) -> None:
    model = onnx.load(squeezed_net(tmp_path / "net.onnx"))
    assert MACHINE_PATH.encode() in model.SerializeToString()
    onnx_graph.strip_provenance(model)
    assert MACHINE_PATH.encode() not in model.SerializeToString()


def test_the_input_and_its_batch(tmp_path: Path) -> None:
    model = onnx.load(squeezed_net(tmp_path / "net.onnx"))
    assert onnx_graph.only_input(model, "net") == ("pixels", None)
    assert onnx_graph.only_input(onnx.load(squeezed_net(tmp_path / "fixed.onnx", batch=2)), "f") == (
        "pixels",
        2,
    )
    model.graph.input.add(name="second")
    with pytest.raises(PrepareError, match="net has 2 inputs"):
        onnx_graph.only_input(model, "net")


def test_weighted_nodes(tmp_path: Path) -> None:
    assert onnx_graph.has_weighted(onnx.load(perceptron(tmp_path / "p.onnx")), ["MatMul"])
    assert not onnx_graph.has_weighted(onnx.load(squeezed_net(tmp_path / "n.onnx")), ["MatMul"])


def test_before_a_stride_is_what_runs_on_larger_pictures() -> None:
    def conv(x: str, y: str) -> Any:
        return helper.make_node("Conv", [x, f"{y}_w"], [y], name=y)

    def shaped(name: str, height: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4, height, height])

    graph = helper.make_graph(
        [conv("x", "a"), helper.make_node("Relu", ["a"], ["r"], name="r"), conv("squeezed", "s"), conv("r", "b"), conv("b", "c")],
        "g",
        [shaped("x", 30)],
        [shaped("c", 2)],
        [helper.make_tensor(f"{n}_w", TensorProto.FLOAT, [1], [0.0]) for n in "asbc"],
        value_info=[shaped("a", 15), shaped("r", 15), shaped("s", 1), shaped("b", 4)],
    )  # fmt: skip
    model = helper.make_model(graph)
    assert onnx_graph.before_stride(model, 2) == set()
    # 30 ÷ 8 is 4 when a convolution pads, and what squeeze-excite makes does not count.
    assert onnx_graph.excluded_nodes(model, ("before_stride_8",), "net") == {"a", "r", "s"}
    assert onnx_graph.before_stride(model, 15) == {"a", "r", "s", "b"}
    assert onnx_graph.before_stride(model, 32) == set(), "nothing is so small"
    with pytest.raises(PrepareError, match="no node 'before_stride_0'"):
        onnx_graph.excluded_nodes(model, ("before_stride_0",), "net")


def test_a_detectors_tail_begins_after_both_branches(tmp_path: Path) -> None:
    model = onnx.load(detector(tmp_path / "net.onnx"))
    assert onnx_graph.detection_tail(model) == DETECTOR_TAIL
    assert onnx_graph.excluded_nodes(model, ("detection_tail",), "net") == DETECTOR_TAIL
    assert onnx_graph.excluded_nodes(model, ("detection_head",), "net") == DETECTOR_TAIL | {"box", "class"}


def test_constants_are_no_nodes_of_the_tail_and_their_weights_count(tmp_path: Path) -> None:
    model = onnx.load(detector(tmp_path / "net.onnx"))
    kept = list(model.graph.initializer)
    del model.graph.initializer[:]
    for i, tensor in enumerate(kept):
        model.graph.node.insert(
            i, helper.make_node("Constant", [], [tensor.name], name=f"constant_{i}", value=tensor)
        )
    assert onnx_graph.detection_tail(model) == DETECTOR_TAIL


def test_suppression_and_what_an_if_holds_belong_to_the_tail(tmp_path: Path) -> None:
    model = onnx.load(detector(tmp_path / "net.onnx"))
    shaped = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)
    # The branches read what the graph around them makes.
    branch = helper.make_graph(
        [helper.make_node("Identity", ["u"], ["chosen"], name="kept")], "then", [], [shaped]
    )
    model.graph.node.extend(
        [
            helper.make_node("NonMaxSuppression", ["s", "u"], ["picked"], name="nms"),
            helper.make_node("Size", ["picked"], ["any"], name="count"),
            helper.make_node("If", ["any"], ["found"], name="if", then_branch=branch, else_branch=branch),
        ]
    )
    assert onnx_graph.detection_tail(model) == DETECTOR_TAIL | {"nms", "count", "if"}
    weight = helper.make_tensor("inner_w", TensorProto.FLOAT, [8, 8], [0.0] * 64)
    learned = helper.make_graph(
        [helper.make_node("MatMul", ["u", "inner_w"], ["chosen"], name="inner")],
        "then",
        [],
        [shaped],
        [weight],
    )
    del model.graph.node[-1]
    model.graph.node.append(
        helper.make_node("If", ["any"], ["found"], name="if", then_branch=learned, else_branch=branch)
    )
    # Now a learned layer reads scores and, by its condition, boxes.
    assert onnx_graph.detection_tail(model) == {"output"}
    assert onnx_graph.detection_head(model) == {"output", "if"}


def test_a_classifiers_tail_is_what_follows_its_last_layer(tmp_path: Path) -> None:
    assert onnx_graph.detection_tail(onnx.load(perceptron(tmp_path / "p.onnx"))) == set()
    assert onnx_graph.detection_head(onnx.load(perceptron(tmp_path / "p.onnx"))) == {"matmul"}


def test_the_tail_of_a_file_by_ultralytics() -> None:
    """YOLOv8n as the package nudenet brings it: TorchScript's export, with any height and width."""
    spec = importlib.util.find_spec("nudenet")
    if spec is None or spec.origin is None:
        pytest.skip("nudenet is not installed")
    model = onnx.load(Path(spec.origin).parent / "320n.onnx")
    onnx_graph.name_nodes(model)
    tail = onnx_graph.detection_tail(model)
    assert {"/model.22/dfl/conv/Conv", "/model.22/Sigmoid", "/model.22/Concat", "/model.22/Concat_25"} <= tail
    assert all(name.startswith("/model.22/") for name in tail)
    assert onnx_graph.detection_head(model) - tail == {
        f"/model.22/cv{branch}.{scale}/cv{branch}.{scale}.2/Conv" for branch in (2, 3) for scale in range(3)
    }
