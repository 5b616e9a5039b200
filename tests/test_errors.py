"""A library's error becomes the line of it that says something; what is missing comes with a command that is right here."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoobench import errors
from zoobench.errors import first_line, install_extra, pip_install, pip_uninstall, unreadable


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("\n  no such weight\nmore", "no such weight"),
        (
            "Exception from src/core.cpp:84:\nFrontEnd API failed with GeneralFailure:\nCheck 'a(b, c)' failed at src/x.cpp:9:\nno file",
            "no file",
        ),
        ("Exception from src/core.cpp:84:\n", "Exception from src/core.cpp:84:"),
        ("", "ValueError"),
        ("x" * 301, "x" * 299 + "…"),
    ],
)
def test_the_line_is_the_first_that_is_more_than_a_place(said: str, told: str) -> None:
    assert first_line(ValueError(said)) == told


ROOT = Path(__file__).resolve().parents[1]


def have_pip(there: bool, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)


def test_what_adds_a_package_goes_into_this_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_pip(True, monkeypatch)
    assert pip_install("torch", "tensorrt==10.*") == "pip install torch 'tensorrt==10.*'"
    assert pip_uninstall("torch") == "pip uninstall -y torch"
    have_pip(False, monkeypatch)
    monkeypatch.setattr(sys, "executable", "/my env/bin/python")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert pip_install("torch") == "uv pip install --python '/my env/bin/python' torch"
    assert pip_uninstall("torch") == "uv pip uninstall --python '/my env/bin/python' torch"
    own = tmp_path / ".uv/bin/uv"
    own.parent.mkdir(parents=True)
    own.touch()
    assert pip_install("torch").startswith(f"{own} pip install"), "it is not on PATH"


def test_an_extra_comes_from_where_zoobench_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_pip(True, monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert install_extra("genai") == f"pip install '{ROOT}[genai]'"

    monkeypatch.setattr(errors, "__file__", str(tmp_path / "lib/site-packages/zoobench/errors.py"))
    checkout = tmp_path / "my checkout"
    told: str | None = json.dumps({"url": checkout.as_uri()})
    monkeypatch.setattr(
        importlib.metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: told)
    )
    assert install_extra("genai") == "pip install 'zoobench[genai]'", "the checkout is gone"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    assert install_extra("genai") == f"pip install '{checkout}[genai]'"
    told = None
    assert install_extra("genai") == "pip install 'zoobench[genai]'", "from an index"


def test_permissions_are_blamed_only_where_they_are_to_blame(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, said in (
        (loop, "Too many levels of symbolic links; a link in it leads to itself"),
        (tmp_path / ("x" * 300), "File name too long; name a shorter one"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(OSError, match=said.partition(";")[0]) as found:
            path.read_bytes()
        assert unreadable(found.value) == said
    assert unreadable(PermissionError(errno.EACCES, "Permission denied")).endswith("; check its permissions")
