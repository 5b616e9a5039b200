"""`guard --base REF`: two git revisions, each in an environment of its own, and a copy of base take turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from zoobench.arms import Arm, make_arm, refuse_changes, repository, resolve
from zoobench.catalog import MODEL_REGISTRY, find, load_registry
from zoobench.catalog.sources import looks_local
from zoobench.commands.guard.asked import GUARDED_MODELS, Asked
from zoobench.driver import Observer, Settings, exclusive
from zoobench.driver.contest import Side, open_contest
from zoobench.errors import UsageError
from zoobench.executors.local import LocalExecutor
from zoobench.judge import Finding, NotComparableError
from zoobench.judge.gate import BASE, COPY, HEAD, Margin
from zoobench.machine import cache_folder
from zoobench.search.guard import GUARD_EFFORT, guard_contest
from zoobench.spec import ModelSpec

_OWN_CATALOG = Path("src/zoobench/catalog/models.toml")


def against_revision(
    base: str,
    head: str,
    setup: str | None,
    asked: Asked,
    settings: Settings,
    observer: Observer,
    about: dict[str, str],
    *,
    delta: float,
    ignore: bool,
) -> Iterator[Finding]:
    """Make the arms, have them take turns, and decide.

    Args:
        about: is told what the arms are.

    Raises:
        UsageError: a revision or its environment cannot be had, or the work tree has changes.
        NotComparableError: base and head share no case.
    """
    if asked.registry is not None and (asked.registry.is_absolute() or ".." in asked.registry.parts):
        raise UsageError(f"--registry {asked.registry}: with --base it is a path inside the checkouts")
    repo = repository(Path.cwd())
    commits = {flag: resolve(repo, flag, ref) for flag, ref in (("--base", base), ("--head", head))}
    for name in refuse_changes(repo, ignore=ignore):
        observer.note(f"{name} has uncommitted changes, which are not measured")
    # Building needs the machine too: it would spoil what another run measures meanwhile.
    with exclusive(settings, observer):
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
    about |= {name: f"{arm.ref} ({arm.commit[:12]})" for name, arm in arms.items()}
    found = _models_of(arms, asked, repo)
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
        yield from guard_contest(contest, Margin(delta))


def _models_of(arms: Mapping[str, Arm], asked: Asked, repo: Path) -> dict[str, list[ModelSpec]]:
    """The models as each arm's own registry has them. A model that one arm does not know is left out there."""
    entries = {name: _entries(arm, asked.registry) for name, arm in arms.items()}
    if asked.registry is not None and not any((arm.tree / asked.registry).is_file() for arm in arms.values()):
        raise UsageError(
            f"--registry {asked.registry} is in neither {' nor '.join(arm.ref for arm in arms.values())} once they are set "
            "up; the path counts from the top of the repository"
        )
    names = asked.models
    if names is None:
        own = [name for found in entries.values() for name in found] if asked.registry else GUARDED_MODELS
        names = list(dict.fromkeys(own))
    found: dict[str, list[ModelSpec]] = {name: [] for name in arms}
    for model in names:
        problems = []
        for arm, known in entries.items():
            try:
                found[arm] += find([_in_tree(model, known, arms[arm], repo)], known)
            except UsageError as error:
                problems.append(error)
        if len(problems) == len(arms):
            raise problems[-1]
    return found


def _in_tree(word: str, known: Mapping[str, ModelSpec], arm: Arm, repo: Path) -> str:
    """A path in the work tree is a path in the checkout: the guard measures commits."""
    if word in known or not looks_local(word):
        return word
    path = Path(word).absolute()
    if not path.is_relative_to(repo):
        raise UsageError(f"--models {word}: with --base it is a path inside {repo}")
    return str(arm.tree / path.relative_to(repo))


def _entries(arm: Arm, registry: Path | None) -> Mapping[str, ModelSpec]:
    """The arm's own registry; a revision of zoobench has its own catalog, and all others have this one."""
    if registry is not None:
        file = arm.tree / registry
        return load_registry(file) if file.exists() else {}
    own = arm.tree / _OWN_CATALOG
    return load_registry(own) if own.exists() else MODEL_REGISTRY  # type: ignore[return-value]


def _side(name: str, arm: Arm, models: Sequence[ModelSpec], asked: Asked) -> Side:
    request = asked.request(models)
    about = {"ref": arm.ref, "commit": arm.commit}
    return Side(name, request, LocalExecutor(cache=arm.cache, launch=arm.launch), about)
