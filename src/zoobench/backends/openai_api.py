"""OpenAI's API over HTTP, as a stranger speaks it: addresses, the token, streams, and what goes wrong in one line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from zoobench.errors import UsageError, ZoobenchError, printable
from zoobench.spec import ENDPOINT_SECRET
from zoobench.terms import OptionValue

if TYPE_CHECKING:
    import httpx2

APIS = ("completions", "chat")
CONNECT_S = 10.0
SILENCE_S = 50.0
"""A server that sends nothing for so long hangs, unless `timeout_s` says otherwise."""
MOST_SILENCE_S = 86_400
MAX_COUNT = 10**9
_MOST_SAID, _LONGEST_NAME, _LONGEST_BODY = 200, 200, 1_000_000


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
    with client_of(CONNECT_S) as client, told(where, CONNECT_S), client.stream("GET", where) as answer:
        body = body_of(answer, where)
        require_ok(answer, where, body)
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


def _token() -> str:
    """The server's token; empty where there is none.

    Raises:
        UsageError: it holds what no header may. The line does not show it.
    """
    token = os.environ.get(ENDPOINT_SECRET, "").strip()
    if not (token.isascii() and token.isprintable()):
        raise UsageError(f"{ENDPOINT_SECRET} holds a line break, or a letter that is not ASCII; set it again")
    return token


def client_of(silence_s: float) -> httpx2.Client:
    """A client with the server's token, which waits so long for each part of an answer."""
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
def told(where: str, silence_s: float, made: Callable[[], int] = lambda: 0) -> Iterator[None]:
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


def lines_of(answer: httpx2.Response, where: str) -> Iterator[tuple[int, str]]:
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


def body_of(answer: httpx2.Response, where: str) -> bytes:
    """What an answer that is no stream says; no more is read than any server has to say."""
    found = b""
    for data in answer.iter_raw():
        found += data
        if len(found) > _LONGEST_BODY:
            raise EndpointError(
                f"{where}: answers with more than {_LONGEST_BODY} bytes; is it an OpenAI-compatible server?"
            )
    return found


def require_ok(answer: httpx2.Response, where: str, body: bytes) -> None:
    """Raise an EndpointError with what the server says, and what to do, unless it answered 200."""
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


def parsed(text: str, where: str) -> dict[str, Any]:
    """A chunk of a stream. Raises EndpointError where it is none, or tells of the server's own trouble."""
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


def first_choice(chunk: dict[str, Any], text: str, where: str) -> dict[str, Any] | None:
    """None where the chunk has none, as that with the counts."""
    choices = chunk.get("choices") or []
    if choices == []:
        return None
    first = choices[0] if isinstance(choices, list) else None
    if not isinstance(first, dict) or not isinstance(first.get("delta") or {}, dict):
        raise EndpointError(f"{where}: sent {printable(text)[:80]!r}, which is no completion")
    return first


def count_of(usage: dict[str, Any], name: str) -> int | None:
    """A number of tokens; None where the server tells none, or what is none."""
    told = usage.get(name)
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= MAX_COUNT else None


def says_something(choice: dict[str, Any]) -> bool:
    """Whether the chunk holds text; a chat begins with a role and ends with a reason, which are no tokens."""
    if "text" in choice:
        return bool(choice["text"])
    delta = choice.get("delta") or {}
    return any(delta.get(name) for name in ("content", "reasoning_content", "reasoning", "tool_calls"))
