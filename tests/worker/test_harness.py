"""lm-evaluation-harness on a session of ours: no network for a task of the user's own."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.worker.test_quality import artifact

from zoobench.data.harness import text_tasks
from zoobench.spec import Artifact

pytest.importorskip("lm_eval")
pytestmark = pytest.mark.slow

WORDS = ["<end>", "sky", "grass", "is", "blue", "green", "red", "."]


class Knowing:
    """Knows of what is blue and what is green: after `is` it goes by the word before."""

    def logits(self, ids: np.ndarray) -> np.ndarray:
        import huggingface_hub.constants

        assert huggingface_hub.constants.is_offline_mode(), "a task of the user's own asks nobody"
        found = np.zeros((*ids.shape, len(WORDS)), np.float32)
        for at, word in enumerate(ids[0]):
            before = WORDS[ids[0, at - 1]] if at else ""
            after = {"sky": "blue", "grass": "green"}.get(before, ".") if WORDS[word] == "is" else "."
            found[0, at, WORDS.index(after)] = 3.0
        return found


@pytest.fixture
def speaking(tmp_path: Path) -> Artifact:
    """An artifact whose folder holds a tokenizer of eight words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="."))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", unk_token=".").save_pretrained(
        tmp_path
    )
    return artifact(path=tmp_path, weights="local")


def task(folder: Path, text: str, data: str) -> Path:
    folder.mkdir()
    (folder / "data.jsonl").write_text(data)
    file = folder / "mine.yaml"
    file.write_text(
        "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: {test: data.jsonl}}\ntest_split: test\n"
        f"metadata: {{version: 2.0}}\n{text}"
    )
    return file


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))

    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"the network was asked: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def evaluate(speaking: Artifact, file: Path, limit: int | None = None) -> list[dict[str, Any]]:
    from zoobench.worker.harness import run_tasks

    return run_tasks(Knowing(), speaking, text_tasks([str(file)], limit), lambda text: None)  # type: ignore[arg-type]


def test_two_questions_with_three_answers(speaking: Artifact, tmp_path: Path) -> None:
    import huggingface_hub.constants

    file = task(
        tmp_path / "task",
        'output_type: multiple_choice\ndoc_to_text: "{{q}}"\ndoc_to_choice: c\ndoc_to_target: a\n',
        '{"q": "sky is", "c": ["blue", "green", "red"], "a": 0}\n{"q": "grass is", "c": ["blue", "green", "red"], "a": 2}\n',
    )
    before, here = huggingface_hub.constants.HF_HUB_OFFLINE, Path.cwd()
    found = {score["metric"]: score for score in evaluate(speaking, file)}
    # Of the sky it is right; that grass be red is what it does not hold.
    acc = found["acc"]
    assert (acc["value"], acc["samples"], acc["task"], acc["version"]) == (0.5, 2, "mine", "2.0")
    assert acc["stderr"] == pytest.approx(0.5) and acc["filter"] == "none" and acc["asked"]["sha256"]
    [one] = [s for s in evaluate(speaking, file, limit=1) if s["metric"] == "acc"]
    assert (one["value"], one["samples"]) == (1.0, 1)
    assert before == huggingface_hub.constants.HF_HUB_OFFLINE and here == Path.cwd()


def test_answers_that_are_written_end_where_they_must(speaking: Artifact, tmp_path: Path) -> None:
    file = task(
        tmp_path / "task",
        'output_type: generate_until\ndoc_to_text: "{{q}}"\ndoc_to_target: "{{a}}"\n'
        "generation_kwargs: {until: ['.'], max_gen_toks: 5, do_sample: false}\nmetric_list: [{metric: exact_match}]\n"
        "filter_list: [{name: bare, filter: [{function: remove_whitespace}, {function: take_first}]}]\n",
        '{"q": "sky is", "a": "blue"}\n{"q": "grass is", "a": "green"}\n',
    )
    [score] = evaluate(speaking, file)
    assert (score["metric"], score["filter"], score["value"]) == ("exact_match", "bare", 1.0)


def test_the_likelihood_of_a_text(speaking: Artifact, tmp_path: Path) -> None:
    file = task(
        tmp_path / "task",
        'output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{q}}"\n'
        "metric_list: [{metric: word_perplexity}]\n",
        '{"q": "sky is blue ."}\n',
    )
    [score] = evaluate(speaking, file)
    # `blue` and `.` are foreseen, `sky` and `is` are not; each of eight words has a logit, and one of them 3.
    all_of_it = np.log(7 + np.exp(3.0))
    wanted = np.exp((4 * all_of_it - 2 * 3.0) / 4)
    assert score["value"] == pytest.approx(wanted, rel=1e-5)


def test_drawn_answers_are_refused(speaking: Artifact, tmp_path: Path) -> None:
    file = task(
        tmp_path / "task",
        'output_type: generate_until\ndoc_to_text: "{{q}}"\ndoc_to_target: "{{q}}"\n'
        "generation_kwargs: {until: ['.'], do_sample: true, temperature: 0.7}\n",
        '{"q": "sky is"}\n',
    )
    with pytest.raises(ValueError, match="drawn at random"):
        evaluate(speaking, file)
