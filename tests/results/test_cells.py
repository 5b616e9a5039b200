"""A few words name one cell, or the error says how to name it."""

from __future__ import annotations

import pytest
from tests.show.records import OTHER_MACHINE, make_record

from zoobench.errors import UsageError
from zoobench.results.cells import find_cell
from zoobench.results.record import Record

RECORDS = [
    make_record("resnet18"),
    make_record("resnet18", precision="int8"),
    make_record("resnet18", precision="int8_dynamic"),
    make_record("resnet18", batch=8),
    make_record("resnet18", "onnx_cpu", threads=1),
    make_record("resnet18d", "openvino", options={"streams": 2}),
    make_record("efficientnet_b0", "pytorch"),
    make_record("efficientnet_b0", "pytorch", machine=OTHER_MACHINE),
]


@pytest.mark.parametrize(
    ("words", "at"),
    [
        (["resnet18", "onnx_cpu", "int8"], 1),
        (["int8", "resnet18"], 1),
        (["int8_dynamic"], 2),
        (["batch=8"], 3),
        (["resnet18", "batch", "8"], 3),
        (["resnet18 batch 8"], 3),
        (["threads=1"], 4),
        (["resnet18d"], 5),
        (["streams=2"], 5),
        (["openv"], 5),
        ([RECORDS[1].case.id[:6]], 1),
        ([RECORDS[3].case.id], 3),
        (["efficientnet", "machine=ffee"], 7),
        (["resnet18", "·", "onnx_cpu", "·", "int8"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_in_any_order(words: list[str], at: int) -> None:
    assert find_cell(RECORDS, words, "latest") is RECORDS[at]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["onnx_cpi"], "no cell of 'latest' is called 'onnx_cpi'; did you mean 'onnx_cpu'?"),
        (["zzz"], "there is resnet18 onnx_cpu fp32 batch=1 threads=2"),
        (["zzz"], ", and 2 more"),
        (["int8", "batch=8"], "no cell of 'latest' is all of int8 batch=8; there is resnet18"),
        (["int8_dynamic", "batch"], "'batch'"),
        (["resnet18", "fp32", "threads=2"], "2 cells of 'latest' fit 'resnet18 fp32 threads=2'; name one: "),
        (["resnet18", "fp32", "threads=2"], "resnet18 onnx_cpu fp32 batch=1; resnet18 onnx_cpu fp32 batch=8"),
        (["efficientnet_b0"], "machine=0f3a9c21; efficientnet_b0 pytorch fp32 batch=1 machine=ffee9c21"),
        ([], "'latest' holds 8 cells; name one: "),
    ],
)
def test_none_or_several_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        find_cell(RECORDS, words, "latest")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_name_in_a_list_finds_its_cell() -> None:
    with pytest.raises(UsageError) as raised:
        find_cell(RECORDS[:6], [], "latest")
    names = str(raised.value).partition("name one: ")[2].split("; ")
    found: list[Record] = [find_cell(RECORDS[:6], [name], "latest") for name in names]
    assert [id(r) for r in found] == [id(r) for r in RECORDS[:6]]


def test_one_cell_needs_no_name() -> None:
    assert find_cell(RECORDS[:1], [], "latest") is RECORDS[0]
