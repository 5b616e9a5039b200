"""The flags of language models, for every command that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from zoobench import api
from zoobench.commands.flags import Names, Numbers
from zoobench.errors import UsageError
from zoobench.spec import TextTask
from zoobench.terms import OptionValue
from zoobench.units import percentile_limit


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TextFlags:
    """Language models.

    Parameters
    ----------
    prompt_tokens
        Of a language model's prompts; default: 128.
    new_tokens
        That a language model makes of each prompt, whatever it says; default: 64.
    concurrency
        Numbers of clients that ask at once, each one request after another: 1 2 4. With --scenario server how many requests
        are worked on at once.
    endpoint
        Measure the server at this address, which speaks OpenAI's API: http://127.0.0.1:8000. A token is taken from
        OPENAI_API_KEY.
    max_ttft
        A request is good when its first token comes within this time: 500ms. With --scenario server the percentile that must
        hold it: p99:500ms.
    max_tpot
        A request is good when each further token takes no more than this, on average: 50ms, p99:50ms.
    lm_eval
        Tasks of lm-evaluation-harness (extra lm_eval), after the cell was measured: names that it knows, whose datasets it
        downloads, or a task's YAML file.
    lm_eval_limit
        Questions of each of those tasks; default: all.
    """

    prompt_tokens: int | None = None
    new_tokens: int | None = None
    concurrency: Numbers = None
    endpoint: str | None = None
    max_ttft: str | None = None
    max_tpot: str | None = None
    lm_eval: Names = None
    lm_eval_limit: int | None = None

    def options(self) -> dict[str, OptionValue]:
        """As options of the case.

        Raises:
            UsageError: a limit that is not written as one.
        """
        return {
            **({} if self.prompt_tokens is None else {"prompt_tokens": self.prompt_tokens}),
            **({} if self.new_tokens is None else {"new_tokens": self.new_tokens}),
            **({} if self.endpoint is None else {"endpoint": self.endpoint}),
            **parse_token_limits(self.max_ttft, self.max_tpot),
        }

    def tasks(self) -> tuple[TextTask, ...]:
        """Of lm-evaluation-harness.

        Raises:
            UsageError: a file that is not there, or a limit that means nothing.
        """
        if self.lm_eval_limit is not None and not self.lm_eval:
            raise UsageError(
                f"--lm-eval-limit {self.lm_eval_limit} is about --lm-eval, which is not given; add --lm-eval hellaswag"
            )
        return api.text_tasks(self.lm_eval or (), self.lm_eval_limit)

    def backends(self, asked: Sequence[str] | None) -> Sequence[str] | None:
        """An endpoint is a backend of its own, and may stand beside others that are named."""
        if self.endpoint is None:
            return asked
        return [*(asked or ()), *(() if asked and "endpoint" in asked else ("endpoint",))]


def parse_token_limits(max_ttft: str | None, max_tpot: str | None) -> dict[str, OptionValue]:
    """Both limits, which share a percentile where they have one."""
    found: dict[str, OptionValue] = {}
    for name, flag, text in (
        ("ttft_limit_ms", "--max-ttft", max_ttft),
        ("tpot_limit_ms", "--max-tpot", max_tpot),
    ):
        if text is None:
            continue
        percentile, found[name] = percentile_limit(text, flag)
        if percentile is not None and found.setdefault("latency_percentile", percentile) != percentile:
            raise UsageError(
                f"--max-ttft {max_ttft} --max-tpot {max_tpot}: LoadGen judges both by one percentile"
            )
    return found


Text = Annotated[TextFlags | None, Parameter(name="*")]
