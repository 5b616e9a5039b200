"""`zoobench explain`: why one cell is as fast as it is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zoobench.commands.flags import AsJson
from zoobench.commands.printing import print_blocks, print_json
from zoobench.errors import UsageError, printable
from zoobench.judge.explain import Explanation, find_counterpart
from zoobench.judge.explain import explain as explain_record
from zoobench.results.cells import find_cell
from zoobench.results.record import Record
from zoobench.results.select import Selection, select
from zoobench.results.store import RUNS
from zoobench.terms import Status


def explain(
    run: Annotated[str, Parameter(show=True)],
    /,
    *case: Annotated[str, Parameter(show=True)],
    results_dir: Path = Path("results"),
    output: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Say why a cell is (not) fast: where its time goes, and against fp32 what got faster and what ate it up.

    Exit codes: 0 explained, 1 when the cell has no numbers, 2 when no cell or several are meant.

    Parameters
    ----------
    run
        Its id in --results-dir (the beginning will do), a folder, or `latest`.
    case
        Words that name one cell, in any order: model, backend, precision, batch=8, threads=2, an option; or a case's id.
    results_dir
        Where the results are; an fp32 record to compare with may be of another run there.
    output
        Also write it to this Markdown file.
    as_json
        Print JSON.
    """
    from zoobench.show import explanation
    from zoobench.show.document import to_markdown
    from zoobench.show.report import write_text

    if output is not None and output.suffix.lower() not in (".md", ".markdown"):
        raise UsageError(f"--output {output}: it is written as Markdown; use an ending of .md")
    selection = select(run, results_dir)
    record = find_cell(selection.records, case, run)
    lacking = _lacking(record)
    if lacking:
        print(
            f"zoobench: {printable(f'{record.case.label} has no numbers to explain: {lacking}')}",
            file=sys.stderr,
        )
        return 1
    found = _explained(record, selection, results_dir)
    for problem in dict.fromkeys(selection.problems):
        print(f"zoobench: {printable(problem)}", file=sys.stderr)
    blocks = explanation.explanation_blocks(found)
    if output is not None:
        write_text(output, to_markdown(blocks))
        print(f"wrote {output}", file=sys.stderr)
    if as_json:
        print_json(explanation.explanation_data(found))
    else:
        print_blocks(blocks)
    return 0


def _lacking(record: Record) -> str | None:
    if record.status is not Status.OK:
        said = f" ({record.error.message})" if record.error else ""
        return f"it ended as {record.status.value}{said}; run it again"
    return None if record.latency else "no call was timed; run it again with --effort standard"


def _explained(record: Record, selection: Selection, results_dir: Path) -> Explanation:
    """Beside its fp32 counterpart: of the selection, else of any run in the results folder."""
    places: Sequence[Selection] = [selection]
    counterpart = find_counterpart(record, selection.all)
    if counterpart is None and (results_dir / RUNS).is_dir():
        places = [select(str(results_dir), results_dir)]
        counterpart = find_counterpart(record, places[0].all)
    if counterpart is None:
        return explain_record(record, selection.slots(record))
    return explain_record(record, selection.slots(record), (counterpart, places[0].slots(counterpart)))
