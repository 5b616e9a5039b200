"""One measurement at a time on a host: two at once would each measure the other."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import stat
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from zoobench.errors import BusyError, UsageError, printable

DEFAULT_LOCK = Path("/tmp/zoobench-measure.lock")  # noqa: S108  (not $TMPDIR: every user of the host must meet here)
POLL_S = 0.5
HOLDER_BYTES = 4096


def lock_path() -> Path:
    """`$ZOOBENCH_LOCK`, else one path for all users of this host."""
    return Path(os.environ.get("ZOOBENCH_LOCK") or DEFAULT_LOCK)


@contextlib.contextmanager
def measurement_lock(
    path: Path | None = None,
    timeout_s: float | None = 0.0,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold this host's measurement lock; the kernel frees it when the process ends, however it ends.

    Args:
        path: None for the host's own; simulated nodes on one host give one each.
        timeout_s: 0 gives up at once, None waits for as long as it takes.
        on_wait: called once, with who holds it, before the wait begins.

    Raises:
        BusyError: another process held it for longer than `timeout_s`.
        UsageError: the lock's file cannot be opened.
    """
    path = lock_path() if path is None else path
    descriptor = _open(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(
                f"the measurement lock {path} is not a regular file; set ZOOBENCH_LOCK to another path"
            )
        _acquire(descriptor, timeout_s, on_wait)
        _write_holder(descriptor)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open the lock's file so that every user of the host can.

    Linux refuses O_CREAT on another user's file in a sticky folder (fs.protected_regular), hence two steps;
    and O_NOFOLLOW because anybody may have put a link there.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, flags)
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return os.open(path, flags)
        os.fchmod(descriptor, 0o666)  # the umask took the others' right to write away
        return descriptor
    except OSError as error:
        raise UsageError(
            f"cannot open the measurement lock {path}: {error.strerror}; set ZOOBENCH_LOCK to a writable path"
        ) from error


def _acquire(descriptor: int, timeout_s: float | None, on_wait: Callable[[str], None] | None) -> None:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    told = False
    while not _try(descriptor):
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            raise BusyError(
                f"another measurement holds this machine: {_holder(descriptor)}; wait for it (--wait) or stop it"
            )
        if on_wait is not None and not told:
            on_wait(_holder(descriptor))
            told = True
        time.sleep(POLL_S if deadline is None else min(POLL_S, deadline - now))


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _write_holder(descriptor: int) -> None:
    holder = {
        "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:300],
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(descriptor: int) -> str:
    """Who holds it, for a person. The file is world-writable, so its content is printed with care."""
    try:
        holder = json.loads(os.pread(descriptor, HOLDER_BYTES, 0))
        pid, started, command = int(holder["pid"]), str(holder["started"])[:25], str(holder["command"])[:300]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "a process that has not said who it is"
    return printable(f"process {pid}, since {started}: {command}")
