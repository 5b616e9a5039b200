"""What an exported file says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoobench.card import KEY, Card, append_card, read_card
from zoobench.spec import Detector, Preprocessing

CARD = Card(
    task="object_detection",
    licence="AGPL-3.0",
    preprocessing=Preprocessing(resize=(320, 320), fit="longest", border=(114, 114, 114)),
    labels=("cat", "<img src=x>|**x**", "ü" * 100),
    detector=Detector(boxes="output0", scores="output0", box_unit="pixels"),
)


def small_model(file: Path) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.ones(3, np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": "{0: 'cat'}"})
    onnx.save(model, file)
    return model


def metadata(file: Path) -> dict[str, str]:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    return {entry.key: entry.value for entry in model.metadata_props}


def test_a_card_is_added_to_a_file_and_read_again(tmp_path: Path) -> None:
    before = small_model(tmp_path / "m.onnx")
    append_card(tmp_path / "m.onnx", CARD)
    told = metadata(tmp_path / "m.onnx")
    assert read_card(told) == CARD
    assert told["names"] == "{0: 'cat'}", "what stood there stays"
    after = onnx.load(tmp_path / "m.onnx")
    del after.metadata_props[-1]
    assert after == before, "nothing else has changed"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"task": "poetry"}', '{"task": "object_detection", "labels": 7}', "x" * 2_000_000],
)
def test_what_is_no_card_says_nothing(text: str) -> None:
    assert read_card({KEY: text}) is None
    assert read_card({}) is None


def test_a_file_of_a_strangers_asks_for_no_gigapixels() -> None:
    """Who writes the file writes the card, and pictures are made as large as it says."""
    assert CARD.preprocessing
    for edges in ((1 << 20, 320), (320, 0), (-1, 320)):
        huge = CARD.model_copy(
            update={"preprocessing": CARD.preprocessing.model_copy(update={"resize": edges})}
        )
        assert read_card({KEY: huge.model_dump_json()}) is None
