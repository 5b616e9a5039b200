"""The command line: exit codes, one-line errors, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoobench.cli import COMMANDS, build_app, main, root_help
from zoobench.errors import UsageError
from zoobench.results.store import read_samples
from zoobench.search.max_rate import Tried
from zoobench.search.serving import MaxRate


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> int:
    return main(["run", "--models", "resnet18", "--backends", "fake", *words])


def test_the_result_is_on_stdout_and_the_progress_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    out, err = capsys.readouterr()
    assert "resnet18" in out and "fake" in out and "Verdict" in out
    assert "[1/1]" in err and "[1/1]" not in out


def test_json_is_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", "--batch-sizes", "1", "4") == 0
    records = json.loads(capsys.readouterr().out)
    assert [r["case"]["batch"] for r in records] == [1, 4]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--models", "resnet81"], "unknown model 'resnet81'; did you mean 'resnet18'"),
        (["run", "--models"], "--models is empty"),
        (
            ["run", "--models", "resnet18", "--backends", "fakr"],
            "unknown backend 'fakr'; did you mean 'fake'?",
        ),
        (["run", "--models", "resnet18", "--batch-sizes", "0"], "--batch-sizes 0 is out of range"),
        (["run", "--models", "resnet18", "--batch-sizes", "-1"], "--batch-sizes -1 is out of range"),
        (
            ["run", "--models", "resnet18", "--batch-sizes", "2000000"],
            "--batch-sizes 2000000 is out of range",
        ),
        (["run", "--models", "resnet18", "--batch-sizes"], "--batch-sizes is empty"),
        (["run", "--models", "resnet18", "--batch-sizes", "two"], "--batch-sizes"),
        (["run", "--models", "resnet18", "--effort", "hasty"], "--effort"),
        (["run", "--models", "resnet18", "--precisions", "fp12"], "--precisions 'fp12' is unknown"),
        (["run", "--models", "resnet18", "--scenario", "storm"], "--scenario 'storm' is unknown"),
        (["run", "--models", "resnet18", "--options", "x"], "write name=value"),
        (["run", "--models", "resnet18", "--options", "gap_ms=5"], "use --gap for that"),
        (["run", "--models", "resnet18", "--max-case-time", "-3"], "--max-case-time"),
        (["run", "--models", "resnet18", "--gap", "-3"], "--gap"),
        (["run", "--models", "resnet18", "--registry", "gone.toml"], "gone.toml"),
        (["run", "--modles", "resnet18"], "--modles"),
        (["rum"], "rum"),
        (["export", "resnet18", "--opset", "99"], "--opset 99 is out of range"),
        (["report", "--results-dir", "nowhere"], "nowhere"),
        (["cache", "prune"], "--older-than-days N or --everything"),
        (["cache", "prune", "--older-than-days", "-1"], "0 or more days are needed"),
        (["cache", "prune", "--older-than-days", "nan"], "0 or more days are needed"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and len(err.strip().splitlines()) == 1, err


def test_pipes_where_files_belong_are_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("pipe.npz", "pipe.toml", "lock"):
        os.mkfifo(tmp_path / name)
    assert run("--inputs", "pipe.npz") == 2
    assert run("--registry", "pipe.toml") == 2
    assert capsys.readouterr().err.count("file") >= 2


def test_escape_sequences_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--models", "resnet18", "--backends", "\x1b[31mfake\n"]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err and len(err.splitlines()) == 1


@pytest.mark.slow
def test_closed_streams_are_no_reason_to_stop(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
    words = f"{sys.executable} -m zoobench run --models resnet18 --backends fake"
    for redirection in ("2>&-", "0<&- 1>&-", "2>/dev/full"):
        done = subprocess.run(
            ["sh", "-c", f"{words} --on-existing rerun {redirection}"],
            cwd=tmp_path, env=env, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, (redirection, done)
    assert len(list(tmp_path.glob("results/runs/*/records.jsonl"))) == 3


def test_a_variable_stands_for_its_flag_and_a_misspelt_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOOBENCH_RUN_BATCH_SIZES", "[3]")
    assert run("--json") == 0
    assert [r["case"]["batch"] for r in json.loads(capsys.readouterr().out)] == [3]
    monkeypatch.setenv("ZOOBENCH_RUN_EFORT", "thorough")
    assert run() == 2
    assert (
        "ZOOBENCH_RUN_EFORT is no flag of `run`; did you mean ZOOBENCH_RUN_EFFORT?" in capsys.readouterr().err
    )
    assert main(["schema"]) == 0, "what is meant for another command does not matter here"


def test_a_results_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").write_text("x")
    assert run() == 2
    assert "--results-dir results is a file" in capsys.readouterr().err


def test_a_registry_with_a_mistake_names_the_entry_and_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text('[mine]\nname = "mine"\nhf_id = "me/mine"\nimgsize = 224\n')
    assert main(["run", "--models", "mine", "--registry", "mine.toml"]) == 2
    err = capsys.readouterr().err
    assert "mine" in err and "imgsize" in err and "img_size" in err and len(err.strip().splitlines()) == 1


def test_a_cell_that_fails_is_exit_1_and_the_others_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--options", "fake_fault=slot") == 1
    assert "failed" in capsys.readouterr().err


def test_nothing_to_measure_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--precisions", "int4") == 2
    assert "nothing could be measured" in capsys.readouterr().err


def test_the_config_file_says_what_flags_say_and_flags_win(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "zoobench.toml").write_text(
        '[run]\nmodels = ["resnet18"]\nbackends = ["fake"]\nbatch_sizes = [3]\nresults_dir = "elsewhere"\n'
    )
    assert main(["run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["case"]["batch"] == 3
    assert (tmp_path / "elsewhere/runs").is_dir()
    assert main(["run", "--json", "--batch-sizes", "5"]) == 0
    assert [r["case"]["batch"] for r in json.loads(capsys.readouterr().out)] == [5]


def test_init_writes_a_file_that_run_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert main(["init"]) == 2
    assert run("--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cells"][0]["backend"] == "fake"


def test_a_dry_run_measures_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--dry-run", "--batch-sizes", "1", "2", "--precisions", "fp32", "int4") == 0
    out = capsys.readouterr().out
    assert "2 cells would be measured" in out and "int4" in out
    assert run("--dry-run") == 0
    assert "1 cell would be measured" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_gpu_without_a_gpu_says_what_it_would_have_run(capsys: pytest.CaptureFixture[str]) -> None:
    from zoobench.machine import describe

    if describe().gpus:
        pytest.skip("this machine has a GPU")
    assert main(["run", "--models", "resnet18", "--gpu", "--batch-sizes", "1", "8"]) == 2
    err = capsys.readouterr().err
    assert "resnet18 · onnx_cuda · batch 8" in err and "check_gpu.py" in err


def test_models_and_schema_are_machine_readable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) >= 20
    assert main(["schema"]) == 0
    assert "measurement_key" in json.loads(capsys.readouterr().out)["properties"]


def test_help_names_every_command_and_the_parser_knows_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main([]) == 0
    assert all(name in root_help() for name in COMMANDS)
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert COMMANDS[name].split(";")[0].split(" (")[0] in capsys.readouterr().out
    assert set(COMMANDS) <= set(build_app())


def test_completion_is_printed_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "--shell", "bash"]) == 0
    assert "zoobench" in capsys.readouterr().out


def test_debug_shows_the_traceback() -> None:

    with pytest.raises(UsageError):
        main(["run", "--models", "resnet81", "--debug"])


def on_the_wall(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    """A run whose worker is a real process that is busy for a while."""
    options = ["--options", "fake_clock=wall", *words]
    command = ["run", "--models", "resnet18", "--backends", "fake", *options, "--effort", "standard"]
    root = Path(__file__).resolve().parents[1] / "src"
    env = {**os.environ, "PYTHONPATH": str(root), "ZOOBENCH_LOCK": str(tmp_path / "lock")}
    return subprocess.Popen(
        [sys.executable, "-m", "zoobench", *command], stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path
    )


def wait_for_slots(tmp_path: Path) -> None:
    for _ in range(400):
        if any(f.read_text().count("\n") > 2 for f in tmp_path.glob("results/runs/*/journal/*.jsonl")):
            return
        time.sleep(0.05)
    raise AssertionError("no slot arrived")


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_measured_and_leaves_no_worker(tmp_path: Path) -> None:
    process = on_the_wall(tmp_path)
    wait_for_slots(tmp_path)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    [line] = next(tmp_path.glob("results/runs/*/records.jsonl")).read_text().splitlines()
    record = json.loads(line)
    assert record["status"] == "interrupted" and record["latency"]["n"] >= 20


@pytest.mark.slow
def test_a_killed_parent_loses_nothing_and_the_next_run_continues(tmp_path: Path) -> None:
    process = on_the_wall(tmp_path)
    wait_for_slots(tmp_path)
    process.kill()
    process.communicate(timeout=20)
    second = on_the_wall(tmp_path, "--max-case-time", "2")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert "had ended early" in err
    lines = [
        json.loads(f.read_text().splitlines()[-1])
        for f in sorted(tmp_path.glob("results/runs/*/records.jsonl"))
    ]
    assert [line["status"] for line in lines] == ["interrupted", "ok"]


@pytest.mark.slow
def test_two_runs_at_once_the_second_says_who_holds_the_machine(tmp_path: Path) -> None:
    first = on_the_wall(tmp_path)
    wait_for_slots(tmp_path)
    (tmp_path / "b").mkdir()
    second = on_the_wall(tmp_path, "--results-dir", "b")
    _, err = second.communicate(timeout=30)
    assert second.returncode == 2 and f"process {first.pid}" in err, err
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=20)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "-5"], "--seed -5"),
        (["--options", "fake_p50_ms=NaN"], "fake_p50_ms=NaN"),
        (["--options", "fake_p50_ms=Infinity"], "fake_p50_ms=Infinity"),
        (["--inputs", "gone.npz"], "--inputs gone.npz"),
        (["--inputs", "text.npz"], "text.npz"),
    ],
)
def test_what_would_fail_later_is_refused_first(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.npz").write_text("not a zip")
    assert run(*words) == 2
    err = capsys.readouterr().err
    assert message in err and "unexpected" not in err
    assert not list(tmp_path.glob("results/runs/*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[run", "zoobench.toml: cannot be read"),
        (b"\xff", "zoobench.toml"),
        (b"[rnu]\n", "no command 'rnu'"),
    ],
)
def test_a_config_file_that_cannot_be_meant_is_named(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "zoobench.toml").write_bytes(content)
    assert run() == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1


def test_a_config_that_is_a_pipe_does_not_hang(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "zoobench.toml")
    assert run() == 2
    assert "is not a regular file" in capsys.readouterr().err


def test_a_terminal_without_the_alphabet_gets_its_table(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[1] / "src"
    env = {
        **os.environ,
        "PYTHONPATH": str(root),
        "PYTHONIOENCODING": "ascii",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
    }
    command = [sys.executable, "-m", "zoobench", "run", "--models", "resnet18", "--backends", "fake"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False)
    assert done.returncode == 0 and "resnet18" in done.stdout, done.stderr


@pytest.mark.slow
def test_a_polite_kill_writes_what_was_measured(tmp_path: Path) -> None:
    process = on_the_wall(tmp_path)
    wait_for_slots(tmp_path)
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    [line] = next(tmp_path.glob("results/runs/*/records.jsonl")).read_text().splitlines()
    assert json.loads(line)["status"] == "interrupted"


def test_a_search_says_its_answer_on_stdout_and_in_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = MaxRate("resnet18 · fake · fp32", 99.0, 50.0, 80.0, "84 do not hold", (Tried(80.0, holds=True),))
    monkeypatch.setattr("zoobench.searches.find_max_rates", lambda asked, **_: ([], [found]))
    words = ["--scenario", "server", "--max-latency", "p99:50ms", "--options", "fake_clock=wall"]
    run(*words)
    assert "fake · fp32: holds 80 queries/s with p99 ≤ 50 ms; 84 do not hold" in capsys.readouterr().out
    run(*words, "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["records"] == [] and told["max_rates"][0]["qps"] == 80.0
    assert told["max_rates"][0]["tried"] == [{"qps": 80.0, "holds": True, "again": False, "final": False}]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["offline --batch-sizes 4", "multi_stream", "server --target-qps 60 --max-latency p90:1s"]
)
def test_loadgen_drives_a_real_worker(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--max-case-time", "2", "--options", "fake_clock=wall", "--json"]
    assert run("--scenario", *words.split(), *more) == 0
    [record] = json.loads(capsys.readouterr().out)
    assert record["status"] == "ok" and record["load"]["tests"] == 1
    assert record["throughput_per_s"] == record["load"]["completed_qps"] > 0
    assert record["versions"]["mlcommons-loadgen"]
    assert abs(record["load"]["little_error"]) < 0.02
    [file] = Path("results").glob("runs/*/samples/*")
    assert [slot.load.valid for slot in read_samples(file)] == [record["load"]["valid_tests"] == 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--scenario server --max-latency p99:50", "write p99:50ms"),
        ("--scenario server", "--target-qps 50"),
        ("--scenario server --max-latency p99:50ms --dry-run", "add --target-qps"),
        ("--scenario multi_stream --target-qps 5", "no rate to set"),
        ("--scenario offline", "fake_clock=wall"),
        ("--options target_qps=5", "use --target-qps"),
    ],
)
def test_a_load_that_cannot_be_meant_is_one_line(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words.split()) == 2
    out, err = capsys.readouterr()
    assert said in err and not out
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "command", "code", "said"),
    [
        (RuntimeError("odd"), "recommend", 70, "unexpected RuntimeError: odd; --debug shows the traceback"),
        (OSError("full"), "recommend", 70, "the output cannot be written (full)"),
        (OSError("full"), "run", 70, "the output cannot be written (full); what was measured is kept"),
        (KeyboardInterrupt(), "recommend", 130, "interrupted"),
        (KeyboardInterrupt(), "tune", 130, "interrupted; what was measured is kept, run again to continue"),
    ],
)
def test_what_breaks_has_a_code_that_is_no_answer(
    error: BaseException,
    command: str,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(tokens: list[str]) -> None:
        raise error

    monkeypatch.setattr("zoobench.cli._dispatch", breaks)
    assert main([command]) == code
    assert capsys.readouterr().err == f"zoobench: {said}\n"
