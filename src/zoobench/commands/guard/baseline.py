"""`guard --baseline RUN`: today against a stored run of the same machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zoobench.commands.guard.asked import Asked
from zoobench.driver import Observer, Settings
from zoobench.errors import UsageError
from zoobench.judge import Finding, NotComparableError
from zoobench.machine import describe
from zoobench.results.select import Selection, select
from zoobench.search.guard import guard_baseline

_USUAL = Path("results")
"""Where `zoobench run` keeps its runs; the guard's own go elsewhere."""


def against_stored(
    word: str, asked: Asked, settings: Settings, observer: Observer, *, delta: float
) -> Iterator[Finding]:
    """Measure a stored run's cells again.

    Raises:
        UsageError: there is no such run, or one of its models is not to be found.
        NotComparableError: it holds none of the cells, or was measured on another machine.
    """
    if asked.options or asked.threads is not None:
        raise UsageError(
            "--options and --threads do not go with --baseline: its cells are measured as they were then"
        )
    chosen = _selected(word, settings.results_dir)
    chosen.records = [record for record in chosen.records if asked.wants(record.case)]
    if not chosen.records:
        raise NotComparableError(f"--baseline {word} holds none of the cases that were asked for")
    models = {name: asked.find(name) for name in {record.case.model for record in chosen.records}}
    here = describe()
    bench = asked.bench(models, settings, observer)
    yield from guard_baseline(chosen, bench, here.fingerprint, here.short, delta)


def _selected(word: str, own: Path) -> Selection:
    """The stored run. Never what the guard itself measured last: held against that, a slow model passes."""
    if word == "latest" or Path(word).resolve() == own.resolve():
        raise UsageError(
            f"--baseline {word} moves with everything that the guard measures; name one run (`ls {own}/runs`)"
        )
    try:
        return select(word, own)
    except UsageError:
        if not _USUAL.is_dir():
            raise
        return select(word, _USUAL)
