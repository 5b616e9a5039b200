"""`zoobench guard`: fail when a model has become slower, or is slower than it may be."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoobench import api
from zoobench.arms import Arm, make_arm, refuse_changes, repository, resolve
from zoobench.catalog import MODEL_REGISTRY, find, load_registry
from zoobench.commands.flags import AsJson, Flag, Names, Numbers
from zoobench.commands.options import runtime_options
from zoobench.commands.printing import print_json, print_rich
from zoobench.errors import UsageError
from zoobench.executors import open_executor
from zoobench.judge import Decision, Finding, NotComparableError, Undecided, exit_code
from zoobench.machine import cache_folder, describe, usable_cpu_count
from zoobench.outcome import Status, VerdictValue
from zoobench.spec import Case, Effort, ModelSpec, OnExisting, OptionValue, Precision, WeightsPolicy
from zoobench.units import share

if TYPE_CHECKING:
    from zoobench.driver import Observer, Settings
    from zoobench.driver.contest import Side
    from zoobench.judge.limits import Limit
    from zoobench.search.guard import Bench

CATALOG = "catalog"
"""`--limits catalog`: the limits that the registry's entries carry."""

GUARDED_MODELS = ("resnet18",)
GUARDED_BACKENDS = ("onnx_cpu",)
_OWN_CATALOG = Path("src/zoobench/catalog/models.toml")


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
    from zoobench.driver import Settings
    from zoobench.show.progress import watch

    modes = {"--base": base, "--limits": limits, "--set-limits": set_limits, "--baseline": baseline}
    given = [flag for flag, value in modes.items() if value is not None]
    if len(given) != 1:
        raise UsageError(
            f"{' and '.join(given) if given else 'nothing to hold against'}: give one of --base REF, --limits FILE, "
            "--set-limits FILE, --baseline RUN"
        )
    settings = Settings(
        results_dir=results_dir,
        on_existing=OnExisting.RERUN,
        weights=weights,
        seed=seed,
        wait=wait,
        argv=sys.argv,
    )
    asked = _Asked(
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
    with watch() as observer:
        if set_limits is not None:
            return _set_limits(
                set_limits, share(headroom, "--headroom"), asked, settings, observer, any_machine=any_machine
            )
        if base is not None:
            title = f"{base} against {head}"
            findings, about = _revisions(
                base, head, setup, asked, settings, observer, delta=delta, ignore=ignore_changes
            )
        elif limits is not None:
            title, about = f"limits of {limits}", [("machine", describe().short)]
            findings = _limits(limits, asked, settings, observer)
        else:
            assert baseline is not None
            title, about = f"against the stored run {baseline}", [("machine", describe().short)]
            findings = _baseline(baseline, asked, settings, observer, delta=delta)
    _say(title, findings, about, as_json=as_json, junit=junit, summary=summary)
    if all(finding.decision is Decision.SKIPPED for finding in findings):
        raise NotComparableError(f"nothing could be judged: {findings[0].message if findings else 'no case'}")
    return exit_code(findings, undecided)


@dataclass(frozen=True)
class _Asked:
    """The flags that say which cells; None where a default depends on the mode."""

    models: Sequence[str] | None
    backends: Sequence[str] | None
    batch_sizes: Sequence[int] | None
    precisions: Sequence[str] | None
    threads: int | None
    options: Mapping[str, OptionValue]
    effort: Effort
    registry: Path | None

    def entries(self) -> Mapping[str, ModelSpec]:
        """The catalog with the user's registry over it."""
        if self.registry is None:
            return MODEL_REGISTRY  # type: ignore[return-value]
        return {**MODEL_REGISTRY, **load_registry(self.registry)}  # type: ignore[dict-item]

    def find(self, name: str) -> ModelSpec:
        """The model of that name."""
        (model,) = find([name], self.entries())
        return model

    def names(self) -> Sequence[str]:
        """The models to guard."""
        if self.models is not None:
            return self.models
        return list(load_registry(self.registry)) if self.registry is not None else GUARDED_MODELS

    def wants(self, case: Case) -> bool:
        """Whether a cell that stands in a file or a run was asked for; what was not said asks for all."""
        return (
            (self.models is None or case.model in self.models)
            and (self.backends is None or case.backend in self.backends)
            and (self.batch_sizes is None or case.batch in self.batch_sizes)
            and (self.precisions is None or case.precision.value in self.precisions)
        )


def _revisions(
    base: str,
    head: str,
    setup: str | None,
    asked: _Asked,
    settings: Settings,
    observer: Observer,
    *,
    delta: float,
    ignore: bool,
) -> tuple[list[Finding], list[tuple[str, str]]]:
    from zoobench.driver.contest import open_contest
    from zoobench.executors.local import LocalExecutor
    from zoobench.judge.gate import BASE, COPY, HEAD, Margin
    from zoobench.search.guard import GUARD_EFFORT, guard_contest

    if asked.registry is not None and asked.registry.is_absolute():
        raise UsageError(f"--registry {asked.registry}: with --base it is a path inside the checkouts")
    repo = repository(Path.cwd())
    commits = {flag: resolve(repo, flag, ref) for flag, ref in (("--base", base), ("--head", head))}
    for name in refuse_changes(repo, ignore=ignore):
        observer.note(f"{name} has uncommitted changes, which are not measured")
    arms = {
        name: make_arm(
            repo,
            ref,
            commits[flag],
            cache_folder(),
            setup=setup,
            on_progress=lambda text, name=name: observer.preparing(name, text),  # type: ignore[misc]
        )
        for name, flag, ref in ((BASE, "--base", base), (HEAD, "--head", head))
    }
    found = _models_of(arms, asked)
    if not all(found.values()):
        told = "; ".join(
            f"{name} has {', '.join(m.name for m in has) or 'none'}" for name, has in found.items()
        )
        raise NotComparableError(f"base and head have no case in common: of the models asked for {told}")
    sides = [
        _side(name, arms[of], found[of], asked) for name, of in ((BASE, BASE), (COPY, BASE), (HEAD, HEAD))
    ]
    runner = LocalExecutor(arms={side.arm: arms[HEAD if side.arm == HEAD else BASE].launch for side in sides})
    with open_contest(sides, runner, GUARD_EFFORT, settings, observer) as contest:
        findings = list(guard_contest(contest, Margin(delta)))
        runs = ", ".join(contest.run_ids)
    about = [
        *((name, f"{arm.ref} ({arm.commit[:12]})") for name, arm in arms.items()),
        ("machine", describe().short),
        ("runs", f"{runs} in {settings.results_dir}"),
    ]
    return findings, about


def _models_of(arms: Mapping[str, Arm], asked: _Asked) -> dict[str, list[ModelSpec]]:
    """The models as each arm's own registry has them. A model that one arm does not know is left out there."""
    entries = {name: _entries(arm, asked.registry) for name, arm in arms.items()}
    names = asked.models
    if names is None:
        own = [name for found in entries.values() for name in found] if asked.registry else GUARDED_MODELS
        names = list(dict.fromkeys(own))
    found: dict[str, list[ModelSpec]] = {name: [] for name in arms}
    for model in names:
        problems = []
        for arm, known in entries.items():
            try:
                found[arm] += find([model], known)
            except UsageError as error:
                problems.append(error)
        if len(problems) == len(arms):
            raise problems[-1]
    return found


def _entries(arm: Arm, registry: Path | None) -> Mapping[str, ModelSpec]:
    """The arm's own registry; a revision of zoobench has its own catalog, and all others have this one."""
    if registry is not None:
        file = arm.tree / registry
        return load_registry(file) if file.exists() else {}
    own = arm.tree / _OWN_CATALOG
    return load_registry(own) if own.exists() else MODEL_REGISTRY  # type: ignore[return-value]


def _side(name: str, arm: Arm, models: Sequence[ModelSpec], asked: _Asked) -> Side:
    from zoobench.driver.contest import Side
    from zoobench.executors.local import LocalExecutor

    request = api.request(
        models,
        backends=GUARDED_BACKENDS if asked.backends is None else asked.backends,
        batch_sizes=(1,) if asked.batch_sizes is None else asked.batch_sizes,
        precisions=(Precision.FP32,) if asked.precisions is None else asked.precisions,
        threads=asked.threads,
        options=asked.options,
    )
    about = {"ref": arm.ref, "commit": arm.commit}
    return Side(name, request, LocalExecutor(cache=arm.cache, launch=arm.launch), about)


def _bench(asked: _Asked, settings: Settings, observer: Observer) -> Bench:
    from zoobench.search.guard import Bench

    return Bench(asked.find, settings, open_executor("local"), observer, asked.effort)


def _limits(limits: str, asked: _Asked, settings: Settings, observer: Observer) -> list[Finding]:
    from zoobench.judge.limits_file import catalog_limits, read_limits
    from zoobench.search.guard import cell_of, guard_limits

    if limits == CATALOG:
        found = catalog_limits([asked.find(name) for name in asked.names()])
    else:
        found = read_limits(Path(limits))
    threads = asked.threads or usable_cpu_count()
    wanted = [limit for limit in found if asked.wants(cell_of(limit, threads))]
    for limit in wanted:
        _check_limit(limit, asked)
    if not wanted:
        held = "none of what was asked for" if found else "nothing"
        raise UsageError(f"--limits {limits} limits {held}; `zoobench guard --set-limits FILE` writes limits")
    return guard_limits(wanted, _bench(asked, settings, observer), describe().fingerprint, threads)


def _check_limit(limit: Limit, asked: _Asked) -> None:
    """A limit for a model or a backend that is not there is a mistake: said before anything is measured."""
    from zoobench.backends import BACKENDS

    try:
        asked.find(limit.model)
    except UsageError as error:
        raise UsageError(f"{limit.where}: {error}") from error
    if limit.backend not in BACKENDS:
        raise UsageError(f"{limit.where}: unknown backend {limit.backend!r}; `zoobench doctor` lists them")


def _baseline(
    word: str, asked: _Asked, settings: Settings, observer: Observer, *, delta: float
) -> list[Finding]:
    from zoobench.results.select import select
    from zoobench.search.guard import guard_baseline

    chosen = select(word, settings.results_dir)
    chosen.records = [record for record in chosen.records if asked.wants(record.case)]
    if not chosen.records:
        raise NotComparableError(f"--baseline {word} holds none of the cases that were asked for")
    here = describe()
    return guard_baseline(chosen, _bench(asked, settings, observer), here.fingerprint, here.short, delta)


def _set_limits(
    file: Path, headroom: float, asked: _Asked, settings: Settings, observer: Observer, *, any_machine: bool
) -> int:
    """Limits from what was measured: the upper end of the p95 interval, and the headroom over it."""
    from dataclasses import replace

    from zoobench.judge.limits import DEFAULT_PERCENTILE, Limit
    from zoobench.judge.limits_file import write_limits

    request = api.request(
        asked.names(),
        backends=GUARDED_BACKENDS if asked.backends is None else asked.backends,
        batch_sizes=(1,) if asked.batch_sizes is None else asked.batch_sizes,
        precisions=(Precision.FP32,) if asked.precisions is None else asked.precisions,
        effort=asked.effort,
        threads=asked.threads,
        options=asked.options,
        registry=asked.registry,
    )
    kept = replace(settings, on_existing=OnExisting.RESUME)
    found, remarks, missing = [], [], []
    for record in api.run_request(request, settings=kept, observer=observer):
        latency, name = record.latency, record.case.label
        if record.status is not Status.OK or latency is None:
            missing.append(f"{name}: {record.error.message if record.error else record.status.value}")
        elif record.verdict and record.verdict.value is VerdictValue.INVALID:
            missing.append(f"{name}: invalid: {record.verdict.reasons[0].message}")
        elif latency.p95_ms is None or latency.p95_interval_ms is None:
            missing.append(f"{name}: too few calls for {DEFAULT_PERCENTILE}; use --effort standard")
        else:
            high = latency.p95_interval_ms[1]
            found.append(
                Limit(
                    model=record.case.model,
                    backend=record.case.backend,
                    limit_ms=high * (1 + headroom),
                    precision=record.case.precision,
                    batch=record.case.batch,
                    machine=None if any_machine else record.machine.fingerprint,
                )
            )
            remarks.append(
                f"p95 {latency.p95_ms:.4g} ms [{latency.p95_interval_ms[0]:.4g}, {high:.4g}] in run {record.run_id}, "
                f"{headroom:.0%} headroom over its upper end"
            )
    for line in missing:
        print(f"zoobench: no limit for {line}", file=sys.stderr)
    if not found:
        raise NotComparableError(f"{file} was not written: nothing was measured that a limit can be made of")
    write_limits(file, found, remarks)
    print(f"wrote {len(found)} limit{'' if len(found) == 1 else 's'} to {file}", file=sys.stderr)
    return 1 if missing else 0


def _say(
    title: str,
    findings: Sequence[Finding],
    about: Sequence[tuple[str, str]],
    *,
    as_json: bool,
    junit: Path | None,
    summary: Path | None,
) -> None:
    """Everywhere where somebody looks."""
    from zoobench.show import gates

    if as_json:
        print_json(gates.as_data(findings))
    else:
        print_rich(gates.findings_table(findings))
        print("\n".join(gates.sentences(findings)))
        print(gates.headline(findings))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print("\n".join(gates.workflow_commands(findings)), file=sys.stderr)
    place = summary or (
        Path(os.environ["GITHUB_STEP_SUMMARY"]) if "GITHUB_STEP_SUMMARY" in os.environ else None
    )
    try:
        if junit:
            junit.parent.mkdir(parents=True, exist_ok=True)
            junit.write_bytes(gates.junit_xml(f"zoobench guard: {title}", findings))
        if place:
            with place.open("a", encoding="utf-8") as out:
                out.write(gates.step_summary(f"zoobench guard: {title}", findings, about) + "\n")
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be written ({error.strerror})") from error
