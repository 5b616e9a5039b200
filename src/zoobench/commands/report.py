"""`zoobench report`: a document from stored results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from zoobench.commands.flags import Strays, refuse
from zoobench.errors import UsageError
from zoobench.units import margin_of

_FORMATS: dict[str, Literal["md", "html", "json"]] = {
    "md": "md",
    "markdown": "md",
    "html": "html",
    "json": "json",
}


def report(
    *strays: Strays,
    results_dir: Path = Path("results"),
    output: Path = Path("RESULTS.md"),
    format: Literal["md", "html", "json"] | None = None,  # noqa: A002 - the flag's documented name
    max_drop: str | None = None,
) -> int:
    """Write a report (Markdown, HTML or JSON) from stored results.

    Parameters
    ----------
    results_dir
        Where the results are.
    output
        The file to write; results.csv goes beside .md and .html, the charts beside .md.
    format
        Default: told from the ending of --output.
    max_drop
        Judge every drop of top-1 by this margin (1% is one point); default: by the one of its run. Not for JSON.
    """
    refuse(strays)
    from zoobench.show.report import write_report

    ending = output.suffix.lstrip(".").lower()
    chosen = format or _FORMATS.get(ending)
    if chosen is None:
        raise UsageError(
            f"--output {output}: the ending names no format; use .md, .html or .json, or give --format"
        )
    if max_drop is not None and chosen == "json":
        raise UsageError("--max-drop is for md and html; JSON holds the records as they are")
    margin = None if max_drop is None else margin_of(max_drop)
    files = write_report(results_dir, output, chosen, max_drop=margin)
    print(f"wrote {files.report}" + "".join(f", {extra}" for extra in files.beside), file=sys.stderr)
    return 0
