"""`zoobench explain`, from records on disk to words and an exit code."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from tests.judge.profiled import fp32, int8, rung
from tests.show.records import make_failure, make_record, write_results

from zoobench.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    failed = make_failure("effnet", "onnx_cpu", run_id="run-2", precision="int8", batch=4)
    no_calls = make_record("silent", p50=None, run_id="run-2")
    return write_results(
        Path("results"), [fp32(), int8(rungs=[rung("plain")]), int8(run_id="run-2"), failed, no_calls]
    )


def test_it_is_explained(capsys: Capture) -> None:
    assert main(["explain", "run-1", "effnet", "int8"]) == 0
    out, err = capsys.readouterr()
    assert "Why effnet · onnx_cpu · int8 · batch 1 is as fast as it is" in out
    assert "int8 does not pay" in out
    assert "Against fp32, µs a call in int8" in out
    assert "Recipes that were tried" in out
    assert err == ""


@pytest.mark.parametrize("width", ["80", "100", "140"])
def test_no_line_is_wider_than_the_terminal(
    width: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["explain", "run-1", "int8"]) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= int(width)
    assert any("DequantizeLinear" in line for line in lines)


def test_fp32_of_another_run_is_found_in_the_results_folder(capsys: Capture) -> None:
    assert main(["explain", "latest", "int8", "batch", "1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["run_id"], data["versus"]["run_id"], data["versus"]["same_run"]) == ("run-2", "run-1", False)
    assert "in different runs" in data["words"]["Does it pay:"]


def test_a_run_s_folder_will_do(results: Path, capsys: Capture) -> None:
    (results / "runs/run-1").rename("copy")
    assert main(["explain", "copy", "int8", "--json", "--results-dir", "nowhere"]) == 0
    assert json.loads(capsys.readouterr().out)["versus"]["pays"] == "costs"


def test_it_is_written_as_markdown(capsys: Capture) -> None:
    assert main(["explain", "run-1", "int8", "--output", "why.md"]) == 0
    assert Path("why.md").read_text("utf-8").startswith("# Why effnet · onnx")
    assert "wrote why.md" in capsys.readouterr().err
    assert main(["explain", "run-1", "int8", "--output", "why.pdf"]) == 2
    assert "--output why.pdf: it is written as Markdown" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run-2", "batch=4"], 1, "has no numbers to explain: it ended as failed (the file is truncated"),
        (["run-2", "silent"], 1, "no call was timed"),
        (["run-1", "int9"], 2, "did you mean 'int8'?"),
        (["run-1"], 2, "'run-1' holds 2 cells; name one: "),
        (["run-3", "int8"], 2, "there is no run 'run-3'"),
        (["run", "int8"], 2, "2 runs in results/runs begin with 'run'"),
    ],
)
def test_what_it_cannot_explain_is_one_line(
    words: list[str], code: int, message: str, capsys: Capture
) -> None:
    assert main(["explain", *words]) == code
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
