"""Runs that are to be made, as words of `zoobench run`: few commands that measure just the wanted cells; and what they would tell. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zoobench.judge.scope import own_options
from zoobench.results.row import RankedRow
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


_CARRIED = {
    "--registry": 1, "--task": 1, "--weights": 1, "--allow-pickle": 0, "--dataset": 1, "--samples": 1, "--split": 1,
    "--dataset-config": 1, "--image-column": 1, "--label-column": 1, "--calibration": 1, "--calibration-samples": 1,
    "--calibration-split": 1, "--inputs": 1,
}  # fmt: skip
"""Flags of a run without which its models cannot be found, or are not the same, or lose what was known of them → values."""


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
        flags: list[str] = []
        typed: dict[str, str] = {}
        flag = ""
        words = [part for word in argv for part in _split(word)]
        for at, word in enumerate(words):
            if word.startswith("--"):
                flag = word
                values = words[at + 1 : at + 1 + _CARRIED.get(word, 0)]
                if word in _CARRIED and word not in flags and len(values) == _CARRIED[word]:
                    flags += [word, *values]
            elif flag == "--models" and ("/" in word or "." in word):
                # As the catalog names what is local: the file's name, or the folder's with a slash behind it.
                name = re.sub(r"[^\w.+-]+", "_", word.rstrip("/").rpartition("/")[2], flags=re.ASCII)
                typed |= {name: word, f"{name}/": word}
        return cls(tuple(flags), typed)


def _split(word: str) -> tuple[str, ...]:
    """`--flag=value` as two words."""
    flag, equals, value = word.partition("=")
    return (flag, value) if equals and flag.startswith("--") else (word,)


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
            *_listed("--models", self.models),
            *_listed("--backends", self.backends),
            *_listed("--precisions", self.precisions),
            *_listed("--batch-sizes", [str(batch) for batch in self.batches]),
            *self.rest,
            "--results-dir",
            results_dir,
        )


def _listed(flag: str, values: Sequence[str]) -> tuple[str, ...]:
    """A value that looks like a flag is joined to its own."""
    if any(value.startswith("-") for value in values):
        return tuple(f"{flag}={value}" for value in values)
    return (flag, *values)


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
