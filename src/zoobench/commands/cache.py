"""`zoobench cache`: the artifacts that preparing made."""

from __future__ import annotations

import sys
from dataclasses import asdict

from cyclopts import App

from zoobench.cli import COMMANDS
from zoobench.commands.flags import AsJson, Flag
from zoobench.commands.printing import print_json, print_rich
from zoobench.errors import UsageError
from zoobench.machine import cache_folder

cache = App(name="cache", help=COMMANDS["cache"])


@cache.command
def ls(*, as_json: AsJson = False) -> int:
    """List the artifacts.

    Parameters
    ----------
    as_json
        Print JSON.
    """
    from zoobench.prepare.cache import ArtifactCache
    from zoobench.show.listings import cache_table

    entries = ArtifactCache(cache_folder()).entries()
    if as_json:
        print_json(
            [
                {**asdict(e), "made_at": e.made_at.isoformat(), "last_used": e.last_used.isoformat()}
                for e in entries
            ]
        )
    else:
        print_rich(cache_table(entries))
    return 0


@cache.command
def prune(*, older_than_days: float | None = None, everything: Flag = False) -> int:
    """Delete artifacts; they are made again when they are needed.

    Parameters
    ----------
    older_than_days
        Those that were not used for so long.
    everything
        All of them.
    """
    from zoobench.prepare.cache import ArtifactCache
    from zoobench.show.numbers import format_bytes

    if older_than_days is not None and not 0 <= older_than_days < float("inf"):
        raise UsageError(f"--older-than-days {older_than_days:g}: 0 or more days are needed")
    if older_than_days is None and not everything:
        raise UsageError("say what to delete: --older-than-days N or --everything")
    freed = ArtifactCache(cache_folder()).prune(older_than_days=older_than_days, everything=everything)
    print(f"freed {format_bytes(freed)}", file=sys.stderr)
    return 0
