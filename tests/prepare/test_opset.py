"""The step from opset 18 to 17 keeps what a graph computes, or says why it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from zoobench.prepare.opset import NoWayDown, lowered, opset_of

X = np.random.default_rng(0).standard_normal((2, 4, 6)).astype(np.float32)


def model_of(nodes: list[Any], outputs: list[str], opset: int = 18, **constants: list[Any]) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(X.shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def assert_same_at_17(model: Any) -> None:
    expected = ReferenceEvaluator(model).run(None, {"x": X})
    for output, value in zip(model.graph.output, expected, strict=True):
        output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, list(np.shape(value))))
    before = model.SerializeToString()
    down = lowered(model, 17)
    assert opset_of(down) == 17
    onnx.checker.check_model(down, full_check=True)
    actual = ReferenceEvaluator(down).run(None, {"x": X})
    assert all(np.array_equal(e, a) for e, a in zip(expected, actual, strict=True))
    assert model.SerializeToString() == before


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceMax", "ReduceL2", "ReduceSumSquare"])
def test_reductions_take_their_axes_as_an_attribute(operator: str) -> None:
    node = helper.make_node(operator, ["x", "axes"], ["y"], keepdims=0, noop_with_empty_axes=0)
    model = model_of([node], ["y"], axes=[1, 2])
    assert_same_at_17(model)
    assert not lowered(model, 17).graph.initializer


def test_a_reduction_over_everything_needs_no_axes() -> None:
    assert_same_at_17(model_of([helper.make_node("ReduceMean", ["x"], ["y"])], ["y"]))


def test_axes_may_come_from_a_constant_node() -> None:
    axes = helper.make_node("Constant", [], ["axes"], value=numpy_helper.from_array(np.array([2])))
    assert_same_at_17(model_of([axes, helper.make_node("ReduceMean", ["x", "axes"], ["y"])], ["y"]))


def test_split_into_equal_parts() -> None:
    assert_same_at_17(
        model_of([helper.make_node("Split", ["x"], ["a", "b", "c"], axis=2, num_outputs=3)], ["a", "b", "c"])
    )
    assert_same_at_17(
        model_of([helper.make_node("Split", ["x", "s"], ["a", "b"], axis=1)], ["a", "b"], s=[1, 3])
    )


def test_pad_and_resize_without_their_new_features() -> None:
    pad = helper.make_node("Pad", ["x", "pads"], ["y"], mode="constant")
    assert_same_at_17(model_of([pad], ["y"], pads=[0, 0, 1, 0, 0, 2]))
    resize = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest")
    assert_same_at_17(model_of([resize], ["y"], sizes=[2, 8, 12]))


@pytest.mark.parametrize(
    ("node", "constants", "reason"),
    [
        (helper.make_node("Split", ["x"], ["y", "z"], axis=2, num_outputs=4), {}, "not known to be equal"),
        (helper.make_node("ReduceMean", ["x", "e"], ["y"], noop_with_empty_axes=1), {"e": []}, "empty_axes"),
        (helper.make_node("Pad", ["x", "p", "", "a"], ["y"]), {"p": [0, 1], "a": [2]}, "Pad of named axes"),
        (helper.make_node("Resize", ["x", "", "s"], ["y"], antialias=1), {"s": [1.0]}, "antialias"),
        (helper.make_node("Mish", ["x"], ["y"]), {}, "Mish changed"),
    ],
)
def test_what_17_cannot_say_is_refused(node: Any, constants: dict[str, list[Any]], reason: str) -> None:
    with pytest.raises(NoWayDown, match=reason):
        lowered(model_of([node], ["y"], **constants), 17)


def test_lower_than_17_goes_on_with_the_official_converter() -> None:
    model = model_of([helper.make_node("ReduceMean", ["x", "axes"], ["y"])], ["y"], axes=[1])
    down = lowered(model, 13)
    assert opset_of(down) == 13
    expected, actual = (ReferenceEvaluator(m).run(None, {"x": X})[0] for m in (model, down))
    assert np.array_equal(expected, actual)
