"""What a model makes of given words, against the sum written out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.language_models import tiny

from zoobench.worker.scoring import Scorer

VOCABULARY = 10


class Table:
    """After id `a` the id `b` has the logit `table[a, b]`; keeps how long what was read was."""

    def __init__(self) -> None:
        self.table = np.random.default_rng(7).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)
        self.read: list[list[int]] = []

    def logits(self, ids: np.ndarray) -> np.ndarray:
        self.read.append(ids[0].tolist())
        return self.table[ids]

    def log_probability(self, before: int, after: int) -> float:
        row = self.table[before].astype(float)
        return row[after] - math.log(sum(math.exp(v) for v in row))


def test_the_log_of_a_continuation_is_the_sum_over_its_tokens() -> None:
    model = Table()
    [(total, greedy)] = Scorer(model.logits, 20).scores([([1, 2, 3], [4, 5])])
    assert total == pytest.approx(model.log_probability(3, 4) + model.log_probability(4, 5))
    assert greedy is False and model.read == [[1, 2, 3, 4]], "the last token foresees nothing"
    likely = int(model.table[3].argmax())
    [(_, greedy)] = Scorer(model.logits, 20).scores([([1, 2, 3], [likely])])
    assert greedy is True


def test_answers_come_in_the_order_of_the_questions_and_the_same_is_read_once() -> None:
    model = Table()
    pairs = [([5, 6], [7]), ([1, 2], [3]), ([5, 6], [8]), ([1, 2], [4])]
    found = Scorer(model.logits, 20).scores(pairs)
    assert [total for total, _ in found] == pytest.approx(
        [model.log_probability(context[-1], said[0]) for context, said in pairs]
    )
    assert len(model.read) == 2


def test_what_is_too_long_loses_its_beginning() -> None:
    model = Table()
    [(total, _)] = Scorer(model.logits, 3).scores([([1, 2, 3, 4], [5, 6])])
    assert model.read == [[3, 4, 5]]
    assert total == pytest.approx(model.log_probability(4, 5) + model.log_probability(5, 6))
    # Of a continuation that alone is too long the end is scored, as by the harness's own backends.
    [(total, _)] = Scorer(model.logits, 2).scores([([1], [2, 3, 4])])
    assert total == pytest.approx(model.log_probability(2, 3) + model.log_probability(3, 4))


def test_greedy_takes_the_most_likely_until_it_is_told_to_stop() -> None:
    model = Table()
    wanted, last = [], 1
    for _ in range(4):
        last = int(model.table[last].argmax())
        wanted.append(last)
    scorer = Scorer(model.logits, 8)
    assert scorer.greedy([1], 4, lambda made: False) == wanted
    assert scorer.greedy([1], 4, lambda made: len(made) == 2) == wanted[:2]
    model.read.clear()
    scorer.greedy([9] * 20 + [1], 4, lambda made: False)
    assert max(map(len, model.read)) <= 8


def test_every_answer_is_counted() -> None:
    told: list[None] = []
    scorer = Scorer(Table().logits, 8, lambda: told.append(None))
    scorer.scores([([1], [2]), ([1], [3])])
    scorer.greedy([1], 2, lambda made: False)
    assert len(told) == 3


class Letters:
    """A tokenizer without a file: each letter is its number in the alphabet."""

    bos_token, bos_token_id, eos_token_id = None, None, 0

    def encode(self, text: str, **_: Any) -> list[int]:
        return [ord(c) % 512 for c in text]

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(map(chr, ids))


@pytest.mark.slow
def test_a_real_decoder_is_scored_as_pytorch_does(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny(tmp_path / "llama")).eval()
    words = Letters()

    def logits(ids: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(ids)).logits.numpy()

    context, said = words.encode("The capital of France is"), words.encode(" Paris")
    [(total, greedy)] = Scorer(logits, 255).scores([(context, said)])
    with torch.inference_mode():
        logs = model(torch.tensor([context + said])).logits[0].double().log_softmax(-1)
    wanted = sum(logs[len(context) + i - 1, token].item() for i, token in enumerate(said))
    assert total == pytest.approx(wanted, abs=1e-4) and greedy is False
    made = Scorer(logits, 255).greedy(context, 5, lambda made: False)
    with torch.inference_mode():
        theirs = model.generate(
            torch.tensor([context]), max_new_tokens=5, do_sample=False, eos_token_id=None, pad_token_id=0
        )
    assert made == theirs[0, len(context) :].tolist()
    [(_, greedy)] = Scorer(logits, 255).scores([(context, made)])
    assert greedy is True
