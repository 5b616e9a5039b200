"""Whole reports, from a results folder to files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.show.records import (
    MACHINE,
    OTHER_MACHINE,
    full_run,
    make_accuracy,
    make_failure,
    make_record,
    with_samples,
    write_results,
)

from zoobench.errors import UsageError
from zoobench.results.record import Record
from zoobench.show.report import ReportFiles, write_report
from zoobench.terms import VerdictValue


def report(folder: Path, records: list[Record], **more: object) -> tuple[ReportFiles, str]:
    results = write_results(folder / "results", records, **more)  # type: ignore[arg-type]
    files = write_report(results, folder / "RESULTS.md")
    return files, files.report.read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    start = text.index(f"# {title}\n")
    following = re.search(r"^#+ ", text[start + len(title) :], re.MULTILINE)
    return text[start : start + len(title) + following.start()] if following else text[start:]


def test_a_full_report_tells_everything(tmp_path: Path) -> None:
    files, text = report(tmp_path, full_run())
    assert text.startswith("# Benchmark results\n\n**23 cells measured (21 valid, 1 unstable, 1 invalid)")
    assert (
        "| Model | Backend | Latency (ms) | p95 (ms) | Throughput (items/s) | Top-1 (%) | Size (MB) |" in text
    )
    assert "| resnet18 | onnx_cpu | 9.53 [9.39, 9.67] 🟢 | 10.7 |" in section(text, "Batch size 1")
    assert "10 pairs over 4 models, from 1.84× (resnet18, batch 4) to 3.66× (mobilenetv2" in text
    assert "killed for memory at 7.4 GB" in section(text, "Failures and skips")
    assert "no CUDA device" in section(text, "Failures and skips")
    assert "close other programs or raise --effort" in section(text, "Notes on the verdicts")
    assert "42.0%" in section(text, "How near the hardware's limit")
    assert "0.113" in section(text, "Start-up, first call and warm-up")
    assert "Intel(R) Xeon(R)" in section(text, "The machine")
    assert "zoobench run --models resnet18" in section(text, "How to reproduce")
    assert files.cells == 25
    assert files.problems == ()


def test_every_chart_that_is_shown_lies_beside_the_report(tmp_path: Path) -> None:
    files, text = report(tmp_path, full_run())
    shown = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert shown == [
        "RESULTS_charts/latency.svg",
        "RESULTS_charts/speedup.svg",
        "RESULTS_charts/size.svg",
        "RESULTS_charts/batches.svg",
    ]
    assert [tmp_path / path for path in shown] == list(files.charts)
    assert all(path.read_text().startswith("<svg") for path in files.charts)
    assert set(files.beside) == {tmp_path / "results.csv", *files.charts}


def test_the_sheet_holds_every_cell_and_runs_nothing(tmp_path: Path) -> None:
    records = [make_record("=HYPERLINK(1)"), make_record("@x", p50=1 / 3), make_record('a,b\n"c')]
    files, _ = report(tmp_path, records)
    assert files.table is not None
    with files.table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["'=HYPERLINK(1)", "'@x", 'a,b "c']
    assert float(rows[1]["p50_ms"]) == 1 / 3
    assert rows[0]["p95_ms"] == ""


def test_a_hostile_model_is_text_in_every_format(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>|**x**"
    records = [make_record(name), make_record(name, "pytorch"), make_failure(name, batch=2, message=name)]
    _, text = report(tmp_path, records, argv=["zoobench", "run", "--models", name])
    body = re.sub(r"```sh\n.*?```", "", text, flags=re.DOTALL)
    assert "<img" not in body
    assert "**x**" not in body
    page = write_report(tmp_path / "results", tmp_path / "r.html", "html").report.read_text()
    assert "<img src=x" not in page


def test_machines_are_never_ranked_together(tmp_path: Path) -> None:
    files, text = report(
        tmp_path, [make_record(), make_record(backend="pytorch", machine=OTHER_MACHINE, p50=17.7)]
    )
    assert "on 2 machines, which are never ranked together" in text
    first, second = text.split("## AMD EPYC")
    assert "| resnet18 | onnx_cpu |" in first and "| pytorch |" not in first
    assert "| resnet18 | pytorch |" in second and "| onnx_cpu |" not in second
    assert "as fast in the geometric mean" not in text
    assert [path.name for path in files.charts] == ["machine_1_latency.svg", "machine_2_latency.svg"]


def test_fake_cells_stand_apart(tmp_path: Path) -> None:
    _, text = report(tmp_path, [make_record("m", "fake", 0.1, weights="fake"), make_record()])
    real, fake = text.split("## Fake backend")
    assert "fastest: resnet18" in real
    assert "| m | fake |" in fake and "| m | fake |" not in real


def test_a_later_failure_is_told_beside_the_older_numbers(tmp_path: Path) -> None:
    later = make_failure("resnet18", message="it broke", run_id="run-2", at="2026-11-24T00:00:00+00:00")
    _, text = report(tmp_path, [make_record(), later])
    assert "valid · a later attempt: failed (load)" in text
    assert "it broke (the table shows the numbers of run run-1)" in section(text, "Failures and skips")


def test_nothing_believable_is_said(tmp_path: Path) -> None:
    _, text = report(tmp_path, [make_record(verdict=VerdictValue.INVALID, reasons=[("x", "y")])])
    assert "no latency among them can be believed" in text
    _, text = report(tmp_path / "other", [make_failure()])
    assert "0 cells measured" in text


def test_unreadable_lines_are_listed(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", [make_record()])
    with (results / "runs" / "run-1" / "records.jsonl").open("ab") as file:
        file.write(b'{"schema_version": 1, "run')
    files = write_report(results, tmp_path / "RESULTS.md")
    assert len(files.problems) == 1
    assert "cut short by an interruption" in files.report.read_text()


def test_a_long_table_is_cut_and_says_so(tmp_path: Path) -> None:
    files, text = report(tmp_path, [make_record(f"m{i}") for i in range(310)])
    assert "10 more rows are in results.csv." in section(text, "Batch size 1")
    assert files.table is not None
    assert len(files.table.read_text().splitlines()) == 311


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/opt/venv/bin/zoobench", "run", "--models", "a b"], "zoobench run --models 'a b'"),
        (["src/benchmark.py", "--gpu"], "python src/benchmark.py --gpu"),
        (["/somewhere/zoobench/__main__.py", "run"], "python -m zoobench run"),
    ],
)
def test_the_command_is_shown_as_it_was_typed(tmp_path: Path, argv: list[str], shown: str) -> None:
    _, text = report(tmp_path, [make_record()], argv=argv)
    assert f"```sh\n{shown}\n" in text


def test_json_holds_the_records_and_the_speedups(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", full_run())
    files = write_report(results, tmp_path / "r.json", "json")
    body = json.loads(files.report.read_text())
    (machine,) = body["machines"]
    assert len(machine["records"]) == 25
    assert machine["speedups"][0]["geometric_mean"] == pytest.approx(2.47, abs=0.01)
    assert Record.model_validate({k: v for k, v in machine["records"][0].items() if k != "later_attempt"})
    assert files.beside == ()


def test_html_is_one_page_that_needs_nothing_else(tmp_path: Path) -> None:
    kept = [with_samples(tmp_path / "results", r) if r.latency else r for r in full_run()]
    results = write_results(tmp_path / "results", kept)
    files = write_report(results, tmp_path / "r.html", "html")
    page = files.report.read_text()
    # latency, speed-up, front, batches, distributions, memory
    assert page.count("data:image/svg+xml;base64,") == 6
    assert "http://" not in page and "https://" not in page and ' src="data:' in page
    assert page.index("23 cells measured") < page.index("<nav") < page.index("<table")
    assert files.problems == () and files.charts == ()
    assert not (tmp_path / "r_charts").exists()


def test_a_speed_up_is_that_of_compare_in_every_format(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    times = {"pytorch": (16.0, 17.0, 18.0, 19.0), "onnx_cpu": (10.0, 12.0, 9.0, 11.0)}
    write_results(
        folder,
        [
            with_samples(
                folder, make_record(backend=backend, p50=p50), [[ms, 2 * ms] for ms in times[backend]]
            )
            for backend, p50 in (("pytorch", 20.0), ("onnx_cpu", 10.0))
        ],
    )
    text = write_report(folder, tmp_path / "r.md", "md").report.read_text()
    # By the medians it were 2.00 with [1.94, 2.06].
    assert "1.66× [1.32, 2.09]" in text and "1.66× as fast" in text
    assert "not the quotient of their medians" in text
    assert "1.66× [1.32, 2.09]" in write_report(folder, tmp_path / "r.html", "html").report.read_text()
    body = json.loads(write_report(folder, tmp_path / "r.json", "json").report.read_text())
    (told,) = body["machines"][0]["speedups"][0]["pairs"]
    assert (told["kind"], round(told["ratio"], 2)) == ("turns", 1.66)


def test_a_renamed_run_is_reported_as_before(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r", [with_samples(tmp_path / "r", make_record())])
    (results / "runs/run-1").rename(results / "runs/kept")
    page = write_report(results, tmp_path / "r.html", "html").report.read_text()
    assert "zoobench run --models resnet18" in page and "Latency distributions" in page
    assert "could not be read" not in page


def test_a_page_has_one_table_of_every_batch_size_that_is_chosen_from(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", full_run())
    page = write_report(results, tmp_path / "r.html", "html").report.read_text()
    (table,) = re.findall(r"<table[^>]* data-filter>.*?</table>", page, re.DOTALL)
    assert re.findall(r"<th scope=\"col\"[^>]* data-choose>(.*?)</th>", table) == [
        "Backend",
        "Batch",
        "Verdict",
    ]
    assert table.count("<tr") == 25, (
        "23 with numbers, one that failed, and the heads; what was skipped is not there"
    )
    assert table.count('<tr class="out">') == 2, "the invalid and the failed one are never ranked"
    assert 'data-value="9.53">9.53 [9.39, 9.67] <i class="light green"' in table
    assert 'data-value="unstable">⚠ unstable · note' in table and 'data-value="out of memory"' in table


def test_samples_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    lost = make_record().model_copy(update={"samples_file": "samples/lost.json.gz"})
    away = make_record("resnet50").model_copy(update={"samples_file": "../../../away.json.gz"})
    results = write_results(tmp_path / "results", [lost, away])
    files = write_report(results, tmp_path / "r.html", "html")
    assert len(files.problems) == 2 and "lies outside the run" in " ".join(files.problems)
    assert "What could not be read" in files.report.read_text()


def test_charts_of_many_machines_are_left_out_once_each(tmp_path: Path) -> None:
    machines = [MACHINE.model_copy(update={"fingerprint": f"{n:016x}"}) for n in range(6)]
    _, text = report(tmp_path, [make_record(machine=machine) for machine in machines])
    assert text.count("Charts are drawn for the first 4 machines only.") == 2


def test_the_first_sentence_names_the_fastest_that_can_be_decided_on(tmp_path: Path) -> None:
    steady = make_record("steady", p50=5.0, weights="random")
    shaky = make_record("shaky", p50=4.0, verdict=VerdictValue.UNSTABLE, reasons=[("drift", "it drifted")])
    _, text = report(tmp_path / "both", [steady, shaky])
    first = next(line for line in text.splitlines() if "fastest:" in line)
    assert "fastest: steady · onnx_cpu · fp32 · batch 1 (random weights), 5.00" in first
    assert "shaky" in first and first.index("steady") < first.index("shaky")
    assert "which is ⚠ unstable reads faster" in first
    # What loses too much comes after what is unstable.
    bent = make_record("bent", p50=2.0, accuracy=make_accuracy(500, lost=300))
    _, text = report(tmp_path / "bent", [bent, shaky])
    assert "fastest: shaky" in next(line for line in text.splitlines() if "fastest:" in line)
    _, text = report(tmp_path / "one", [shaky])
    assert "which is ⚠ unstable." in next(line for line in text.splitlines() if "fastest:" in line)


def test_figures_of_unstable_cells_are_marked_where_no_column_has_the_verdict(tmp_path: Path) -> None:
    shaky = make_record(batch=8, p50=40.0, verdict=VerdictValue.UNSTABLE, reasons=[("drift", "it drifted")])
    _, text = report(tmp_path, [make_record(), shaky])
    for title in ("Throughput against batch size (items/s)", "How near the hardware's limit"):
        part = section(text, title)
        assert part.count("⚠") == 2 and "⚠: the cell is unstable" in part, title


def test_what_cannot_be_reported_on_is_a_usage_error(tmp_path: Path) -> None:
    output = tmp_path / "RESULTS.md"
    with pytest.raises(UsageError, match="no results folder"):
        write_report(tmp_path / "none", output)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no results yet; measure first"):
        write_report(tmp_path / "empty", output)
    (tmp_path / "bad" / "runs" / "r").mkdir(parents=True)
    (tmp_path / "bad" / "runs" / "r" / "records.jsonl").write_text("garbage\n")
    with pytest.raises(UsageError, match=r"no record .* can be read: .*records.jsonl:1"):
        write_report(tmp_path / "bad", output)
    assert not output.exists()


def test_an_output_that_cannot_be_written_is_a_usage_error_and_leaves_no_litter(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", [make_record()])
    with pytest.raises(UsageError, match="is a folder"):
        write_report(results, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_report(results, tmp_path / "file" / "RESULTS.md")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "results"]


def test_a_disk_that_is_full_in_mid_write_keeps_the_older_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = write_results(tmp_path / "results", [make_record()])
    (tmp_path / "RESULTS.md").write_text("older")

    def full(_path: Path, _target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_report(results, tmp_path / "RESULTS.md")
    assert (tmp_path / "RESULTS.md").read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["RESULTS.md", "results"]


def test_many_batch_sizes_are_cut_and_said(tmp_path: Path) -> None:
    _, text = report(tmp_path, [make_record(batch=batch) for batch in range(1, 16)])
    assert text.count("### Batch size ") == 12
    assert text.count("3 more batch sizes are in results.csv.") == 2


def test_models_under_a_copyleft_licence_are_named_once(tmp_path: Path) -> None:
    def under(name: str, licence: str | None, **more: Any) -> Record:
        made = make_record(name, **more)
        return made.model_copy(update={"model": made.model.model_copy(update={"licence": licence})})

    records = [
        under("yolov8n", "AGPL-3.0"),
        under("yolov8n", "AGPL-3.0", batch=8),
        under("resnet18", "apache-2.0"),
    ]
    _, text = report(tmp_path / "a", records)
    assert text.count("Under a copyleft licence") == 1 and "built on them: yolov8n (AGPL-3.0)." in text
    _, text = report(tmp_path / "b", [under("resnet18", None)])
    assert "Under a copyleft licence" not in text
