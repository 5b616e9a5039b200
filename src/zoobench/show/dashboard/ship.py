"""What to ship under limits: `zoobench recommend`, with fields for its flags."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

import streamlit as st

from zoobench.advice import recommend_from
from zoobench.errors import UsageError
from zoobench.judge.measures import unit_of
from zoobench.judge.recommend import Recommendation
from zoobench.judge.scope import REMOTE, Scope
from zoobench.judge.typed import wanted_of
from zoobench.judge.wanted import Goal, Unstable
from zoobench.results.row import Row
from zoobench.results.watch import reference
from zoobench.shell import command_line, flag_words
from zoobench.show.dashboard.address import Address
from zoobench.show.dashboard.markup import show_blocks, show_notice, show_text
from zoobench.show.dashboard.place import Place
from zoobench.show.document import Command, Paragraph, Table
from zoobench.show.recommendation import recommendation_blocks
from zoobench.terms import TEXT

_Field = tuple[str, str, str | tuple[str, ...]]
"""The flag's name, the field's label, and an example; or all values, the default first."""
_FIRST: _Field = ("minimize", "Minimize", tuple(Goal))
_LASTLY: _Field = ("unstable", "Unstable numbers", tuple(Unstable))
_SAID = {
    Unstable.TWICE: "first, if they win at twice",
    Unstable.LAST: "after valid ones",
    Unstable.NEVER: "left out",
}
_FIELDS: tuple[_Field, ...] = (
    ("max_latency", "Latency at most", "p99:20ms p50:5ms"),
    ("max_memory", "Peak memory at most", "500MB"),
    ("max_size", "File at most", "100MB"),
    ("min_throughput", "{units} a second at least", "100"),
    ("max_drop", "Drop against fp32 at most", "1%"),
    ("min_accuracy", "Accuracy at least", "75%"),
    ("price", "The machine costs", "0.40/h"),
    ("calls", "Calls that will be made", "1000000"),
)
_OF_TOKENS: tuple[_Field, ...] = (
    ("max_ttft", "First token at most", "p95:500ms"),
    ("max_tpot", "Each further token at most", "50ms"),
)
_NOT_OF_TOKENS = {"max_drop", "min_accuracy"}
_SEVERAL = {"max_latency", "max_ttft", "max_tpot"}
_ACROSS = 4
_LAST, _HERE, _SERVERS = "as measured last", "here", "on servers"


def show(place: Place) -> None:
    """Draw the page."""
    show_text(place.where)
    scope, words = _scope(place)
    said = _fields(place, scope.task or "")
    for name, typed in said.items():
        words += flag_words(f"--{name.replace('_', '-')}", *typed)
    try:
        found = _recommend(place, scope, said)
    except UsageError as error:
        show_notice(str(error), "warning")
        return
    _show(place, found, words)


def _scope(place: Place) -> tuple[Scope, list[str]]:
    """Draw what says of which results an answer is wanted, where there is a choice; and the same in words."""
    address, every = place.address, [cell.row for cell in place.machine.cells]
    words: list[str] = []
    with st.sidebar:
        models = _names(address.text("models", "Models", "names, or globs: resnet*"), every)
        meant = [row for row in every if any(fnmatch.fnmatchcase(row.model, word) for word in models)]
        tasks = sorted({row.task for row in meant or every})
        # Elsewhere all tasks can be looked at together; a recommendation is for one.
        task = address.one("ship_task", "Task", tasks, said=lambda word: word.replace("_", " "), what="task")
        rows = [row for row in every if row.task == task]
        ran = sorted({row.device == REMOTE for row in rows})
        at = _among(address, "at", "Where it ran", [_SERVERS if remote else _HERE for remote in ran])
        scenario = _among(address, "scenario", "Scenario", sorted({row.scenario for row in rows}))
    words += flag_words("--models", *models) if models else ()
    words += flag_words("--task", task) if len({row.task for row in every}) > 1 else ()
    words += flag_words("--scenario", scenario) if scenario else ()
    fingerprint = place.machine.newest.fingerprint
    machine = None if at is None else f"{REMOTE}-{fingerprint}" if at == _SERVERS else fingerprint
    return Scope(tuple(models), machine, task, scenario), words


def _names(text: str, rows: Sequence[Row]) -> list[str]:
    """Words, unless all of it is the name of a model."""
    return [text] if any(row.model == text for row in rows) else text.replace(",", " ").split()


def _among(address: Address, name: str, label: str, options: list[str]) -> str | None:
    """One of several; None where there is but one, or the last one is meant, whichever that is."""
    if len(options) < 2:
        return None
    chosen = address.one(
        name, label, [_LAST, *options], said=lambda word: word.replace("_", " "), what=label.lower()
    )
    return None if chosen == _LAST else chosen


def _fields(place: Place, task: str) -> dict[str, list[str]]:
    """Draw them, and give the words of those that hold any."""
    fields = [field for field in _FIELDS if task != TEXT or field[0] not in _NOT_OF_TOKENS]
    fields += _OF_TOKENS if task == TEXT else ()
    said: dict[str, list[str]] = {}
    for number, (name, label, example) in enumerate((_FIRST, *fields, _LASTLY)):
        # Row by row, so that they stand in this order on a phone, too.
        if number % _ACROSS == 0:
            columns = st.columns(_ACROSS)
        with columns[number % _ACROSS]:
            if isinstance(example, tuple):
                chosen = place.address.one(
                    name, label, list(example), said=_spoken, what=f"choice of {name!r}"
                )
                said |= {name: [chosen]} if chosen != example[0] else {}
                continue
            text = place.address.text(name, label.format(units=f"{unit_of(task).capitalize()}s"), example)
        if text.strip():
            said[name] = _words(text) if name in _SEVERAL else [text.strip()]
    return said


def _spoken(choice: str) -> str:
    return _SAID[Unstable(choice)] if choice in tuple(Unstable) else choice


def _words(text: str) -> list[str]:
    """Several limits, however they are set apart: `p99:20ms p50:5ms`, `p99: 20 ms, p50: 5 ms`."""
    return re.sub(r"(?<=[0-9:])\s+(?=[0-9a-zµμ]+\b(?!:))", "", text).replace(",", " ").split()


def _recommend(place: Place, scope: Scope, said: dict[str, list[str]]) -> Recommendation:
    single = {name: words[0] for name, words in said.items() if name not in (*_SEVERAL, *_READ)}
    several = {name: words for name, words in said.items() if name in _SEVERAL}
    read = {name: _READ[name](words[0]) for name, words in said.items() if name in _READ}
    wanted = wanted_of(**single, **several, **read)  # type: ignore[arg-type]
    return recommend_from(place.holdings.of_machine(place.machine), wanted, scope)


def _calls(said: str) -> int:
    # Digits of other scripts would be digits to Python; and a number of thousands of them is none that is meant.
    if not (said.isascii() and said.isdigit() and len(said) <= 15):
        raise UsageError(f"--calls {said!r}: a whole number is needed, such as 1000000")
    return int(said)


_READ: dict[str, Callable[[str], object]] = {"minimize": Goal, "unstable": Unstable, "calls": _calls}


def _show(place: Place, found: Recommendation, words: list[str]) -> None:
    folder = place.holdings.results_of(found.newest.run_id)
    title, *blocks = recommendation_blocks(found, folder)
    # What it leads to stands below the answer and its table, above all that is to be read.
    first = next((at + 1 for at, block in enumerate(blocks) if isinstance(block, Table)), len(blocks))
    while first < len(blocks) and isinstance(blocks[first], Paragraph):
        first += 1
    # The page is called what the answer is called where there is one.
    show_blocks([*([title] if found.best is None else []), *blocks[:first]])
    shown = [reference(row) for row in found.shown if isinstance(row, Row)]
    left, right = st.columns(2)
    with left:
        if st.button("Open the record", disabled=found.best is None, width="stretch"):
            place.go("detail", record=shown[:1])
    with right:
        if st.button("Compare with those beside it", disabled=len(shown) < 2, width="stretch"):
            place.go("compare", cells=shown)
    real = [machine for machine in place.holdings.machines if not machine.fake]
    # Several folders are no command's, nor are fake cells where there are real ones.
    if len(place.holdings.folders) == 1 and not (place.machine.fake and real):
        question = found.question
        if len({(c.row.fingerprint, c.row.device == REMOTE) for machine in real for c in machine.cells}) > 1:
            at = f"{REMOTE}-{question.fingerprint}" if question.remote else question.fingerprint
            words = [*flag_words("--machine", at), *words]
        asked = command_line(["zoobench", "recommend", *flag_words("--results-dir", str(folder)), *words])
        show_blocks([Paragraph("The same as a command:"), Command((asked,))])
    show_blocks(blocks[first:])
