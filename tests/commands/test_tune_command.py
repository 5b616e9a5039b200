"""`zoobench tune` and `zoobench run --options tuned.toml`, as they are typed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from zoobench.cli import main
from zoobench.results.query import load_records
from zoobench.search.tuned_file import read_tuned

TUNE = ["tune", "resnet18", "--backends", "fake", "--seed", "3"]
RUN = ["run", "--models", "resnet18", "--backends", "fake"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zoobench.machine.usable_cpu_count", lambda: 2)
    monkeypatch.setattr("zoobench.commands.tune.usable_cpu_count", lambda: 2)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr().err
    assert told.startswith("zoobench: ") and told.count("\n") == 1, told
    return told


def test_it_writes_what_run_then_uses_beside_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(TUNE) == 0
    out, err = capsys.readouterr()
    assert "the defaults, the yardstick of every rung" in out and "fake_slowdown=0.8" in out
    assert (
        "wrote tuned.toml; use it with `zoobench run --models resnet18 --backends fake --options tuned.toml`"
        in err
    )
    [entry] = read_tuned(Path("tuned.toml"))
    assert dict(entry.options) == {"fake_slowdown": 0.8} and "measured afresh" in entry.note
    assert main([*RUN, "--options", "tuned.toml", "--results-dir", "again", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [r["case"]["options"] for r in records] == [{}, {"fake_slowdown": 0.8}]
    assert records[1]["case"]["threads"] == entry.threads
    # In the folder of the search both stand already.
    assert main([*RUN, "--options", "tuned.toml", "--results-dir", "tune-results"]) == 0
    assert "2 measured before" in capsys.readouterr().err


def test_what_the_command_line_says_goes_before_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(TUNE) == 0
    capsys.readouterr()
    words = ["--options", "tuned.toml", "fake_sigma=0.05", "fake_slowdown=2", "--threads", "1", "--json"]
    assert main([*RUN, *words]) == 0
    [record] = json.loads(capsys.readouterr().out)
    assert (
        record["case"]["options"] == {"fake_sigma": 0.05, "fake_slowdown": 2}
        and record["case"]["threads"] == 1
    )


def test_another_machines_file_is_used_with_a_remark(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(TUNE) == 0
    file = Path("tuned.toml")
    [entry] = read_tuned(file)
    file.write_text(file.read_text().replace(str(entry.machine), "abcdef012345"))
    capsys.readouterr()
    assert main([*RUN, "--options", "tuned.toml"]) == 0
    told = capsys.readouterr().err
    assert (
        "tuned on another machine (abcdef012345)" in told
        and "`zoobench tune resnet18 --backends fake` finds out" in told
    )
    file.write_text(file.read_text().replace(f"threads = {entry.threads}", "threads = 64"))
    assert main([*RUN, "--options", "tuned.toml", "--on-existing", "rerun"]) == 2
    assert "say 64 threads, and this process may use 2 CPUs; give --threads" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*RUN, "--options", "gone.toml"], "gone.toml: No such file or directory; `zoobench tune MODEL"),
        ([*RUN, "--options", "a.toml", "b.toml"], "one file of tuned options at a time"),
        ([*TUNE, "--options", "tuned.toml"], "write name=value"),
        ([*TUNE, "--on-existing", "fail"], "take resume or rerun"),
        ([*TUNE, "--output", "tuned.txt"], "end its name in .toml"),
        ([*TUNE, "--output", "no-toml.toml"], "--output "),
        ([*TUNE, "--output", "a=b.toml"], "reads a word with = as an option"),
        ([*TUNE, "--batch-sizes", "0"], "--batch-sizes 0 is out of range"),
        ([*TUNE, "--precision", "fp12"], "--precision"),
        ([*TUNE, "--minimize", "size"], "--minimize"),
        (["tune", "resnet*"], "models (resnet18, "),
        (["tune", "resnet81"], "did you mean 'resnet18'"),
        (["tune", "smollm2_360m"], "is a language model"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("no-toml.toml").write_text("[[")
    assert main(words) == 2
    assert message in refusal(capsys)
    assert not Path("results").exists()


def test_a_file_for_other_cells_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(TUNE) == 0
    capsys.readouterr()
    assert main(["run", "--models", "resnet50", "--backends", "fake", "--options", "tuned.toml"]) == 2
    assert "for resnet18 · fake · fp32 · batch 1, of which none is asked for" in refusal(capsys)


def test_the_command_that_is_printed_measures_the_same_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that was given and is no default is in it: nothing of the file is left over, and all is found in the results."""
    Path("mine.toml").write_text('[own]\nhf_id = "a/own"\nlibrary = "timm"\narchitecture = "resnet18"\n')
    words = ["tune", "own", "--backends", "fake", "--seed", "3", "--registry", "mine.toml", "--allow-pickle"]
    words += ["--precision", "int8", "--effort", "standard", "--weights", "random", "--batch-sizes", "2"]
    assert main([*words, "--options", "fake_sigma=0.02", "--output", "my tuned.toml"]) == 0
    told = capsys.readouterr().err.splitlines()[-1]
    command = shlex.split(told.partition("`")[2].rstrip("`"))
    assert command[:2] == ["zoobench", "run"]
    assert main([*command[1:], "--results-dir", "tune-results", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "2 measured before" in err, "the very cells of the last measurement"
    defaults, best = (record["case"] for record in json.loads(out))
    assert defaults["options"] == {"fake_sigma": 0.02}
    assert best["options"] == {"fake_sigma": 0.02, "fake_slowdown": 0.8}
    assert {(c["precision"], c["batch"], c["model"]) for c in (defaults, best)} == {("int8", 2, "own")}
    [entry] = read_tuned(Path("my tuned.toml"))
    assert entry.note.endswith("; all with fake_sigma=0.02")


def test_other_cells_stay_in_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(TUNE) == 0
    assert main([*TUNE, "--batch-sizes", "4"]) == 0
    assert [entry.batch for entry in read_tuned(Path("tuned.toml"))] == [1, 4]
    assert main(TUNE) == 0
    assert sorted(entry.batch for entry in read_tuned(Path("tuned.toml"))) == [1, 4]


def test_json_is_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TUNE, "--json", "--minimize", "throughput", "--batch-sizes", "1", "8"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["curve"].keys() == {"1", "8"} and [cell["batch"] for cell in found["cells"]] == [8]


def test_each_thing_that_is_told_begins_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--minimize", "throughput", "--batch-sizes", "1", "8", "--options", "fake_sigma=0.01"]
    assert main([*TUNE, *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("resnet18 · fake · fp32: with the defaults ")
    assert "resnet18 · fake · fp32: every configuration, the defaults too, has fake_sigma=0.01" in lines


def test_a_dry_run_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TUNE, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "fake: 6 configurations, the first of them the defaults; rungs of 5 → 3 → 2" in out
    assert "threads=1 fake_slowdown=0.8" in out
    assert not Path("results").exists() and not Path("tuned.toml").exists()
    assert main([*TUNE, "--dry-run", "--output", "new/folder/a.toml"]) == 0
    assert not Path("new").exists()
    capsys.readouterr()
    assert main([*TUNE, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["rungs"] == [5, 3, 2]
    assert main([*TUNE, "--dry-run", "--minimize", "throughput"]) == 0
    assert capsys.readouterr().out.startswith(
        "first the defaults at batch 1, 2, 4, … until the knee, to 128 at most"
    )


def test_a_dry_run_leaves_out_what_is_held(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TUNE, "--dry-run", "--options", "fake_slowdown=0.9"]) == 0
    out = capsys.readouterr().out
    assert "fake: 2 configurations" in out and "fake_slowdown" not in out


@pytest.mark.parametrize("output", ["x.txt", "a=b.toml", "folder.toml"])
def test_a_dry_run_refuses_what_the_search_would(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.toml").mkdir()
    assert main([*TUNE, "--dry-run", "--output", output]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "--output " in err and output in err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_dry_run_of_nothing_is_exit_2(form: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", "resnet18", "--backends", "fake", "--precision", "int4", "--dry-run", *form]
    assert main(words) == 2
    assert "fake does not run int4 here" in capsys.readouterr().out


def test_nothing_to_tune_is_exit_2_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", "resnet18", "--backends", "fake", "--precision", "int4"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert "skipped: fake does not run int4 here" in out and "nothing could be tuned" in err
    assert not Path("tuned.toml").exists()


def test_from_python(tmp_path: Path) -> None:
    import zoobench

    settings = zoobench.Settings(results_dir=tmp_path / "results", seed=3)
    found = zoobench.tune("resnet18", backends=["fake"], settings=settings)
    entries = zoobench.tuned_entries(found)
    records = zoobench.run(["resnet18"], backends=["fake"], tuned=entries, settings=settings)
    assert [r.case.options for r in records] == [{}, {"fake_slowdown": 0.8}]
    assert len(load_records(tmp_path / "results").records) > 10
