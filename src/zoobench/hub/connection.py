"""Talking to the Hub: where it is, whether it answers, and what its refusals mean in one line.

The environment is read when a function is called; huggingface_hub reads it once, when it is imported.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

from zoobench.errors import HubError, HubUnreachableError, UsageError

Kind = Literal["model", "dataset"]
"""What a repository holds; the Hub has an address and an API for each."""

CONNECT_TIMEOUT_S = 4.0
"""The offline fallback waits this long at most, once per process."""
ANSWER_TIMEOUT_S = 10.0

_probed: dict[str, str | None] = {}
"""Endpoint → why it cannot be reached, None: it can. One model waits for the network, the next need not."""


class TransientHubError(HubError):
    """The Hub's trouble of the moment (5xx, a cut connection): the same request may work in a second."""


def endpoint() -> str:
    """Address of the Hub, from HF_ENDPOINT, without a trailing slash."""
    where = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    try:
        parts = urlsplit(where)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"HF_ENDPOINT is {where!r}, which is no http(s) address: correct or unset it")
    return where


def offline() -> bool:
    """Whether the user forbids the network (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE)."""
    asked = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return asked.upper() in {"1", "ON", "YES", "TRUE"}


def require_reachable(hf_id: str) -> None:
    """Fail at once where no answer can come.

    Raises:
        HubUnreachableError: offline mode, or nothing accepts a connection within `CONNECT_TIMEOUT_S`.
    """
    if offline():
        raise HubUnreachableError(
            f"'{hf_id}' is not in the cache, and HF_HUB_OFFLINE forbids the network: unset it to download"
        )
    where = endpoint()
    if where not in _probed:
        _probed[where] = _connection_problem(where, CONNECT_TIMEOUT_S)
    problem = _probed[where]
    if problem is not None:
        raise _unreachable(hf_id, where, problem)


@contextmanager
def hub_errors(hf_id: str, revision: str | None = None, *, kind: Kind = "model") -> Iterator[None]:
    """Turn what huggingface_hub and its HTTP client raise for a metadata request into one line about `hf_id`.

    Raises:
        HubUnreachableError: no answer; remembered for the rest of the process.
        TransientHubError: 5xx or a cut connection.
        HubError: any other refusal, or an answer that makes no sense.
    """
    import httpx2
    from huggingface_hub import errors

    where = endpoint()
    try:
        yield
    except errors.HfHubHTTPError as error:
        raise refusal(
            hf_id, error.response.status_code, error.response.headers, revision, kind=kind
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise HubUnreachableError(f"'{hf_id}': huggingface_hub was started in offline mode") from error
    except (httpx2.ConnectError, httpx2.TimeoutException) as error:
        problem = one_line(error)
        # A redirect to somewhere that is down says nothing about the Hub, nor about the next model.
        if isinstance(error, httpx2.ConnectError) and _connection_problem(where, CONNECT_TIMEOUT_S) is None:
            raise TransientHubError(
                f"'{hf_id}': {where} sends the request to an address that does not answer ({problem}): "
                "run again later, or check HF_ENDPOINT"
            ) from error
        _probed[where] = problem
        raise _unreachable(hf_id, where, problem) from error
    except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
        raise TransientHubError(
            f"'{hf_id}': {where} cut the connection ({one_line(error)}): check the network and run again"
        ) from error
    except httpx2.HTTPError as error:
        raise HubError(f"'{hf_id}': asking {where} failed: {one_line(error)}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise garbage(hf_id, one_line(error)) from error


def garbage(hf_id: str, problem: str) -> HubError:
    """The Hub, or something in front of it, said what no Hub says."""
    return HubError(
        f"'{hf_id}': {endpoint()} does not answer like a Hub ({problem}): check HF_ENDPOINT, and whether the"
        " network wants a login"
    )


def refusal(
    hf_id: str, status: int, headers: Mapping[str, str], revision: str | None = None, *, kind: Kind = "model"
) -> HubError:
    """What an HTTP status of the Hub means for the person who asked for `hf_id`, and what to do."""
    where, code = endpoint(), headers.get("x-error-code")
    page = f"{where}/{hf_id}" if kind == "model" else f"{where}/{kind}s/{hf_id}"
    if code == "GatedRepo":
        return HubError(
            f"'{hf_id}' is gated (HTTP {status}): accept its terms at {page} and set HF_TOKEN to a"
            " token of that account"
        )
    if status == 401:
        return HubError(
            f"'{hf_id}': {where} asks who you are (HTTP 401): the {kind} is private or does not exist; check"
            " the name and set HF_TOKEN to a valid token"
        )
    if status == 403:
        return HubError(
            f"'{hf_id}': {where} forbids access (HTTP 403): accept its terms at {page}, or set"
            " HF_TOKEN to a token that may read it"
        )
    if status == 404 and code == "RevisionNotFound":
        return HubError(
            f"'{hf_id}' has no revision '{revision or 'main'}' on {where} (HTTP 404): check its name"
        )
    if status == 404 and code == "EntryNotFound":
        return HubError(
            f"'{hf_id}': {where} does not deliver a file that it lists (HTTP 404): run again later"
        )
    if status == 404:
        return HubError(
            f"'{hf_id}': no such {kind} on {where} (HTTP 404): check the name; a private one looks the same"
            " without HF_TOKEN"
        )
    if status == 429:
        return HubError(
            f"'{hf_id}': {where} limits the rate (HTTP 429): {_how_long(headers)}, or set HF_TOKEN"
        )
    if status >= 500:
        return TransientHubError(f"'{hf_id}': {where} is in trouble (HTTP {status}): run again later")
    return HubError(f"'{hf_id}': {where} refuses (HTTP {status})")


def describe_reachability(timeout_s: float = 3.0) -> tuple[bool, str]:
    """Whether the Hub answers now, and a line about it with advice; asks afresh each time."""
    import httpx2
    from huggingface_hub import get_session

    where = endpoint()
    if offline():
        return (
            False,
            "HF_HUB_OFFLINE forbids the network: only models in the cache keep their trained weights",
        )
    advice = "check the network, HTTPS_PROXY and HF_ENDPOINT"
    problem = _connection_problem(where, timeout_s)
    if problem is not None:
        return False, f"{where} cannot be reached ({problem}): {advice}"
    started = time.perf_counter()
    try:
        answer = get_session().get(f"{where}/api/models", params={"limit": 1}, timeout=timeout_s)
        if answer.status_code < 400:
            answer.json()
    except httpx2.HTTPError as error:
        return False, f"{where} does not answer ({one_line(error)}): {advice}"
    except ValueError:
        return (
            False,
            f"{where} does not answer like a Hub: check HF_ENDPOINT, and whether the network wants a login",
        )
    if answer.status_code >= 400:
        return False, f"{where} answers with HTTP {answer.status_code}: run again later, or {advice}"
    return True, f"{where} answers in {time.perf_counter() - started:.2f} s"


def one_line(error: BaseException) -> str:
    """The error's first line, or its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _how_long(headers: Mapping[str, str]) -> str:
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    stated = headers.get("retry-after", "").strip()
    if stated:
        return f"wait {stated[:9]} s" if stated.isdigit() else f"wait until {stated[:40]}"
    limit = parse_ratelimit_headers(headers)
    return "wait a few minutes" if limit is None else f"wait {limit.reset_in_seconds} s"


def _unreachable(hf_id: str, where: str, problem: str) -> HubUnreachableError:
    return HubUnreachableError(
        f"'{hf_id}': {where} cannot be reached ({problem}): check the network, HTTPS_PROXY and HF_ENDPOINT"
    )


def _connection_problem(where: str, timeout_s: float) -> str | None:
    """Why nothing accepts a connection at `where` (or at the proxy on the way); None when something does.

    Looking a name up has no time-out of its own and can take half a minute where the name server is silent,
    hence the thread, which is left behind in that case.
    """
    address = _first_hop(where)
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def connect() -> None:
        try:
            socket.create_connection(address, timeout=timeout_s).close()
            answers.put(None)
        except (OSError, UnicodeError) as error:
            answers.put(getattr(error, "strerror", None) or one_line(error))

    threading.Thread(target=connect, daemon=True).start()
    try:
        return answers.get(timeout=timeout_s)
    except queue.Empty:
        return f"no answer within {timeout_s:g} s"


def _first_hop(where: str) -> tuple[str, int]:
    """Host and port that a request to `where` connects to: the proxy's, when the environment names one."""
    parts = urlsplit(where)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(host):
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return via.hostname or "", via.port or (443 if via.scheme == "https" else 80)
    return host, parts.port or (443 if parts.scheme == "https" else 80)
