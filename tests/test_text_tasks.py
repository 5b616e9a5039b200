"""Which cells lm-evaluation-harness is due for: asked of them, not found before, and refused in time where it says nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from tests.show.records import make_record
from tests.worker.test_quality import artifact

from zoobench import api, plan
from zoobench.commands.text import TextFlags
from zoobench.driver.accuracies import Accuracies, Pictures
from zoobench.driver.text_tasks import TextTasks
from zoobench.errors import UsageError
from zoobench.outcome import Quality, TaskScore
from zoobench.results.record import Record
from zoobench.spec import NO_TOKENIZER, ModelSpec, Seat, TextTask
from zoobench.terms import TEXT

FACTS, ARC = TextTask(name="/a/facts.yaml", sha256="f" * 64), TextTask(name="arc_easy", limit=100)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.4.13" if name == "lm-eval" else found(name)
    )


def spoken(*asked: TextTask, version: str = "0.4.13", **more: Any) -> Record:
    """A record whose quality pass ran, with the scores of `asked`."""
    scores = tuple(
        TaskScore(asked=task, task="t", metric="acc", value=0.5, lm_eval=version) for task in asked
    )
    quality = Quality(source="passage", tokens=1024, windows=2, tokens_sha256="a" * 64, scores=scores)
    options = more.pop("options", {"prompt_tokens": 64, "new_tokens": 8})
    return make_record("m", "ort_genai", scenario="tokens", options=options, quality=quality, **more)


def test_only_what_holds_every_task_that_is_asked_for_fits() -> None:
    for asked, record, fits in (
        ((), spoken(), True),
        ((), spoken(FACTS), True),
        ((FACTS,), spoken(), False),
        ((FACTS,), make_record("m", "ort_genai"), False),
        ((FACTS,), spoken(FACTS, ARC), True),
        ((FACTS, ARC), spoken(FACTS), False),
        ((FACTS,), spoken(FACTS.model_copy(update={"sha256": "e" * 64})), False),
        ((FACTS,), spoken(FACTS.model_copy(update={"name": "/b/facts.yaml"})), True),
        ((ARC,), spoken(ARC.model_copy(update={"limit": None})), False),
        ((ARC,), spoken(ARC, version="0.4.14"), False),
    ):
        accuracies = Accuracies(Pictures(), None, TextTasks(asked))  # type: ignore[arg-type]
        assert accuracies.fits(record, artifact(weights="local")) is fits, (asked, record.quality)


def test_cells_of_one_artifact_and_runtime_share_what_one_pass_found() -> None:
    tasks = TextTasks((FACTS,))
    tasks.learn(spoken(FACTS))
    seat = Seat(spoken().case, artifact(weights="local"))
    for blank, is_known in (
        (spoken(options={"prompt_tokens": 512, "new_tokens": 8}), True),
        (spoken(batch=2), True),
        (spoken(precision="int4"), False),
        (spoken(versions={"onnxruntime-genai": "0.19"}), False),
    ):
        assert tasks.seat(seat, blank).tasks == (() if is_known else (FACTS,))
        quality = tasks.of(blank).quality
        assert quality is not None and len(quality.scores) == is_known
    # A cell whose quality pass failed has no place for them, and nothing is asked of a model of pictures.
    assert tasks.of(spoken().model_copy(update={"quality": None})).quality is None
    assert (
        tasks.seat(Seat(seat.case, seat.artifact.model_copy(update={"decoder": None})), spoken()).tasks == ()
    )


def test_a_model_without_words_is_refused_before_it_is_measured() -> None:
    tasks = TextTasks((FACTS,))
    with pytest.raises(UsageError, match=r"--lm-eval: m knows nothing of words \(its weights are random\)"):
        tasks.check(artifact())
    with pytest.raises(UsageError, match="its tokenizer is not here"):
        tasks.check(artifact(weights="local", notes=(NO_TOKENIZER,)))
    tasks.check(artifact(weights="local"))
    TextTasks().check(artifact())


def test_the_key_does_not_change() -> None:
    """A cell that was measured with tasks is the one that was measured without."""
    with_tasks = plan.Request(models=[ModelSpec(name="m", task=TEXT)], backends=["ort_genai"], tasks=[FACTS])
    without = plan.Request(models=[ModelSpec(name="m", task=TEXT)], backends=["ort_genai"])
    inventory = plan.Inventory(2, {"ort_genai": None})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: object())
        ids = [[c.id for c in plan.plan(asked, inventory).cases] for asked in (with_tasks, without)]
    assert ids[0] == ids[1] and len(ids[0]) == 1


def test_what_cannot_be_evaluated_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lm_eval" else found(name))
    text = ModelSpec(name="m", task=TEXT)

    def check(*models: ModelSpec, **asked: Any) -> None:
        plan.check(api.request(models, tasks=[ARC], **asked), cpus=2)

    with pytest.raises(UsageError, match=r"lm-eval is not installed; .*pip install .*\[lm_eval\]'"):
        check(text, backends=["ort_genai"])
    with pytest.raises(UsageError, match="--lm-eval is for language models; none of --models is one"):
        check(ModelSpec(name="resnet18"), backends=["pytorch"])
    with pytest.raises(UsageError, match="logits, which endpoint does not tell"):
        check(text, backends=["endpoint"], options={"endpoint": "http://127.0.0.1:1"})


def test_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("task: mine")
    tasks = TextFlags(lm_eval=["arc_easy", str(file)], lm_eval_limit=7).tasks()
    assert [(t.name, t.limit, t.sha256 is None) for t in tasks] == [
        ("arc_easy", 7, True),
        (str(file), 7, False),
    ]
    assert TextFlags().tasks() == ()
    with pytest.raises(UsageError, match="--lm-eval-limit 7 is about --lm-eval, which is not given"):
        TextFlags(lm_eval_limit=7).tasks()
