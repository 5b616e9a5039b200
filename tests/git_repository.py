"""Makes commits in a real git repository, and says all that it holds."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(repo: Path, files: Mapping[str, str]) -> str:
    for name, text in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "more")
    return git(repo, "rev-parse", "HEAD")


def everything(repo: Path) -> dict[str, object]:
    """All that git says of a repository, and every file in it with its content."""
    files = {str(p.relative_to(repo)): p.read_bytes() for p in sorted(repo.rglob("*")) if p.is_file()}
    words = [
        "status --porcelain",
        "worktree list",
        "config --list --local",
        "for-each-ref",
        "stash list",
        "reflog",
    ]
    return {**files, **{said: git(repo, *said.split()) for said in words}}
