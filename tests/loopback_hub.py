"""A Hub on 127.0.0.1: enough of its API for huggingface_hub's client, and its faults at the turn of a switch.

    with LoopbackHub() as hub:
        hub.add("org/tiny", tiny_timm_repo())
        hub.fault("org/tiny", "cut", after=1000, times=1)
        ...                                  # the client, with HF_ENDPOINT=hub.url
        hub.requests                         # what it asked for

A dataset is added as "datasets/org/pictures". As on the real Hub, a file that git keeps in LFS is answered with a redirect to another host (`storage_url`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import socket
import struct
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

FaultKind = Literal[
    "status",  # answer with `status`
    "gated",  # 403 and the Hub's code for gated models
    "garbage",  # 200 with a login page instead of JSON
    "cut",  # close the connection after `after` bytes of the body, with a reset when `reset`
    "corrupt",  # one byte of the body is wrong
    "no_range",  # ignore Range headers
    "slow",  # wait `seconds` before the answer
]
_SPOIL_THE_BODY = frozenset({"cut", "corrupt", "no_range"})
LFS_SUFFIXES = (".safetensors", ".bin", ".onnx", ".parquet")


@dataclass(frozen=True)
class Request:
    """One request that the Hub got. `host` tells the Hub from its storage."""

    method: str
    host: Literal["hub", "storage"]
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        """The Range header."""
        return self.headers.get("range")


@dataclass
class Fault:
    """What goes wrong for a repository, where (metadata, files, or everywhere) and how many times."""

    kind: FaultKind
    where: Literal["api", "files", "all"] = "all"
    file: str | None = None
    times: int | None = None
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    after: int = 0
    reset: bool = False
    seconds: float = 0.0

    def strikes(self, where: str, file: str | None, *, has_body: bool) -> bool:
        """Whether it strikes this request; counts it when it does."""
        if self.times == 0 or self.where not in (where, "all") or self.file not in (None, file):
            return False
        if self.kind in _SPOIL_THE_BODY and not has_body:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True)
class _File:
    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def git_id(self) -> str:
        """Of the blob, which is a small pointer for a file in LFS."""
        blob = self.content
        if self.lfs:
            version = "https://git-lfs.github.com/spec/v1"
            blob = f"version {version}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_id

    def listed(self, name: str) -> dict[str, object]:
        entry: dict[str, object] = {"rfilename": name, "size": len(self.content), "blobId": self.git_id}
        if self.lfs:
            entry["lfs"] = {"sha256": self.sha256, "size": len(self.content), "pointerSize": 134}
        return entry


@dataclass
class _Repository:
    commits: dict[str, dict[str, _File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    token: str | None = None

    def commit(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)


class LoopbackHub:
    """The server. `url` is what HF_ENDPOINT should be; `requests` is all that was asked, oldest first."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.repositories: dict[str, _Repository] = {}
        self._servers = [_Server(self, "hub"), _Server(self, "storage")]

    @property
    def url(self) -> str:
        return self._servers[0].url

    @property
    def storage_url(self) -> str:
        return self._servers[1].url

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(
        self,
        hf_id: str,
        files: dict[str, bytes],
        commit: str | None = None,
        branch: str = "main",
        token: str | None = None,
    ) -> str:
        """Push `files` as the newest commit of `branch`; return it. `token` makes the repository private."""
        commit = commit or hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        repository = self.repositories.setdefault(hf_id, _Repository())
        repository.commits[commit] = {n: _File(c, n.endswith(LFS_SUFFIXES)) for n, c in files.items()}
        repository.branches[branch] = commit
        repository.token = token
        return commit

    def fault(self, hf_id: str, kind: FaultKind, **details: object) -> None:
        """Let `hf_id` suffer from `kind`; see `Fault` for the details. Several kinds can strike at once."""
        self.repositories.setdefault(hf_id, _Repository()).faults.append(Fault(kind, **details))  # type: ignore[arg-type]

    def heal(self, hf_id: str) -> None:
        """Switch all faults of `hf_id` off."""
        self.repositories[hf_id].faults.clear()

    def asked_for(self, file: str, method: str = "GET") -> list[Request]:
        """Requests to the Hub itself for `file`."""
        return [
            r for r in self.requests if (r.host, r.method) == ("hub", method) and r.path.endswith(f"/{file}")
        ]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: LoopbackHub, role: Literal["hub", "storage"]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.role = hub, role

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server
    faults: dict[FaultKind, Fault]

    def log_message(self, *_: object) -> None:
        """Say nothing: `LoopbackHub.requests` is the log."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, self.faults = self.server.hub, {}
        headers = {name.lower(): value for name, value in self.headers.items()}
        hub.requests.append(Request(self.command, self.server.role, self.path, headers))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/models":
            return self._send(200, b"[]")
        hf_id, where, revision, file = _parse(path)
        repository = hub.repositories.get(hf_id)
        if repository is None:
            return self._refuse(401 if "authorization" not in headers else 404, "RepoNotFound")
        known = repository.commits.get(repository.commit(revision) or "", {})
        has_body = where == "api" or self.server.role == "storage" or not (file in known and known[file].lfs)
        for fault in repository.faults:
            if fault.kind not in self.faults and fault.strikes(where, file, has_body=has_body):
                self.faults[fault.kind] = fault
        if self._refuse_as_told():
            return None
        sent = headers.get("authorization", "").removeprefix("Bearer ")
        if self.server.role == "hub" and repository.token is not None and sent != repository.token:
            return self._refuse(401, "RepoNotFound")
        commit = repository.commit(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        if where == "api":
            return self._send_info(hf_id, commit, known)
        if file not in known:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        return self._send_file(commit, known[file])

    def _refuse_as_told(self) -> bool:
        """Answer in a fault's way; False when the true answer follows, late or maimed."""
        if slow := self.faults.get("slow"):
            time.sleep(slow.seconds)
        if status := self.faults.get("status"):
            self._refuse(status.status, None, status.headers)
        elif "gated" in self.faults:
            self._refuse(403, "GatedRepo")
        elif "garbage" in self.faults:
            self._send(200, b"<html>Please log in to the network</html>", {"Content-Type": "text/html"})
        else:
            return False
        return True

    def _send_info(self, hf_id: str, commit: str, files: dict[str, _File]) -> None:
        blobs = parse_qs(urlsplit(self.path).query).get("blobs", [""])[0].lower() in ("true", "1")
        siblings = [file.listed(name) if blobs else {"rfilename": name} for name, file in files.items()]
        self._send(
            200,
            json.dumps(
                {"id": hf_id.removeprefix("datasets/"), "modelId": hf_id, "sha": commit, "siblings": siblings}
            ).encode(),
        )

    def _send_file(self, commit: str, file: _File) -> None:
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if file.lfs and self.server.role == "hub":
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
            return self._send(302, b"", headers | {"Location": f"{self.server.hub.storage_url}{self.path}"})
        body = file.content
        if "corrupt" in self.faults:
            body = bytes([body[0] ^ 1]) + body[1:]
        asked, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not asked or "no_range" in self.faults:
            return self._send(200, body, headers)
        start = int(asked)
        if start >= len(body):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        end = min(int(last) + 1, len(body)) if last else len(body)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
        return self._send(206, body[start:end], headers)

    def _refuse(self, status: int, code: str | None, headers: dict[str, str] | None = None) -> None:
        stated = {"X-Error-Code": code, "X-Error-Message": "refused"} if code else {}
        self._send(status, json.dumps({"error": "refused"}).encode(), stated | (headers or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.faults.get("cut")
        self.wfile.write(body[: cut.after] if cut else body)
        if cut:
            self.close_connection = True
        if cut and cut.reset:
            self.wfile.flush()
            time.sleep(0.05)  # a reset overtakes what the client has not read yet
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


def _parse(path: str) -> tuple[str, Literal["api", "files"], str, str | None]:
    """(hf_id, where, revision, file) of `/api/models/{id}[/revision/{r}]` or `/{id}/resolve/{r}/{file}`.

    A dataset's id begins with `datasets/`, in either.
    """
    if path.startswith("/api/datasets/"):
        hf_id, _, revision = path.removeprefix("/api/").partition("/revision/")
        return hf_id, "api", revision or "main", None
    if path.startswith("/api/models/"):
        hf_id, _, revision = path.removeprefix("/api/models/").partition("/revision/")
        return hf_id, "api", revision or "main", None
    hf_id, _, rest = path.lstrip("/").partition("/resolve/")
    revision, _, file = rest.partition("/")
    return hf_id, "files", revision, file


@functools.cache
def _tiny_timm(architecture: str, num_classes: int) -> tuple[tuple[str, bytes], ...]:
    import timm
    import torch
    from timm.models import save_for_hf

    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = timm.create_model(architecture, num_classes=num_classes)
        with torch.no_grad():  # a pass in training mode sets the BatchNorm statistics: outputs stay alive
            model.train()(torch.randn(4, *model.pretrained_cfg["input_size"]))
        save_for_hf(model.eval(), folder, safe_serialization=True)
        return _files(Path(folder))


def tiny_timm_repo(architecture: str = "test_resnet", num_classes: int = 1000) -> dict[str, bytes]:
    """A real repository in timm's own layout, about 2 MB: `config.json` and seeded `model.safetensors`."""
    return dict(_tiny_timm(architecture, num_classes))


@functools.cache
def _tiny_transformers() -> tuple[tuple[str, bytes], ...]:
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=10
    )
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = ResNetForImageClassification(config)
        with torch.no_grad():
            model.train()(torch.randn(4, 3, 64, 64))
        model.eval().save_pretrained(folder)
        Path(folder, "preprocessor_config.json").write_text(json.dumps(_PREPROCESSOR))
        return _files(Path(folder))


def tiny_transformers_repo() -> dict[str, bytes]:
    """A real repository in transformers' layout, some 20 kB: a ResNet with two blocks and ten labels."""
    return dict(_tiny_transformers())


_PREPROCESSOR = {
    "image_processor_type": "ConvNextImageProcessor",
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": {"shortest_edge": 64},
}


def _files(folder: Path) -> tuple[tuple[str, bytes], ...]:
    return tuple((path.name, path.read_bytes()) for path in sorted(folder.iterdir()))
