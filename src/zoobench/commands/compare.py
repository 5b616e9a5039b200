"""`zoobench compare`: two stored runs, or two backends, precisions or batches, case by case."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from zoobench.backends import BACKENDS
from zoobench.commands.flags import AsJson, Names
from zoobench.commands.printing import print_blocks, print_json, to_whoever_listens
from zoobench.errors import UsageError, printable
from zoobench.judge.compare import DEFAULT_FAIL_ON, VARYING, Change, Comparison, exit_code
from zoobench.judge.compare import compare as compare_case
from zoobench.outcome import Slot
from zoobench.results.record import Record
from zoobench.results.select import Selection, select
from zoobench.spec import stable_hash
from zoobench.terms import ASKED_OPTIONS, Precision, Status, asked_label
from zoobench.units import share

Kind: TypeAlias = Literal["run", "backend", "precision", "batch"]
_Cells: TypeAlias = dict[str, dict[str, Record]]
"""Cell → the fingerprint of each machine that has it → its record."""
_Pair: TypeAlias = tuple[str, Record | None, Record | None]

NOTHING = "nothing"
"""`--fail-on nothing`: always exit 0 when the cases compare."""


def compare(
    a: Annotated[str, Parameter(show=True)],
    b: Annotated[str, Parameter(show=True)],
    /,
    *,
    results_dir: Path = Path("results"),
    run: str | None = None,
    margin: str = "5%",
    fail_on: Names = None,
    as_json: AsJson = False,
) -> int:
    """Compare two stored runs, or two backends, precisions or batches of one.

    Exit codes: 0 pass, 3 a change to fail on, 4 undecided (with --fail-on inconclusive), 5 not comparable.

    Parameters
    ----------
    a
        What is compared with: a run (its id in --results-dir, a folder, or `latest`), or a backend, a precision, or
        batch=N.
    b
        What is judged: the same kind of thing.
    results_dir
        Where the results are.
    run
        The run in which two backends, precisions or batches are compared; default: each case's latest.
    margin
        Relative difference that counts as the same.
    fail_on
        Changes that make it exit 3: slower, newly_failing (no number in B; both by default), faster, fixed (no number in
        A), failing (in neither); inconclusive makes it exit 4, not_comparable 5; or `nothing`.
    as_json
        Print JSON.
    """
    from zoobench.show import gates

    delta = share(margin, "--margin")
    failing = _fail_on(fail_on)
    kind = _kind(a, results_dir)
    if kind != _kind(b, results_dir):
        raise UsageError(f"{a!r} is a {kind} and {b!r} a {_kind(b, results_dir)}; compare two of a kind")
    if kind == "run":
        if run is not None:
            raise UsageError(
                "--run is for two backends, precisions or batches; two runs are named by A and B"
            )
        sides = select(a, results_dir), select(b, results_dir)
    else:
        one = select(run or str(results_dir), results_dir)
        sides = one, one
    pairs = list(_runs(*sides) if kind == "run" else _within(kind, sides[0], a, b))
    if not any(first for _, first, _ in pairs) or not any(second for _, _, second in pairs):
        lacking = a if not any(first for _, first, _ in pairs) else b
        raise UsageError(f"{sides[0].name!r} holds no result of {lacking!r}")
    found = [
        compare_case(
            name,
            _with_slots(first, sides[0]),
            _with_slots(second, sides[1]),
            delta=delta,
            varying=VARYING[kind],
        )
        for name, first, second in pairs
    ]
    for problem in dict.fromkeys([*sides[0].problems, *sides[1].problems]):
        print(f"zoobench: {printable(problem)}", file=sys.stderr)
    with to_whoever_listens():
        if as_json:
            print_json(gates.comparisons_data(found))
        else:
            print_blocks(gates.comparison_blocks(found, (a, b)))
            _explain(found)
    return exit_code(found, failing)


def _explain(found: Sequence[Comparison]) -> None:
    for one in found:
        print(printable(f"{one.name}: {one.message}"))
        for note in one.differences:
            print(f"    {printable(note)}")


def _fail_on(words: Sequence[str] | None) -> frozenset[Change]:
    if words is None:
        return frozenset(DEFAULT_FAIL_ON)
    known = {change.value: change for change in Change}
    chosen = set()
    for word in words:
        plain = word.replace("-", "_")
        if plain == NOTHING:
            continue
        if plain not in known:
            raise UsageError(f"--fail-on {word!r} is unknown; one of {', '.join([*known, NOTHING])}")
        chosen.add(known[plain])
    return frozenset(chosen)


def _kind(word: str, results_dir: Path) -> Kind:
    """What a word names. A folder or a run comes first: nobody calls a run `fp32`, but somebody may."""
    # What is no name of a file at all, such as one too long, is left to `select`, which says so.
    with suppress(OSError):
        if Path(word).is_dir():
            return "run"
    if word in BACKENDS:
        return "backend"
    if word in list(Precision):
        return "precision"
    name, equals, number = word.partition("=")
    if equals:
        if name != "batch" or not number.isdecimal():
            raise UsageError(f"{word!r}: write batch=8, or name a backend, a precision or a run")
        return "batch"
    return "run"


def _runs(a: Selection, b: Selection) -> Iterator[_Pair]:
    """The records of two runs that belong together, in A's order and then what only B has."""
    first, second = _by_cell(a), _by_cell(b)
    twins = _twins(first, second)
    for key in dict.fromkeys([*first, *(key for key in second if key not in twins.values())]):
        mine, theirs = first.get(key, {}), second.get(twins.get(key, key), {})
        # A folder may hold several machines: each is held against itself, and only strangers are left to be refused.
        shared = [machine for machine in mine if machine in theirs]
        pairs: list[tuple[Record | None, Record | None]]
        pairs = [(mine[machine], theirs[machine]) for machine in shared]
        for x, y in pairs or [(_last(mine.values()), _last(theirs.values()))]:
            example = x or y
            assert example is not None
            yield example.case.label + _arm(example), x, y


def _twins(first: _Cells, second: _Cells) -> dict[str, str]:
    """A's cells that only A has → B's of the same name, which differ in options or threads: that is to be said."""
    strangers = {_label(second[key]): key for key in second if key not in first}
    return {
        key: strangers.pop(_label(first[key]))
        for key in first
        if key not in second and _label(first[key]) in strangers
    }


def _label(cell: dict[str, Record]) -> str:
    example = next(iter(cell.values()))
    return example.case.label + _arm(example)


def _by_cell(side: Selection) -> _Cells:
    found: _Cells = {}
    for record in side.records:
        found.setdefault(_cell(record, None), {})[record.machine.fingerprint] = record
    return found


def _last(records: Iterable[Record]) -> Record | None:
    """The newest of records that are oldest first; as everywhere, a later failure does not hide numbers."""
    found = list(records)
    return next((r for r in reversed(found) if r.status is Status.OK), found[-1] if found else None)


def _within(kind: Kind, side: Selection, a: str, b: str) -> Iterator[_Pair]:
    """The records of two backends, precisions or batches that belong together."""
    first, second = _of(kind, side, a), _of(kind, side, b)
    for key in dict.fromkeys([*first, *second]):
        mine, theirs = first.get(key, []), second.get(key, [])
        # Slots of one run took turns: the newest run that has both says more than two newer ones that have one each.
        runs = {r.run_id for r in mine if r.status is Status.OK} & {
            r.run_id for r in theirs if r.status is Status.OK
        }
        together = max(runs, default=None)
        x, y = (_last(r for r in records if together in (None, r.run_id)) for records in (mine, theirs))
        example = x or y
        assert example is not None
        yield _without(kind, example), x, y


def _of(kind: Kind, side: Selection, word: str) -> dict[str, list[Record]]:
    """The records of one backend, precision or batch, oldest first, by all that is the same on the other side."""
    found: dict[str, list[Record]] = {}
    for record in side.all:
        case = record.case
        value = {"backend": case.backend, "precision": case.precision.value, "batch": f"batch={case.batch}"}[
            kind
        ]
        if value == word:
            found.setdefault(_cell(record, kind), []).append(record)
    return found


def _cell(record: Record, kind: Kind | None) -> str:
    """What makes two records belong together: all of the case but what is compared.

    Options belong to a backend, but for those that say what is asked of it.
    """
    left_out = {"id", *({kind} if kind else ()), *(("device",) if kind == "backend" else ())}
    case = record.case.model_dump(mode="json", exclude=left_out)
    if kind == "backend":
        case["options"] = {name: value for name, value in case["options"].items() if name in ASKED_OPTIONS}
    return stable_hash([case, None if kind is None else record.machine.fingerprint])


def _without(kind: Kind, record: Record) -> str:
    case = record.case
    parts = {"backend": case.backend, "precision": case.precision.value, "batch": f"batch {case.batch}"}
    named = " · ".join([case.model, *(text for name, text in parts.items() if name != kind)])
    return named + asked_label(case.options) + _arm(record)


def _arm(record: Record) -> str:
    return "" if record.case.arm == "base" else f" · {record.case.arm}"


def _with_slots(record: Record | None, side: Selection) -> tuple[Record, Sequence[Slot]] | None:
    return None if record is None else (record, side.slots(record))
