"""The command: what it starts, and what it refuses in one line."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from zoobench.cli import main
from zoobench.commands import dashboard as command_module
from zoobench.errors import install_extra


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was started, in place of starting it."""
    found: list[list[str]] = []

    def execve(path: str, argv: list[str], environment: dict[str, str]) -> None:
        assert (
            environment["PYTHONPATH"].split(os.pathsep)[0].endswith("src")
            or "site-packages" in environment["PYTHONPATH"]
        )
        found.append(argv)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return found


def test_it_listens_here_alone_and_tells_nobody(
    started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboard", "one", "two", "--no-browser"]) == 0
    (argv,) = started
    flags = set(argv)
    assert {
        "--server.address=127.0.0.1",
        "--browser.gatherUsageStats=false",
        "--server.showEmailPrompt=false",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        "--server.allowedHosts=127.0.0.1",
        "--server.allowedHosts=localhost",
    } <= flags
    assert argv[-3:] == ["--", "one", "two"]
    assert Path(argv[argv.index("run") + 1]).name == "script.py"
    port = next(flag.partition("=")[2] for flag in argv if flag.startswith("--server.port="))
    assert f"http://127.0.0.1:{port}" in capsys.readouterr().out


def test_without_a_folder_it_is_results(started: list[list[str]]) -> None:
    assert main(["dashboard"]) == 0
    assert started[0][-1] == "results"
    assert "--server.headless=true" not in started[0]


def test_a_port_that_is_taken_is_refused_or_gone_around(
    started: list[list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert main(["dashboard", "--port", str(taken)]) == 2
        assert "is taken" in capsys.readouterr().err
        monkeypatch.setattr(command_module, "FIRST_PORT", taken)
        assert main(["dashboard"]) == 0
    assert f"--server.port={taken}" not in started[0]
    assert main(["dashboard", "--port", "99999"]) == 2


def test_without_streamlit_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec: Any = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "streamlit" else find_spec(name, *rest),
    )
    assert main(["dashboard"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert install_extra("dashboard") in said
