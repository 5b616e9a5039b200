"""From a git revision to an arm: a checkout of its own, an environment of its own, kept for the next time.

`<cache>/arms/<commit>-<recipe>/tree` is the checkout, `setup.log` what making its environment said, `.ready` stands
when it worked. The user's repository is only read.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from zoobench.errors import UsageError, ZoobenchError
from zoobench.measure.channel import Launch
from zoobench.shell import shell_word
from zoobench.spec import SECRETS, stable_hash

OWN_SETUP = "make install"
"""What makes the environment of a revision of this project."""

SETUP_DEADLINE_S = 3600.0
_LOG_LINES, _LOG_WIDTH, _LOG_BYTES = 3, 200, 10_000
_READY = ".ready"
_GIT_PLACES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)
"""What git sets for its hooks: a git of the arm's setup would work on the user's repository."""


class ArmError(ZoobenchError):
    """An arm cannot be made: its revision does not check out, or its environment does not build."""

    exit_code = 5


@dataclass(frozen=True)
class Arm:
    """One revision, ready to be measured.

    Attributes:
        commit: the full id.
        tree: the checkout.
        launch: how its workers are started: its own interpreter where setup made one, else this one; its own
            zoobench where the revision is one of this project, else this one.
        cache: folder of the artifacts that its own code made.
    """

    ref: str
    commit: str
    tree: Path
    launch: Launch
    cache: Path


def repository(folder: Path) -> Path:
    """The work tree that `folder` is in.

    Raises:
        UsageError: it is in none, or there is no git.
    """
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel"))
    except _GitError as error:
        raise UsageError(
            f"{folder} is in no git work tree; --base and --head name revisions of one ({error})"
        ) from error


def resolve(repo: Path, flag: str, ref: str) -> str:
    """The commit that `ref` names.

    Raises:
        UsageError: there is none.
    """
    if ref.startswith(("-", "^")):
        raise UsageError(f"{flag} {ref!r} is no revision; name a branch, a tag or a commit")
    try:
        return _git(repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except _GitError as error:
        advice = (
            "this clone is shallow: git fetch --unshallow, or fetch-depth: 0 in actions/checkout, brings it"
            if _is_shallow(repo)
            else f"git fetch origin {shell_word(ref)} may bring it"
        )
        raise UsageError(f"{flag} {ref}: there is no such revision in {repo}; {advice}") from error


def refuse_changes(repo: Path, *, ignore: bool) -> list[str]:
    """Files that are changed and not committed: no arm holds those changes.

    Raises:
        UsageError: there are some and they are not to be ignored.
    """
    try:
        found = _git(repo, "status", "--porcelain=v1", "--untracked-files=no", "--no-renames", "-z")
    except _GitError as error:
        raise UsageError(f"{repo}: git cannot tell whether it has changes ({error})") from error
    changed = [entry[3:] for entry in found.split("\0") if entry]
    if changed and not ignore:
        names = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise UsageError(
            f"the work tree has changes that are not committed ({names}), and the guard measures commits; commit or "
            "stash them, or leave them out with --ignore-changes"
        )
    return changed


def make_arm(
    repo: Path,
    ref: str,
    commit: str,
    cache: Path,
    *,
    setup: str | None = None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Arm:
    """Check `commit` out and make its environment, unless that was done before.

    Args:
        cache: the cache folder; the arm is kept in it.
        setup: a shell command, run in the checkout, that makes `.venv` there, or builds models, or both; None: this
            project's own for a revision of this project, nothing otherwise. No Hub token is in its environment.

    Raises:
        ArmError: it does not check out or does not build.
    """
    # git and setup run elsewhere, where a relative path would mean another folder.
    folder = cache.absolute() / "arms" / f"{commit[:12]}-{stable_hash([str(repo), setup])[:8]}"
    tree = folder / "tree"
    python = tree / ".venv/bin/python"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if not _is_ready(folder, python):
                (folder / _READY).unlink(missing_ok=True)
                on_progress("check out")
                _check_out(repo, commit, tree)
                command = setup or (OWN_SETUP if _is_zoobench(tree) else None)
                if command:
                    on_progress(command)
                    _set_up(command, tree, folder / "setup.log", ref, commit)
            if python.is_symlink() and not python.exists():
                raise ArmError(
                    f"{ref} ({commit[:12]}): setup made {python}, a link to nothing; make .venv whole"
                )
            # Its time says when the arm was last used.
            (folder / _READY).touch()
    except OSError as error:
        raise ArmError(
            f"{folder} cannot be made ({error.strerror or error}); set ZOOBENCH_CACHE to a folder with room"
        ) from error
    launch = Launch(
        python=str(python) if python.exists() else sys.executable,
        **({"package_root": tree / "src"} if _is_zoobench(tree) else {}),  # type: ignore[arg-type]
    )
    return Arm(ref, commit, tree, launch, folder / "cache")


@dataclass(frozen=True)
class KeptArm:
    """One arm on disk; `last_used` is UTC, `size_bytes` is what deleting it would free."""

    folder: Path
    commit: str
    size_bytes: int
    last_used: datetime


def kept_arms(cache: Path) -> list[KeptArm]:
    """The arms in the cache folder, the last used first."""
    found = []
    for folder in (cache / "arms").glob("*"):
        with suppress(OSError):
            ready = folder / _READY
            used = (ready if ready.exists() else folder).stat().st_mtime
            when = datetime.fromtimestamp(used, UTC)
            found.append(KeptArm(folder, folder.name.partition("-")[0], _size(folder), when))
    return sorted(found, key=lambda arm: arm.last_used, reverse=True)


def prune_arms(cache: Path, *, older_than_days: float | None) -> int:
    """Delete the arms that were not used for so long, or all; one that is being made is left. Returns bytes freed."""
    freed = 0
    for arm in kept_arms(cache):
        age = datetime.now(UTC) - arm.last_used
        if older_than_days is not None and age < timedelta(days=older_than_days):
            continue
        with suppress(Timeout), FileLock(arm.folder / "lock", timeout=0):
            shutil.rmtree(arm.folder, ignore_errors=True)
            freed += arm.size_bytes
    return freed


def _size(folder: Path) -> int:
    """Bytes on disk; a file that is linked from elsewhere too, as uv's are from its cache, would free none."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = (Path(place) / name).lstat()
                total += status.st_blocks * 512 if status.st_nlink == 1 else 0
    return total


def _is_ready(folder: Path, python: Path) -> bool:
    """Whether it was made and is whole. A link to an interpreter that is gone would have another one measured."""
    gone = python.is_symlink() and not python.exists()
    return (folder / _READY).exists() and (folder / "tree").is_dir() and not gone


def _is_zoobench(tree: Path) -> bool:
    return (tree / "src/zoobench/worker/__main__.py").is_file()


def _check_out(repo: Path, commit: str, tree: Path) -> None:
    """A clone of its own: a linked work tree would leave traces in the user's repository."""
    shutil.rmtree(tree, ignore_errors=True)
    try:
        # Not --local: it insists on hard links, which another file system refuses.
        _git(repo, "clone", "--quiet", "--no-checkout", str(repo), str(tree))
        try:
            _git(tree, "checkout", "--quiet", "--detach", commit)
        except _GitError:
            # A clone takes along what branches and tags reach; a commit that only a fetch left there is not.
            _git(tree, "fetch", "--quiet", str(repo), commit)
            _git(tree, "checkout", "--quiet", "--detach", commit)
    except _GitError as error:
        raise ArmError(f"{commit[:12]} cannot be checked out: {error}") from error


def _set_up(command: str, tree: Path, log: Path, ref: str, commit: str) -> None:
    # An environment that is active here is not the arm's.
    kept_out = {*SECRETS, *_GIT_PLACES, "VIRTUAL_ENV"}
    try:
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=tree,
                env={name: value for name, value in os.environ.items() if name not in kept_out},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            code = process.wait(SETUP_DEADLINE_S)
        finally:
            # Done, late or interrupted: what the shell started must not go on, and disturb what is measured.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        why = f"exit code {code}" if code else None
    except subprocess.TimeoutExpired:
        why = f"no end after {SETUP_DEADLINE_S / 60:.0f} minutes"
    if why:
        with log.open("rb") as written:
            written.seek(max(0, log.stat().st_size - _LOG_BYTES))
            lines = written.read().decode("utf-8", errors="replace").strip().splitlines()
        said = " | ".join(line[-_LOG_WIDTH:] for line in lines[-_LOG_LINES:]) or "it said nothing"
        raise ArmError(
            f"{ref} ({commit[:12]}) does not build: {command!r} ended with {why}: {said} (all of it in {log})"
        )


class _GitError(Exception):
    """What git said."""


def _is_shallow(repo: Path) -> bool:
    with suppress(_GitError):
        return _git(repo, "rev-parse", "--is-shallow-repository") == "true"
    return False


def _git(folder: Path, *words: str, environment: Mapping[str, str] = os.environ) -> str:
    """git's output; variables that a hook sets (GIT_DIR and its like) would send it elsewhere."""
    clean = {name: value for name, value in environment.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            # The user's hooks are meant for the user's checkouts: they may install, build or complain.
            ["git", "-c", "core.hooksPath=/dev/null", *words],
            cwd=folder,
            # Without optional locks `git status` leaves the user's index as it is.
            env={**clean, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=600,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise _GitError(str(error)) from error
    if done.returncode:
        raise _GitError((done.stderr.strip() or f"git {words[0]} failed").splitlines()[-1])
    return done.stdout.rstrip("\n")
