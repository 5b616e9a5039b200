"""`guard --limits` and `--set-limits`: milliseconds that a model may take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from zoobench import api
from zoobench.backends import BACKENDS
from zoobench.commands.guard.asked import Asked
from zoobench.driver import Observer, Settings
from zoobench.errors import UsageError
from zoobench.judge import NOT_COMPARABLE_EXIT, Finding, NotComparableError
from zoobench.judge.limits import DEFAULT_PERCENTILE, Limit
from zoobench.judge.limits_file import (
    catalog_limits,
    check_once,
    check_writable,
    merged,
    read_limits,
    write_limits,
)
from zoobench.machine import describe, usable_cpu_count
from zoobench.search.guard import cell_of, guard_limits
from zoobench.spec import ModelSpec
from zoobench.terms import OnExisting, Status, VerdictValue

CATALOG = "catalog"
"""`--limits catalog`: the limits that the registry's entries carry."""


def within_limits(limits: str, asked: Asked, settings: Settings, observer: Observer) -> Iterator[Finding]:
    """Decide the limits of a file, or of the registry's entries.

    Raises:
        UsageError: the file cannot be read, or names a model or a backend that is not there, or nothing asked for.
    """
    if asked.options:
        raise UsageError(
            "--options does not go with --limits: each limit says its own (options = {name = 1})"
        )
    if limits == CATALOG:
        found = catalog_limits([asked.find(name) for name in asked.names()])
    else:
        found = read_limits(Path(limits))
    # Mistakes are said before anything is measured.
    models = dict(_checked(limit, asked) for limit in found)
    threads = usable_cpu_count() if asked.threads is None else asked.threads
    named = [replace(limit, model=models[limit].name) for limit in found]
    wanted = [limit for limit in named if asked.wants(cell_of(limit, threads))]
    if not wanted:
        held = "none of what was asked for" if found else "nothing"
        raise UsageError(f"--limits {limits} limits {held}; `zoobench guard --set-limits FILE` writes limits")
    check_once(wanted)
    by_name: dict[str, ModelSpec] = {}
    for limit, model in models.items():
        if by_name.setdefault(model.name, model) != model:
            raise UsageError(f"{limit.where}: two different models are called {model.name!r}; rename one")
    bench = asked.bench(by_name, settings, observer)
    yield from guard_limits(wanted, bench, describe().fingerprint, threads)


def _checked(limit: Limit, asked: Asked) -> tuple[Limit, ModelSpec]:
    """The limit with its model; a model or a backend that is not there is a mistake."""
    try:
        model = asked.find(limit.model)
    except UsageError as error:
        raise UsageError(f"{limit.where}: {error}") from error
    if limit.backend not in BACKENDS:
        raise UsageError(f"{limit.where}: unknown backend {limit.backend!r}; `zoobench doctor` lists them")
    return limit, model


def _old_limits(file: Path) -> list[Limit]:
    try:
        return read_limits(file) if file.exists() else []
    except UsageError as error:
        raise UsageError(str(error).replace("--limits", "--set-limits", 1)) from error


def _canonical(word: str, asked: Asked) -> str:
    """The word that a new limit would have; another spelling of it would stay beside it."""
    try:
        return asked.word_for(asked.find(word))
    except UsageError:
        return word


def set_limits(
    file: Path, headroom: float, asked: Asked, settings: Settings, observer: Observer, *, any_machine: bool
) -> int:
    """Limits from what was measured: the upper end of the p95 interval, and the headroom over it.

    Those of other cells and machines stay in the file.

    Returns:
        The exit code: 5 where a cell that was asked for has no limit now.
    """
    check_writable(file)
    request = asked.request(asked.names(), effort=asked.effort, registry=asked.registry)
    words = {model.name: asked.word_for(model) for model in request.models}
    before = [replace(limit, model=_canonical(limit.model, asked)) for limit in _old_limits(file)]
    kept = replace(settings, on_existing=OnExisting.RESUME)
    found, missing = [], []
    for record in api.run_request(request, settings=kept, observer=observer):
        if record.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        latency, name = record.latency, record.case.label
        if record.status is not Status.OK or latency is None:
            missing.append(f"{name}: {record.error.message if record.error else record.status.value}")
        elif record.verdict and record.verdict.value is VerdictValue.INVALID:
            missing.append(f"{name}: invalid: {record.verdict.reasons[0].message}")
        elif latency.p95_ms is None or latency.p95_interval_ms is None:
            missing.append(f"{name}: too few calls for {DEFAULT_PERCENTILE}; use --effort standard")
        else:
            low, high = latency.p95_interval_ms
            found.append(
                Limit(
                    model=words[record.case.model],
                    backend=record.case.backend,
                    limit_ms=high * (1 + headroom),
                    precision=record.case.precision,
                    batch=record.case.batch,
                    machine=None if any_machine else record.machine.fingerprint,
                    threads=asked.threads,
                    options=tuple(sorted(asked.options.items())),
                    note=f"p95 {latency.p95_ms:.4g} ms [{low:.4g}, {high:.4g}] in run {record.run_id}, {headroom:.0%} "
                    "headroom over its upper end",
                )
            )
    for line in missing:
        print(f"zoobench: no limit for {line}", file=sys.stderr)
    if not found:
        raise NotComparableError(f"{file} was not written: nothing was measured that a limit can be made of")
    write_limits(file, merged(before, found))
    print(f"wrote {len(found)} limit{'' if len(found) == 1 else 's'} to {file}", file=sys.stderr)
    return NOT_COMPARABLE_EXIT if missing else 0
