"""`zoobench compare`, from two runs on disk to an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.show.records import OTHER_MACHINE, make_failure, make_record, write_results

from zoobench.backends import fake
from zoobench.cli import main
from zoobench.results.record import Record
from zoobench.terms import VerdictValue


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


Capture = pytest.CaptureFixture[str]


def run(*words: str) -> None:
    code = main(
        [
            "run",
            "--models",
            "resnet18",
            "--backends",
            "fake",
            "--threads",
            "1",
            "--on-existing",
            "rerun",
            *words,
        ]
    )
    assert code == 0


def run_ids() -> list[str]:
    return sorted(folder.name for folder in Path("results/runs").iterdir())


@pytest.fixture
def two_runs(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The same cell twice, at batch 4; the second time it takes 4^0.2 = 1.32 of the first one's time."""
    run("--batch-sizes", "4")
    monkeypatch.setattr(fake, "_BATCH_EXPONENT", 1.0)
    run("--batch-sizes", "4")
    capsys.readouterr()
    yield run_ids()


def compare(capsys: Capture, *words: str, code: int = 0) -> list[dict[str, Any]]:
    assert main(["compare", *words, "--json"]) == code
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_slower_run_is_told_and_exits_3(two_runs: list[str], capsys: Capture) -> None:
    assert main(["compare", two_runs[0], "latest"]) == 3
    out, err = capsys.readouterr()
    assert "resnet18 · fake · fp32 · batch 4" in out and "▲ slower" in out and "of A's time" in out
    assert f"A: {two_runs[0]}   B: latest" in out and err == ""


def test_the_same_the_other_way_round_is_faster(two_runs: list[str], capsys: Capture) -> None:
    (there,) = compare(capsys, *two_runs, code=3)
    (back,) = compare(capsys, *reversed(two_runs))
    assert (there["change"], back["change"]) == ("slower", "faster")
    assert there["ratio"] == pytest.approx(4**0.2, rel=0.03)
    assert there["ratio"] * back["ratio"] == pytest.approx(1, rel=0.001)
    low, high = there["interval"]
    assert low < there["ratio"] < high and there["kind"] == "intervals"
    assert there["b_ms"] > there["a_ms"] > 0 and there["differences"] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 3),
        (("--fail-on", "slower"), 3),
        (("--fail-on", "faster", "fixed", "failing"), 0),
        (("--fail-on", "newly-failing"), 0),
        (("--fail-on", "nothing"), 0),
        (("--fail-on", "same"), 0),
        (("--margin", "50%"), 0),
        (("--margin", "50%", "--fail-on", "same"), 3),
        (("--margin", "32%", "--fail-on", "inconclusive"), 4),
        (("--margin", "32%"), 0),
    ],
)
def test_what_it_exits_with(two_runs: list[str], words: Sequence[str], code: int, capsys: Capture) -> None:
    assert len(compare(capsys, *two_runs, *words, code=code)) == 1, "one case, whatever it is to fail on"


def test_two_precisions_and_two_batches_of_one_run(capsys: Capture) -> None:
    run("--precisions", "fp32", "int8", "--batch-sizes", "1", "4")
    run("--precisions", "fp32", "--batch-sizes", "4")
    capsys.readouterr()
    found = compare(capsys, "fp32", "int8")
    assert [c["name"] for c in found] == ["resnet18 · fake · batch 1", "resnet18 · fake · batch 4"]
    assert [(c["kind"], c["change"]) for c in found] == [("turns", "same")] * 2, (
        "the newest run that has both"
    )
    assert found[0]["differences"] == ["precision fp32 → int8"]
    found = compare(capsys, "batch=1", "batch=4", "--run", run_ids()[0])
    assert [c["name"] for c in found] == ["resnet18 · fake · fp32", "resnet18 · fake · int8"]
    assert all(c["ratio"] == pytest.approx(4**-0.2, rel=0.05) for c in found), "an item of four takes less"
    assert main(["compare", "fp32", "int8", "--run", "latest"]) == 2
    assert "'latest' holds no result of 'int8'" in capsys.readouterr().err


def test_two_backends_of_one_run_whatever_their_options(capsys: Capture) -> None:
    records = [
        make_record(p50=10.0, options={"io_binding": True}),
        make_record(backend="pytorch", p50=20.0, device="cpu"),
    ]
    write_results(Path("results"), records)
    (found,) = compare(capsys, "onnx_cpu", "pytorch", code=3)
    assert (found["name"], found["ratio"]) == ("resnet18 · fp32 · batch 1", 2.0)
    (found,) = compare(capsys, "pytorch", "onnx_cpu")
    assert found["change"] == "faster"


def test_what_was_asked_of_a_language_model_is_asked_of_both_backends(capsys: Capture) -> None:
    def told(backend: str, p50: float, **options: int) -> Record:
        asked = {"prompt_tokens": 32, "new_tokens": 16, **options}
        return make_record("chat", backend, p50, scenario="tokens", options=asked)

    write_results(
        Path("results"),
        [
            told("ort_genai", 10.0),
            told("ort_genai", 20.0, concurrency=2),
            told("ort_genai", 30.0, prompt_tokens=64),
            told("pytorch", 100.0),
            told("pytorch", 300.0, prompt_tokens=64),
        ],
    )
    found = {c["name"]: (c["a_ms"], c["b_ms"]) for c in compare(capsys, "ort_genai", "pytorch", code=3)}
    assert found == {
        "chat · fp32 · batch 1 · 32 + 16 tokens": (10.0, 100.0),
        "chat · fp32 · batch 1 · 64 + 16 tokens": (30.0, 300.0),
        "chat · fp32 · batch 1 · 32 + 16 tokens · 2 clients": (None, None),
    }


def test_two_machines_are_not_compared_and_exit_5(capsys: Capture) -> None:
    write_results(Path("here"), [make_record()])
    write_results(Path("there"), [make_record(machine=OTHER_MACHINE)])
    assert main(["compare", "here", "there", "--fail-on", "nothing"]) == 5
    assert "they differ in cpu_model" in capsys.readouterr().out


def test_in_folders_of_several_machines_each_is_held_against_itself(capsys: Capture) -> None:
    mine, theirs = make_record(p50=10.0), make_record(p50=5.0, machine=OTHER_MACHINE)
    write_results(Path("before"), [mine, theirs])
    write_results(Path("after"), [theirs, mine])
    found = compare(capsys, "before", "after")
    assert [(c["ratio"], c["a_ms"]) for c in found] == [(1.0, 10.0), (1.0, 5.0)]


def test_the_order_of_options_does_not_matter(capsys: Capture) -> None:
    for name, options in (
        ("before", {"io_binding": True, "arena": 1}),
        ("after", {"arena": 1, "io_binding": True}),
    ):
        write_results(Path(name), [make_record(options=options)])
    (found,) = compare(capsys, "before", "after")
    assert found["ratio"] == 1.0


def test_cases_that_only_one_run_has_are_named_and_fail_when_asked(capsys: Capture) -> None:
    write_results(Path("before"), [make_record(), make_record("resnet50")])
    write_results(Path("after"), [make_record("vit"), make_record()])
    found = compare(capsys, "before", "after")
    assert [(c["name"].split()[0], c["message"]) for c in found if c["ratio"] is None] == [
        ("resnet50", "only A has it"),
        ("vit", "only B has it"),
    ]
    compare(capsys, "before", "after", "--fail-on", "not_comparable", code=5)


def test_one_cell_with_other_threads_is_refused_and_not_called_two(capsys: Capture) -> None:
    write_results(Path("before"), [make_record(), make_record("vit", options={"arena": 1})])
    write_results(Path("after"), [make_record(threads=1), make_record("vit", options={"arena": 0})])
    found = compare(capsys, "before", "after", code=5)
    assert [c["change"] for c in found] == ["not_comparable"] * 2
    assert "they differ in threads 2 → 1" in found[0]["message"]
    assert "they differ in options arena 1 → arena 0" in found[1]["message"]


def test_an_unstable_side_is_told(capsys: Capture) -> None:
    shaky = make_record(verdict=VerdictValue.UNSTABLE, reasons=[("drift", "it drifts")])
    write_results(Path("before"), [make_record()])
    write_results(Path("after"), [shaky])
    assert compare(capsys, "before", "after")[0]["differences"] == ["B is unstable: drift"]


def test_newly_failing_fails_and_fixed_does_not(capsys: Capture) -> None:
    write_results(Path("good"), [make_record("resnet50")])
    write_results(Path("bad"), [make_failure("resnet50")])
    assert [c["change"] for c in compare(capsys, "good", "bad", code=3)] == ["newly_failing"]
    assert [c["change"] for c in compare(capsys, "bad", "good")] == ["fixed"]
    assert [c["change"] for c in compare(capsys, "bad", "bad", code=5)] == ["failing"]
    compare(capsys, "bad", "bad", "--fail-on", "failing", code=3)
    compare(capsys, "bad", "good", "--fail-on", "fixed", code=3)


def test_a_later_failure_does_not_hide_numbers(capsys: Capture) -> None:
    records = [
        make_record("resnet50", p50=10.0, run_id="run-1"),
        make_record("resnet50", p50=5.0, precision="int8", run_id="run-2"),
        make_failure("resnet50", run_id="run-3", at="2026-11-25T00:00:00+00:00"),
    ]
    write_results(Path("results"), records)
    (found,) = compare(capsys, "fp32", "int8")
    assert (found["change"], found["ratio"]) == ("faster", 0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fp32", "batch=4"], "'fp32' is a precision and 'batch=4' a batch; compare two of a kind"),
        (["latest", "onnx_cpu"], "'latest' is a run and 'onnx_cpu' a backend"),
        (["latest", "results/runs/run-1", "--run", "run-1"], "two runs are named by A and B"),
        (["fp32", "int4"], "'results' holds no result of 'int4'"),
        (["pytorch", "onnx_cpu"], "'results' holds no result of 'pytorch'"),
        (["batch=1", "batch=two"], "write batch=8, or name a backend, a precision or a run"),
        (["batch=1", "batch=-1"], "write batch=8"),
        (["threads=1", "threads=2"], "write batch=8"),
        (["latest", "gone"], "there is no run 'gone'"),
        (["latest", "x" * 300], "cannot be read: File name too long"),
        (["latest", ""], "there is no run ''"),
        (["fp32", "int8", "--run", "gone"], "there is no run 'gone'"),
        (["fp32", "int8", "--results-dir", "nowhere"], "no --results-dir nowhere to look in"),
        (["latest", "latest", "--margin", "5"], "--margin '5': the unit is missing; write 5%"),
        (["latest", "latest", "--margin", "-5%"], "--margin"),
        (["latest", "latest", "--fail-on", "sloth"], "--fail-on 'sloth' is unknown; one of faster, slower"),
        (["latest"], "b"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_2(words: list[str], message: str, capsys: Capture) -> None:
    write_results(Path("results"), [make_record()])
    assert main(["compare", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and len(err.strip().splitlines()) == 1, err


def test_damaged_samples_are_told_on_stderr_and_the_medians_are_left(capsys: Capture) -> None:
    run("--precisions", "fp32", "int8")
    for file in Path("results").rglob("*.json.gz"):
        file.write_bytes(b"\x1f\x8b\x08" + b"\xff" * 40)
    capsys.readouterr()
    assert main(["compare", "fp32", "int8", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["kind"] == "intervals"
    assert len(err.splitlines()) == 2 and err.count("the samples cannot be read") == 2


def test_names_from_strangers_do_not_reach_the_terminal(capsys: Capture) -> None:
    write_results(Path("[/]"), [make_record("evil\x1b[31m\n[/red]name")])
    assert main(["compare", "[/]", "[/]"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "[/red]name" in out and "A: [/]   B: [/]" in out


def test_a_folder_comes_before_a_precision_of_that_name(capsys: Capture) -> None:
    write_results(Path("fp32"), [make_record()])
    write_results(Path("int8"), [make_record(p50=9.6)])
    (found,) = compare(capsys, "fp32", "int8")
    assert found["name"] == "resnet18 · onnx_cpu · fp32 · batch 1"
