"""`python -m zoobench.worker ROLE --read FD --write FD`: serve one role until the parent closes the pipe."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import IO, Any

from zoobench.worker.protocol import WORKER_PROTOCOL, Request, decode, describe_error, encode
from zoobench.worker.roles import Role, open_role

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    """Serve requests one after another; end when the parent closes its side."""
    role_name, read_fd, write_fd = (
        argv[0],
        int(argv[argv.index("--read") + 1]),
        int(argv[argv.index("--write") + 1]),
    )
    for descriptor in (read_fd, write_fd):
        # A compiler that outlives this process would keep the pipe open, and the parent waiting.
        os.set_inheritable(descriptor, False)
    _die_with(parent=int(argv[argv.index("--parent") + 1]))
    # The terminal's Ctrl-C is the parent's to handle; it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(read_fd, "rb") as requests, os.fdopen(write_fd, "wb", buffering=0) as replies:
        role = open_role(role_name)
        replies.write(
            encode({"id": 0, "ok": True, "result": {"protocol": WORKER_PROTOCOL, "role": role_name}})
        )
        for line in requests:
            replies.write(_answer(role, decode(line), replies))
    return 0


def _answer(role: Role, request: Request, replies: IO[bytes]) -> bytes:
    number = request["id"]

    def emit(event: str, data: Any) -> None:
        replies.write(encode({"id": number, "event": event, "data": data}))

    try:
        result = role.handle(request["verb"], request["args"], emit)
        return encode({"id": number, "ok": True, "result": result})
    except Exception as error:  # noqa: BLE001 - whatever a runtime throws becomes a record, the run goes on
        return encode({"id": number, "ok": False, "error": describe_error(error)})


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, and look whether that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent is gone")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
