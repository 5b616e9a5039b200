"""How a configuration is named within a sentence."""

from __future__ import annotations

from tests.judge.rows import cell

from zoobench.show.measures import short_name


def test_configurations_that_differ_in_threads_have_names_of_their_own() -> None:
    assert short_name(cell()) == "resnet18 · onnx_cpu · fp32 · batch 1"
    assert short_name(cell(threads=1)) == "resnet18 · onnx_cpu · fp32 · batch 1 · 1 thread"
    assert "(spin=true)" in short_name(cell(options={"spin": True}))
