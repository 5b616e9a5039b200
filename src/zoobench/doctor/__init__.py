"""What is wrong with this machine for measuring, GPU included, and what to do about it.

The parent asks; whatever must import a runtime happens elsewhere: `probe` is a probe worker's answer, and GPU
runtimes are tried in child processes (`trial`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoobench.doctor.finding import Area, Finding, Level
from zoobench.doctor.gpu import closing_line, gpu_findings, usable_gpu
from zoobench.doctor.software import Hub, Probe, ProbeResult, backend_findings, hub_findings

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "Area",
    "Finding",
    "Hub",
    "Level",
    "Probe",
    "ProbeResult",
    "closing_line",
    "examine",
    "findings_table",
    "gpu_findings",
    "usable_gpu",
]

MARKS = {
    "ok": ("ok", "green"),
    "info": ("info", "cyan"),
    "warning": ("warning", "yellow"),
    "problem": ("PROBLEM", "red"),
}


def examine(
    probe: Probe | None = None,
    *,
    hub: Hub | None = None,
    results_dir: Path = Path("results"),
    gpu: Callable[[], list[Finding]] = gpu_findings,
) -> list[Finding]:
    """Look at everything once: about a second, and what Hub, probe and GPU runtimes take.

    Args:
        probe: asks the backends in a probe worker; None: only what is installed is looked at.
        hub: asks the Hub, such as `hub.connection.describe_reachability`; None: it is left out.
        results_dir: where results will be written; it need not exist.
        gpu: the GPU part.
    """
    import psutil

    from zoobench.doctor import host
    from zoobench.machine import cache_folder, describe

    machine = describe()
    gpus = gpu()
    folders = {"results": results_dir, "cache": cache_folder(), "temporary files": _temporary()}
    return [
        *host.cpu_findings(machine),
        *host.load_findings(host.watch()),
        *host.memory_findings(machine, psutil.virtual_memory().available, psutil.swap_memory().used),
        *host.disk_findings(folders),
        *hub_findings(hub),
        *backend_findings(probe, gpu_present=bool(machine.gpus)),
        *gpus,
    ]


def _temporary() -> Path:
    import tempfile

    return Path(tempfile.gettempdir())


def headline(findings: Sequence[Finding]) -> str:
    """One line: whether to measure here now."""
    problems, warnings = (sum(one.level == level for one in findings) for level in ("problem", "warning"))
    told = [
        f"{n} {word}{'' if n == 1 else 's'}"
        for n, word in ((problems, "problem"), (warnings, "warning"))
        if n
    ]
    if problems:
        return f"{' and '.join(told)}: mend what is marked PROBLEM first; what it concerns cannot be measured here"
    if warnings:
        return f"{told[0]}: measuring works, and numbers may be worse or less steady than they could be; each says what to do"
    return "nothing stands in the way of measuring here, just now"


def findings_table(findings: Iterable[Finding]) -> Table:
    """A rich table, one row a finding, advice below the text it belongs to."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column("level", no_wrap=True)
    table.add_column("name", no_wrap=True)
    table.add_column("text", overflow="fold")
    area = None
    for finding in findings:
        if finding.area != area:
            if area is not None:
                table.add_row()
            table.add_row("", f"[bold]{finding.area}[/bold]", "")
            area = finding.area
        mark, colour = MARKS[finding.level]
        text = escape(finding.text)
        if finding.advice:
            text += f"\n[dim]→[/dim] {escape(finding.advice)}"
        table.add_row(f"[{colour}]{mark}[/{colour}]", escape(finding.name), text)
    return table
