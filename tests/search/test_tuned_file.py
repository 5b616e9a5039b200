"""Tuned options as they are kept: what is written is read, and what is wrong is told in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoobench import api
from zoobench.errors import UsageError
from zoobench.plan import Inventory, plan
from zoobench.search.tuned_file import (
    Tuned,
    beside_defaults,
    check_writable,
    fitting,
    merged,
    read_tuned,
    remarks,
    write_tuned,
)
from zoobench.terms import Precision

HOSTILE = '<img src=x onerror=alert(1)>|**x**"\\\n\x7f'
ONE = Tuned("resnet18", "onnx_cpu", Precision.FP32, 1, 1, (("allow_spinning", False),), "here", "0.9")
ENTRY = 'model = "resnet18"\nbackend = "onnx_cpu"\nprecision = "fp32"\nbatch = 1\nthreads = 1\n'


def written(folder: Path, body: str) -> Path:
    file = folder / "tuned.toml"
    file.write_text(body, "utf-8")
    return file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    several = [
        ONE,
        Tuned("resnet18", "onnx_cpu", Precision.FP32, 8, 2, (), "here"),
        Tuned(HOSTILE, "fake", Precision.INT8, 1, 4, (("fake_p50_ms", 4.5), ("fake_fault", HOSTILE)), None, HOSTILE),
    ]  # fmt: skip
    several[2] = Tuned(**{**several[2].__dict__, "options": tuple(sorted(several[2].options))})
    write_tuned(tmp_path / "tuned.toml", several)
    assert read_tuned(tmp_path / "tuned.toml") == several


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "a list of [[tuned]] tables is needed"),
        ("x = 1\n[[tuned]]\n" + ENTRY, "it has 'x'"),
        ("tuned = 3", "a list of [[tuned]] tables"),
        ("tuned = [3]", "entry 1: a table is needed"),
        ("[[tuned", "not valid TOML"),
        ("[[tuned]]\n" + ENTRY.replace("onnx_cpu", "onnx_gpu"), "entry 1: unknown backend 'onnx_gpu'; there are"),
        ("[[tuned]]\n" + ENTRY + "options = {turbo = true}", "onnx_cpu has no option 'turbo'; it has graph_opt"),
        ("[[tuned]]\n" + ENTRY + "options = {allow_spinning = [1]}", "options must be a table of"),
        ("[[tuned]]\n" + ENTRY + "options = {allow_spinning = nan}", "options must be a table of"),
        ("[[tuned]]\n" + ENTRY + "options = 3", "options must be a table of"),
        ("[[tuned]]\n" + ENTRY + "command = 'rm'", "unknown key 'command'"),
        ("[[tuned]]\n" + ENTRY.replace("threads = 1", "threads = true"), "threads is missing or no whole number"),
        ("[[tuned]]\n" + ENTRY.replace("batch = 1", "batch = 0"), "batch is missing or no whole number"),
        ("[[tuned]]\n" + ENTRY.replace('"fp32"', '"fp12"'), "precision 'fp12'; one of"),
        ("[[tuned]]\n" + ENTRY.replace('model = "resnet18"\n', ""), "model is missing or no text"),
        ("[[tuned]]\n" + ENTRY + "machine = 3", "machine is no text"),
        (("[[tuned]]\n" + ENTRY) * 2, "entries 1 and 2 are both about resnet18 · onnx_cpu · fp32 · batch 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_tuned(written(tmp_path, body))
    told = str(caught.value)
    assert message in told and "tuned.toml" in told and "\n" not in told


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`zoobench tune MODEL --output"):
        read_tuned(tmp_path / "gone.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(UsageError, match="not a regular file"):
        read_tuned(tmp_path / "pipe.toml")
    with pytest.raises(UsageError, match="not a regular file"):
        check_writable(tmp_path / "pipe.toml")
    with pytest.raises(UsageError, match=r"end its name in \.toml"):
        check_writable(tmp_path / "tuned.txt")


def test_the_entries_of_this_machine_go_before_those_of_others() -> None:
    there = Tuned("resnet18", "onnx_cpu", Precision.FP32, 1, 4, (), "there")
    asked = api.request(["resnet18"], backends=["onnx_cpu"])
    assert fitting([ONE, there], asked, "here") == [ONE]
    assert fitting([there, ONE], asked, "here") == [ONE]
    assert fitting([there], asked, "here") == [there]
    assert fitting([ONE], api.request(["resnet50"], backends=["onnx_cpu"]), "here") == []
    assert fitting([ONE], api.request(["resnet18"], backends=["onnx_cpu"], batch_sizes=[8]), "here") == []


def test_another_machines_options_and_missing_ones_are_remarked() -> None:
    asked = api.request(["resnet18"], backends=["onnx_cpu"], batch_sizes=[1, 8])
    foreign, missing = remarks([ONE], asked, "elsewhere", "a CPU")
    assert "tuned on another machine (here), this is elsewhere (a CPU)" in foreign
    assert "`zoobench tune resnet18 --backends onnx_cpu` finds out" in foreign
    assert (
        missing
        == "resnet18 · onnx_cpu · fp32 · batch 8: the file has no options for it, so it runs with the defaults"
    )
    assert remarks([ONE], api.request(["resnet18"], backends=["onnx_cpu"]), "here", "a CPU") == []


def test_the_defaults_run_beside_and_once_where_they_are_the_best() -> None:
    import dataclasses

    asked = api.request(["resnet18"], backends=["onnx_cpu"])
    asked = dataclasses.replace(asked, variants=beside_defaults([ONE], 2))
    [group] = plan(asked, Inventory(2, {})).groups
    assert [(c.threads, c.options) for c in group.cases] == [(2, {}), (1, {"allow_spinning": False})]
    nothing = Tuned("resnet18", "onnx_cpu", Precision.FP32, 1, 2, (), "here")
    asked = dataclasses.replace(asked, variants=beside_defaults([nothing], 2))
    assert len(plan(asked, Inventory(2, {})).cases) == 1


def test_merging_replaces_the_cells_that_are_new_and_keeps_the_rest() -> None:
    new = Tuned("resnet18", "onnx_cpu", Precision.FP32, 1, 2, (), "here")
    other = Tuned("resnet18", "onnx_cpu", Precision.FP32, 1, 8, (), "there")
    assert merged([ONE, other], [new]) == [other, new]
