"""The channel against real worker processes: how they start, fail, hang, die and are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from zoobench.measure.channel import InlineWorker, Launch, WorkerError, WorkerProcess
from zoobench.spec import ENDPOINT_SECRET, HUB_SECRETS, Artifact, Case

pytestmark = pytest.mark.slow

ARTIFACT = Artifact(
    path=Path("nowhere"), format="fake", sha256="0" * 64, size_bytes=0, model="m", input_shape=(4,)
)
SLOT = {
    "min_calls": 300,
    "slow_min_calls": 3,
    "min_seconds": 0.0,
    "slow_call_s": 0.1,
    "max_seconds": 20.0,
    "min_sample_ns": 0,
}
SOURCE = Path(__file__).parents[2] / "src"


@contextmanager
def worker(role: str = "session", launch: Launch | None = None, **arguments: Any) -> Iterator[WorkerProcess]:
    opened = WorkerProcess(role, launch or Launch(), **{"threads": 1, **arguments})
    try:
        yield opened
    finally:
        opened.close()


def load(opened: WorkerProcess, **options: Any) -> dict[str, Any]:
    case = Case(
        model="m", backend="fake", threads=1, options={"fake_clock": "wall", "fake_p50_ms": 0.05, **options}
    )
    made = {**ARTIFACT.model_dump(mode="json"), "path": "nowhere"}
    return opened.request("load", {"case": case.model_dump(mode="json"), "artifact": made}, deadline_s=30)


def slot(opened: WorkerProcess, deadline_s: float = 30, **changes: float) -> dict[str, Any]:
    return opened.request("slot", {"budget": {**SLOT, **changes}}, deadline_s=deadline_s)


def is_gone(pid: int) -> bool:
    """No such process, or one that only waits to be collected by whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def open_descriptors() -> set[tuple[str, str]]:
    """Number and target of each open file; the one that lists them is gone again when it is looked at."""
    found = list(Path("/proc/self/fd").iterdir())
    return {(fd.name, str(fd.readlink())) for fd in found if fd.is_symlink()}


def stub(folder: Path, body: str) -> Launch:
    """A launch whose worker is `body`, with `requests` and `say(message)` at hand."""
    package = folder / "zoobench" / "worker"
    package.mkdir(parents=True)
    for init in (package.parent / "__init__.py", package / "__init__.py"):
        init.touch()
    head = """
        import json, os, sys, time
        requests = os.fdopen(int(sys.argv[sys.argv.index("--read") + 1]), "rb")
        replies = os.fdopen(int(sys.argv[sys.argv.index("--write") + 1]), "wb", buffering=0)
        def say(message):
            replies.write((message if isinstance(message, str) else json.dumps(message)).encode() + b"\\n")
        hello = {"id": 0, "ok": True, "result": {"protocol": 1, "role": "session"}}
    """
    (package / "__main__.py").write_text(textwrap.dedent(head) + textwrap.dedent(body))
    return Launch(package_root=folder)


def test_a_worker_starts_answers_and_ends_without_a_trace():
    before = open_descriptors()
    with worker() as opened:
        pid = opened.pid
        assert opened.start_s > 0
        load(opened)
        assert len(slot(opened)["samples_ns"]) == 300
        assert opened.request("evidence", {}, deadline_s=5)["details"]["clock"] == "wall"
    assert not Path(f"/proc/{pid}").exists(), "closed, but not collected: a zombie"
    assert open_descriptors() == before
    opened.close()


def test_the_thread_pools_are_sized_and_the_token_stays_out(monkeypatch: pytest.MonkeyPatch):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN"):
        monkeypatch.setenv(name, "hf_secret")

    def environment(opened: WorkerProcess) -> bytes:
        return Path(f"/proc/{opened.pid}/environ").read_bytes()

    with worker(launch=Launch(env={"HF_TOKEN": "hf_secret"}), threads=3) as measuring:
        assert b"hf_secret" not in environment(measuring)
        assert b"OMP_NUM_THREADS=3\0" in environment(measuring)
    with worker("prepare", threads=None, secrets=HUB_SECRETS) as preparing:
        assert b"HF_TOKEN=hf_secret\0" in environment(preparing)
    asked = Launch(env={"HF_TOKEN": "hf_secret", ENDPOINT_SECRET: "sk_secret"})
    with worker(launch=asked, threads=3, secrets=(ENDPOINT_SECRET,)) as serving:
        assert b"OPENAI_API_KEY=sk_secret\0" in environment(serving) and b"hf_secret" not in environment(
            serving
        )
    with worker(launch=asked, threads=3) as measuring:
        assert b"secret" not in environment(measuring)


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("load", "error", "told to fail at load"),
        ("memory", "out_of_memory", "told to run out of memory"),
        ("bomb", "usage", "fake_fault 'bomb' is unknown"),
    ],
)
def test_a_failed_verb_leaves_the_worker_alive(fault: str, kind: str, message: str):
    with worker() as opened:
        with pytest.raises(WorkerError, match=message) as caught:
            load(opened, fake_fault=fault)
        assert caught.value.kind == kind
        assert "Traceback" in caught.value.body["traceback"]
        load(opened)


def test_a_failure_in_a_slot_says_so():
    with worker() as opened:
        load(opened, fake_fault="slot")
        with pytest.raises(WorkerError, match="told to fail in a slot") as caught:
            slot(opened)
        assert caught.value.kind == "error"


def test_a_worker_that_dies_is_told_apart():
    with worker() as opened:
        load(opened, fake_fault="die")
        with pytest.raises(WorkerError, match="was killed by SIGKILL") as caught:
            slot(opened)
        assert caught.value.kind == "died"
        with pytest.raises(WorkerError, match="was killed by SIGKILL"):
            slot(opened)


def test_a_worker_that_hangs_is_killed_at_the_deadline():
    with worker() as opened:
        load(opened, fake_fault="hang")
        begin = time.monotonic()
        with pytest.raises(WorkerError, match="no answer to 'slot' in time") as caught:
            slot(opened, deadline_s=0.5)
        assert caught.value.kind == "timeout"
        assert 0.4 < time.monotonic() - begin < 10
        assert is_gone(opened.pid)


def test_what_a_runtime_prints_does_not_break_the_protocol(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent("""
        import os, threading, time
        def chatter():
            while True:
                os.write(1, b'{"id": 1, "ok": false}\\n')
                os.write(2, b"a warning\\n")
                time.sleep(0.001)
        threading.Thread(target=chatter, daemon=True).start()
        """)
    )
    with worker(launch=Launch(env={"PYTHONPATH": str(tmp_path)})) as opened:
        load(opened)
        assert len(slot(opened)["samples_ns"]) == 300
        with pytest.raises(WorkerError, match="no verb") as caught:
            opened.request("sing", {}, deadline_s=5)
        assert "a warning" in (caught.value.stderr_tail or "")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        pytest.param(
            "hello['result']['protocol'] = 2; say(hello); requests.read()",
            "error",
            "speaks protocol 2, this zoobench speaks 1; both sides need the same version",
            id="another version",
        ),
        pytest.param("say('Welcome!'); requests.read()", "died", "which is no message", id="not JSON"),
        pytest.param("say([]); requests.read()", "died", "which is no message", id="not an object"),
        pytest.param("sys.exit(3)", "died", "ended with exit code 3", id="ends"),
    ],
)
def test_a_worker_that_greets_wrongly_is_refused_and_leaves_nothing(
    tmp_path: Path, body: str, kind: str, message: str
):
    before = open_descriptors()
    launch = stub(tmp_path, f"print('pid', os.getpid(), file=sys.stderr, flush=True); {body}")
    with pytest.raises(WorkerError, match=message) as caught:
        WorkerProcess("session", launch, threads=1)
    assert caught.value.kind == kind
    if caught.value.stderr_tail:
        assert is_gone(int(caught.value.stderr_tail.split()[-1]))
    assert open_descriptors() == before


def test_an_interpreter_that_is_not_there_is_refused_and_leaves_nothing():
    before = open_descriptors()
    with pytest.raises(WorkerError, match="/no/such/python cannot be started"):
        WorkerProcess("session", Launch(python="/no/such/python"), threads=1)
    assert open_descriptors() == before


def test_ctrl_c_while_a_worker_starts_leaves_nothing(tmp_path: Path):
    before = open_descriptors()
    launch = stub(tmp_path, f"os.kill({os.getpid()}, 2); requests.read()")
    with pytest.raises(KeyboardInterrupt):
        WorkerProcess("session", launch, threads=1)
    assert open_descriptors() == before


def test_the_last_lines_of_stderr_are_kept(tmp_path: Path):
    body = """
        say(hello)
        requests.readline()
        sys.stderr.write("".join(f"line {i}\\n" for i in range(10_000)))
        sys.exit(7)
    """
    with (
        worker(launch=stub(tmp_path, body)) as opened,
        pytest.raises(WorkerError, match="ended with exit code 7") as caught,
    ):
        opened.request("load", {}, deadline_s=10)
    assert caught.value.stderr_tail == "\n".join(f"line {i}" for i in range(9_988, 10_000))


def test_events_come_before_the_reply_and_answers_to_others_are_passed_over(tmp_path: Path):
    body = """
        say(hello)
        number = json.loads(requests.readline())["id"]
        say({"id": number - 1, "ok": True, "result": "late"})
        for step in range(3):
            say({"id": number, "event": "progress", "data": step})
        say({"id": number, "ok": True, "result": "x" * 1_000_000})
        requests.read()
    """
    events: list[Any] = []
    with worker(launch=stub(tmp_path, body)) as opened:
        reply = opened.request("load", {}, deadline_s=10, on_event=lambda *event: events.append(event))
    assert reply == "x" * 1_000_000
    assert events == [("progress", 0), ("progress", 1), ("progress", 2)]


PARENT = """
from tests.measure.test_channel import Launch, WorkerProcess, load, slot
opened = WorkerProcess("session", Launch(), threads=1)
load(opened, fake_fault="hang")
print(opened.pid, flush=True)
slot(opened, deadline_s=60)
"""


def test_a_worker_dies_with_its_parent_whatever_it_is_doing():
    root = SOURCE.parent
    path = os.pathsep.join([str(SOURCE), str(root)])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert parent.stdout
    with parent.stdout:
        pid = int(parent.stdout.readline())
    # Long enough for the slot to have begun: an idle worker would also end because its pipe does.
    time.sleep(0.3)
    assert not is_gone(pid)
    parent.kill()
    parent.wait()
    assert within(2, lambda: is_gone(pid))


def test_ctrl_c_is_the_parents_to_handle():
    with worker() as opened:
        assert os.getpgid(opened.pid) != os.getpgid(0), "the terminal's Ctrl-C would reach it"
        os.killpg(opened.pid, signal.SIGINT)
        load(opened)
        assert slot(opened)["samples_ns"]


def test_a_compiler_that_a_worker_started_ends_with_it(tmp_path: Path):
    body = """
        import subprocess
        say(hello)
        number = json.loads(requests.readline())["id"]
        say({"id": number, "ok": True, "result": subprocess.Popen(["sleep", "60"]).pid})
        requests.read()
    """
    with worker(launch=stub(tmp_path, body)) as opened:
        child = opened.request("load", {}, deadline_s=10)
        assert not is_gone(child)
    assert within(2, lambda: is_gone(child))


def test_the_parent_waits_without_using_a_core():
    with worker() as opened:
        load(opened)
        begin, used = time.perf_counter(), time.process_time()
        slot(opened, min_seconds=1.0, min_calls=1)
        assert time.process_time() - used < 0.05 * (time.perf_counter() - begin)


def test_a_role_inside_the_parent_fails_as_a_process_does():
    class Broken:
        def handle(self, verb: str, args: dict[str, Any], emit: Any) -> Any:
            raise MemoryError

    inline = InlineWorker(Broken())
    assert inline.pid is None
    with pytest.raises(WorkerError, match="MemoryError") as caught:
        inline.request("load", {}, deadline_s=1)
    assert caught.value.kind == "out_of_memory"
