"""`zoobench cache`: the artifacts that preparing made, the arms that the guard keeps, and pictures."""

from __future__ import annotations

import sys
from dataclasses import asdict

from cyclopts import App

from zoobench.cli import COMMANDS
from zoobench.commands.flags import AsJson, Flag
from zoobench.commands.printing import print_blocks, print_json
from zoobench.errors import UsageError
from zoobench.machine import cache_folder

cache = App(name="cache", help=COMMANDS["cache"])


@cache.command
def ls(*, as_json: AsJson = False) -> int:
    """List the artifacts, the checkouts that `zoobench guard --base` keeps, and pictures for accuracy.

    Parameters
    ----------
    as_json
        Print JSON.
    """
    from zoobench.arms import kept_arms
    from zoobench.data.pack import kept_packs
    from zoobench.prepare.cache import ArtifactCache
    from zoobench.show.listings import arms_blocks, cache_blocks, packs_blocks

    entries, arms = ArtifactCache(cache_folder()).entries(), kept_arms(cache_folder())
    packs = kept_packs(cache_folder())
    if as_json:
        print_json(
            [
                *(
                    {
                        "kind": "artifact",
                        **asdict(e),
                        "made_at": e.made_at.isoformat(),
                        "last_used": e.last_used.isoformat(),
                    }
                    for e in entries
                ),
                *(
                    {
                        "kind": "arm",
                        **asdict(arm),
                        "folder": str(arm.folder),
                        "last_used": arm.last_used.isoformat(),
                    }
                    for arm in arms
                ),
                *(
                    {
                        "kind": "pictures",
                        **asdict(pack),
                        "folder": str(pack.folder),
                        "last_used": pack.last_used.isoformat(),
                    }
                    for pack in packs
                ),
            ]
        )
    else:
        blocks = cache_blocks(entries)
        if arms:
            blocks += arms_blocks([(a.commit, a.folder, a.size_bytes, a.last_used) for a in arms])
        if packs:
            blocks += packs_blocks([(p.label, p.pictures, p.size_bytes, p.last_used) for p in packs])
        print_blocks(blocks)
    return 0


@cache.command
def prune(*, older_than_days: float | None = None, everything: Flag = False) -> int:
    """Delete artifacts, the guard's checkouts and pictures; they are made again when they are needed.

    Parameters
    ----------
    older_than_days
        Those that were not used for so long.
    everything
        All of them.
    """
    from zoobench.arms import prune_arms
    from zoobench.data.pack import prune_packs
    from zoobench.prepare.cache import ArtifactCache
    from zoobench.show.numbers import format_bytes

    if older_than_days is not None and not 0 <= older_than_days < float("inf"):
        raise UsageError(f"--older-than-days {older_than_days:g}: 0 or more days are needed")
    if older_than_days is None and not everything:
        raise UsageError("say what to delete: --older-than-days N or --everything")
    freed = ArtifactCache(cache_folder()).prune(older_than_days=older_than_days, everything=everything)
    freed += prune_arms(cache_folder(), older_than_days=older_than_days)
    freed += prune_packs(cache_folder(), older_than_days=older_than_days)
    print(f"freed {format_bytes(freed)}", file=sys.stderr)
    return 0
