"""A server that speaks OpenAI's API, by its URL: a request is one streamed completion over HTTP.

What is timed is what a client waits for: from before the request is sent until each chunk has arrived, so the network and the
server's queue are in it. Prompts are ids where the server takes them, and words where it does not.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.backends.openai_api import (
    APIS,
    SILENCE_S,
    EndpointError,
    base_url,
    body_of,
    check_options,
    client_of,
    count_of,
    first_choice,
    lines_of,
    parsed,
    require_ok,
    says_something,
    served_models,
    told,
)
from zoobench.backends.torch_text import new_tokens_of
from zoobench.outcome import Evidence
from zoobench.spec import Artifact, Case

if TYPE_CHECKING:
    import httpx2

    from zoobench.backends import Tensors

_WORDS = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
    "car",
    "city",
    "community",
    "name",
]
"""Each is one token of nearly every vocabulary, with the space before it."""


class Endpoint:
    """OpenAI's API over HTTP."""

    def unavailable(self) -> str | None:
        """It needs nothing here."""
        return None

    def import_runtime(self, artifact: Artifact) -> None:
        """Import the HTTP client."""
        import httpx2  # noqa: F401

    def load(self, artifact: Artifact, case: Case) -> EndpointSession:
        """Ask for one token, to learn how this server takes its prompts."""
        return EndpointSession(artifact, case)


class EndpointSession:
    """One server; every call that is bound has a connection of its own."""

    def __init__(self, artifact: Artifact, case: Case) -> None:
        self.url, self.case, self.compile_s = base_url(str(case.options["endpoint"])), case, None
        self.api = str(case.options.get("api", APIS[0]))
        check_options(case.options)
        self.silence_s = float(case.options.get("timeout_s", SILENCE_S))
        self.prompt_tokens = int(case.options["prompt_tokens"])
        # A server remembers what it has read: no prompt may come twice, not even in another run.
        self.seed = secrets.randbits(63)
        self._vocabulary = artifact.input_shape[1]
        self._name, self._bound, self._clients = self._served_as(artifact), 0, [client_of(self.silence_s)]
        self._server: dict[str, Any] = {}
        self.counted: int | None = None
        self.overhead = 0
        self.takes_ids = self.api == "completions" and self._try_ids()
        if not self.takes_ids:
            self._learn_overhead()

    def _served_as(self, artifact: Artifact) -> str:
        """The server's own name of the model; a server that lists none is asked by the name that was given."""
        try:
            names = served_models(self.url)
        except EndpointError as error:
            if error.status in (404, 405, 501):
                return artifact.model
            raise
        for name in (artifact.model, artifact.hf_id):
            if name in names:
                return str(name)
        if len(names) == 1:
            return names[0]
        raise EndpointError(
            f"{self.url} does not serve {artifact.model}; it serves {', '.join(names) or 'no model'}"
        )

    def _try_ids(self) -> bool:
        """Whether a prompt may be a list of ids; a refusal that has another cause comes again with words."""
        try:
            self._once(self._prompt(np.random.default_rng(self.seed), ids=True))
        except EndpointError as error:
            if error.status in (400, 415, 422, 500, 501):
                return False
            raise
        return True

    def _learn_overhead(self) -> None:
        """A chat's template and the begin of a text are tokens too: as many words fewer make the prompt."""
        self._once(self._prompt(np.random.default_rng(self.seed), ids=False))
        if self.counted is None:
            return
        self.overhead = self.counted - self.prompt_tokens
        if self.overhead >= self.prompt_tokens:
            raise EndpointError(
                f"{self.url}: its template alone is {self.overhead} tokens, so no prompt of {self.prompt_tokens} can be made; "
                "raise --prompt-tokens"
            )

    def _once(self, prompt: Any) -> None:
        for _ in self._stream(self._clients[0], prompt, 1):
            pass

    def _prompt(self, rng: np.random.Generator, *, ids: bool) -> Any:
        if ids:
            least = min(100, self._vocabulary // 2)
            return rng.integers(least, self._vocabulary, self.prompt_tokens).tolist()
        return " ".join(rng.choice(_WORDS, self.prompt_tokens - self.overhead))

    def bind(self, inputs: Tensors) -> Callable[..., Tensors]:
        """The call sends a prompt that was never sent before and reads the stream.

        `token_ns` are nanoseconds from before the request is sent to the arrival of each chunk that holds text; one more
        token than chunks is not an error, because a server may hold back what is no whole character yet.
        """
        self._bound += 1
        rng = np.random.default_rng([self.seed, self._bound])
        client = self._clients[0] if self._bound == 1 else client_of(self.silence_s)
        self._clients.append(client)
        asked = new_tokens_of(self.case)

        def run(first: Callable[[], None] | None = None) -> Tensors:
            prompt = self._prompt(rng, ids=self.takes_ids)
            clock = time.perf_counter_ns
            token_ns: list[int] = []
            begin, made = clock(), None
            for arrived, counted in self._stream(client, prompt, asked):
                if arrived is None:
                    made = counted
                    continue
                if first is not None and not token_ns:
                    first()
                token_ns.append(arrived - begin)
            made = len(token_ns) if made is None else made
            if not token_ns:
                raise EndpointError(
                    f"{self.url}: the answer ended without a token; see the server's log: some give up one request when the next "
                    "comes, so lower --concurrency"
                )
            if made != asked:
                raise EndpointError(
                    f"{self.url}: {made} tokens were made, and {asked} were asked for; the server ends a text by itself and does "
                    "not know ignore_eos, so its times cannot be compared: ask for fewer --new-tokens"
                )
            return {"token_ids": np.empty((1, 0), np.int64), "token_ns": np.asarray(token_ns, np.int64)}

        return run

    def _stream(
        self, client: httpx2.Client, prompt: Any, new_tokens: int
    ) -> Iterator[tuple[int | None, int | None]]:
        """Arrivals of the chunks with text, on the clock; at the end (None, tokens as the server counted them)."""
        path = "completions" if self.api == "completions" else "chat/completions"
        body: dict[str, Any] = {
            "model": self._name,
            "max_tokens": new_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            # What vLLM, SGLang and llama.cpp know: the text may not end before, and nothing is taken from a cache.
            "ignore_eos": True,
            "min_tokens": new_tokens,
            "cache_prompt": False,
        }
        if self.api == "completions":
            body["prompt"] = prompt
        else:
            body["messages"] = [{"role": "user", "content": prompt}]
        where, made = f"{self.url}/{path}", 0
        usage: dict[str, Any] = {}
        ended, why = False, None
        last_s = time.monotonic()
        with told(where, self.silence_s, lambda: made), client.stream("POST", where, json=body) as answer:
            if answer.status_code != 200:
                require_ok(answer, where, body_of(answer, where))
            self._server.setdefault("server", answer.headers.get("server"))
            for arrived, line in lines_of(answer, where):
                # A comment keeps a connection open, and no token comes of it.
                if time.monotonic() - last_s > self.silence_s:
                    raise EndpointError(f"{where}: no token for {self.silence_s:g} s; see the server's log")
                if not line.startswith("data:"):
                    continue
                text = line[5:].strip()
                if text == "[DONE]":
                    ended = True
                    break
                chunk = parsed(text, where)
                usage = chunk["usage"] if isinstance(chunk.get("usage"), dict) else usage
                for name in ("system_fingerprint", "model"):
                    if chunk.get(name):
                        self._server.setdefault(name, str(chunk[name]))
                choice = first_choice(chunk, text, where)
                if choice is None:
                    continue
                why = choice.get("finish_reason") or why
                if says_something(choice):
                    made, last_s = made + 1, time.monotonic()
                    if made > new_tokens:
                        raise EndpointError(
                            f"{where}: sent more than the {new_tokens} tokens that were asked for; it does not know max_tokens"
                        )
                    yield arrived, None
        if not ended and why is None:
            raise EndpointError(
                f"{where}: the stream ended after {made} of {new_tokens} tokens; see the server's log"
            )
        self.counted = count_of(usage, "prompt_tokens") or self.counted
        counted = count_of(usage, "completion_tokens")
        # A server that counts for nobody still says whether it was the limit that ended the text.
        yield None, counted if counted is not None else new_tokens if why == "length" else None

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """A server tells none."""
        raise EndpointError(f"{self.url}: a server tells no logits")

    def kv_bytes(self) -> tuple[int | None, int | None]:
        """What the server keeps is its own."""
        return None, None

    def evidence(self) -> Evidence:
        """What the server says of itself, and how it was asked."""
        return Evidence(
            runtime="endpoint",
            version=self._server.get("system_fingerprint") or self._server.get("server"),
            device="remote",
            provider_time={"remote": 1.0},
            details={
                "url": self.url,
                "served_as": self._name,
                "api": self.api,
                "prompts": "ids" if self.takes_ids else "words",
                "prompt_tokens_counted": self.counted,
                "seed": self.seed,
                **{name: value for name, value in self._server.items() if value},
            },
        )

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()
