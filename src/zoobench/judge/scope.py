"""Which rows answer one question, and may therefore be ranked together. Pure.

Of one machine, one task and one load: two machines never share a ranking, a classifier is no rival of a language model, and
what was asked of a server is another question than how fast a call is.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

from zoobench.errors import UsageError, printable
from zoobench.results.row import R, RankedRow
from zoobench.terms import ASKED_OPTIONS, CALL_OPTIONS, TASK_ALIASES, TOKEN_OPTIONS, TOKENS, OptionValue

LOAD_NAMES = frozenset({*CALL_OPTIONS, *TOKEN_OPTIONS}) - {"concurrency"}
"""Options that say what is asked of a model and what of it is timed. `io_binding` is one of them and no option of the runtime: it
leaves the copies between host and device out, so its times are shorter by what all others hold. How many ask at once is one's own
choice, as the batch is."""
REMOTE = "remote"
"""The device of a server, which runs on a machine that is not told."""
CLOSED_LOOPS = ("single_stream", TOKENS)

IN_TIME = attrgetter("recorded_at", "run_id", "measurement_key")
"""Orders rows from the oldest to the newest, those of one moment by what sets them apart."""

Load = tuple[tuple[str, OptionValue], ...]
Asked = tuple[str, Load]
"""A scenario and its load."""


@dataclass(frozen=True)
class Scope:
    """Of which results a recommendation is wanted. None, or nothing: of all, as far as they go together.

    Attributes:
        models: names, or globs over them.
        machine: the beginning of a fingerprint, or of `remote-` and the fingerprint of who asked the servers.
        load: options of the load, such as prompt_tokens.
    """

    models: tuple[str, ...] = ()
    machine: str | None = None
    task: str | None = None
    scenario: str | None = None
    load: Mapping[str, OptionValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What all the ranked rows have in common.

    Attributes:
        fingerprint: of the machine that measured.
        fake: they were made on a virtual clock, and nothing was measured.
        remote: they are of servers, which this machine asked.
    """

    fingerprint: str
    task: str
    scenario: str
    load: Load
    fake: bool
    remote: bool = False


class _Kind(NamedTuple):
    """What decides with which others a row is ranked. Thousands of rows are of a handful of kinds, so they are looked at once."""

    task: str
    fingerprint: str
    device: str
    scenario: str
    arm: str
    weights: str | None
    backend: str
    load: Load

    @property
    def place(self) -> str:
        """Where it ran: a fingerprint, or `remote-` and the fingerprint of who asked."""
        return f"{REMOTE}-{self.fingerprint}" if self.device == REMOTE else self.fingerprint

    @property
    def asked(self) -> Asked:
        return self.scenario, self.load


_Kinds = dict[_Kind, list[RankedRow]]
_of_kind = attrgetter(*_Kind._fields[:-1])


def ranked_together(
    rows: Iterable[RankedRow], scope: Scope
) -> tuple[list[RankedRow], Question, tuple[str, ...]]:
    """The rows that answer one question, oldest first, and what was left aside for that.

    Where the scope does not say, it is what was measured last: its machine, and its load, a closed loop before others.

    Raises:
        UsageError: nothing is left, or the results hold several tasks.
    """
    asides: list[str] = []
    kinds = _by_kind(_of_models(rows, scope.models) if scope.models else rows)
    if not kinds:
        raise UsageError("there are no results to recommend from; measure first with `zoobench run`")
    kinds = {kind: group for kind, group in kinds.items() if not group[0].is_fake} or kinds
    kinds = _of_task(kinds, scope.task)
    kinds = _of_machine(kinds, scope.machine, asides)
    kinds = _of_load(kinds, scope, asides)
    kinds = {kind: group for kind, group in kinds.items() if kind.arm == "base"} or kinds
    kept = sorted(itertools.chain.from_iterable(kinds.values()), key=IN_TIME)
    last = kept[-1]
    question = Question(
        last.fingerprint, last.task, last.scenario, load_of(last), last.is_fake, last.device == REMOTE
    )
    return kept, question, tuple(asides)


def _by_kind(rows: Iterable[RankedRow]) -> _Kinds:
    found: dict[tuple[tuple[Any, ...], Load], list[RankedRow]] = {}
    for row in rows:
        kind = _of_kind(row), load_of(row) if row.options else ()
        if kind in found:
            found[kind].append(row)
        else:
            found[kind] = [row]
    return {_Kind._make((*told, load)): group for (told, load), group in found.items()}


def _counted(kinds: _Kinds, of: Callable[[_Kind], str]) -> Counter[str]:
    count = Counter[str]()
    for kind, group in kinds.items():
        count[of(kind)] += len(group)
    return count


def _newest(groups: Iterable[Iterable[RankedRow]]) -> tuple[str, str, str]:
    return max(max(map(IN_TIME, group)) for group in groups)


def load_of(row: RankedRow) -> Load:
    """What was asked of the model, by name."""
    if not row.options:
        return ()
    return tuple(sorted((name, value) for name, value in row.options.items() if name in LOAD_NAMES))


def own_options(row: RankedRow) -> Load:
    """The runtime's own, which set its configuration apart; not of the load, and not how many ask at once."""
    if not row.options:
        return ()
    asked = ASKED_OPTIONS | LOAD_NAMES
    return tuple(sorted((name, value) for name, value in row.options.items() if name not in asked))


def _of_models(rows: Iterable[RankedRow], asked: Sequence[str]) -> list[RankedRow]:
    rows = list(rows)
    known = {row.model for row in rows}
    meant: set[str] = set()
    for word in asked:
        found = {word} & known or {name for name in known if fnmatch.fnmatchcase(name, word)}
        if not found:
            import difflib

            near = difflib.get_close_matches(word, known, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there is {_some(known)}"
            raise UsageError(f"--models {word!r}: no result is of such a model; {advice}")
        meant |= found
    return [row for row in rows if row.model in meant]


def _of_task(kinds: _Kinds, asked: str | None) -> _Kinds:
    known = _counted(kinds, lambda kind: kind.task)
    if asked is None:
        if len(known) > 1:
            raise UsageError(
                f"the results are of {len(known)} tasks, which are not ranked together; name one: "
                + " or ".join(f"--task {task}" for task in sorted(known))
            )
        return kinds
    task = TASK_ALIASES.get(asked, asked)
    if task not in known:
        raise UsageError(f"--task {asked}: no result is of that task; there is {_some(known)}")
    return {kind: group for kind, group in kinds.items() if kind.task == task}


def _of_machine(kinds: _Kinds, asked: str | None, asides: list[str]) -> _Kinds:
    known = _counted(kinds, lambda kind: kind.place)
    if asked is not None:
        # The whole of one may be the beginning of another.
        fitting = [asked] if asked in known else [name for name in known if name.startswith(asked)]
        if len(fitting) != 1 or not asked:
            what = "no machine's" if not fitting or not asked else f"{len(fitting)} machines'"
            raise UsageError(
                f"--machine {asked!r} begins {what} fingerprint here; there is {_some(_told_apart(known))}"
            )
        (chosen,) = fitting
    elif len(known) == 1:
        return kinds
    else:
        chosen = max(kinds, key=lambda kind: _newest([kinds[kind]])).place
        others = [name for name in known if name != chosen]
        servers = any(map(_is_remote, known))
        asides.append(
            f"{_records(sum(known[name] for name in others))} of {_some(map(_short, others))}, "
            f"{'another machine' if len(others) == 1 else 'other machines'}: two machines are never ranked together"
            f"{', and a server is one of which it is not known what it runs on' * servers}; "
            f"{'these servers were' if _is_remote(chosen) else 'this one'} measured last, --machine names another"
        )
    return {kind: group for kind, group in kinds.items() if kind.place == chosen}


def _is_remote(place: str) -> bool:
    return place.startswith(f"{REMOTE}-")


def _short(place: str) -> str:
    return place[: len(REMOTE) + 9] if _is_remote(place) else place[:8]


def _told_apart(places: Iterable[str]) -> list[str]:
    """Short, unless that is the beginning of two."""
    found = list(places)
    short = list(map(_short, found))
    return short if len(set(short)) == len(found) else found


def _of_load(kinds: _Kinds, scope: Scope, asides: list[str]) -> _Kinds:
    if scope.scenario is not None:
        known = _counted(kinds, lambda kind: kind.scenario)
        if scope.scenario not in known:
            raise UsageError(f"--scenario {scope.scenario}: no result is of it here; there is {_some(known)}")
        kinds = {kind: group for kind, group in kinds.items() if kind.scenario == scope.scenario}
    for name, value in scope.load.items():
        found = {
            kind: kept
            for kind, group in kinds.items()
            if (kept := [row for row in group if (row.options or {}).get(name) == value])
        }
        if not found:
            rows = itertools.chain.from_iterable(kinds.values())
            seen = {str(one) for row in rows if (one := (row.options or {}).get(name)) is not None}
            flag, said = f"--{name.replace('_', '-')}", "" if value is True else f" {value}"
            there = f"is of it here; there is {_some(seen)}" if seen else f"here was measured with {flag}"
            raise UsageError(f"{flag}{said}: no result {there}")
        kinds = found
    loads = {kind.asked for kind in kinds}
    if len(loads) == 1:
        return kinds
    chosen = max(
        loads, key=lambda asked: _plainness(asked, [g for kind, g in kinds.items() if kind.asked == asked])
    )
    left = sum(len(group) for kind, group in kinds.items() if kind.asked != chosen)
    others = sorted(load_label(*asked) for asked in loads if asked != chosen)
    asides.append(
        f"{_records(left)} under another load ({'; '.join(others[:3])}{'; …' if len(others) > 3 else ''}), which is another "
        f"question; ranked is {load_label(*chosen)}"
    )
    return {kind: group for kind, group in kinds.items() if kind.asked == chosen}


def _plainness(asked: Asked, groups: Iterable[Iterable[RankedRow]]) -> tuple[bool, int, tuple[str, str, str]]:
    """What is looked at first has more: closed loops, then what has the fewest options, then what was measured last."""
    scenario, load = asked
    return scenario in CLOSED_LOOPS, -len(load), _newest(groups)


def by_load(rows: Iterable[R]) -> dict[Asked, list[R]]:
    """What was asked → the rows that answer it, in their order; the plainest load first."""
    loads: dict[Asked, list[R]] = {}
    for row in rows:
        loads.setdefault((row.scenario, load_of(row)), []).append(row)
    return {
        asked: loads[asked] for asked in sorted(loads, key=lambda a: _plainness(a, [loads[a]]), reverse=True)
    }


def load_label(scenario: str, load: Load) -> str:
    """`tokens with new_tokens=64, prompt_tokens=128`."""
    told = [f"{name}={str(value)[:12]}" for name, value in load if name != "io_binding"]
    bound = ", without the copies to and from the device (--io-binding)" * (len(told) < len(load))
    return printable((f"{scenario} with {', '.join(told)}" if told else scenario) + bound)


def _some(names: Iterable[str]) -> str:
    found = sorted(map(printable, names))
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ", ".join(found[:5]) + more


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"
