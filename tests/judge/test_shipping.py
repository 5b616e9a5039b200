"""The command that makes the file to ship."""

from __future__ import annotations

from typing import Any

import pytest
from tests.judge.rows import cell, speaker

from zoobench.judge.asks import Carried
from zoobench.judge.shipping import file_words

GIVEN = Carried.of(
    [
        "zoobench",
        "run",
        "--models",
        "./my.onnx",
        "--registry",
        "zoo.toml",
        "--calibration",
        "./mine",
        "--samples",
        "9",
        "--allow-pickle",
    ]
)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "export resnet18 --registry zoo.toml --allow-pickle"),
        ({"backend": "openvino"}, "export resnet18 --registry zoo.toml --allow-pickle"),
        ({"precision": "int8"}, "quantize resnet18 --precision int8 --backend onnx_cpu --registry zoo.toml --calibration ./mine --allow-pickle"),
        ({"precision": "int8_dynamic"}, "quantize resnet18 --precision int8_dynamic --backend onnx_cpu --registry zoo.toml --allow-pickle"),
        ({"backend": "openvino", "precision": "bf16"}, None),
        ({"backend": "pytorch"}, None),
        ({"backend": "fake", "weights": "fake"}, None),
        ({"model": "my.onnx", "weights": "local"}, None),
        ({"model": "my.onnx", "weights": "local", "precision": "int8"}, "quantize ./my.onnx --precision int8 --backend onnx_cpu --registry zoo.toml --calibration ./mine --allow-pickle"),
    ],
)  # fmt: skip
def test_what_was_given_is_given_again(row: dict[str, Any], words: str | None) -> None:
    one = cell(**row)
    found = file_words(one, {one.run_id: GIVEN})
    assert found == (None if words is None else ("zoobench", *words.split()))


def test_what_no_run_says_is_not_needed_and_a_language_model_is_no_one_file() -> None:
    assert file_words(cell(), {}) == ("zoobench", "export", "resnet18")
    assert file_words(speaker(backend="onnx_cpu"), {}) is None
