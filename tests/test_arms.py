"""From a git revision to an arm, with a real git: nothing of the user's repository changes on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from tests.git_repository import commit, everything, git

import zoobench
from zoobench import arms
from zoobench.arms import ArmError, kept_arms, make_arm, prune_arms, refuse_changes, repository, resolve
from zoobench.errors import UsageError
from zoobench.spec import SECRETS

pytestmark = pytest.mark.slow

SRC = Path(zoobench.__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_settings_of_the_developer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "home/.gitconfig").write_text(
        "[user]\nname = a\nemail = a@b\n[init]\ndefaultBranch = main\n[commit]\ngpgsign = false\n"
    )


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Two commits on main, the first of them tagged v1."""
    folder = tmp_path / "repo with a space"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, {"model.txt": "one"})
    git(folder, "tag", "-a", "v1", "-m", "one")
    commit(folder, {"model.txt": "two"})
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


# --- from a name to a commit


def test_every_way_to_name_a_revision(repo: Path) -> None:
    first, second = git(repo, "rev-parse", "HEAD~1"), git(repo, "rev-parse", "HEAD")
    for ref in ("v1", "HEAD~1", "main^", first, first[:8], "refs/tags/v1"):
        assert resolve(repo, "--base", ref) == first, ref
    for ref in ("main", "HEAD", "@", second):
        assert resolve(repo, "--head", ref) == second, ref


@pytest.mark.parametrize(
    "ref", ["gone", "", "HEAD~9", "main..v1", "HEAD:model.txt", "a b'c", "0" * 40, "nul\x00"]
)
def test_a_revision_that_is_not_there(repo: Path, ref: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(repo, "--base", ref)
    assert f"--base {ref}: there is no such revision in {repo}; git fetch origin " in str(caught.value)


@pytest.mark.parametrize("ref", ["-x", "--all", "--output=/tmp/x", "-", "^HEAD"])
def test_an_option_is_no_revision(repo: Path, ref: str) -> None:
    with pytest.raises(UsageError, match="is no revision"):
        resolve(repo, "--base", ref)


def test_a_shallow_clone_says_how_to_deepen_it(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    assert resolve(tmp_path / "shallow", "--head", "HEAD") == git(repo, "rev-parse", "HEAD")
    with pytest.raises(UsageError, match=r"this clone is shallow: git fetch --unshallow, or fetch-depth: 0"):
        resolve(tmp_path / "shallow", "--base", "HEAD~1")


def test_the_repository_is_found_from_within(repo: Path, tmp_path: Path) -> None:
    commit(repo, {"deep/er/file": "x"})
    assert repository(repo / "deep/er") == repo
    for folder in (tmp_path, tmp_path / "gone", repo / ".git"):
        with pytest.raises(
            UsageError, match="is in no git work tree; --base and --head name revisions of one"
        ):
            repository(folder)


def test_without_git_it_says_so(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="No such file or directory: 'git'"):
        repository(repo)


# --- changes that no commit holds


def test_a_clean_tree_passes_and_files_git_does_not_know_do_not_matter(repo: Path) -> None:
    (repo / "untracked.txt").touch()
    assert refuse_changes(repo, ignore=False) == []


def test_changes_are_refused_by_name_or_left_out(repo: Path) -> None:
    commit(repo, {name: name * 30 for name in ("alpha.txt", "gone.txt", "ünï \n.txt")})
    (repo / "model.txt").write_text("three")
    (repo / "gone.txt").unlink()
    (repo / "ünï \n.txt").write_text("changed")
    git(repo, "mv", "alpha.txt", "beta.txt")
    names = {"model.txt", "gone.txt", "ünï \n.txt", "alpha.txt", "beta.txt"}
    assert set(refuse_changes(repo, ignore=True)) == names
    with pytest.raises(UsageError) as caught:
        refuse_changes(repo, ignore=False)
    assert "and 2 more" in str(caught.value) and "--ignore-changes" in str(caught.value)


def test_looking_for_changes_changes_nothing(repo: Path) -> None:
    # git would refresh its index: the time of the file is another, its content the same.
    os.utime(repo / "model.txt", (1, 1))
    before = (repo / ".git/index").read_bytes()
    assert refuse_changes(repo, ignore=False) == []
    assert (repo / ".git/index").read_bytes() == before


# --- the checkout


def arm_of(repo: Path, ref: str, cache: Path, setup: str | None = None) -> arms.Arm:
    return make_arm(repo, ref, resolve(repo, "--base", ref), cache, setup=setup)


def test_each_revision_has_a_tree_of_its_own(repo: Path, cache: Path) -> None:
    first, second = arm_of(repo, "v1", cache), arm_of(repo, "main", cache)
    assert [(arm.tree / "model.txt").read_text() for arm in (first, second)] == ["one", "two"]
    assert (first.ref, first.commit) == ("v1", git(repo, "rev-parse", "HEAD~1"))
    assert first.cache != second.cache and first.tree.is_relative_to(cache)
    assert first.launch.python == sys.executable and first.launch.package_root == SRC


def test_the_users_repository_stays_as_it_is(repo: Path, cache: Path) -> None:
    (repo / "model.txt").write_text("changed")
    (repo / "untracked.txt").write_text("mine")
    before = everything(repo)
    for ref in ("v1", "main"):
        arm = arm_of(
            repo,
            ref,
            cache,
            setup="echo x > model.txt; git add -A; git commit -qm x; git tag mine; git gc -q",
        )
        assert git(arm.tree, "tag", "-l", "mine") == "mine"
    assert everything(repo) == before


def test_a_commit_that_no_branch_holds(repo: Path, cache: Path, tmp_path: Path) -> None:
    """What `git fetch origin refs/pull/1/merge` leaves: FETCH_HEAD alone knows it."""
    head = git(repo, "rev-parse", "HEAD")
    lost = commit(repo, {"model.txt": "lost"})
    git(repo, "reset", "-q", "--hard", head)
    # A shallow clone, as actions/checkout makes it, cannot hand its objects on as they are.
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    git(tmp_path / "shallow", "fetch", "-q", "--depth=1", "origin", lost)
    for clone in (repo, tmp_path / "shallow"):
        assert lost not in git(clone, "for-each-ref")
        assert (make_arm(clone, lost, lost, cache).tree / "model.txt").read_text() == "lost"


def test_a_shallow_clone_and_a_linked_work_tree_can_be_checked_out(
    repo: Path, cache: Path, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"), "v1")
    assert (arm_of(tmp_path / "shallow", "HEAD", cache).tree / "model.txt").read_text() == "two"
    assert (arm_of(tmp_path / "linked", "HEAD", cache).tree / "model.txt").read_text() == "one"


def test_a_commit_that_is_not_there_exits_5(repo: Path, cache: Path) -> None:
    with pytest.raises(ArmError, match=r"0{12} cannot be checked out: ") as caught:
        make_arm(repo, "gone", "0" * 40, cache)
    assert caught.value.exit_code == 5


def test_a_cache_that_cannot_be_made_exits_5(repo: Path, cache: Path) -> None:
    cache.touch()
    with pytest.raises(ArmError, match=r"cannot be made .Not a directory.; set ZOOBENCH_CACHE"):
        arm_of(repo, "main", cache)


def test_a_relative_cache_is_where_this_process_is(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = everything(repo)
    arm = arm_of(repo, "main", Path("relative"), setup="mkdir -p .venv/bin; touch .venv/bin/python")
    assert (tmp_path / "relative").is_dir() and everything(repo) == before
    assert arm.tree.is_absolute() and Path(arm.launch.python).is_absolute()


def test_a_hooks_variables_mislead_neither_git_nor_setup(
    repo: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    commit(other, {"other.txt": "other"})
    before = everything(other)
    for name, place in (("GIT_DIR", ".git"), ("GIT_INDEX_FILE", ".git/index"), ("GIT_WORK_TREE", ".")):
        monkeypatch.setenv(name, str(other / place))
    assert repository(repo) == repo
    assert refuse_changes(repo, ignore=False) == []
    arm = arm_of(repo, "v1", cache, setup="git rev-parse HEAD > commit; git rm -q model.txt")
    assert (arm.tree / "commit").read_text().strip() == arm.commit
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name)
    assert everything(other) == before


def test_a_checkout_runs_no_hooks_of_the_user(repo: Path, cache: Path, tmp_path: Path) -> None:
    hook = tmp_path / "hooks" / "post-checkout"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    hook.chmod(0o755)
    git(repo, "config", "--global", "core.hooksPath", str(hook.parent))
    git(repo, "checkout", "-q", "v1")
    (tmp_path / "ran").unlink()
    arm_of(repo, "main", cache)
    assert not (tmp_path / "ran").exists()


def test_a_revision_of_zoobench_runs_its_own_code(repo: Path, cache: Path) -> None:
    commit(repo, {"src/zoobench/worker/__main__.py": "", "Makefile": "install:\n\ttouch made\n"})
    said: list[str] = []
    arm = make_arm(repo, "main", resolve(repo, "--base", "main"), cache, on_progress=said.append)
    assert arm.launch.package_root == arm.tree / "src"
    assert (arm.tree / "made").exists() and said == ["check out", "make install"]
    own = arm_of(repo, "main", cache, setup="true")
    assert own.launch.package_root == own.tree / "src" and not (own.tree / "made").exists()


# --- the environment


def test_the_interpreter_that_setup_makes_is_used(repo: Path, cache: Path) -> None:
    setup = f"mkdir -p .venv/bin && ln -s {sys.executable} .venv/bin/python"
    arm = arm_of(repo, "main", cache, setup)
    assert arm.launch.python == str(arm.tree / ".venv/bin/python")
    assert arm.launch.package_root == SRC


def test_an_interpreter_that_is_gone_is_made_again_and_not_replaced_by_another(
    repo: Path, cache: Path, tmp_path: Path
) -> None:
    setup = f"mkdir -p .venv/bin && touch '{tmp_path}/python' && ln -s '{tmp_path}/python' .venv/bin/python"
    arm_of(repo, "main", cache, setup)
    (tmp_path / "python").unlink()
    arm = arm_of(repo, "main", cache, setup)
    assert (tmp_path / "python").exists() and arm.launch.python == str(arm.tree / ".venv/bin/python")


def test_setup_that_worked_is_not_done_again(repo: Path, cache: Path, tmp_path: Path) -> None:
    count = f"echo once >> '{tmp_path}/count'"
    said: list[str] = []
    for _ in range(2):
        arm = make_arm(repo, "v1", resolve(repo, "--base", "v1"), cache, setup=count, on_progress=said.append)
    assert (tmp_path / "count").read_text() == "once\n" and said == ["check out", count]
    shutil.rmtree(arm.tree)
    assert (arm_of(repo, "v1", cache, count).tree / "model.txt").exists(), "somebody made room"
    arm_of(repo, "v1", cache, count + " # another command")
    assert (tmp_path / "count").read_text() == "once\n" * 3


def test_setup_that_fails_says_how_and_is_tried_again(repo: Path, cache: Path, tmp_path: Path) -> None:
    setup = f"touch half; seq 9; echo no space >&2; test -e '{tmp_path}/mended' || exit 7"
    for _ in range(2):
        with pytest.raises(ArmError) as caught:
            arm_of(repo, "v1", cache, setup)
        message = str(caught.value)
        assert caught.value.exit_code == 5
        assert message.startswith(f"v1 ({resolve(repo, '--base', 'v1')[:12]}) does not build: ")
        assert "ended with exit code 7: 8 | 9 | no space (all of it in " in message
        (log,) = cache.glob("arms/*/setup.log")
        assert str(log) in message and log.read_text().startswith("1\n2\n")
    (tmp_path / "mended").touch()
    assert (arm_of(repo, "v1", cache, setup).tree / "half").exists()


def test_each_try_starts_from_a_clean_checkout(repo: Path, cache: Path) -> None:
    for _ in range(2):
        with pytest.raises(ArmError, match="ended with exit code 1: it said nothing "):
            arm_of(repo, "v1", cache, "test ! -e half || echo left over; touch half; false")


def test_setup_that_is_killed_or_prints_bytes_is_told_in_a_line(repo: Path, cache: Path) -> None:
    with pytest.raises(ArmError, match="exit code -9: a�b") as caught:
        arm_of(repo, "v1", cache, r"printf 'a\377b\n'; kill -9 $$")
    assert len(str(caught.value).splitlines()) == 1


def test_setup_sees_no_token_and_no_environment_that_is_active_here(
    repo: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*SECRETS, "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "hf_secret")
    monkeypatch.setenv("OTHER", "kept")
    arm = arm_of(repo, "v1", cache, "env > env.txt")
    seen = (arm.tree / "env.txt").read_text()
    assert "hf_secret" not in seen and "OTHER=kept" in seen


def test_setup_that_reads_or_leaves_something_running_does_not_hang(repo: Path, cache: Path) -> None:
    begin, own, (end, open_end) = time.monotonic(), os.dup(0), os.pipe()
    os.dup2(end, 0)
    try:
        arm = arm_of(repo, "v1", cache, "timeout 20 cat > read || exit; sleep 60 & echo $! > pid")
    finally:
        os.dup2(own, 0)
        for number in (own, end, open_end):
            os.close(number)
    os.kill(int((arm.tree / "pid").read_text()), signal.SIGKILL)
    assert time.monotonic() - begin < 30 and (arm.tree / "read").read_text() == ""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_setup_that_never_ends_is_ended_with_all_that_it_started(
    repo: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arms, "SETUP_DEADLINE_S", 1.5)
    with pytest.raises(ArmError, match="ended with no end after 0 minutes"):
        arm_of(repo, "v1", cache, f"sleep 60 & echo $! > '{tmp_path}/pid'; wait")
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_running(pid))


CHILD = """
import signal, sys
from pathlib import Path
from zoobench.arms import make_arm, resolve
signal.signal(signal.SIGTERM, signal.default_int_handler)
repo, cache, setup = sys.argv[1:]
arm = make_arm(Path(repo), "v1", resolve(Path(repo), "--base", "v1"), Path(cache), setup=setup)
print(arm.tree)
"""


def child(repo: Path, cache: Path, setup: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(repo), str(cache), setup],
        env={**os.environ, "PYTHONPATH": str(SRC)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_setup_is_not_taken_for_ready(
    repo: Path, cache: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pid_file = tmp_path / "pid"
    # The pause: the process is to be interrupted while it waits, not while it is starting the shell.
    begin = f"test -e '{pid_file}' && exit; sleep 0.3; sleep 60"
    setup = f"{begin} & echo $! > '{pid_file}.new'; mv '{pid_file}.new' '{pid_file}'; wait"
    with child(repo, cache, setup) as process:
        wait_until(pid_file.exists)
        process.send_signal(number)
        process.communicate(timeout=20)
    pid = int(pid_file.read_text())
    if number is signal.SIGKILL:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid))
    assert list(cache.glob("arms/*/.ready")) == []
    arm_of(repo, "v1", cache, setup)
    assert len(list(cache.glob("arms/*/.ready"))) == 1


def test_two_processes_at_once_make_it_once(repo: Path, cache: Path, tmp_path: Path) -> None:
    setup = f"echo begin >> '{tmp_path}/log'; sleep 0.3; echo end >> '{tmp_path}/log'"
    processes = [child(repo, cache, setup) for _ in range(3)]
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda process: process.communicate(timeout=60), processes))
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1
    assert (tmp_path / "log").read_text() == "begin\nend\n"


def test_what_is_kept_is_listed_and_pruned_by_its_last_use(repo: Path, cache: Path) -> None:
    for ref in ("v1", "main"):
        arm_of(repo, ref, cache)
    old, new = (resolve(repo, "--base", ref)[:12] for ref in ("v1", "main"))
    (folder,) = cache.glob(f"arms/{old}-*")
    os.utime(folder / ".ready", (0, 0))
    assert [arm.commit for arm in kept_arms(cache)] == [new, old]
    assert prune_arms(cache, older_than_days=1) > 0 and not folder.exists()
    assert [arm.commit for arm in kept_arms(cache)] == [new]
    with FileLock(kept_arms(cache)[0].folder / "lock"):
        assert prune_arms(cache, older_than_days=None) == 0, "it is being made"
    assert prune_arms(cache, older_than_days=None) > 0
    assert kept_arms(cache) == []


def test_a_long_complaint_is_cut_and_a_link_to_nothing_is_no_environment(repo: Path, cache: Path) -> None:
    with pytest.raises(ArmError) as caught:
        arm_of(repo, "v1", cache, "head -c 3000000 /dev/zero | tr '\\0' a; exit 1")
    assert len(str(caught.value)) < 1000
    with pytest.raises(ArmError, match="a link to nothing"):
        arm_of(repo, "v1", cache, "mkdir -p .venv/bin; ln -s /nope .venv/bin/python")


def test_what_setup_leaves_running_is_ended_before_anything_is_measured(
    repo: Path, cache: Path, tmp_path: Path
) -> None:
    arm_of(repo, "v1", cache, f"sleep 60 & echo $! > '{tmp_path}/pid'")
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_running(pid))
    assert not is_running(pid)
