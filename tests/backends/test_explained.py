"""ONNX Runtime's own profile of a small net, explained: what SiLU in floats costs an int8 file is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.prepare.small_nets import pictures, squeezed_net
from tests.show.records import make_record

from zoobench.backends.onnxruntime import OrtSession
from zoobench.judge.explain import Explanation, explain
from zoobench.prepare.quantize import Recipe, quantize_static
from zoobench.results.record import Record
from zoobench.show.why import sentences
from zoobench.spec import Artifact, Case
from zoobench.terms import Precision

pytestmark = pytest.mark.slow

SIZE = 48


def profiled(file: Path, precision: Precision) -> Record:
    artifact = Artifact(
        path=file.parent,
        file=file.name,
        format="onnx",
        sha256="0" * 64,
        size_bytes=1,
        model="net",
        input_name="pixels",
        input_shape=(3, SIZE, SIZE),
        precision=precision,
    )
    case = Case(model="net", backend="onnx_cpu", threads=1, precision=precision)
    session = OrtSession(artifact, case, ["CPUExecutionProvider"])
    try:
        told = session.evidence()
    finally:
        session.close()
    return make_record("net", precision=precision, threads=1, evidence=told)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    folder = tmp_path_factory.mktemp("explained")
    source = squeezed_net(folder / "net.onnx", channels=32, size=SIZE)
    records = {"fp32": profiled(source, Precision.FP32)}
    for name, extra in (("plain", ()), ("whole", ("Mul", "Sigmoid"))):
        file = folder / f"{name}.onnx"
        quantize_static(source, file, Recipe(name=name, extra_op_types=extra), [pictures(2, size=SIZE)])
        records[name] = profiled(file, Precision.INT8)
    return records


def explained(files: dict[str, Record], name: str) -> Explanation:
    return explain(files[name], (), (files["fp32"], ()))


def test_the_plain_recipe_converts_around_silu(files: dict[str, Record]) -> None:
    found = explained(files, "plain")
    conversion = found.kind("conversion")
    assert conversion is not None
    assert conversion.nodes >= 8
    assert {o for left in found.leftovers for o in left.operators} >= {"Mul", "Sigmoid"}
    assert all(left.has_int8 for left in found.leftovers if left.name in ("Mul", "Sigmoid", "QuickGelu"))
    assert found.versus is not None
    groups = {d.group: d for d in found.versus.differences}
    assert groups["convolution"].fp32_nodes == groups["convolution"].nodes == 4
    assert groups["conversions"].fp32_nodes == 0
    assert groups["conversions"].delta_us > 0
    assert "only convert" in dict(sentences(found))["What computes nothing:"]
    assert found.profiled_us == pytest.approx(files["plain"].evidence.details["profiled_us"])  # type: ignore[union-attr]


def test_the_whole_recipe_leaves_nothing_in_floats(files: dict[str, Record]) -> None:
    found = explained(files, "whole")
    conversion, plain = found.kind("conversion"), explained(files, "plain").kind("conversion")
    assert conversion is not None
    assert plain is not None
    assert conversion.nodes == 2 < plain.nodes, "its input and its output"
    assert [left for left in found.leftovers if left.name in ("Mul", "Sigmoid", "QuickGelu")] == []


def test_fp32_is_matched_group_by_group(files: dict[str, Record]) -> None:
    found = explained(files, "whole").versus
    assert found is not None
    groups = {d.group: (d.fp32_nodes > 0, d.nodes > 0) for d in found.differences}
    for name in ("convolution", "matrix product", "activation and scaling", "pooling and means"):
        assert groups[name] == (True, True), name
    assert "others" not in groups or not groups["others"][0]
