"""Language models from the command to the report, on models that were made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.language_models import tiny

from zoobench import api
from zoobench.driver import Settings
from zoobench.errors import UsageError
from zoobench.executors.local import LocalExecutor
from zoobench.results.record import Record
from zoobench.show.report import write_report
from zoobench.terms import Status, VerdictValue

pytestmark = pytest.mark.slow


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executor = LocalExecutor(cache=folder / "cache")
        # Eight seconds, for nothing that is asked here.
        self.executor.ceilings = lambda threads, runtimes: None

    def run(self, model: Path, **asked: Any) -> list[Record]:
        return api.run(
            [str(model)],
            settings=Settings(results_dir=self.folder / "results", max_case_time_s=1, wait=True),
            executor=self.executor,
            **asked,
        )


@pytest.fixture(scope="module")
def place(language_models: Path) -> Iterator[Place]:
    pytest.importorskip("onnxruntime_genai")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOOBENCH_LOCK", str(language_models / "lock"))
        yield Place(language_models)


@pytest.fixture(scope="module")
def measured(place: Place) -> dict[tuple[str, str], Record]:
    records = place.run(
        tiny(place.folder / "llama"),
        backends=["pytorch", "ort_genai"],
        precisions=["fp32", "int4"],
        options={"prompt_tokens": 24, "new_tokens": 8},
    )
    return {(r.case.backend, r.case.precision.value): r for r in records}


def test_every_request_has_its_tokens(measured: dict[tuple[str, str], Record]) -> None:
    for backend in ("pytorch", "ort_genai"):
        record = measured[backend, "fp32"]
        assert record.status is Status.OK, record.error
        found = record.generation
        assert found is not None and found.requests >= 1
        assert (found.prompt_tokens, found.new_tokens, found.itl.n) == (24, 8, 7 * found.requests)
        assert found.ttft.p50_ms and found.itl.p50_ms and found.decode_tokens_per_s
        assert record.latency is not None and record.latency.n == found.requests
        # End to end is the first token and all that follow.
        assert record.latency.mean_ms == pytest.approx(found.ttft.mean_ms + 7 * found.tpot.mean_ms, rel=0.05)
        assert record.check is not None and record.check.passed
        assert record.memory is not None and record.memory.kv_used_bytes == 2 * 2 * 2 * 16 * 4 * (24 + 8 - 1)
    assert measured["ort_genai", "int4"].generation is not None
    assert measured["pytorch", "int4"].status is Status.SKIPPED


def test_pictures_are_not_for_language_models(place: Place, measured: dict[tuple[str, str], Record]) -> None:
    pictures = place.folder / "pictures" / "cat"
    pictures.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(pictures / "1.png")
    [again] = place.run(
        place.folder / "llama",
        backends=["pytorch"],
        data=api.pictures(str(pictures.parent)),
        options={"prompt_tokens": 24, "new_tokens": 8},
    )
    assert again.accuracy is None and again.quality is not None
    before = measured["pytorch", "fp32"]
    assert before.verdict is not None
    # A number that a busy machine spoilt is measured again anyway.
    assert again.run_id == before.run_id or before.verdict.value is VerdictValue.INVALID


def test_the_report_shows_what_was_waited_for(place: Place, measured: dict[tuple[str, str], Record]) -> None:
    text = write_report(place.folder / "results", place.folder / "R.md").report.read_text("utf-8")
    section = text.split("### Language models")[1].split("### Memory of language models")[0]
    assert "| llama/" in section and "ort_genai | int4 | 24 + 8 tokens |" in section
    assert "TPOT:" in section and "KV reserved (MB)" in text


def test_what_the_context_does_not_hold_is_refused(
    place: Place, measured: dict[tuple[str, str], Record]
) -> None:
    [record] = place.run(
        place.folder / "llama", backends=["pytorch"], options={"prompt_tokens": 250, "new_tokens": 8}
    )
    assert record.status is Status.FAILED and record.error
    assert "250 prompt and 8 new tokens are 258, its context holds 256" in record.error.message
    with pytest.raises(UsageError, match="--new-tokens 0: a whole number from 1"):
        place.run(place.folder / "llama", backends=["pytorch"], options={"new_tokens": 0})


LETTERS = "abcdefghijklmnopqrstuvwxyz ?"


def test_tasks_of_the_harness_are_asked_in_the_same_worker_and_change_no_key(
    place: Place, measured: dict[tuple[str, str], Record]
) -> None:
    pytest.importorskip("lm_eval")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    speaking = tiny(place.folder / "speaking")
    words = Tokenizer(models.WordLevel({c: i for i, c in enumerate(LETTERS)}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token=" ", unk_token="?").save_pretrained(speaking)
    asked = {"backends": ["ort_genai"], "options": {"prompt_tokens": 24, "new_tokens": 8}}
    tasks = api.text_tasks([str(Path(__file__).parent / "lm_eval/facts.yaml")], 4)
    [before] = place.run(speaking, **asked)
    [after] = place.run(speaking, tasks=tasks, **asked)
    assert before.quality is not None and not before.quality.scores
    assert after.quality is not None and after.run_id != before.run_id
    assert [(s.task, s.metric, s.samples) for s in after.quality.scores] == [("facts", "acc", 4)]
    assert after.measurement_key == before.measurement_key
    # Another length asks the same model, so it is told what was found.
    [other] = place.run(
        speaking, tasks=tasks, backends=["ort_genai"], options={"prompt_tokens": 16, "new_tokens": 8}
    )
    assert other.quality is not None and other.quality.scores == after.quality.scores
    broken = place.folder / "broken.yaml"
    broken.write_text(
        "task: broken\ndataset_path: json\ndataset_kwargs: {data_files: {test: nowhere.jsonl}}\n"
    )
    [spoilt] = place.run(speaking, tasks=api.text_tasks([str(broken)]), **asked)
    assert spoilt.status is Status.OK and spoilt.quality is not None and not spoilt.quality.scores
    told = [w for w in spoilt.verdict.warnings if w.code == "no_quality"] if spoilt.verdict else []
    assert len(told) == 1 and told[0].message.startswith("lm-eval failed: ")
    with pytest.raises(UsageError, match="knows nothing of words"):
        place.run(place.folder / "llama", tasks=tasks, **asked)
