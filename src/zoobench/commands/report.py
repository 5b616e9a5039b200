"""`zoobench report`: a document from stored results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from zoobench.errors import UsageError

_FORMATS: dict[str, Literal["md", "html", "json"]] = {
    "md": "md",
    "markdown": "md",
    "html": "html",
    "json": "json",
}


def report(
    *,
    results_dir: Path = Path("results"),
    output: Path = Path("RESULTS.md"),
    format: Literal["md", "html", "json"] | None = None,  # noqa: A002 - the flag's documented name
) -> int:
    """Write a report (Markdown, HTML or JSON) from stored results.

    Parameters
    ----------
    results_dir
        Where the results are.
    output
        The file to write; results.csv and the charts go beside it.
    format
        Default: told from the ending of --output.
    """
    from zoobench.show.report import write_report

    ending = output.suffix.lstrip(".").lower()
    chosen = format or _FORMATS.get(ending)
    if chosen is None:
        raise UsageError(
            f"--output {output}: the ending names no format; use .md, .html or .json, or give --format"
        )
    files = write_report(results_dir, output, chosen)
    print(f"wrote {files.report}" + "".join(f", {extra}" for extra in files.beside), file=sys.stderr)
    return 0
