"""The export ladder: what comes out is dynamic, at the opset asked, stripped, and the same bytes every time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tests.small_detectors import small

from zoobench.errors import PrepareError
from zoobench.prepare import export
from zoobench.prepare.build import build_onnx, build_torch
from zoobench.prepare.export import Exported, export_onnx, strip_metadata

SHAPE = (3, 8, 8)


class Net(torch.nn.Module):  # type: ignore[misc]
    """A convolution, a batch norm, a mean and a split: what opset 17 says otherwise than 18."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 16, 3)
        self.norm = torch.nn.BatchNorm2d(16)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        left, right = self.norm(self.conv(x)).relu().chunk(2, dim=1)
        return self.head((left * right).mean((2, 3)))


def made(folder: Path, **more: Any) -> Exported:
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    return export_onnx(Net().eval(), folder, input_shape=SHAPE, **more)


def graph_of(folder: Path) -> Any:
    return onnx.load(folder / "model.onnx").graph


@pytest.mark.slow
def test_dynamic_at_the_opset_asked_and_the_same_bytes_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exported = made(tmp_path / "a", opset=17, input_name="image")
    assert exported == Exported("model.onnx", "dynamo_dynamic", 17, True, None, ())
    graph = graph_of(tmp_path / "a")
    assert [v.name for v in (*graph.input, *graph.output)] == ["image", "logits"]
    made(tmp_path / "b", opset=17, input_name="image")
    content = (tmp_path / "a" / "model.onnx").read_bytes()
    assert content == (tmp_path / "b" / "model.onnx").read_bytes()
    assert str(Path(__file__).parent).encode() not in content
    assert b"site-packages" not in content
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 20])
def test_newer_opsets(tmp_path: Path, opset: int) -> None:
    assert made(tmp_path, opset=opset).opset == opset


@pytest.mark.slow
def test_an_opset_that_cannot_be_had_is_noted(tmp_path: Path) -> None:
    exported = made(tmp_path, opset=7)
    assert exported.opset > 7
    assert f"opset {exported.opset} instead of 7" in exported.notes[0]


@pytest.mark.slow
def test_the_second_rung_fixes_the_batch_at_one_and_says_so(tmp_path: Path) -> None:
    def refuse_dynamic(exported: Exported) -> None:
        if exported.dynamic_batch:
            raise PrepareError("no")

    exported = made(tmp_path, accept=refuse_dynamic)
    assert (exported.rung, exported.dynamic_batch, exported.fixed_batch) == ("dynamo_static", False, 1)
    assert exported.notes == ("dynamo_dynamic export failed: no", "the batch is fixed at 1")


@pytest.mark.slow
def test_the_last_rung_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_dynamo", _raise)
    exported = made(tmp_path)
    assert (exported.rung, exported.opset, exported.dynamic_batch) == ("torchscript", 17, True)
    assert exported.notes == (
        "dynamo_dynamic export failed: no such operator",
        "dynamo_static export failed: no such operator",
    )


@pytest.mark.slow
def test_large_weights_lie_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "EXTERNAL_DATA_BYTES", 100)
    made(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}


def _raise(*_: Any, **__: Any) -> Any:
    raise RuntimeError("\nno such operator\nand forty more lines")


def _written(dim: int | str) -> Any:
    """A rung that gives a one-node model whose batch axis is `dim`."""

    def rung(asked: Any) -> Any:
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [dim, 4])
            for name in (asked.input_name, "y")
        ]
        graph = helper.make_graph(
            [helper.make_node("Relu", [asked.input_name], ["y"])], "g", values[:1], values[1:]
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    return rung


def rungs(monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
    monkeypatch.setattr(export, "_RUNGS", given)


def test_a_file_that_cannot_be_run_means_the_next_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs(monkeypatch, first=_written("batch"), second=_written(1))

    def accept(exported: Exported) -> None:
        if exported.rung == "first":
            raise PrepareError("onnxruntime cannot run it")

    exported = export_onnx(None, tmp_path, input_shape=(4,), accept=accept)
    assert exported.rung == "second"
    assert exported.notes[0] == "first export failed: onnxruntime cannot run it"


def test_when_every_rung_fails_all_reasons_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs(monkeypatch, first=_raise, second=_raise)
    with pytest.raises(PrepareError) as caught:
        export_onnx(None, tmp_path, input_shape=(4,))
    assert str(caught.value) == (
        "no ONNX file could be made: first export failed: no such operator; "
        "second export failed: no such operator"
    )
    assert list(tmp_path.iterdir()) == []


def test_what_a_refused_rung_wrote_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs(monkeypatch, first=_written("batch"))
    with pytest.raises(PrepareError, match="no such operator"):
        export_onnx(None, tmp_path, input_shape=(4,), accept=_raise)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_no_reason_for_the_next_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    rungs(monkeypatch, first=full, second=_written("batch"))
    with pytest.raises(OSError, match="No space"):
        export_onnx(None, tmp_path, input_shape=(4,))


def test_metadata_is_stripped_everywhere() -> None:
    model = _written("batch")(export._Asked(None, (4,), "x", ("y",), 17))
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"], doc_string="/home/me/inner.py")], "inner", [], []
    )
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    model.producer_name = "pytorch"
    for part in (model, model.graph, model.graph.node[0], model.graph.input[0]):
        part.doc_string = "/home/me/file.py"
        part.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="/home/me/file.py")
    strip_metadata(model)
    assert b"/home/me" not in model.SerializeToString()
    assert model.producer_name == "pytorch"


class AsksForTheLength(torch.nn.Module):  # type: ignore[misc]
    """What RT-DETR and D-FINE do beside convolving: len() of a batch, and a check of their own tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.token = torch.nn.Parameter(torch.ones(1, 4))

    def forward(self, x: Any) -> Any:
        from transformers.utils import torch_compilable_check

        torch_compilable_check(x == x, "no picture has a value that is none")
        return x.mean((2, 3)) @ self.token.new_ones(3, 4) + self.token.repeat(len(x), 1)


@pytest.mark.slow
def test_a_batch_stays_free_though_the_model_asks_for_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSFORMERS_DISABLE_TORCH_CHECK", "0")
    before = len
    exported = export_onnx(AsksForTheLength().eval(), tmp_path, input_shape=SHAPE)
    assert (exported.rung, exported.dynamic_batch) == ("dynamo_dynamic", True)
    assert len is before and os.environ["TRANSFORMERS_DISABLE_TORCH_CHECK"] == "0"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["yolo", "rt_detr_v2"])
def test_a_detector_is_exported_with_a_free_batch_and_computes_what_pytorch_does(
    family: str, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("torch", "onnx")]
    for folder in folders:
        folder.mkdir()
    spec = small(family, size=64)
    source = build_torch(folders[0], spec, None, seed=0, recipe={})
    made = build_onnx(folders[1], spec, source, recipe={})
    assert (made.export_rung, made.dynamic_batch, made.opset) == ("dynamo_dynamic", True, 17)
    assert made.outputs == source.outputs and made.detector == source.detector
    assert made.validation is not None and made.validation.passed
    assert made.validation.batches == (1, 2, 5)
