from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zoobench.errors import BusyError, UsageError
from zoobench.machine import lock, measurement_lock

HOLD = """
import sys
from pathlib import Path
from zoobench.machine import measurement_lock
with measurement_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "measure.lock"


def hold(path: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    return process


def test_the_second_is_told_who_holds_it(path: Path) -> None:
    with hold(path) as process:
        with (
            pytest.raises(BusyError, match=rf"process {process.pid}, since 20.*: -c ") as caught,
            measurement_lock(path),
        ):
            pytest.fail("two hold it")
        assert "\n" not in str(caught.value)
        process.communicate("")
    with measurement_lock(path):
        pass


def test_a_killed_holder_frees_it(path: Path) -> None:
    with hold(path) as process:
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with measurement_lock(path):
        pass


def test_waiting_says_for_whom_and_then_goes_on(path: Path) -> None:
    told: list[str] = []
    with hold(path) as process:

        def end_it(holder: str) -> None:
            told.append(holder)
            process.communicate("")

        with measurement_lock(path, timeout_s=None, on_wait=end_it):
            pass
    assert len(told) == 1
    assert str(process.pid) in told[0]


def test_waiting_ends_at_the_time_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "POLL_S", 0.01)
    with measurement_lock(path), pytest.raises(BusyError), measurement_lock(path, timeout_s=0.03):
        pytest.fail("two hold it")


def test_every_user_may_open_it_and_nobody_is_named_after(path: Path) -> None:
    old = os.umask(0o077)
    try:
        with measurement_lock(path):
            assert path.stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(old)
    assert path.read_bytes() == b""


def test_a_link_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "precious"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(UsageError, match="ZOOBENCH_LOCK"), measurement_lock(path):
        pytest.fail("followed a link")
    assert victim.read_text() == "precious"


def test_a_pipe_or_a_device_in_its_place_is_refused(path: Path) -> None:
    os.mkfifo(path)
    for place in (path, Path(os.devnull)):
        with pytest.raises(UsageError, match="not a regular file"), measurement_lock(place):
            pytest.fail("held what cannot be held")


def test_rubbish_in_the_file_is_not_believed(path: Path) -> None:
    with measurement_lock(path):
        path.write_text("[1, 2")
        with pytest.raises(BusyError, match="has not said who it is"), measurement_lock(path):
            pytest.fail("two hold it")
        path.write_text("[" * 100_000)
        with pytest.raises(BusyError, match="has not said who it is"), measurement_lock(path):
            pytest.fail("two hold it")
        path.write_text('{"pid": 1, "started": "\\u001b[31m now", "command": "\\u001b[2J evil"}')
        with pytest.raises(BusyError) as caught, measurement_lock(path):
            pytest.fail("two hold it")
    assert "\x1b" not in str(caught.value)


def test_an_error_inside_frees_it(path: Path) -> None:
    with pytest.raises(RuntimeError), measurement_lock(path):
        raise RuntimeError
    with measurement_lock(path):
        pass


def test_the_path_can_be_chosen(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setenv("ZOOBENCH_LOCK", str(path))
    assert lock.lock_path() == path
    monkeypatch.delenv("ZOOBENCH_LOCK")
    assert lock.lock_path() == lock.DEFAULT_LOCK
