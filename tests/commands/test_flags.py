"""What the flags of several commands have in common."""

from __future__ import annotations

import pytest

from zoobench.cli import main


@pytest.mark.parametrize("command", ["recommend", "report"])
def test_a_results_folder_without_its_flag_is_told_how_to_be_named(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "old results"]) == 2
    assert "write --results-dir 'old results'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["recommend", "report"])
def test_an_unknown_flag_is_still_called_so(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--foo", "x"]) == 2
    assert "Unknown option: --foo" in capsys.readouterr().err
