"""A server on the loopback that speaks OpenAI's API, at a pace of its own, and fails as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class OpenAiServer:
    """What it is told, and what it saw.

    Attributes:
        ttft_s, itl_s: its pace.
        models: what it lists; None: it knows no /v1/models.
        takes_ids: whether a prompt may be a list of ids.
        knows_ignore_eos: else it makes `own_tokens`, whatever is asked for.
        template_tokens: that a chat adds to every prompt.
        tokens_a_chunk: that it sends together.
        tells_usage: how many tokens there were, at the end.
        counts: what it says there instead of the number.
        trouble: request number → how it fails, from 0; see `fail`.
    """

    ttft_s: float = 0.004
    itl_s: float = 0.002
    models: list[Any] | None = field(default_factory=lambda: ["tiny"])
    takes_ids: bool = True
    knows_ignore_eos: bool = True
    own_tokens: int = 3
    template_tokens: int = 0
    tokens_a_chunk: int = 1
    tells_usage: bool = True
    counts: Any = "right"
    token: str | None = None
    trouble: dict[int, str] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, path: str, body: dict[str, Any]) -> int:
        """Note a request; its number."""
        with self._lock:
            self.paths.append(path)
            self.bodies.append(body)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            return len(self.bodies) - 1

    def end(self) -> None:
        """A request is answered."""
        with self._lock:
            self.in_flight -= 1


@contextmanager
def serving(**told: Any) -> Iterator[OpenAiServer]:
    """A running server."""
    state = OpenAiServer(**told)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "loopback/1", ""
        # A token must not wait for the acknowledgement of the one before.
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path != "/v1/models" or state.models is None:
                self.answer(404, {"error": {"message": "no such path"}})
                return
            self.answer(200, {"data": [{"id": name} for name in state.models]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
                self.answer(401, {"error": {"message": "wrong key"}})
                return
            number = state.begin(self.path, body)
            try:
                self.stream(body, state.trouble.get(number))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                state.end()

        def stream(self, body: dict[str, Any], trouble: str | None) -> None:
            chat = self.path.endswith("/chat/completions")
            if not chat and not isinstance(body["prompt"], str) and not state.takes_ids:
                self.answer(422, {"detail": "prompt must be a string"})
                return
            if trouble == "500":
                self.answer(500, {"error": {"message": "out of\nluck"}})
                return
            count = (
                body["max_tokens"] if state.knows_ignore_eos else min(state.own_tokens, body["max_tokens"])
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if chat:
                self.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
            time.sleep(state.ttft_s)
            for made in range(0, count, state.tokens_a_chunk):
                if trouble and made >= 2:
                    self.fail(trouble)
                    return
                if made:
                    time.sleep(state.itl_s * min(state.tokens_a_chunk, count - made))
                text = " a" * min(state.tokens_a_chunk, count - made)
                choice = {"delta": {"content": text}} if chat else {"text": text, "finish_reason": None}
                self.event({"choices": [choice], "system_fingerprint": "fp-1", "model": body["model"]})
            full = count == body["max_tokens"]
            ended = {
                "finish_reason": "length" if full else "stop",
                **({"delta": {}} if chat else {"text": ""}),
            }
            self.event({"choices": [ended]})
            prompt = body["messages"][0]["content"] if chat else body["prompt"]
            read = len(prompt.split()) if isinstance(prompt, str) else len(prompt)
            usage = {"prompt_tokens": read + state.template_tokens, "completion_tokens": count}
            if state.counts != "right":
                usage = dict.fromkeys(usage, state.counts)
            if state.tells_usage:
                self.event({"choices": [], "usage": usage})
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")

        def fail(self, trouble: str) -> None:
            if trouble == "hang":
                time.sleep(30)
            elif trouble == "error":
                self.event({"error": {"message": "the model died"}})
                self.chunk(b"")
            elif trouble == "keepalive":
                for _ in range(50):
                    self.chunk(b": still here\n\n")
                    time.sleep(0.02)
            elif trouble == "endless":
                for _ in range(1000):
                    self.event({"choices": [{"text": " a", "finish_reason": None}]})
            elif trouble == "long line":
                for _ in range(100):
                    self.chunk(b"x" * 100_000)
            elif trouble.startswith("raw "):
                self.chunk(b"data: " + trouble[4:].encode() + b"\n\n")
            elif trouble == "garbage":
                self.chunk(b"data: {not json\n\n")
                self.chunk(b"")
            elif trouble == "early":
                self.chunk(b"")
            self.close_connection = True
            self.connection.close()

        def event(self, body: dict[str, Any]) -> None:
            self.chunk(b"data: " + json.dumps(body).encode() + b"\n\n")

        def chunk(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def answer(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that has gone is part of the play."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
