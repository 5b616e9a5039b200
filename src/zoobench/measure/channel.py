"""The parent's end of a worker: launch it, ask it, wait for it blocked, and say how it ended.

The parent waits in `poll`, which costs no CPU: a parent that spins would take a core from what is measured.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import zoobench
from zoobench.spec import SECRETS
from zoobench.worker.protocol import WORKER_PROTOCOL, ErrorBody, Message, decode, describe_error, encode

OnEvent = Callable[[str, Any], None]

_STDERR_LINES = 12
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_START_DEADLINE_S = 120.0
_KILL_DEADLINE_S = 10.0


class WorkerError(Exception):
    """A worker could not do what it was asked.

    Attributes:
        kind: `error`, `usage`, `hub`, `hub_unreachable`, `prepare`, `out_of_memory`, `timeout` or `died`.
        body: what the worker itself said, empty when it could not say anything.
        stderr_tail: the last lines of its stderr.
    """

    def __init__(
        self, kind: str, message: str, body: ErrorBody | None = None, stderr_tail: str | None = None
    ) -> None:
        super().__init__(message)
        self.kind, self.body, self.stderr_tail = kind, body or {}, stderr_tail


class Worker(Protocol):
    """Something that answers verbs: a process, or the fake backend inside the parent."""

    start_s: float

    def request(
        self, verb: str, args: dict[str, Any], *, deadline_s: float, on_event: OnEvent | None = None
    ) -> Any:
        """Ask and wait. Raises WorkerError."""
        ...

    @property
    def pid(self) -> int | None:
        """The process, None when there is none of its own."""
        ...

    def close(self) -> None:
        """End it, whatever it is doing."""
        ...


@dataclass(frozen=True)
class Launch:
    """How a worker process is started: another interpreter, folder or environment makes another arm.

    `module` is what answers; `benchmarks/` puts a bare loop beside the session that way.
    """

    python: str = sys.executable
    module: str = "zoobench.worker"
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    package_root: Path = Path(zoobench.__file__).resolve().parent.parent

    def environment(self, *, threads: int | None, secrets: Collection[str] = ()) -> dict[str, str]:
        """The child's environment: this package first on its path, thread pools sized, no secrets unless needed."""
        env = {**os.environ, **self.env}
        inherited = env.get("PYTHONPATH")
        env["PYTHONPATH"] = os.pathsep.join([str(self.package_root), *([inherited] if inherited else [])])
        env["ORT_DISABLE_TELEMETRY"] = "1"
        env.setdefault("TOKENIZERS_PARALLELISM", "false")
        # Inductor's pool of compile processes would outlive a turn.
        env.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        if threads is not None:
            env.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
        for name in SECRETS:
            if name not in secrets:
                env.pop(name, None)
        return env


class WorkerProcess:
    """A worker in a process of its own, which dies with this one."""

    def __init__(
        self, role: str, launch: Launch, *, threads: int | None = None, secrets: Collection[str] = ()
    ) -> None:
        """Start it and shake hands.

        Args:
            role: `probe`, `prepare` or `session`.
            threads: size of the thread pools that are sized by the environment.
            secrets: those of `spec.SECRETS` that are left in its environment.

        Raises:
            WorkerError: it did not come up, or speaks another version of the protocol.
        """
        begin = time.perf_counter()
        self._next_id, self._buffer = 1, b""
        self._oom_kills = _oom_kills()
        try:
            # Held open for the worker's life; closed in close().
            self._log = tempfile.TemporaryFile(prefix="zoobench-worker-")  # noqa: SIM115
            child_read, self._write = os.pipe()
            self._read, child_write = os.pipe()
        except OSError as error:
            raise WorkerError(
                "error",
                f"no worker can be started: {error.strerror or error} ({tempfile.gettempdir()} holds its log); free "
                "some space or open files there, or set TMPDIR",
            ) from error
        command = [launch.python, "-P", "-m", launch.module, role]
        command += ["--read", str(child_read), "--write", str(child_write), "--parent", str(os.getpid())]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                cwd=launch.cwd,
                env=launch.environment(threads=threads, secrets=secrets),
                pass_fds=(child_read, child_write),
                start_new_session=True,
            )
        except OSError as error:
            self._close_files()
            raise WorkerError(
                "error", f"the worker's interpreter {launch.python} cannot be started: {error}"
            ) from error
        finally:
            os.close(child_read)
            os.close(child_write)
        try:
            self._shake_hands()
        except BaseException:
            # Ctrl-C too: nobody else knows of this process yet.
            self.close()
            raise
        self.start_s = time.perf_counter() - begin

    def _shake_hands(self) -> None:
        hello = self._receive(0, time.monotonic() + _START_DEADLINE_S, "start", None)
        if hello.get("protocol") != WORKER_PROTOCOL:
            raise WorkerError(
                "error",
                f"the worker speaks protocol {hello.get('protocol')}, this zoobench speaks {WORKER_PROTOCOL}; "
                "both sides need the same version",
            )

    @property
    def pid(self) -> int:
        """The process."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked anything more."""
        return self.process.poll() is None

    def request(
        self, verb: str, args: dict[str, Any], *, deadline_s: float, on_event: OnEvent | None = None
    ) -> Any:
        """Ask and wait, blocked, at most `deadline_s`.

        Raises:
            WorkerError: the verb failed, the worker died, or the deadline passed (the worker is killed then).
        """
        number, self._next_id = self._next_id, self._next_id + 1
        try:
            os.write(self._write, encode({"id": number, "verb": verb, "args": args}))
        except BrokenPipeError:
            raise self._death() from None
        return self._receive(number, time.monotonic() + deadline_s, verb, on_event)

    def close(self) -> None:
        """End the process and free what it held; a second time does nothing."""
        if not self._log.closed:
            self._kill()
            self._close_files()

    def _close_files(self) -> None:
        os.close(self._write)
        os.close(self._read)
        self._log.close()

    def _receive(self, number: int, deadline: float, verb: str, on_event: OnEvent | None) -> Any:
        while True:
            message = self._message(deadline, verb)
            if message.get("id") != number:
                continue
            if "event" in message:
                if on_event:
                    on_event(message["event"], message["data"])
                continue
            if message["ok"]:
                return message["result"]
            body: ErrorBody = message["error"]
            raise WorkerError(body.get("kind", "error"), body["message"], body, self._stderr_tail())

    def _message(self, deadline: float, verb: str) -> Message:
        line = self._line(deadline, verb)
        try:
            message = decode(line)
        except ValueError:
            message = None
        if not isinstance(message, dict) or not {"event", "ok"} & message.keys():
            self._kill()
            raise WorkerError(
                "died",
                f"the worker answered {verb!r} with {line[:80]!r}, which is no message; it was killed",
                None,
                self._stderr_tail(),
            )
        return cast("Message", message)

    def _line(self, deadline: float, verb: str) -> bytes:
        poller = select.poll()
        poller.register(self._read, select.POLLIN)
        while b"\n" not in self._buffer:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not poller.poll(remaining * 1000):
                self._kill()
                raise WorkerError(
                    "timeout",
                    f"no answer to {verb!r} in time; the worker was killed",
                    None,
                    self._stderr_tail(),
                )
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise self._death()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _death(self) -> WorkerError:
        try:
            code, tail = self.process.wait(timeout=5), self._stderr_tail()
        except subprocess.TimeoutExpired:
            self._kill()
            return WorkerError(
                "died", "the worker closed its pipe without ending; it was killed", None, self._stderr_tail()
            )
        if code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            return WorkerError(
                "out_of_memory", "the kernel killed the worker because memory ran out", None, tail
            )
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return WorkerError("died", f"the worker {how}", None, tail)

    def _kill(self) -> None:
        # The worker leads a session of its own, so its children (compilers, say) go with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        # One that hangs in a driver outlives even this; it must not take the run with it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_KILL_DEADLINE_S)

    def _stderr_tail(self) -> str | None:
        # The worker writes at the position that both share, so reading must not move it.
        log = self._log.fileno()
        start = max(0, os.fstat(log).st_size - 16384)
        lines = os.pread(log, 16384, start).decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-_STDERR_LINES:]) or None


class InlineWorker:
    """A role inside this process, for the fake backend on its virtual clock."""

    def __init__(self, role: Any) -> None:
        self.start_s = 0.0
        self._role = role

    @property
    def pid(self) -> None:
        """There is no process of its own."""
        return

    def request(
        self, verb: str, args: dict[str, Any], *, deadline_s: float, on_event: OnEvent | None = None
    ) -> Any:
        """Ask; failures look as they do from a process."""
        try:
            return self._role.handle(verb, args, on_event or (lambda *_: None))
        except Exception as error:
            body = describe_error(error)
            raise WorkerError(body["kind"], body["message"], body) from error

    def close(self) -> None:
        """Nothing to end."""


def _oom_kills() -> int:
    """How often the kernel has killed for memory since boot; 0 where it does not say."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
