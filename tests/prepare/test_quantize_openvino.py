"""NNCF's files run in OpenVINO, nearly as the fp32 model does, and are the same each time."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.prepare.small_nets import detector, pictures, squeezed_net

from zoobench.errors import PrepareError
from zoobench.prepare.quantize_openvino import quantize_openvino


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
    with pytest.raises(PrepareError, match="needs the package nncf; pip install nncf openvino"):
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
