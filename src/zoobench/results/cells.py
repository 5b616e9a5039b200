"""Which cell of some results a person means by a few words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence

from zoobench.errors import UsageError
from zoobench.results.record import Record

_MOST_NAMED = 6
_ID = re.compile(r"[0-9a-f]{4,16}")
_NUMBERED = ("batch", "threads")


def find_cell(records: Sequence[Record], words: Iterable[str], where: str) -> Record:
    """The one record whose case all the words fit, in any order.

    A word is a model, backend, precision, scenario or arm; `batch=8` (or `batch 8`), `threads=2`, an option as
    `name=value`, `machine=` and a fingerprint's beginning; the beginning of a case's id; or a part of a model's or
    backend's name, unless another cell is called exactly so.

    Args:
        records: one a case and machine.
        words: none will do where there is only one record.
        where: what the records are of, for the errors.

    Raises:
        UsageError: no record fits, or several do.
    """
    asked = _joined(words)
    found = list(records)
    for word in asked:
        fitting = {id(record) for record in _fitting(records, word)}
        if not fitting:
            raise UsageError(f"no cell of {where!r} is called {word!r}{_near(records, word)}")
        found = [record for record in found if id(record) in fitting]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"no cell of {where!r} is all of {' '.join(asked)}; there is {_listed(list(records))}"
        )
    many = f"{len(found)} cells of {where!r}"
    said = f"{many} fit {' '.join(asked)!r}" if asked else f"{where!r} holds {len(found)} cells"
    raise UsageError(f"{said}; name one: {_listed(found)}")


def _joined(words: Iterable[str]) -> list[str]:
    """Every word by itself, `batch 8` as `batch=8`."""
    split = [part for word in words for part in word.replace("·", " ").split()]
    found: list[str] = []
    for word in split:
        if found and found[-1] in _NUMBERED and word.isdecimal():
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _fitting(records: Iterable[Record], word: str) -> list[Record]:
    """Those that are called exactly so, else those of which it is a beginning or a part."""
    ways: tuple[Callable[[Record], bool], ...] = (
        lambda r: word in _terms(r),
        lambda r: bool(_ID.fullmatch(word)) and r.case.id.startswith(word),
        lambda r: word.startswith("machine=") and f"machine={r.machine.fingerprint}".startswith(word),
        lambda r: "=" not in word and any(word in name for name in (r.case.model, r.case.backend)),
    )
    records = list(records)
    return next((found for way in ways if (found := [r for r in records if way(r)])), [])


def _terms(record: Record) -> tuple[str, ...]:
    case = record.case
    options = (f"{name}={value}" for name, value in case.options.items())
    names = (case.model, case.backend, case.precision.value, case.scenario, case.arm, case.device)
    return (*names, f"batch={case.batch}", f"threads={case.threads}", *options)


def _near(records: Sequence[Record], word: str) -> str:
    known = list(dict.fromkeys(term for record in records for term in _terms(record)))
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {_listed(records)}"


def _listed(records: Sequence[Record]) -> str:
    names = _names(records)
    more = f", and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return "; ".join(names[:_MOST_NAMED]) + more


def _names(records: Sequence[Record]) -> list[str]:
    """Each as words that find it, with what sets cells apart only where it does."""
    parts: tuple[Callable[[Record], str], ...] = (
        lambda r: f"threads={r.case.threads}",
        lambda r: r.case.scenario,
        lambda r: r.case.arm,
        lambda r: " ".join(f"{name}={value}" for name, value in sorted(r.case.options.items())),
        lambda r: f"machine={r.machine.fingerprint[:8]}",
    )
    telling = [part for part in parts if len({part(r) for r in records}) > 1]
    return [
        " ".join(
            filter(
                None,
                (
                    r.case.model,
                    r.case.backend,
                    r.case.precision.value,
                    f"batch={r.case.batch}",
                    *(part(r) for part in telling),
                ),
            )
        )
        for r in records
    ]
