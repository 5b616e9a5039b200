"""What the doctor says: one finding for each thing looked at."""

from __future__ import annotations

from typing import Literal

from zoobench.spec import Frozen

Area = Literal["cpu", "load", "memory", "disk", "hub", "backends", "gpu"]
Level = Literal["ok", "info", "warning", "problem"]


class Finding(Frozen):
    """One thing that was looked at.

    Attributes:
        level: `ok` and `info` need nothing; `warning` costs trust in the numbers; `problem` stops something.
        advice: what to do about it, a command where there is one; None when nothing needs doing.
    """

    area: Area
    name: str
    level: Level
    text: str
    advice: str | None = None
