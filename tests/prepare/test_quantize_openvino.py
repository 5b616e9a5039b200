"""NNCF's files run in OpenVINO, nearly as the fp32 model does, and are the same each time."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.prepare.small_nets import detector, pictures, squeezed_net

from zoobench.errors import PrepareError
from zoobench.prepare.quantize_openvino import open_for_judging, quantize_openvino


@pytest.mark.slow
def test_it_computes_nearly_the_same_and_again_the_same(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    import openvino

    net = squeezed_net(tmp_path / "net.onnx")
    files = [tmp_path / name / "model.xml" for name in "ab"]
    for file in files:
        made = quantize_openvino(net, file, [pictures(4), pictures(4, seed=1)])
    assert made.quantized_nodes >= 4
    for suffix in (".xml", ".bin"):
        one, two = (file.with_suffix(suffix).read_bytes() for file in files)
        assert one == two
    assert sorted(p.name for p in files[0].parent.iterdir()) == ["model.bin", "model.xml"]
    assert str(tmp_path).encode() not in files[0].read_bytes()
    expected, found = (openvino.Core().compile_model(file, "CPU") for file in (net, files[0]))
    for items in (1, 3):
        inputs = {"pixels": pictures(items, seed=9)}
        a, b = expected(inputs)["logits"], found(inputs)["logits"]
        assert a.shape == b.shape
        assert float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min()) > 0.97


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "nncf":
            raise ModuleNotFoundError("No module named 'nncf'", name="nncf")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PrepareError, match=r"needs the package nncf; .*pip install .*\[nncf\]'"):
        quantize_openvino(tmp_path / "net.onnx", tmp_path / "net.xml", [pictures(1)])


def test_data_and_name_come_first(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match=r"net\.onnx: there is no calibration data"):
        quantize_openvino(tmp_path / "net.onnx", tmp_path / "net.xml", [])
    with pytest.raises(PrepareError, match=r"out\.onnx is not \.xml"):
        quantize_openvino(tmp_path / "net.onnx", tmp_path / "out.onnx", [pictures(1)])


@pytest.mark.slow
def test_a_detectors_tail_is_found_in_openvinos_own_graph(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    import openvino

    net, file = detector(tmp_path / "net.onnx"), tmp_path / "net.xml"

    def quantized_before(names: set[str]) -> set[str]:
        """Those of the nodes that read what was rounded to bytes."""
        operations = openvino.Core().read_model(file).get_ordered_ops()
        rounded = {
            op.get_friendly_name()
            for op in operations
            for value in op.input_values()
            if value.get_node().get_type_name() == "FakeQuantize"
        }
        return rounded & names

    arithmetic = {"dfl", "near", "far", "sum", "size", "pixels_of"}
    assert not quantize_openvino(net, file, [pictures(4)]).left_out
    assert quantized_before(arithmetic)
    made = quantize_openvino(net, file, [pictures(4)], leave_out=("detection_tail",), extremes=True)
    assert arithmetic <= set(made.left_out) and not quantized_before(arithmetic)
    assert "stem" not in made.left_out and "nodes of the detection tail left in fp32" in made.notes[0]
    with_head = quantize_openvino(net, file, [pictures(4)], leave_out=("detection_head",))
    assert len(with_head.left_out) == len(made.left_out) + 2
    assert with_head.quantized_nodes < made.quantized_nodes


@pytest.mark.slow
def test_extremes_are_what_any_item_reaches(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    import openvino

    net, shown = detector(tmp_path / "net.onnx"), pictures(4)
    shown[3] *= 5
    reached = []
    for extremes in (False, True):
        quantize_openvino(
            net, tmp_path / "net.xml", [shown], leave_out=("detection_tail",), extremes=extremes
        )
        operations = openvino.Core().read_model(tmp_path / "net.xml").get_ordered_ops()
        first = next(op for op in operations if op.get_type_name() == "FakeQuantize")
        reached.append(float(first.input_value(2).get_node().get_data().max()))
    assert reached[0] < 0.6 * np.abs(shown).max()
    assert reached[1] == pytest.approx(shown.max(), rel=0.05)


@pytest.mark.slow
def test_what_is_picked_from_a_constant_does_not_stop_nncf(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    model = onnx.load(detector(tmp_path / "net.onnx"))
    # Position embeddings, as vision transformers have them.
    table = np.random.default_rng(0).standard_normal((2, 24, 8, 8)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(table, "table"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0), "index"))
    at = next(i for i, node in enumerate(model.graph.node) if node.name == "neck")
    model.graph.node[at].input[0] = "placed"
    for node in (
        helper.make_node("Add", ["x", "positions"], ["placed"], name="place"),
        helper.make_node("Gather", ["table", "index"], ["positions"], name="pick"),
    ):
        model.graph.node.insert(at, node)
    onnx.save(model, tmp_path / "placed.onnx")
    made = quantize_openvino(
        tmp_path / "placed.onnx", tmp_path / "net.xml", [pictures(4)], leave_out=("detection_tail",)
    )
    assert made.quantized_nodes


@pytest.mark.slow
def test_all_outputs_are_judged_in_the_graphs_order(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model = onnx.load(detector(tmp_path / "net.onnx"))
    del model.graph.node[-1]
    del model.graph.output[0]
    for name in ("u", "s"):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "two.onnx")
    scores, boxes = open_for_judging(tmp_path / "two.onnx", 1).run(None, {"pixels": pictures(2)})
    assert (scores.shape, boxes.shape) == ((2, 3, 64), (2, 4, 64))
