"""A server that speaks OpenAI's API, by its URL: a request is one streamed completion over HTTP.

What is timed is what a client waits for: from before the request is sent until each chunk has arrived, so the network and the
server's queue are in it. Prompts are ids where the server takes them, and words where it does not.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from zoobench.backends.torch_text import new_tokens_of
from zoobench.errors import UsageError, ZoobenchError, printable
from zoobench.outcome import Evidence
from zoobench.spec import ENDPOINT_SECRET, Artifact, Case, OptionValue

if TYPE_CHECKING:
    import httpx2

    from zoobench.backends import Tensors

APIS = ("completions", "chat")
CONNECT_S = 10.0
SILENCE_S = 50.0
"""A server that sends nothing for so long hangs, unless `timeout_s` says otherwise."""
MOST_SILENCE_S = 86_400
MAX_COUNT = 10**9
_MOST_SAID, _LONGEST_NAME, _LONGEST_BODY = 200, 200, 1_000_000
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


class EndpointError(ZoobenchError):
    """The server refused, hung, or broke off; `status` is that of its answer."""

    status: int | None = None


def base_url(url: str) -> str:
    """`http://host:port/v1`, however much of it was written.

    Raises:
        UsageError: it is no http(s) address.
    """
    where = url.strip().rstrip("/")
    try:
        parts = urlsplit(where)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"--endpoint {printable(url.partition('?')[0])!r} is no http(s) address; write http://127.0.0.1:8000"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"--endpoint: a password or a query in an address would stand in every record; put the token into {ENDPOINT_SECRET}"
        )
    return where if parts.path.rstrip("/").endswith(("/v1", "/v2", "/v3")) else f"{where}/v1"


def check_options(options: Mapping[str, OptionValue]) -> None:
    """Refuse what no server could be asked with.

    Raises:
        UsageError: an option that cannot be meant, or a token that no header can carry.
    """
    if options.get("api", APIS[0]) not in APIS:
        raise UsageError(f"--options api={options['api']}: one of {', '.join(APIS)}")
    silence = options.get("timeout_s", SILENCE_S)
    if isinstance(silence, bool | str) or not 0 < silence <= MOST_SILENCE_S:
        raise UsageError(f"--options timeout_s={silence}: seconds, above 0 and at most {MOST_SILENCE_S}")
    _token()


def served_models(url: str) -> list[str]:
    """Names of the models that the server at `url` serves, as `GET /v1/models` tells them, each once.

    Raises:
        EndpointError: nothing answers there, or not with a list of models.
    """
    where = f"{base_url(url)}/models"
    with _client(CONNECT_S) as client, _told(where, CONNECT_S), client.stream("GET", where) as answer:
        body = _body(answer, where)
        _require_ok(answer, where, body)
    try:
        names = [entry["id"] for entry in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EndpointError(
            f"{where} lists no models; is it an OpenAI-compatible server? Name the model with --models"
        ) from error
    if not names or not all(
        isinstance(n, str) and n.isprintable() and 0 < len(n) <= _LONGEST_NAME for n in names
    ):
        raise EndpointError(f"{where} lists no model with a name that can be used; name it with --models")
    return list(dict.fromkeys(names))


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
        self._name, self._bound, self._clients = self._served_as(artifact), 0, [_client(self.silence_s)]
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
        client = self._clients[0] if self._bound == 1 else _client(self.silence_s)
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
        with _told(where, self.silence_s, lambda: made), client.stream("POST", where, json=body) as answer:
            if answer.status_code != 200:
                _require_ok(answer, where, _body(answer, where))
            self._server.setdefault("server", answer.headers.get("server"))
            for arrived, line in _lines(answer, where):
                # A comment keeps a connection open, and no token comes of it.
                if time.monotonic() - last_s > self.silence_s:
                    raise EndpointError(f"{where}: no token for {self.silence_s:g} s; see the server's log")
                if not line.startswith("data:"):
                    continue
                text = line[5:].strip()
                if text == "[DONE]":
                    ended = True
                    break
                chunk = _parsed(text, where)
                told = chunk.get("usage")
                usage = told if isinstance(told, dict) else usage
                for name in ("system_fingerprint", "model"):
                    if chunk.get(name):
                        self._server.setdefault(name, str(chunk[name]))
                choice = _first_choice(chunk, text, where)
                if choice is None:
                    continue
                why = choice.get("finish_reason") or why
                if _says_something(choice):
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
        self.counted = _count(usage, "prompt_tokens") or self.counted
        counted = _count(usage, "completion_tokens")
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


def _token() -> str:
    """The server's token; empty where there is none.

    Raises:
        UsageError: it holds what no header may. The line does not show it.
    """
    token = os.environ.get(ENDPOINT_SECRET, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise UsageError(f"{ENDPOINT_SECRET} holds a line break, or a letter that is not ASCII; set it again")
    return token


def _client(silence_s: float) -> httpx2.Client:
    import httpx2

    token = _token()
    return httpx2.Client(
        # Nothing is unpacked: a small answer could become a large one.
        headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {token}"} if token else {})},
        timeout=httpx2.Timeout(silence_s, connect=CONNECT_S),
        # A redirect would carry the token to somebody else.
        follow_redirects=False,
    )


@contextmanager
def _told(where: str, silence_s: float, made: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Turn what the HTTP client raises into one line."""
    import httpx2

    def after() -> str:
        return f" after {made()} tokens" if made() else ""

    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise EndpointError(
            f"{where}: nothing answers ({printable(str(error))}); start the server, or correct --endpoint"
        ) from error
    except httpx2.TimeoutException as error:
        raise EndpointError(
            f"{where}: silent for {silence_s:g} s{after()}; see the server's log, or allow more with --options timeout_s=600"
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise EndpointError(
            f"{where}: the connection broke{after()} ({type(error).__name__}: {printable(str(error))[:_MOST_SAID]}); see the "
            "server's log"
        ) from error


def _lines(answer: httpx2.Response, where: str) -> Iterator[tuple[int, str]]:
    """Each line, with when it had arrived."""
    rest = b""
    for data in answer.iter_raw():
        arrived = time.perf_counter_ns()
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield arrived, line.decode("utf-8", "replace").strip()
        if len(rest) > _LONGEST_BODY:
            raise EndpointError(
                f"{where}: sent a line of more than {_LONGEST_BODY} bytes, which is no completion"
            )
    if rest:
        yield time.perf_counter_ns(), rest.decode("utf-8", "replace").strip()


def _body(answer: httpx2.Response, where: str) -> bytes:
    """What an answer that is no stream says; no more is read than any server has to say."""
    found = b""
    for data in answer.iter_raw():
        found += data
        if len(found) > _LONGEST_BODY:
            raise EndpointError(
                f"{where}: answers with more than {_LONGEST_BODY} bytes; is it an OpenAI-compatible server?"
            )
    return found


def _require_ok(answer: httpx2.Response, where: str, body: bytes) -> None:
    status = answer.status_code
    if status == 200:
        return
    advice = {
        401: f"put the server's token into {ENDPOINT_SECRET}",
        403: f"put a token that may do this into {ENDPOINT_SECRET}",
        404: "correct --endpoint or --models; a server that only chats is asked with --options api=chat",
        429: "lower --concurrency",
    }.get(status, "see the server's log")
    error = EndpointError(f"{where}: answered {status} ({_said(body) or answer.reason_phrase}); {advice}")
    error.status = status
    raise error


def _said(body: bytes) -> str:
    """Why, in the server's own words."""
    text: Any = body.decode("utf-8", "replace")
    try:
        told = json.loads(text)
        inner = told.get("error", told.get("detail", told.get("message", told)))
        text = inner.get("message") if isinstance(inner, dict) else inner
    except (ValueError, AttributeError, RecursionError):
        pass
    return printable(" ".join(str(text or "").split()))[:_MOST_SAID]


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        chunk = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EndpointError(f"{where}: sent {printable(text)[:80]!r}, which is no JSON") from error
    if not isinstance(chunk, dict):
        raise EndpointError(f"{where}: sent {printable(text)[:80]!r}, which is no completion")
    if chunk.get("error"):
        inner = chunk["error"]
        said = inner.get("message", inner) if isinstance(inner, dict) else inner
        raise EndpointError(f"{where}: failed while it answered ({printable(str(said))[:_MOST_SAID]})")
    return chunk


def _first_choice(chunk: dict[str, Any], text: str, where: str) -> dict[str, Any] | None:
    """None where the chunk has none, as that with the counts."""
    choices = chunk.get("choices") or []
    if choices == []:
        return None
    first = choices[0] if isinstance(choices, list) else None
    if not isinstance(first, dict) or not isinstance(first.get("delta") or {}, dict):
        raise EndpointError(f"{where}: sent {printable(text)[:80]!r}, which is no completion")
    return first


def _count(usage: dict[str, Any], name: str) -> int | None:
    """A number of tokens; None where the server tells none, or what is none."""
    told = usage.get(name)
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= MAX_COUNT else None


def _says_something(choice: dict[str, Any]) -> bool:
    """Whether the chunk holds text; a chat begins with a role and ends with a reason, which are no tokens."""
    if "text" in choice:
        return bool(choice["text"])
    delta = choice.get("delta") or {}
    return any(delta.get(name) for name in ("content", "reasoning_content", "reasoning", "tool_calls"))
