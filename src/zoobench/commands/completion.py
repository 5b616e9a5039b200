"""`zoobench completion`: the shell's completion."""

from __future__ import annotations

import sys
from typing import Literal

from zoobench.cli import build_app
from zoobench.commands.flags import Flag


def completion(shell: Literal["bash", "zsh", "fish"] | None = None, *, install: Flag = False) -> int:
    """Print or install the shell's completion.

    Parameters
    ----------
    shell
        Default: the shell of this session.
    install
        Put it where the shell looks for it, instead of printing it.
    """
    app = build_app()
    if install:
        print(f"wrote {app.install_completion(shell=shell)}", file=sys.stderr)
    else:
        print(app.generate_completion(shell=shell))
    return 0
