"""One watch over the folders for all visitors, so that what one has read is there for the next."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from zoobench.results.watch import Watch


@lru_cache(maxsize=8)
def watch_of(folders: tuple[Path, ...]) -> Watch:
    """The watch over these folders."""
    return Watch(folders)
