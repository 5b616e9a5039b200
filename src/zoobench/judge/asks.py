"""Runs that are to be made, as words of `zoobench run`: few commands that measure just the wanted cells; and what they would tell. Pure."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zoobench.judge.scope import own_options
from zoobench.results.row import RankedRow
from zoobench.shell import flag_words
from zoobench.terms import LOAD_OPTIONS, TOKENS, OptionValue
from zoobench.units import written

_FLAG_OF = {
    "gap_ms": "--gap",
    "target_qps": "--target-qps",
    "max_batch": "--max-batch",
    "prompt_tokens": "--prompt-tokens",
    "new_tokens": "--new-tokens",
    "concurrency": "--concurrency",
    "endpoint": "--endpoint",
}
"""Options that have a flag of their own which takes the value as it is."""
_TIMED = {"batch_timeout_ms": "--batch-timeout", "ttft_limit_ms": "--max-ttft", "tpot_limit_ms": "--max-tpot"}


_CARRIED = frozenset(
    (
        "--registry", "--task", "--weights", "--dataset", "--samples", "--split", "--dataset-config", "--image-column",
        "--label-column", "--calibration", "--calibration-samples", "--calibration-split", "--inputs",
    )
)  # fmt: skip
"""Flags with one value without which a run's models cannot be found, or are not the same, or lose what was known of them."""
_PICKLE = "--allow-pickle"
_SWITCHES = (_PICKLE, "--io-binding")
_YES = ("yes", "y", "1", "true", "t")
"""What turns a switch on behind its `=`, as the command line takes it."""


@dataclass(frozen=True)
class Carried:
    """What a run was given that a run of the same models needs too.

    Attributes:
        flags: word by word.
        typed: name of a local model → what was typed for it.
    """

    flags: tuple[str, ...] = ()
    typed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, argv: Sequence[str]) -> Carried:
        """From the words of a command."""
        flags: dict[str, tuple[str, ...]] = {}
        typed: dict[str, str] = {}
        for flag, value in _said(argv):
            if flag == _PICKLE and (value is None or value.lower() in _YES):
                flags[flag] = (flag,)
            elif flag in _CARRIED and value is not None:
                flags.setdefault(flag, (flag, value))
            elif flag == "--models" and value is not None and ("/" in value or "." in value):
                # As the catalog names what is local: the file's name, or the folder's with a slash behind it.
                name = re.sub(r"[^\w.+-]+", "_", value.rstrip("/").rpartition("/")[2], flags=re.ASCII)
                typed |= {name: value, f"{name}/": value}
        return cls(tuple(word for words in flags.values() for word in words), typed)


def _said(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each flag with each of its values, which stand behind it or behind its `=`; None: the flag by itself.

    The command line takes `--dataset_config` for `--dataset-config`.
    """
    flag = ""
    for word in argv:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            flag = name.replace("_", "-")
            yield flag, value if equals else None
        else:
            yield flag, word


@dataclass(frozen=True)
class Wish:
    """One cell that is to be measured.

    Attributes:
        flags: what the model's own run was given that this one needs too.
        words: what is asked beside.
    """

    model: str
    backend: str
    precision: str
    batch: int
    flags: tuple[str, ...]
    words: tuple[str, ...]

    def with_pair(self, backend: str, precision: str, words: tuple[str, ...]) -> Wish:
        """The same on another backend or precision."""
        return replace(self, backend=backend, precision=precision, words=words)


@dataclass(frozen=True)
class Ask:
    """One run: every model × backend × precision × batch of it is wanted."""

    models: tuple[str, ...]
    backends: tuple[str, ...]
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    rest: tuple[str, ...]

    @property
    def cells(self) -> int:
        """How many it measures."""
        return len(self.models) * len(self.backends) * len(self.precisions) * len(self.batches)

    def words(self, results_dir: str) -> tuple[str, ...]:
        """What to type, word by word."""
        return (
            "zoobench",
            "run",
            *flag_words("--models", *self.models),
            *flag_words("--backends", *self.backends),
            *flag_words("--precisions", *self.precisions),
            *flag_words("--batch-sizes", *map(str, self.batches)),
            *_joined(self.rest),
            *flag_words("--results-dir", results_dir),
        )


def _joined(words: Sequence[str]) -> Iterator[str]:
    """A value that looks like a flag is joined to its own."""
    rest = iter(words)
    for word in rest:
        if word.startswith("--") and word not in _SWITCHES:
            yield from flag_words(word, *itertools.islice(rest, 1))
        else:
            yield word


def wish_of(
    row: RankedRow,
    carried: Mapping[str, Carried],
    *,
    backend: str | None = None,
    precision: str | None = None,
    batch: int | None = None,
    effort: str | None = None,
    again: bool = False,
    words: tuple[str, ...] = (),
) -> Wish:
    """The row's cell, or one that differs from it in what is given, asked for as the row was.

    Args:
        again: though its record is there and would be taken.
    """
    same_backend = backend in (None, row.backend)
    rest = (
        *_load_words(row, own=same_backend),
        *_threads(row),
        *(("--effort", effort or row.effort) if (effort or row.effort) != "quick" else ()),
        *(("--on-existing", "rerun") if again else ()),
    )
    known = carried.get(row.run_id, Carried())
    return Wish(
        known.typed.get(row.model, row.model) if row.weights == "local" else row.model,
        backend or row.backend,
        precision or row.precision,
        batch or row.batch,
        known.flags,
        (*rest, *words),
    )


def _threads(row: RankedRow) -> tuple[str, ...]:
    if row.threads == row.cpus_usable:
        return ()
    return ("--threads", str(row.threads))


def _load_words(row: RankedRow, *, own: bool) -> tuple[str, ...]:
    """What was asked of the model, and with `own` the runtime's options, which another backend may not know."""
    options = dict(row.options or {})
    found: list[str] = []
    if row.scenario not in ("single_stream", TOKENS):
        found += ["--scenario", row.scenario]
    percentile = options.get("latency_percentile")
    for name, value in sorted(options.items()):
        if name in _FLAG_OF:
            found += [_FLAG_OF[name], _number(value)]
        elif name in _TIMED:
            prefix = (
                f"p{_number(percentile)}:" if percentile is not None and name.endswith("limit_ms") else ""
            )
            found += [_TIMED[name], f"{prefix}{_number(value)}ms"]
        elif name == "latency_limit_ms":
            found += ["--max-latency", f"p{_number(percentile or 99)}:{_number(value)}ms"]
        elif name == "io_binding" and value:
            found.append("--io-binding")
    if own and (
        pairs := [(name, v) for name, v in own_options(row) if name not in (*_FLAG_OF, *LOAD_OPTIONS)]
    ):
        found += ["--options", *(f"{name}={_option(value)}" for name, value in pairs)]
    return tuple(found)


def _number(value: OptionValue) -> str:
    return written(value) if isinstance(value, float) else str(value)


def _option(value: OptionValue) -> str:
    """As `--options` reads it back: a word that looks like a number, or like true, is quoted."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)


def cover(wishes: Iterable[Wish]) -> tuple[Ask, ...]:
    """The fewest runs that a simple merge finds, none of which measures a cell that was not wished for; the largest first."""
    asks = list(
        dict.fromkeys(
            Ask((w.model,), (w.backend,), (w.precision,), (w.batch,), (*w.words, *w.flags)) for w in wishes
        )
    )
    for name in ("batches", "precisions", "backends", "models"):
        # Those that differ in this alone are one run.
        alike: dict[Ask, list[Any]] = {}
        for ask in asks:
            nothing: dict[str, Any] = {name: ()}
            alike.setdefault(replace(ask, **nothing), []).extend(getattr(ask, name))
        asks = [replace(ask, **{name: tuple(sorted(found))}) for ask, found in alike.items()]
    return tuple(
        sorted(asks, key=lambda ask: (-ask.cells, ask.models, ask.backends, ask.precisions, ask.rest))
    )


@dataclass(frozen=True)
class Gap:
    """One thing that is not known.

    Attributes:
        kind: `percentile`, `interval`, `drop`, `accuracy`, `pictures`, `open`, `undecided`, `memory`, `energy`, `unstable`, `disturbed`, `cells`
            or `untried`.
        what: in words, with the number of cells.
        cells: how many.
        asks: the runs that would measure it; none where no run can tell.
    """

    kind: str
    what: str
    cells: int
    asks: tuple[Ask, ...] = ()


def gap_of(kind: str, rows: Sequence[RankedRow], told: str, wishes: Iterable[Wish]) -> Gap | None:
    """A gap about rows, told with their number; None: there are none.

    Args:
        told: with places for words in one or many: `{n}` cells, `{s}`, `{its}`, `{is_}`, `{it_}`, `{was}`.
    """
    if not rows:
        return None
    one = len(rows) == 1
    words = {
        "n": "1 cell" if one else f"{len(rows):,} cells",
        "s": "s" if one else "",
        "its": "its" if one else "their",
        "is_": "is" if one else "are",
        "it_": "it" if one else "they",
        "was": "was measured" if one else "were measured",
    }
    return Gap(kind, told.format(**words), len(rows), cover(wishes))
