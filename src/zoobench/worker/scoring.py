"""What a language model makes of given words, from its teacher-forced logits: how likely it holds them, and how it goes on.

The arithmetic alone, so that it can be tried without lm-evaluation-harness; the rules are those of its own backend for
transformers: what is too long loses its beginning, and an answer counts as greedy where each of its tokens was the most likely one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


class Scorer:
    """Asks one sequence at a time, and the same one once.

    Args:
        logits: of every position, int64 (1, tokens) → float32 (1, tokens, vocabulary).
        longest: tokens that can be asked at once.
        done: called after each answer.
    """

    def __init__(
        self,
        logits: Callable[[np.ndarray], np.ndarray],
        longest: int,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self.logits, self.longest, self.done = logits, longest, done

    def scores(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        """For each context and continuation, both not empty: the log of the continuation's probability, in nats, and whether
        greedy decoding would have said it."""
        asked = [([*context, *said][-(self.longest + 1) :], list(said)) for context, said in pairs]
        found: list[tuple[float, bool]] = [(0.0, True)] * len(asked)
        # The answers to one question of a single token each read the same tokens.
        order = sorted(range(len(asked)), key=lambda i: asked[i][0][:-1])
        read: list[int] | None = None
        logits = np.empty((0, 0))
        for i in order:
            whole, said = asked[i]
            said = said[-(len(whole) - 1) :]
            if whole[:-1] != read:
                read = whole[:-1]
                logits = self.logits(np.array([read], np.int64))[0]
            found[i] = _score(logits[-len(said) :], said)
            self.done()
        return found

    def greedy(self, context: Sequence[int], most: int, is_over: Callable[[list[int]], bool]) -> list[int]:
        """The most likely token again and again: each reads all before it anew, because the logits of a session keep no cache.

        Args:
            context: not empty; what does not fit beside `most` tokens loses its beginning.
            most: tokens to make, fewer than `longest`.
            is_over: of what was made so far, whether it ends here.
        """
        ids, made = list(context)[-max(self.longest - most, 1) :], list[int]()
        while len(made) < most:
            logits = self.logits(np.array([ids + made], np.int64))[0, -1]
            made.append(int(logits.argmax()))
            if is_over(made):
                break
        self.done()
        return made


def _score(logits: np.ndarray, said: Sequence[int]) -> tuple[float, bool]:
    """Of (tokens, vocabulary) logits, each of which foresees one token of `said`."""
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    chosen = values[np.arange(len(said)), np.asarray(said)]
    total = chosen - np.log(np.exp(values).sum(axis=1))
    return float(total.sum()), bool((values.argmax(axis=1) == np.asarray(said)).all())
