"""TOML files that people keep: written in one step, and nothing in them is more than data."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from zoobench import toml_files
from zoobench.errors import UsageError

HOSTILE = 'a"\\\n\x7f\x1b[2J<b>|**x**'


def test_text_and_options_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "new" / "kept.toml"
    said = toml_files.options([(HOSTILE, HOSTILE), ("b", False), ("c", 0.5), ("d", 3)])
    toml_files.write(file, [f"name = {toml_files.text(HOSTILE)}", f"options = {said}"], "--output")
    body = tomllib.loads(file.read_text("utf-8"))
    assert body == {"name": HOSTILE, "options": {HOSTILE: HOSTILE, "b": False, "c": 0.5, "d": 3}}
    assert [path.name for path in file.parent.iterdir()] == ["kept.toml"]


def test_a_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    file, link = tmp_path / "kept.toml", tmp_path / "link.toml"
    file.write_text("")
    file.chmod(0o600)
    link.symlink_to(file)
    toml_files.write(link, ["a = 1"], "--output")
    assert link.is_symlink() and file.read_text() == "a = 1\n" and file.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """It fails while it writes, as on a full disk."""
    file = tmp_path / "kept.toml"
    file.write_text("a = 1\n")
    with pytest.raises(UsageError, match=r"--output .*: cannot be written \(a name in it is no Unicode\)"):
        toml_files.write(file, ["b = '\ud800'"], "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.toml"] and file.read_text() == "a = 1\n"


@pytest.mark.parametrize("value", [3, [1], {"a": [1]}, {"a": float("nan")}, {"a": {"b": 1}}, {"a": 10**400}])
def test_what_no_runtime_could_take_is_no_options(value: object) -> None:
    assert not toml_files.is_options(value)


def test_what_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "deep.toml"
    file.write_text("a = " + "[" * 100_000)
    with pytest.raises(UsageError, match="deep: not valid TOML"):
        toml_files.read_tables(file, "a", said="deep", advice="")
