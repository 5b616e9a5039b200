"""What a report says of language models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.show.records import make_record, write_results

from zoobench.measure.generation import summarise_tokens
from zoobench.outcome import Memory, Quality, Slot, TaskScore
from zoobench.results.record import Record
from zoobench.results.row import row_of
from zoobench.show.console import run_blocks, short_head
from zoobench.show.report import write_report
from zoobench.show.tables import scenario_label
from zoobench.spec import TextTask

MIB = 1 << 20


def spoken(backend: str, token_ms: float, precision: str = "fp32") -> Record:
    """Twenty requests of 128 + 5 tokens: the first after 200 ms, then one each `token_ms`."""
    options = {"prompt_tokens": 128, "new_tokens": 5}
    record = make_record(
        "tinyllama", backend, 200 + 4 * token_ms, precision=precision, scenario="tokens", options=options
    )
    times = tuple(int((200 + i * token_ms) * 1e6) for i in range(5))
    slot = Slot(
        fork=0, round=0, position=0, settling_ns=0, samples_ns=(times[-1],) * 20, token_ns=(times,) * 20
    )
    memory = Memory(
        after_import_bytes=60 * MIB, after_load_bytes=700 * MIB, peak_bytes=800 * MIB, kv_used_bytes=3 * MIB,
        kv_reserved_bytes=4 * MIB,
    )  # fmt: skip
    return record.model_copy(update={"generation": summarise_tokens(record.case, [slot]), "memory": memory})


def test_the_report_tells_what_is_waited_for_and_where_memory_goes(tmp_path: Path) -> None:
    write_results(tmp_path / "results", [spoken("pytorch", 50), spoken("ort_genai", 20, "int4")])
    text = write_report(tmp_path / "results", tmp_path / "R.md").report.read_text("utf-8")
    times, memory = text.split("### Language models")[1].split("### Memory of language models")
    [line] = [line for line in times.splitlines() if line.startswith("| tinyllama | ort_genai |")]
    # 128 tokens in 200 ms; one token in 20 ms.
    assert line == (
        "| tinyllama | ort_genai | int4 | 128 + 5 tokens | 1 | 200 [200, 200] | — | 20.0 [20.0, 20.0] | 20.0 | — | 20.0 "
        "| 640 | 50.0 | 20 |"
    )
    [line, *_] = [line for line in memory.splitlines() if line.startswith("| tinyllama | pytorch |")]
    assert line.endswith("| 62.9 | 734 | 839 | 3.15 | 4.19 |")
    assert "the first token is not in it" in times


def test_the_table_has_a_language_models_columns_only_where_there_is_one() -> None:
    heads = [
        [short_head(column) for column in run_blocks(records)[1].columns]
        for records in ([spoken("pytorch", 50)], [make_record()])
    ]
    assert {"TTFT", "ITL", "tokens/s"} <= set(heads[0]) and not {"p95", "items/s"} & set(heads[0])
    assert not {"TTFT", "ITL", "tokens/s"} & set(heads[1]) and {"p95", "items/s"} <= set(heads[1])


def test_how_long_prompt_and_answer_are_is_the_scenario() -> None:
    assert scenario_label(row_of(spoken("pytorch", 50))) == "128 + 5 tokens"


def test_a_report_without_language_models_has_no_word_of_them(tmp_path: Path) -> None:
    write_results(tmp_path / "results", [make_record()])
    assert "Language models" not in write_report(tmp_path / "results", tmp_path / "R.md").report.read_text()


def test_what_tasks_found_stands_beside_fp32(tmp_path: Path) -> None:
    def scored(precision: str, value: float, stderr: float | None, **more: Any) -> Record:
        score = TaskScore(
            asked=TextTask(name="facts", limit=100), task="facts", metric="acc", value=value, stderr=stderr, samples=10,
            version="1.0", lm_eval="0.4.13", **more,
        )  # fmt: skip
        quality = Quality(source="passage", tokens=1024, windows=2, tokens_sha256="a" * 64, scores=(score,))
        return spoken("ort_genai", 20, precision).model_copy(update={"quality": quality})

    records = [scored("fp32", 0.9, 0.1), scored("int4", 0.7, 0.15), scored("int8", 1.0, 0.0, filter="strict")]
    write_results(tmp_path / "results", records)
    text = (
        write_report(tmp_path / "results", tmp_path / "R.md").report.read_text("utf-8").replace("&#8203;", "")
    )
    lines = [line for line in text.splitlines() if "| facts |" in line]
    assert [line.split("tokens | ")[1] for line in sorted(lines, key=lambda line: line.split("|")[3])] == [
        "facts | acc | 0.900 ± 0.196 | — | 10 | 1.0, lm-eval 0.4.13 |",
        "facts | acc | 0.700 ± 0.294 | 0.900 ± 0.196 | 10 | 1.0, lm-eval 0.4.13 |",
        # Nothing went another way, so no error can be told; and another filter is another question.
        "facts | acc (strict) | 1.00 | — | 10 | 1.0, lm-eval 0.4.13 |",
    ]
    write_report(tmp_path / "results", tmp_path / "R.json", "json")
    assert json.loads((tmp_path / "R.json").read_text())["machines"][0]["records"][0]["quality"]["scores"]


def test_without_tasks_there_is_no_word_of_them(tmp_path: Path) -> None:
    quality = Quality(source="passage", tokens=1024, windows=2, tokens_sha256="a" * 64)
    write_results(tmp_path / "results", [spoken("pytorch", 50).model_copy(update={"quality": quality})])
    text = write_report(tmp_path / "results", tmp_path / "R.md").report.read_text("utf-8")
    assert "Quality of language models" in text and "lm-eval" not in text
