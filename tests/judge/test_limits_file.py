"""Files of limits: what is read, what is refused and by which name, and that what is written is read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoobench.errors import UsageError
from zoobench.judge.limits import Limit
from zoobench.judge.limits_file import catalog_limits, merged, read_limits, write_limits
from zoobench.spec import ModelSpec
from zoobench.terms import Precision

WHOLE = """
[[limit]]
model = "resnet18"
backend = "onnx_cpu"
precision = "int8"
batch = 8
machine = "0f3a9c21b7d8"
p50 = "20ms"
p99 = "800us"

[[limit]]
model = "resnet50"
backend = "pytorch"
p95 = "1s"
"""
ENTRY = '[[limit]]\nmodel = "a"\nbackend = "b"\n'


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "limits.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_an_entry_may_limit_several_percentiles_and_has_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, WHOLE)
    first = Limit(
        "resnet18", "onnx_cpu", 20.0, "p50", Precision.INT8, 8, "0f3a9c21b7d8", where=f"{file}, limit 1"
    )
    second = Limit("resnet50", "pytorch", 1000.0, "p95", where=f"{file}, limit 2")
    assert read_limits(file) == [first, replace(first, percentile="p99", limit_ms=0.8), second]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            'p96 = "5ms"',
            "unknown key 'p96'; the keys are model, backend, precision, batch, threads, options, machine, note, p50",
        ),
        ('thread = 2\np95 = "5ms"', "unknown key 'thread'"),
        ('threads = 0\np95 = "5ms"', "threads 0; a whole number"),
        ('options = 1\np95 = "5ms"', "options 1; write options = {"),
        ('options = {a = [1]}\np95 = "5ms"', "options {'a': [1]}; write"),
        ('options = {a = nan}\np95 = "5ms"', "options {'a': nan}; write"),
        ('note = 1\np95 = "5ms"', "note 1; text"),
        ("", 'it limits nothing; add p95 = "50ms"'),
        ("p95 = 5", "p95 = '5': the unit is missing; write 5ms"),
        ("p95 = true", "p95 = 'True': a duration is needed"),
        ("p95 = nan", "p95 = 'nan': a duration is needed"),
        ('p95 = "-5ms"', "p95 = '-5ms': a duration is needed"),
        ('p50 = "5ms"\np99 = "0ms"', "p99 = '0ms': it must be above 0"),
        ('batch = 0\np95 = "5ms"', "batch 0; a whole number"),
        ('batch = true\np95 = "5ms"', "batch True; a whole number"),
        ('batch = 1.0\np95 = "5ms"', "batch 1.0; a whole number"),
        ('batch = "8"\np95 = "5ms"', "batch '8'; a whole number"),
        ('precision = "fp12"\np95 = "5ms"', "precision 'fp12'; one of fp32, tf32"),
        ('precision = ["fp32"]\np95 = "5ms"', "precision ['fp32']; one of"),
        ('machine = 7\np95 = "5ms"', "machine 7; the fingerprint is text"),
    ],
)
def test_a_refusal_names_the_file_and_the_entry(tmp_path: Path, entry: str, message: str) -> None:
    file = written(tmp_path, f'{ENTRY}p95 = "1ms"\n{ENTRY}{entry}\n')
    with pytest.raises(UsageError) as caught:
        read_limits(file)
    assert f"{file}, limit 2: " in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("key", ["model", "backend"])
@pytest.mark.parametrize("value", [None, "7", '["a"]'])
def test_an_entry_needs_a_model_and_a_backend(tmp_path: Path, key: str, value: str | None) -> None:
    said = {"model": '"a"', "backend": '"b"', "p95": '"5ms"', key: value}
    text = "[[limit]]\n" + "".join(f"{name} = {text}\n" for name, text in said.items() if text)
    with pytest.raises(UsageError, match=rf"limits.toml, limit 1: {key} is missing or no text"):
        read_limits(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a list of \[\[limit\]\] tables is needed"),
        ("limit = []", r"a list of \[\[limit\]\] tables is needed"),
        ("limit = 3", r"a list of \[\[limit\]\] tables is needed"),
        ('[limit]\nmodel = "a"', r"a list of \[\[limit\]\] tables is needed"),
        ("limit = [3]", "limits.toml, limit 1: a table is needed"),
        ('[[limits]]\nmodel = "a"', r"it has 'limits'; a list of \[\[limit\]\]"),
        (f'version = 2\n{ENTRY}p95 = "5ms"', "it has 'version'"),
        ("[[limit", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        ("a = " + "[" * 100_000, "not valid TOML"),
    ],
)
def test_a_file_that_holds_no_limits(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_limits(written(tmp_path, text))
    assert str(tmp_path / "limits.toml") in str(caught.value)


def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for name, message in [
        ("pipe", "not a regular file"),
        (".", "not a regular file"),
        ("gone.toml", "No such file or directory; `zoobench guard --set-limits"),
        ("file/limits.toml", "--limits"),
        ("x" * 300, "File name too long"),
    ]:
        with pytest.raises(UsageError, match=message):
            read_limits(tmp_path / name)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    limit = Limit("a", "b", 5.0)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for name, message in [
        ("pipe", "not a regular file"),
        (".", "not a regular file"),
        ("file/limits.toml", "--set-limits"),
        ("x" * 300, "cannot be written .File name too long"),
    ]:
        with pytest.raises(UsageError, match=message):
            write_limits(tmp_path / name, [limit])


HOSTILE = [
    'quo"te',
    "back\\slash",
    "two\nlines",
    "carriage\rreturn",
    "tab\there",
    "nul\x00 escape\x1b delete\x7f next\x85 line\u2028",
    "🦊 ünï",
    '"\n[[limit]]\nmodel = "b',
    "'''",
    '"""',
    "",
    "#",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_written_is_read_back_whatever_the_names(tmp_path: Path, name: str) -> None:
    limits = [
        Limit(name, "onnx_cpu", 12.34, "p99", Precision.INT8, 8, name, note=f"from {name}"),
        Limit(
            "b", name, 0.000815, threads=1, options=tuple(sorted({name: name, "x": True, "y": 0.5}.items()))
        ),
        Limit("c", "pytorch", 123_400.0, "p50"),
    ]
    file = tmp_path / "new" / "limits.toml"
    write_limits(file, limits)
    again = read_limits(file)
    assert [replace(limit, where="") for limit in again] == limits


@given(st.text(max_size=20), st.floats(1e-6, 1e9))
def test_any_limit_survives_the_file_to_four_digits(
    tmp_path_factory: pytest.TempPathFactory, name: str, limit_ms: float
) -> None:
    file = tmp_path_factory.mktemp("limits") / "limits.toml"
    write_limits(file, [Limit(name, name, limit_ms, note=name)])
    (limit,) = read_limits(file)
    assert (limit.model, limit.backend) == (name, name)
    assert limit.limit_ms == pytest.approx(limit_ms, rel=5e-4)


def test_new_limits_replace_those_of_the_same_cell_and_leave_the_others() -> None:
    old = [Limit("a", "b", 5.0, machine="m1"), Limit("a", "b", 6.0, machine="m2"), Limit("c", "b", 7.0)]
    new = [Limit("a", "b", 4.0, machine="m2"), Limit("a", "b", 9.0, threads=1)]
    assert merged(old, new) == [old[0], new[0], old[2], new[1]]


def test_writing_is_one_step_and_keeps_the_file_s_mode(tmp_path: Path) -> None:
    file = written(tmp_path, "what was there")
    file.chmod(0o640)
    write_limits(file, [Limit("a", "b", 5.0, note="p95 4 ms in run 7")])
    text = file.read_text()
    assert "what was there" not in text and 'note = "p95 4 ms in run 7"' in text
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_registry_entry_limits_p95_at_batch_1() -> None:
    model = ModelSpec(name="mine", latency_limits_ms={"onnx_cpu": 20.0, "pytorch": 40.0})
    where = "registry entry 'mine'"
    assert catalog_limits([model, ModelSpec(name="free")]) == [
        Limit("mine", "onnx_cpu", 20.0, where=where),
        Limit("mine", "pytorch", 40.0, where=where),
    ]
