"""`zoobench guard`: fail when a model has become slower, or is slower than it may be."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoobench.commands.flags import AsJson, Flag, Names, Numbers
from zoobench.commands.options import runtime_options
from zoobench.errors import UsageError
from zoobench.judge import Decision, Finding, NotComparableError, Undecided, exit_code
from zoobench.machine import describe
from zoobench.terms import Effort, OnExisting, WeightsPolicy
from zoobench.units import share

if TYPE_CHECKING:
    from zoobench.commands.guard.reports import Reports


def guard(
    *,
    base: str | None = None,
    head: str = "HEAD",
    setup: str | None = None,
    registry: Path | None = None,
    ignore_changes: Flag = False,
    limits: str | None = None,
    set_limits: Path | None = None,
    headroom: str = "25%",
    any_machine: Flag = False,
    baseline: str | None = None,
    models: Names = None,
    backends: Names = None,
    batch_sizes: Numbers = None,
    precisions: Names = None,
    threads: int | None = None,
    options: Names = None,
    weights: WeightsPolicy = WeightsPolicy.AUTO,
    effort: Effort = Effort.QUICK,
    margin: str = "5%",
    undecided: Undecided = Undecided.REPORT,
    results_dir: Path = Path("guard-results"),
    junit: Path | None = None,
    summary: Path | None = None,
    seed: int | None = None,
    wait: Flag = False,
    as_json: AsJson = False,
) -> int:
    """Fail (exit 3) when head is slower than base, or a model slower than its limit or its stored run.

    Exit codes: 0 pass, 3 regression, 4 undecided, 5 not comparable or invalid, 2 bad usage.

    Parameters
    ----------
    base
        Git revision to compare with. Each arm is a checkout with an environment of its own; base, head and a copy of
        base take turns.
    head
        Git revision that is judged.
    setup
        Shell command that makes an arm ready in its checkout (.venv there, models); zoobench's own: make install.
    registry
        Models: a TOML or Python file; with --base a path inside the checkouts.
    ignore_changes
        Leave uncommitted changes of the work tree out, instead of refusing.
    limits
        A file of limits in milliseconds, or `catalog` for those of the registry's entries.
    set_limits
        Measure (or take from --results-dir) and write such a file.
    headroom
        What --set-limits adds to the upper end of the measured interval.
    any_machine
        --set-limits writes limits that hold on every machine, not on this one alone.
    baseline
        A stored run (its id in --results-dir, or a folder) of this machine to compare with.
    models
        Default: with --registry all of its models, else resnet18.
    backends
        Default: onnx_cpu.
    batch_sizes
        Items per call; default: 1.
    precisions
        Default: fp32.
    threads
        Intra-op threads; default: every CPU that this process may use.
    options
        Runtime options, name=value.
    weights
        auto falls back to seeded random weights when the Hub cannot be reached.
    effort
        Of --limits and --set-limits: how much evidence one measurement buys.
    margin
        Slowdown that is let through.
    undecided
        What an inconclusive case counts as: report makes it exit 4.
    results_dir
        Where what was measured is kept.
    junit
        Write JUnit XML there.
    summary
        Append Markdown there; default: $GITHUB_STEP_SUMMARY.
    seed
        Of the order of turns.
    wait
        Wait for another measurement on this machine to end.
    as_json
        Print the decisions as JSON.
    """
    # `zoobench guard --help` needs none of this.
    from zoobench.commands.guard.asked import Asked
    from zoobench.commands.guard.baseline import against_stored
    from zoobench.commands.guard.limits import set_limits as write_limits
    from zoobench.commands.guard.limits import within_limits
    from zoobench.commands.guard.reports import Reports
    from zoobench.commands.guard.revisions import against_revision
    from zoobench.driver import Settings
    from zoobench.show.progress import watch

    _insist_on_one_mode(
        {"--base": base, "--limits": limits, "--set-limits": set_limits, "--baseline": baseline}
    )
    _refuse_strays(
        {"--setup": setup, "--ignore-changes": ignore_changes, "--head": head != "HEAD"}, base, "--base"
    )
    _refuse_strays(
        {"--any-machine": any_machine, "--headroom": headroom != "25%"}, set_limits, "--set-limits"
    )
    settings = Settings(
        results_dir=results_dir,
        on_existing=OnExisting.RERUN,
        weights=weights,
        seed=seed,
        wait=wait,
        argv=sys.argv,
    )
    asked = Asked(
        models=models,
        backends=backends,
        batch_sizes=batch_sizes,
        precisions=precisions,
        threads=threads,
        options=runtime_options(options or ()),
        effort=effort,
        registry=registry,
    )
    delta = share(margin, "--margin")
    reports = Reports(as_json, junit, summary or _summary_of_the_step())
    about = {"machine": describe().short, "results": str(results_dir)}
    with watch() as observer:
        if set_limits is not None:
            return write_limits(
                set_limits, share(headroom, "--headroom"), asked, settings, observer, any_machine=any_machine
            )
        if base is not None:
            title = f"{base} against {head}"
            found = against_revision(
                base, head, setup, asked, settings, observer, about, delta=delta, ignore=ignore_changes
            )
        elif limits is not None:
            title, found = f"limits of {limits}", within_limits(limits, asked, settings, observer)
        else:
            assert baseline is not None
            title = f"against the stored run {baseline}"
            found = against_stored(baseline, asked, settings, observer, delta=delta)
        findings = _collect(found, f"zoobench guard: {title}", reports, about)
    reports.say(f"zoobench guard: {title}", findings, about)
    if all(finding.decision is Decision.SKIPPED for finding in findings):
        raise NotComparableError(f"nothing could be judged: {findings[0].message if findings else 'no case'}")
    return exit_code(findings, undecided)


def _insist_on_one_mode(modes: Mapping[str, object]) -> None:
    """There is one thing to hold against."""
    given = [flag for flag, value in modes.items() if value is not None]
    if len(given) != 1:
        raise UsageError(
            f"{' and '.join(given) if given else 'nothing to hold against'}: give one of --base REF, --limits FILE, "
            "--set-limits FILE, --baseline RUN"
        )


def _collect(
    found: Iterable[Finding], title: str, reports: Reports, about: Mapping[str, str]
) -> list[Finding]:
    """The decisions, as they are made. Where that is stopped, those that were made are as good as ever: they are told."""
    findings: list[Finding] = []
    try:
        findings += found
    except BaseException as error:
        if findings:
            reports.say(f"{title} (not finished)", findings, about)
        else:
            said = str(error) or type(error).__name__
            reports.write_junit(title, [Finding("guard", Decision.NOT_COMPARABLE, said)])
        raise
    return findings


def _refuse_strays(flags: Mapping[str, object], wanted: object, mode: str) -> None:
    """A flag that would change nothing is a misunderstanding."""
    for flag, value in flags.items():
        if value and wanted is None:
            raise UsageError(f"{flag} goes with {mode} only; leave it out, or give {mode}")


def _summary_of_the_step() -> Path | None:
    """GitHub's; an empty variable names no file."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(place) if place else None
