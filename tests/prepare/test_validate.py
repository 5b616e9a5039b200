"""Validation must tell right from wrong, and cover all check items in batches of different sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoobench.errors import PrepareError, install_extra
from zoobench.prepare.validate import Validated, run_in_batches, validate_onnx
from zoobench.tasks import open_task

pytestmark = pytest.mark.slow

INPUTS = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
WEIGHT = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
EXPECTED = INPUTS @ WEIGHT


def linear(
    folder: Path, *, weight: np.ndarray = WEIGHT, batch: int | str = "batch", log: bool = False
) -> Path:
    """logits = x · weight, or their logarithm, which is NaN for negative ones."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    nodes.append(helper.make_node("Log" if log else "Identity", ["y"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def checked(file: Path, inputs: np.ndarray, expected: np.ndarray, **asked: Any) -> Validated:
    return validate_onnx(file, inputs, {"outputs": expected}, task=open_task("image_classification"), **asked)


def test_the_right_model_passes(tmp_path: Path) -> None:
    validation = checked(linear(tmp_path), INPUTS, EXPECTED).validation
    assert validation is not None
    assert validation.passed
    assert validation.max_rel < 1e-6
    assert validation.cosine == pytest.approx(1.0)
    assert validation.top1_agreement == 1.0
    assert validation.batches == (1, 2, 5)
    assert validation.runtime.startswith("onnxruntime ")


def test_a_difference_beyond_the_tolerance_fails(tmp_path: Path) -> None:
    file = linear(tmp_path, weight=WEIGHT * np.float32(1.01))
    failed = checked(file, INPUTS, EXPECTED).validation
    assert failed is not None
    assert not failed.passed
    assert failed.max_rel == pytest.approx(0.01, rel=1e-3)
    assert failed.max_abs == pytest.approx(0.01 * np.abs(EXPECTED).max(), rel=1e-3)
    lenient = checked(file, INPUTS, EXPECTED, tolerance=0.02).validation
    assert lenient is not None
    assert lenient.passed


def test_one_wrong_item_is_enough_to_fail(tmp_path: Path) -> None:
    for item in range(len(INPUTS)):
        wrong = EXPECTED.copy()
        wrong[item] = -wrong[item]
        validation = checked(linear(tmp_path), INPUTS, wrong).validation
        assert validation is not None
        assert not validation.passed
        assert validation.cosine == pytest.approx(-1.0)


def test_outputs_that_are_not_finite_fail_with_finite_figures(tmp_path: Path) -> None:
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(np.log(EXPECTED))
    result = checked(linear(tmp_path, log=True), INPUTS, expected, tolerance=1e9)
    assert result.validation is not None
    assert not result.validation.passed
    assert "not finite" in result.notes[0]
    assert result.validation.model_validate_json(result.validation.model_dump_json()) == result.validation


def test_a_fixed_batch_is_run_at_that_batch(tmp_path: Path) -> None:
    validation = checked(linear(tmp_path, batch=3), INPUTS, EXPECTED, fixed_batch=3).validation
    assert validation is not None
    assert validation.passed
    assert validation.batches == (3,)
    with pytest.raises(PrepareError, match="cannot run"):
        checked(tmp_path / "model.onnx", INPUTS, EXPECTED)


def test_another_output_shape_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match=r"its outputs are \(8, 3\), the reference's are \(8, 2\)"):
        checked(linear(tmp_path), INPUTS, EXPECTED[:, :2])


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(PrepareError, match=r"cannot load model\.onnx") as caught:
        checked(tmp_path / "model.onnx", INPUTS, EXPECTED)
    assert "\n" not in str(caught.value)


def test_openvino_stands_in_for_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    _without(monkeypatch, "onnxruntime")
    validation = checked(linear(tmp_path), INPUTS, EXPECTED).validation
    assert validation is not None
    assert validation.passed
    assert validation.runtime.startswith("openvino ")


def test_without_a_runtime_there_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "onnxruntime", "openvino")
    result = checked(linear(tmp_path), INPUTS, EXPECTED)
    assert result.validation is None
    assert install_extra("cpu") in result.notes[0]


def _without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name in packages else find(name, *a)
    )


def test_batches_cover_every_item_once_in_order() -> None:
    seen: list[int] = []

    def run(inputs: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(len(inputs))
        return {"twice": inputs * 2, "same": inputs}

    assert np.array_equal(run_in_batches(run, INPUTS, (1, 2, 5))["twice"], INPUTS * 2)
    assert seen == [1, 2, 5]
    assert np.array_equal(run_in_batches(run, INPUTS, (3,))["twice"], INPUTS * 2)
    assert np.array_equal(run_in_batches(run, INPUTS, (20,))["twice"], INPUTS * 2)


def test_a_batch_that_comes_back_with_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="a batch of 2 gave 1 rows of y"):
        run_in_batches(lambda inputs: {"y": inputs[:1]}, INPUTS, (1, 2, 5))
