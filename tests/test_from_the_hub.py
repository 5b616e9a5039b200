"""The main job with a real hub: served on loopback, downloaded, exported, measured, reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.known_ceilings import write_known_ceilings
from tests.loopback_hub import LoopbackHub, tiny_timm_repo

from zoobench.cli import main


@pytest.mark.slow
def test_from_a_hub_id_to_a_report(
    tmp_path: Path,
    loopback_hub: LoopbackHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOOBENCH_LOCK", str(tmp_path / "lock"))
    write_known_ceilings(tmp_path / "cache")
    commit = loopback_hub.add("org/tiny", tiny_timm_repo())
    command = ["run", "--models", "org/tiny", "--backends", "onnx_cpu", "--weights", "pretrained"]
    assert main([*command, "--max-case-time", "1", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert {r["case"]["backend"] for r in records} == {"onnx_cpu"}
    for record in records:
        assert (record["model"]["revision"], record["model"]["weights"]) == (commit, "pretrained")
        assert record["check"]["passed"] and record["latency"]["p50_ms"] > 0
        assert record["memory"]["peak_bytes"] > 0 and record["evidence"]["precision"] == "fp32"
    loopback_hub.requests.clear()
    assert main([*command, "--max-case-time", "1", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [r["measurement_key"] for r in again] == [r["measurement_key"] for r in records]
    assert not [r for r in loopback_hub.requests if "resolve" in str(r)], (
        "what is cached is not downloaded again"
    )
    assert main(["report", "--output", "R.md"]) == 0
    report = (tmp_path / "R.md").read_text()
    assert "org/tiny" in report and "random weights" not in report


@pytest.mark.slow
@pytest.mark.parametrize(("status", "words"), [(401, "HF_TOKEN"), (404, "no such model"), (429, "rate")])
def test_a_hub_that_refuses_is_one_clear_line(
    status: int,
    words: str,
    tmp_path: Path,
    loopback_hub: LoopbackHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    loopback_hub.add("org/tiny", {"config.json": b"{}"})
    loopback_hub.fault("org/tiny", "status", status=status)
    assert main(["run", "--models", "org/tiny", "--backends", "onnx_cpu"]) == 2
    err = capsys.readouterr().err
    assert words in err and "org/tiny" in err and "Traceback" not in err
