"""Reports: everything a results folder holds, as Markdown with charts, one HTML page, or JSON."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from zoobench._version import __version__
from zoobench.errors import UsageError
from zoobench.judge.margin import judged_row
from zoobench.judge.measures import DROP
from zoobench.judge.wanted import DropLimit
from zoobench.results.query import (
    Cell,
    Loaded,
    Run,
    collector_paused,
    latest_cells,
    latest_pairs,
    load_records,
    load_rows,
)
from zoobench.results.record import Record
from zoobench.results.row import Row, row_of
from zoobench.results.samples import call_times_ms, kept_slots
from zoobench.shell import command_line, flag_words, shell_word
from zoobench.show import sections
from zoobench.show.accuracy import accuracy_section
from zoobench.show.charts.bars import Chart, latency_chart, speedup_chart
from zoobench.show.charts.batches import batch_chart
from zoobench.show.charts.distributions import MOST_CELLS, distribution_chart
from zoobench.show.charts.front import front_chart
from zoobench.show.charts.memory import peak_chart
from zoobench.show.charts.plane import MAP, SIZE, TOP1
from zoobench.show.charts.tokens import decode_chart, itl_chart, memory_chart
from zoobench.show.detection import boxes_section, stages_section
from zoobench.show.document import (
    Block,
    Command,
    Heading,
    Items,
    Paragraph,
    Picture,
    to_markdown,
)
from zoobench.show.explanation import why_section
from zoobench.show.formulas import FORMULAS
from zoobench.show.generation import clients_section, generation_section, memory_section, quality_section
from zoobench.show.page import to_html
from zoobench.show.sheet import csv_text
from zoobench.show.speedup import speedup_data
from zoobench.show.tables import Notes
from zoobench.show.view import View, views_of

Format = Literal["md", "html", "json"]

TITLE = "Benchmark results"
MOST_MACHINES_WITH_CHARTS = 4
MOST_COMMANDS = 5


@dataclass(frozen=True)
class ReportFiles:
    """What was written.

    Attributes:
        report: the report itself.
        table: the documented table as CSV; None for JSON, which holds everything.
        charts: SVG files, each of which the Markdown shows; empty for HTML, which holds them, and for JSON.
        cells: how many cells the report shows.
        problems: what could not be read; the report lists it too.
    """

    report: Path
    table: Path | None
    charts: tuple[Path, ...]
    cells: int
    problems: tuple[str, ...]

    @property
    def beside(self) -> tuple[Path, ...]:
        """Every file beside the report."""
        return (*((self.table,) if self.table else ()), *self.charts)


def write_report(
    results_dir: Path, output: Path, fmt: Format = "md", *, max_drop: float | None = None
) -> ReportFiles:
    """Report on everything under `results_dir`.

    Writes `output`; beside it, for Markdown and HTML, `results.csv`, and for Markdown the charts in
    `<stem of output>_charts/`. Every file appears whole or not at all.

    Args:
        max_drop: judge every drop of top-1 by this share; None: by the one that was asked for in its run.

    Raises:
        UsageError: there is nothing to report on, or a file cannot be written.
    """
    if os.path.isdir(output):  # noqa: PTH112  (a folder above that is closed is told where it is written to)
        raise UsageError(f"'{output}' is a folder; name the report's file, such as '{output / 'RESULTS.md'}'")
    with collector_paused():
        return _write_report(results_dir, output, fmt, max_drop)


def _write_report(results_dir: Path, output: Path, fmt: Format, max_drop: float | None) -> ReportFiles:
    if fmt == "json":
        return _write_json(results_dir, output)
    loaded = load_rows(results_dir)
    _check_not_empty(results_dir, loaded)
    if max_drop is not None:
        loaded.records[:] = [judged_row(row, max_drop) for row in loaded.records]
    cells = latest_cells(loaded.records)
    table = output.with_name("results.csv")
    write_text(table, csv_text(cells))
    page = _Page(
        views_of(cells, kept_slots(loaded.folders())),
        loaded,
        f"{output.stem}_charts",
        results_dir,
        whole=fmt == "html",
    )
    margin = "" if max_drop is None else f" {DropLimit('--max-drop', DROP, max_drop).said}"
    blocks = page.blocks(
        command_line(
            [
                "zoobench",
                "report",
                *flag_words("--results-dir", str(results_dir)),
                *flag_words("--output", str(output)),
            ]
        )
        + margin
    )
    charts: list[Path] = []
    if fmt == "md":
        charts = [output.with_name(page.folder) / Path(p.path).name for p in page.pictures]
        for path, picture in zip(charts, page.pictures, strict=True):
            write_text(path, picture.svg)
    write_text(output, to_markdown(blocks) if fmt == "md" else to_html(TITLE, blocks))
    return ReportFiles(output, table, tuple(charts), len(cells), tuple(loaded.problems))


def _write_json(results_dir: Path, output: Path) -> ReportFiles:
    loaded = load_records(results_dir)
    _check_not_empty(results_dir, loaded)
    pairs = latest_pairs(loaded.records)
    write_text(output, _json_text(pairs, loaded))
    return ReportFiles(output, None, (), len(pairs), tuple(loaded.problems))


def _check_not_empty(results_dir: Path, loaded: Loaded[Any]) -> None:
    if loaded.records:
        return
    if not loaded.problems:
        raise UsageError(
            f"'{results_dir}' holds no results yet; measure first with "
            f"`{command_line(['zoobench', 'run', *flag_words('--results-dir', str(results_dir))])}`"
        )
    more = f" (and {len(loaded.problems) - 1} more)" if len(loaded.problems) > 1 else ""
    raise UsageError(f"no record in '{results_dir}' can be read: {loaded.problems[0]}{more}")


@dataclass
class _Page:
    """The report as blocks; `pictures` gathers the charts that were drawn on the way.

    Attributes:
        whole: for a page, whose tables sort and filter and where there is room for every chart.
    """

    views: list[View]
    loaded: Loaded[Row]
    folder: str
    results_dir: Path
    whole: bool
    pictures: list[Picture] = field(default_factory=list)

    def blocks(self, report_command: str) -> list[Block]:
        blocks: list[Block] = [
            Heading(1, TITLE),
            Paragraph(sections.summary_sentence(self.views), strong=True),
        ]
        for number, view in enumerate(self.views):
            blocks += self._machine(view, number)
        blocks += [Heading(2, "What the numbers mean"), Items(tuple((f"{t}:", m) for t, m in FORMULAS))]
        blocks += [
            Heading(2, "How to reproduce"),
            Command((*_run_commands(self.loaded, self.views), report_command)),
            Paragraph("Which of these to ship, under limits of your own:"),
            Command(
                (
                    command_line(
                        ["zoobench", "recommend", *flag_words("--results-dir", str(self.results_dir))]
                    ),
                )
            ),
            Paragraph(f"Written by zoobench {__version__}; the table with every number is in results.csv."),
        ]
        return blocks + sections.problems_section(self.loaded.problems)

    def _of_machine(self, view: View) -> list[Row]:
        """Every record of the machine, newest first: what was asked of other pictures or of another file before is no less true."""
        found = [
            r
            for r in self.loaded.records
            if r.fingerprint == view.newest.fingerprint and r.is_fake == view.fake
        ]
        return sorted(found, key=lambda r: r.recorded_at, reverse=True)

    def _machine(self, view: View, number: int) -> list[Block]:
        notes = Notes()
        results = sections.explorer_section if self.whole else sections.results_section
        blocks = [Heading(2, view.title), *results(view, notes), *sections.notes_section(notes)]
        blocks += sections.licence_section(view.rows)
        if number >= MOST_MACHINES_WITH_CHARTS:
            blocks.append(
                Paragraph(f"Charts are drawn for the first {MOST_MACHINES_WITH_CHARTS} machines only.")
            )
        return [
            *blocks,
            *self._calls(view, number),
            *self._worth(view),
            *self._language_models(view, number),
            *why_section(view, self.results_dir, self.loaded),
            *sections.start_section(view),
            *sections.limit_section(view),
            *sections.failure_section(view),
            *sections.machine_section(view),
        ]

    def _calls(self, view: View, number: int) -> list[Block]:
        """Latency, and what it is held against."""
        # A request is as long as it was asked to be: language models have charts of their own.
        called = [r for r in view.at_own_pace if not r.requests]
        return [
            *self._chart(lambda: latency_chart(called), number, "Latency"),
            Heading(3, "Against PyTorch"),
            *sections.speedup_section(view),
            *self._chart(lambda: speedup_chart(view.pairs), number),
            *self._fronts(called, number),
            *sections.throughput_section(view),
            *self._chart(lambda: batch_chart(view.at_own_pace), number),
            *(self._distributions(called, number) if self.whole else []),
            *(self._chart(lambda: peak_chart(called), number, "Memory") if self.whole else []),
        ]

    def _fronts(self, called: Sequence[Row], number: int) -> list[Block]:
        """One a task: a classifier is no rival of a detector."""
        blocks: list[Block] = []
        tasks = dict.fromkeys(r.task for r in called)
        for task in tasks:
            of_task = [r for r in called if r.task == task]
            about, suffix = (f": {task.replace('_', ' ')}", f"_{task}") if len(tasks) > 1 else ("", "")
            drawn = (
                self._chart(
                    partial(front_chart, of_task, measure), number, f"Latency against {what}{about}", suffix
                )
                for measure, what in ((TOP1, "accuracy"), (MAP, "mAP"), (SIZE, "size"))
            )
            blocks += next(filter(None, drawn), [])
        return blocks

    def _distributions(self, called: Sequence[Row], number: int) -> list[Block]:
        """Of the first cells: their samples lie in a file each."""
        kept = [r for r in called if r.samples_file and r.scenario == "single_stream"]
        if len(kept) > MOST_CELLS:
            told = [
                Paragraph(
                    f"The first {MOST_CELLS} of {len(kept)} cells; the samples of all stand in the results folder."
                )
            ]
        else:
            told = []
        folders = self.loaded.folders()
        samples = [
            (row, call_times_ms(folders[row.run_id], row, self.loaded.problems))
            for row in (kept[:MOST_CELLS] if number < MOST_MACHINES_WITH_CHARTS else [])
        ]
        drawn = self._chart(lambda: distribution_chart(samples), number, "Latency distributions")
        return [*drawn[:1], *told, *drawn[1:]] if drawn else []

    def _worth(self, view: View) -> list[Block]:
        """What models get right, and detectors' way from pixels to boxes."""
        every = self._of_machine(view)
        return [*accuracy_section(every), *boxes_section(every), *stages_section(view.rows)]

    def _language_models(self, view: View, number: int) -> list[Block]:
        return [
            *generation_section(view.rows),
            *self._chart(lambda: itl_chart(view.at_own_pace), number),
            *self._chart(lambda: decode_chart(view.at_own_pace), number),
            *clients_section(view.rows),
            *memory_section(view.rows),
            *self._chart(lambda: memory_chart(view.at_own_pace), number),
            *quality_section(view.rows),
        ]

    def _chart(
        self, draw: Callable[[], Chart | None], number: int, heading: str = "", suffix: str = ""
    ) -> list[Block]:
        """What is drawn, under its heading; nothing for machines beyond the first few.

        Args:
            suffix: of the file's name, where there are several of one kind.
        """
        chart = draw() if number < MOST_MACHINES_WITH_CHARTS else None
        if chart is None:
            return []
        prefix = f"machine_{number + 1}_" if len(self.views) > 1 else ""
        picture = Picture(f"{self.folder}/{prefix}{chart.name}{suffix}.svg", chart.svg, chart.caption)
        self.pictures.append(picture)
        return [*([Heading(3, heading)] if heading else []), picture]


def _run_commands(loaded: Loaded[Row], views: Iterable[View]) -> list[str]:
    """The commands of the runs whose numbers are shown, newest first."""
    shown = {row.run_id for view in views for row in view.rows}
    runs: list[Run] = [run for run in reversed(loaded.runs) if run.run_id in shown and run.argv]
    commands = list(dict.fromkeys(typed(run.argv) for run in runs))
    if len(commands) > MOST_COMMANDS:
        commands[MOST_COMMANDS:] = [f"# and {len(commands) - MOST_COMMANDS} other commands"]
    return commands


def typed(argv: Sequence[str]) -> str:
    """What was typed to get this argv; where the program lies on that machine is left out."""
    program, *words = argv
    if program.endswith("__main__.py"):
        program = "python -m zoobench"
    elif program.endswith(".py"):
        program = f"python {shell_word(Path(program).name if program.startswith('/') else program)}"
    else:
        program = shell_word(Path(program).name)
    return f"{program} {command_line(words)}".rstrip()


def _json_text(pairs: Sequence[tuple[Record, Record | None]], loaded: Loaded[Record]) -> str:
    cells = [Cell(row_of(record), row_of(later) if later else None) for record, later in pairs]
    at = {id(cell): pair for cell, pair in zip(cells, pairs, strict=True)}
    views = views_of(cells, kept_slots(loaded.folders()))
    machines = [
        {
            "fingerprint": view.newest.fingerprint,
            "fake": view.fake,
            "speedups": [speedup_data(s) for s in view.speedups],
            "records": [_record_json(*at[id(cell)]) for cell in view.cells],
        }
        for view in views
    ]
    body = {
        "zoobench": __version__,
        "summary": sections.summary_sentence(views),
        "machines": machines,
        "problems": list(loaded.problems),
        "formulas": dict(FORMULAS),
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _record_json(record: Record, later: Record | None) -> dict[str, Any]:
    return {**record.model_dump(mode="json"), "later_attempt": later and later.model_dump(mode="json")}


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none: a reader never sees half a report, and an older one survives a full disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"cannot write '{path}': {error.strerror}; name another file with --output"
        ) from None
