"""lm-evaluation-harness's tasks on a session that was measured: this side of its `LM`."""

from __future__ import annotations

import contextlib
import itertools
import math
import numbers
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

import lm_eval
from zoobench.prepare.text import open_tokenizer
from zoobench.spec import Artifact, TextTask
from zoobench.worker.scoring import Scorer

if TYPE_CHECKING:
    from zoobench.backends import TokenSession

_MOST_NEW_TOKENS = 256
"""Where a task does not say: what the harness takes for its own backends."""
_BETWEEN_S = 2.0


def run_tasks(
    session: TokenSession, artifact: Artifact, tasks: Sequence[TextTask], progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Evaluate one task after another.

    Returns:
        One dict a metric, see `TaskScore`.

    Raises:
        whatever the harness does: an unknown task, a dataset that cannot be had, a metric that is not installed.
    """
    found: list[dict[str, Any]] = []
    # The index of the harness's own tasks takes seconds.
    named = TaskManager() if any(task.sha256 is None for task in tasks) else None
    for task in tasks:
        model = SessionLM(session, artifact, _teller(task, progress))
        # A task's data stands relative to its file.
        with contextlib.chdir(Path(task.name).parent if task.sha256 else "."), _network(task.sha256 is None):
            results = lm_eval.simple_evaluate(
                model=model,
                tasks=[task.name],
                task_manager=named if task.sha256 is None else TaskManager(include_defaults=False),
                limit=task.limit,
                log_samples=False,
            )
        found += _scores(task, results)
    return found


def _scores(task: TextTask, results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    counts, versions = results["n-samples"], results["versions"]
    for name, metrics in results["results"].items():
        for key, value in metrics.items():
            metric, comma, kept = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, numbers.Real):
                continue
            stderr = metrics.get(f"{metric}_stderr,{kept}")
            known = isinstance(stderr, numbers.Real) and math.isfinite(stderr)
            version = versions.get(name)
            yield {
                "asked": task.model_dump(mode="json"),
                "task": name,
                "metric": metric,
                "filter": kept,
                "value": float(value) if math.isfinite(value) else None,
                "stderr": float(stderr) if known else None,
                "samples": counts.get(name, {}).get("effective"),
                "version": None if version in (None, "Yaml") else str(version),
                "lm_eval": lm_eval.__version__,
            }


@contextlib.contextmanager
def _network(allowed: bool) -> Iterator[None]:
    """A task of the user's own asks nobody. The libraries read the environment when they are imported, which they may be."""
    import datasets.config
    import huggingface_hub.constants

    if allowed:
        yield
        return
    places = [(datasets.config, "HF_HUB_OFFLINE"), (datasets.config, "HF_DATASETS_OFFLINE"), (huggingface_hub.constants, "HF_HUB_OFFLINE")]  # fmt: skip
    before = [getattr(place, name) for place, name in places]
    try:
        for place, name in places:
            setattr(place, name, True)
        yield
    finally:
        for (place, name), value in zip(places, before, strict=True):
            setattr(place, name, value)


def _teller(task: TextTask, progress: Callable[[str], None]) -> Callable[[], None]:
    """Says how many requests were answered, now and then: writing to the parent takes time too."""
    number, told = itertools.count(1), [time.monotonic()]

    def done() -> None:
        answered, now = next(number), time.monotonic()
        if now - told[0] >= _BETWEEN_S:
            told[0] = now
            progress(f"lm-eval {Path(task.name).stem}: {answered} answers")

    return done


class SessionLM(TemplateLM):  # type: ignore[misc]
    """A session as lm-evaluation-harness wants a model, with the tokenizer of its artifact's folder. No chat template."""

    def __init__(self, session: TokenSession, artifact: Artifact, done: Callable[[], None]) -> None:
        super().__init__()
        assert artifact.decoder is not None
        self.tokenizer = open_tokenizer(artifact.path)
        self.scorer = Scorer(session.logits, artifact.decoder.context_length - 1, done)

    @property
    def eot_token_id(self) -> int:
        """Ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """Stands before a text that has nothing before it."""
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """As the tokenizer does unless told; a text that begins with its first token gets no second one."""
        begin = self.tokenizer.bos_token
        if add_special_tokens is None and begin is not None and string.startswith(begin):
            add_special_tokens = False
        told = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer.encode(string, **told))

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        return self.scorer.scores([(context, said) for _, context, said in requests])

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Of whole texts, in windows that do not overlap."""
        totals = []
        for request in requests:
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0], add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.scorer.longest,
                context_len=1,
            )
            scores = self.scorer.scores([make_disjoint_window(window) for window in windows])
            totals.append(sum(score for score, _ in scores))
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy answers, up to what ends them.

        Raises:
            ValueError: the task wants answers to be drawn at random.
        """
        return [self._answer(*request.args) for request in requests]

    def _answer(self, context: str, told: dict[str, Any]) -> str:
        if told.get("do_sample") and float(told.get("temperature") or 1.0) > 0.0:
            raise ValueError("the task wants answers drawn at random, and these are the most likely ones")
        until = told.get("until") or []
        ends = list(filter(None, [until] if isinstance(until, str) else until))
        most = next(
            (int(told[n]) for n in ("max_gen_toks", "max_new_tokens") if told.get(n)), _MOST_NEW_TOKENS
        )
        most = min(most, self.scorer.longest - 1)

        def is_over(made: list[int]) -> bool:
            # Of the whole, because a token may hold a part of a letter.
            return made[-1] == self.eot_token_id or any(end in self._text(made) for end in ends)

        text = self._text(self.scorer.greedy(self.tok_encode(context), most, is_over))
        for end in ends:
            text = text.split(end)[0]
        return text

    def _text(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text
