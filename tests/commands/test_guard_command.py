"""`zoobench guard` from the command line to the exit code, on the fake backend."""

from __future__ import annotations

import io
import json
import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from zoobench.cli import main
from zoobench.judge import Finding
from zoobench.judge.limits import judge_limit
from zoobench.machine import describe

LIMIT = '[[limit]]\nmodel = "resnet18"\nbackend = "fake"\np95 = "{}"\n'


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("zoobench:")]
    return line


def limits(text: str, extra: str = "") -> str:
    Path("limits.toml").write_text(LIMIT.format(text) + extra)
    return "limits.toml"


# --- limits


@pytest.mark.parametrize(("limit", "code"), [("6 ms", 0), ("4ms", 3), ("6000us", 0), ("0.004s", 3)])
def test_limits_pass_and_fail(limit: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guard", "--limits", limits(limit), "--json"]) == code
    (found,) = json.loads(capsys.readouterr().out)
    assert found["decision"] == ("fail" if code else "pass")
    assert list(Path("guard-results/runs").iterdir())


def test_a_limit_near_the_truth_is_measured_three_times_and_left_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["guard", "--limits", limits("5.168ms"), "--json"]) in (0, 3, 4)
    assert main(["guard", "--limits", limits("5.168ms"), "--undecided", "fail"]) in (0, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LIMIT.format("50"), "write 50ms"),
        (LIMIT.format("6 ms").replace("resnet18", "resnet81"), "did you mean 'resnet18'"),
        (LIMIT.format("6 ms").replace("fake", "onix"), "unknown backend 'onix'"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("limits.toml").write_text(text)
    assert main(["guard", "--limits", "limits.toml"]) == 2
    assert words in refusal(capsys)
    assert not Path("guard-results").exists()


def test_limits_of_another_machine_are_skipped_loudly_and_are_no_pass(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["guard", "--limits", limits("6ms", 'machine = "0123456789ab"\n')]) == 5
    out = capsys.readouterr()
    assert "0123456789ab" in out.out and describe().fingerprint in out.out


def test_set_limits_writes_what_limits_reads(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["guard", "--set-limits", "new.toml", "--models", "resnet18", "--backends", "fake"]
    assert main([*words, "--headroom", "10%"]) == 0
    text = Path("new.toml").read_text()
    assert describe().fingerprint in text and "10% headroom" in text
    assert main(["guard", "--limits", "new.toml"]) == 0


def test_set_limits_leaves_other_cells_and_machines_alone(capsys: pytest.CaptureFixture[str]) -> None:
    file = limits("7ms", 'machine = "0123456789ab"\n' + LIMIT.format("8ms").replace("resnet18", "resnet50"))
    assert main(["guard", "--set-limits", file, "--models", "resnet18", "--backends", "fake"]) == 0
    text = Path(file).read_text()
    assert text.count("[[limit]]") == 3
    assert all(part in text for part in ('"7ms"', "0123456789ab", '"8ms"', describe().fingerprint))


def test_set_limits_is_interrupted_before_it_writes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoobench.backends.fake.FakeSession.bind", interrupt)
    file = limits("7ms")
    before = Path(file).read_bytes()
    assert main(["guard", "--set-limits", file, "--models", "resnet18", "--backends", "fake"]) == 130
    assert Path(file).read_bytes() == before


def test_a_limit_holds_with_the_threads_and_options_it_was_set_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--models", "resnet18", "--backends", "fake", "--threads", "1", "--options", "fake_p50_ms=20"]
    assert main(["guard", "--set-limits", "new.toml", *words]) == 0
    assert all(part in Path("new.toml").read_text() for part in ("threads = 1", '"fake_p50_ms" = 20'))
    capsys.readouterr()
    assert main(["guard", "--limits", "new.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["figures"]["measured_ms"] > 20
    assert main(["guard", "--limits", "new.toml", "--options", "fake_p50_ms=5"]) == 2
    assert "--options does not go with --limits" in refusal(capsys)


@pytest.mark.parametrize("name", ["ResNet-18", "timm/resnet18.a1_in1k"])
def test_a_limit_names_its_model_as_people_do(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("limits.toml").write_text(LIMIT.format("6ms").replace("resnet18", name))
    assert main(["guard", "--limits", "limits.toml", "--models", "resnet18"]) == 0


def test_a_limit_for_several_models_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    Path("limits.toml").write_text(LIMIT.format("6ms").replace("resnet18", "resnet*"))
    assert main(["guard", "--limits", "limits.toml"]) == 2
    assert "limits.toml, limit 1: 'resnet*' means" in refusal(capsys)


def test_two_files_of_one_name_are_not_judged_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "m.onnx").touch()
    text = LIMIT.format("6ms").replace("resnet18", "a/m.onnx") + LIMIT.format("6ms").replace(
        "resnet18", "b/m.onnx"
    )
    Path("limits.toml").write_text(text)
    assert main(["guard", "--limits", "limits.toml"]) == 2
    assert "limit" in refusal(capsys)


def test_a_cell_has_one_limit_however_its_model_is_spelled(capsys: pytest.CaptureFixture[str]) -> None:
    mine = f'machine = "{describe().fingerprint}"\n'
    Path("limits.toml").write_text(LIMIT.format("1ms").replace("resnet18", "ResNet-18") + mine)
    words = ["--models", "ResNet-18", "--backends", "fake"]
    assert main(["guard", "--set-limits", "limits.toml", *words]) == 0
    assert main(["guard", "--limits", "limits.toml"]) == 0
    capsys.readouterr()
    assert main(["guard", "--limits", limits("6ms", LIMIT.format("7ms"))]) == 2
    assert "limits.toml, limit 2: " in refusal(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--limits", "x", "--setup", "make"], "--setup goes with --base only"),
        (["--limits", "x", "--head", "main"], "--head goes with --base only"),
        (["--baseline", "x", "--any-machine"], "--any-machine goes with --set-limits only"),
        (["--baseline", "x", "--options", "a=1"], "do not go with --baseline"),
        (["--baseline", "x", "--threads", "1"], "do not go with --baseline"),
        (["--set-limits", "loop"], "--set-limits loop: cannot be written"),
        (["--set-limits", "pipe"], "not a regular file"),
    ],
)
def test_what_would_change_nothing_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    assert main(["guard", *words]) == 2
    assert said in refusal(capsys)


def test_what_was_decided_before_an_interruption_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decided = []

    def once(*words: object, **more: object) -> Finding:
        if decided:
            raise KeyboardInterrupt
        decided.append(judge_limit(*words, **more))  # type: ignore[arg-type]
        return decided[0]

    monkeypatch.setattr("zoobench.search.guard.judge_limit", once)
    file = limits("4ms", LIMIT.format("4ms").replace("resnet18", "resnet50"))
    assert main(["guard", "--limits", file, "--summary", "summary.md"]) == 130
    assert "over the limit of 4 ms" in capsys.readouterr().out
    assert "not finished" in Path("summary.md").read_text()


# --- where the decisions go


@pytest.mark.parametrize("place", [".", "pipe", "limits.toml/junit.xml"])
def test_a_report_that_cannot_be_written_is_said_before_anything_is_measured(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    for flag in ("--junit", "--summary"):
        assert main(["guard", "--limits", limits("6ms"), flag, place]) == 2
        assert f"{flag} {place}: " in refusal(capsys)
    assert not Path("guard-results").exists()


class Gone(io.StringIO):
    """A reader that went away."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_reader_that_goes_away_changes_no_decision(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", Gone())
    assert main(["guard", "--limits", limits("4ms"), "--junit", "j.xml", "--summary", "s.md", *words]) == 3
    assert "over the limit" in Path("j.xml").read_text() and "over the limit" in Path("s.md").read_text()


def test_an_error_leaves_no_green_report_behind(
    two_revisions: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*REVISIONS, "--junit", "j.xml"]) == 0
    assert main([*REVISIONS, "--junit", "j.xml", "--setup", "exit 1"]) == 5
    suite = ET.parse("j.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    assert "does not build" in Path("j.xml").read_text()


def test_an_empty_summary_variable_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "")
    assert main(["guard", "--limits", limits("6ms")]) == 0


# --- a stored run


def store(capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["run", "--models", "resnet18", "--backends", "fake"]) == 0
    capsys.readouterr()
    (run,) = Path("results/runs").iterdir()
    return run


def test_against_a_stored_run(capsys: pytest.CaptureFixture[str]) -> None:
    run = store(capsys)
    assert main(["guard", "--baseline", run.name, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["decision"] == "pass" and found["figures"]["ratio"] == pytest.approx(1, abs=0.05)
    assert len(list(Path("results/runs").iterdir())) == len(list(Path("guard-results/runs").iterdir())) == 1


def test_a_baseline_of_another_machine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    records = store(capsys) / "records.jsonl"
    records.write_text(records.read_text().replace(describe().fingerprint, "0123456789ab"))
    assert main(["guard", "--baseline", "results"]) == 5
    line = refusal(capsys)
    assert "0123456789ab" in line and describe().fingerprint in line


def test_a_baseline_without_the_asked_case_is_not_comparable(capsys: pytest.CaptureFixture[str]) -> None:
    store(capsys)
    assert main(["guard", "--baseline", "results", "--batch-sizes", "7"]) == 5
    assert "none of the cases" in refusal(capsys)


@pytest.mark.parametrize("word", ["latest", "guard-results", "./guard-results/"])
def test_what_the_guard_measured_itself_is_no_baseline(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guard", "--baseline", store(capsys).name]) == 0
    capsys.readouterr()
    assert main(["guard", "--baseline", word]) == 2
    assert "moves with everything" in refusal(capsys)


def test_cells_measured_on_ones_own_tensors_are_not_comparable(capsys: pytest.CaptureFixture[str]) -> None:
    run = store(capsys)
    line = json.loads((run / "records.jsonl").read_text())
    line["case"]["options"]["inputs_sha256"] = "0" * 16
    del line["case"]["id"]
    (run / "records.jsonl").write_text(json.dumps(line) + "\n")
    assert main(["guard", "--baseline", "results", "--json"]) == 5
    (found,) = json.loads(capsys.readouterr().out)
    assert found["decision"] == "not_comparable" and "--inputs" in found["message"]


# --- two revisions


def git(*words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e@x", *words],
        check=True,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def two_revisions() -> None:
    """`base` knows the model `old`, HEAD knows it too and `new`."""
    git("init", "-q", "-b", "main")
    Path(".gitignore").write_text("guard-results\n")
    Path("zoo.toml").write_text('[old]\nlibrary = "fake"\n')
    git("add", "-A")
    git("commit", "-qm", "base")
    git("branch", "base")
    Path("zoo.toml").write_text('[old]\nlibrary = "fake"\n[new]\nlibrary = "fake"\n')
    git("commit", "-qam", "head")


REVISIONS = ["guard", "--base", "base", "--registry", "zoo.toml", "--backends", "fake"]


def test_base_against_head(
    two_revisions: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    assert main([*REVISIONS, "--json", "--junit", "out/junit.xml"]) == 0
    found = {one["case"]: one["decision"] for one in json.loads(capsys.readouterr().out)}
    assert found == {"old · fake · fp32 · batch 1": "pass", "new · fake · fp32 · batch 1": "skipped"}
    assert "old · fake" in Path("summary.md").read_text()
    suite = ET.parse("out/junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "0", "1")
    (run,) = Path("guard-results/runs").iterdir()
    arms = [json.loads(line)["case"]["arm"] for line in (run / "records.jsonl").read_text().splitlines()]
    assert sorted(arms) == ["base", "base_copy", "head"]
    assert set(json.loads((run / "manifest.json").read_text())["arms"]) == set(arms)


def test_uncommitted_changes_are_refused_or_left_out(
    two_revisions: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("zoo.toml").write_text("broken")
    assert main(REVISIONS) == 2
    line = refusal(capsys)
    assert "zoo.toml" in line and "--ignore-changes" in line
    assert main([*REVISIONS, "--ignore-changes"]) == 0


def test_a_base_that_does_not_build(two_revisions: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*REVISIONS, "--setup", "echo no compiler; exit 7"]) == 5
    line = refusal(capsys)
    assert "does not build" in line and "exit code 7" in line and "no compiler" in line


def test_nothing_in_common(two_revisions: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*REVISIONS, "--models", "new"]) == 5
    assert "no case in common" in refusal(capsys)
    assert main([*REVISIONS, "--models", "neither"]) == 2


def test_another_input_shape_is_another_question(
    two_revisions: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("zoo.toml").write_text('[old]\nlibrary = "fake"\ninput_shape = [3, 32, 32]\n')
    git("commit", "-qam", "smaller")
    assert main(REVISIONS) == 5
    assert "base and head differ in shape" in refusal(capsys)


def test_a_file_of_the_work_tree_is_measured_as_it_was_committed(
    two_revisions: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.onnx").touch()
    words = ["guard", "--base", "base", "--models", "m.onnx", "--backends", "fake"]
    assert main(words) == 2, "neither commit has it"
    assert "there is no file" in refusal(capsys)
    assert main([*words[:4], str(Path("..").resolve() / "m.onnx"), "--backends", "fake"]) == 2
    assert "it is a path inside" in refusal(capsys)


@pytest.mark.parametrize("registry", ["zooo.toml", "../zoo.toml"])
def test_a_registry_that_no_revision_has(
    registry: str, two_revisions: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["guard", "--base", "base", "--registry", registry, "--backends", "fake"]) == 2
    assert f"--registry {registry}" in refusal(capsys)


def test_an_unknown_revision(two_revisions: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guard", "--base", "nowhere", "--backends", "fake"]) == 2
    assert "--base nowhere" in refusal(capsys)


def test_one_thing_to_hold_against_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guard"]) == 2
    assert "--base" in refusal(capsys)
    assert main(["guard", "--base", "main", "--baseline", "latest"]) == 2
    assert "--base and --baseline" in refusal(capsys)
