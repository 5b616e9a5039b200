"""`zoobench recommend`, from records on disk to words and an exit code."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.show.records import OTHER_MACHINE, full_run, make_accuracy, make_record, write_results

import zoobench
from zoobench.cli import build_app, main
from zoobench.terms import VerdictValue

Capture = pytest.CaptureFixture[str]
HOSTILE = "<img src=x onerror=alert(1)>|**x**"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_results(Path("results"), full_run())


def answer(capsys: Capture, *words: str, code: int = 0) -> dict[str, Any]:
    assert main(["recommend", *words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def parsed(line: str) -> dict[str, Any]:
    """The arguments of a printed command, as the real parser reads them."""
    program, *tokens = shlex.split(line)
    assert program == "zoobench"
    _, bound, ignored = build_app().parse_args(tokens, exit_on_error=False, print_error=False)
    assert not ignored
    return dict(bound.arguments)


@pytest.mark.usefixtures("results")
def test_it_says_what_to_ship(capsys: Capture) -> None:
    words = ["--max-latency", "p95:20ms", "--max-memory", "500MB", "--min-throughput", "100"]
    assert main(["recommend", *words, "--price", "0.40/h"]) == 0
    out, err = capsys.readouterr()
    assert "Ship mobilenetv2_100 on onnx_cpu in fp32, batch 1, 2 threads: p50 latency" in " ".join(
        out.split()
    )
    assert "What the limits left out" in out
    assert "The Pareto front of p95 latency, peak memory, throughput" in out
    assert "Caution: 3 models are ranked together" in out
    assert err == ""


@pytest.mark.usefixtures("results")
def test_nothing_holds_every_limit(capsys: Capture) -> None:
    assert main(["recommend", "--max-latency", "1ms"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "Relax one: --max-latency p50:2.47ms would recommend mobilenetv2_100 · onnx_cpu" in out
    assert main(["recommend", "--max-latency", "p50:2.47ms"]) == 0
    capsys.readouterr()
    found = answer(capsys, "--max-latency", "p99:20ms", code=1)
    assert found["best"] is None and found["relax"] == []
    assert found["not_measured"][0]["kind"] == "percentile"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-latency", "p99:20"], "--max-latency 'p99:20': the unit is missing; write p99:20ms"),
        (["--max-latency", "p98:20ms"], "--max-latency p98: results hold p50, p95, p99 of it"),
        (["--max-latency", "p99.9:20ms"], "results hold p50, p95 and p99"),
        (["--max-memory", "500"], "--max-memory '500': the unit is missing; write 500MB"),
        (["--max-drop", "1"], "--max-drop '1': the unit is missing; write 1%"),
        (["--min-accuracy", "150%"], "--min-accuracy 150%: less than 100% is needed"),
        (["--min-throughput", "fast"], "--min-throughput 'fast': a number a second is needed"),
        (["--price", "0.40"], "--price '0.40': the unit is missing; write 0.40/h"),
        (["--minimize", "cost"], "--minimize cost needs what the machine costs"),
        (["--minimize", "speed"], "minimize"),
        (["--models", "resnet81"], "did you mean 'resnet18'"),
        (["--output", "x.pdf"], "--output x.pdf: the ending names no format"),
        (["--results-dir", "nowhere"], "no results folder 'nowhere'"),
    ],
)
@pytest.mark.usefixtures("results")
def test_what_cannot_be_meant_is_one_line(words: list[str], message: str, capsys: Capture) -> None:
    assert main(["recommend", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert message in err


@pytest.mark.usefixtures("results")
def test_every_printed_command_can_be_typed(capsys: Capture) -> None:
    found = answer(capsys, "--max-latency", "p99:20ms", "--min-throughput", "10", "--max-drop", "1%", code=1)
    lines = [line for gap in found["not_measured"] for line in gap["commands"]]
    assert len(lines) >= 3
    for line in lines:
        arguments = parsed(line)
        assert arguments["results_dir"] == Path("results")
        assert {"models", "backends", "precisions", "batch_sizes"} <= set(arguments)
    assert main(["recommend", "--max-latency", "p99:20ms"]) == 1
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  zoobench ")]
    assert printed and all(parsed(line) for line in printed)


def test_a_hostile_name_is_text_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    escape = "\x1b[31mred\nnew"
    records = [
        make_record(HOSTILE, p50=5.0, verdict=VerdictValue.UNSTABLE, reasons=[("drift", escape)]),
        make_record(HOSTILE, "openvino", p50=6.0, options={"name": escape}),
        make_record("--debug", p50=9.0, machine=OTHER_MACHINE, at="2026-11-01T00:00:00+00:00"),
    ]
    write_results(Path("my results"), records, argv=["zoobench", "run", "--registry", f"{HOSTILE}.toml"])
    words = ["recommend", "--results-dir", "my results", "--max-latency", "p99:50ms", "p50:50ms"]
    assert main([*words, "--output", "out.md"]) == 1
    out = capsys.readouterr().out
    assert HOSTILE in " ".join(out.split()) and "\x1b" not in out
    assert main([*words, "--output", "out.html"]) == 1
    text = Path("out.html").read_text("utf-8")
    assert "<img" not in text.replace("<img alt", "") and "&lt;img src=x" in text
    told = Path("out.md").read_text("utf-8")
    fenced = re.sub(r"(?ms)^```sh$.*?^```$", "", told)
    assert "<img" not in fenced and "**x**" not in fenced
    capsys.readouterr()
    found = answer(capsys, *words[1:], code=1)
    lines = [line for gap in found["not_measured"] for line in gap["commands"]]
    assert all(parsed(line)["models"] == [HOSTILE] for line in lines)
    assert any(parsed(line).get("registry") == Path(f"{HOSTILE}.toml") for line in lines)
    assert parsed(lines[0])["results_dir"] == Path("my results")
    other = answer(
        capsys, "--results-dir", "my results", "--machine", "ffee", "--max-latency", "p99:5s", code=1
    )
    (line,) = other["not_measured"][0]["commands"]
    assert parsed(line)["models"] == ["--debug"]


def test_what_was_measured_before_is_asked_for_in_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    records = [make_record(precision="int8", p50=5.0, weights="random", threads=1), make_record(threads=1)]
    write_results(
        Path("results"), records, argv=["zoobench", "run", "--weights", "random", "--models", "resnet18"]
    )
    found = answer(capsys, "--max-drop", "1%")
    (gap,) = [gap for gap in found["not_measured"] if gap["kind"] == "drop"]
    arguments = parsed(gap["commands"][0])
    assert (arguments["threads"], arguments["weights"], arguments["precisions"]) == (
        1,
        "pretrained",
        ["int8"],
    )


@pytest.mark.usefixtures("results")
def test_it_is_written_as_markdown_and_as_a_page(capsys: Capture) -> None:
    for name, begin in (("ship.md", "# What to ship"), ("ship.html", "<!doctype html>")):
        assert main(["recommend", "--output", name]) == 0
        assert Path(name).read_text("utf-8").startswith(begin)
        assert f"wrote {name}" in capsys.readouterr().err


@pytest.mark.parametrize("width", ["80", "140"])
@pytest.mark.usefixtures("results")
def test_no_line_but_a_command_is_wider_than_the_terminal(
    width: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("COLUMNS", width), ("FORCE_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["recommend", "--max-drop", "1%", "--max-latency", "p95:50ms"]) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(len(line) for line in lines if "zoobench run" not in line) <= int(width)


@pytest.mark.usefixtures("results")
def test_the_same_from_python(capsys: Capture) -> None:
    wanted = zoobench.Wanted(latency=(zoobench.LatencyLimit(50, 20.0),), max_drop=0.01)
    found = zoobench.recommend("results", wanted, zoobench.Scope(models=("resnet18",)))
    assert found.best is not None
    told = answer(capsys, "--max-latency", "20ms", "--max-drop", "1%", "--models", "resnet18")
    assert told["best"]["measurement_key"] == found.best.measurement_key
    assert told["best"]["figures"]["p50 latency"]["value"] == found.best.p50_ms


def test_damaged_lines_are_told_and_the_rest_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_results(Path("results"), [make_record(accuracy=make_accuracy())])
    with Path("results/runs/run-1/records.jsonl").open("ab") as file:
        file.write(b'{"schema_version": 99}\n{"torn')
    assert main(["recommend", "--min-accuracy", "70%"]) == 0
    assert capsys.readouterr().err.count("left out") == 2
    write_results(Path("empty"), [])
    Path("empty/runs").mkdir(parents=True)
    assert main(["recommend", "--results-dir", "empty"]) == 2
    assert "there are no results to recommend from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            b'{"schema_version": 99}\n' * 2,
            "no record can be read: 2 are of a newer zoobench; upgrade this one",
        ),
        (b"torn\n" * 3, "no record can be read: "),
    ],
)
def test_results_that_cannot_be_read_are_not_taken_for_none(
    lines: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_results(Path("results"), [make_record()])
    Path("results/runs/run-1/records.jsonl").write_bytes(lines)
    assert main(["recommend"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert said in last and "measure first" not in last
