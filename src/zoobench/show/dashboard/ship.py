"""What to ship under limits: `zoobench recommend`, with fields for its flags."""

from __future__ import annotations

import streamlit as st

from zoobench.advice import recommend_from
from zoobench.errors import UsageError
from zoobench.judge.measures import unit_of
from zoobench.judge.recommend import Recommendation
from zoobench.judge.scope import REMOTE, Scope
from zoobench.judge.typed import wanted_of
from zoobench.judge.wanted import Goal
from zoobench.results.explore import values_of
from zoobench.results.row import Row
from zoobench.results.watch import reference
from zoobench.shell import command_line, flag_words
from zoobench.show.dashboard.address import Address
from zoobench.show.dashboard.markup import show_blocks, show_notice, show_text
from zoobench.show.dashboard.place import Place
from zoobench.show.document import Command, Heading
from zoobench.show.recommendation import recommendation_blocks
from zoobench.terms import TEXT

_FIELDS = (
    ("max_latency", "Latency at most", "p99:20ms p50:5ms"),
    ("max_memory", "Peak memory at most", "500MB"),
    ("max_size", "File at most", "100MB"),
    ("min_throughput", "{units} a second at least", "100"),
    ("max_drop", "Drop against fp32 at most", "1%"),
    ("min_accuracy", "Accuracy at least", "75%"),
    ("price", "The machine costs", "0.40/h"),
    ("calls", "Calls that will be made", "1000000"),
)
_OF_TOKENS = (
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
    scope, scope_words = _scope(place)
    with st.sidebar:
        minimize = place.address.one("minimize", "As small as can be", [*Goal])
    said = _fields(place, scope.task or "")
    words = [*scope_words, *(flag_words("--minimize", minimize) if minimize != Goal.LATENCY else [])]
    for name, typed in said.items():
        words += flag_words(f"--{name.replace('_', '-')}", *typed)
    try:
        found = _recommend(place, scope, Goal(minimize), said)
    except UsageError as error:
        show_notice(str(error), "warning")
        return
    _show(place, found, words)


def _scope(place: Place) -> tuple[Scope, list[str]]:
    """Draw what says of which results an answer is wanted, where there is a choice; and the same in words."""
    address, cells = place.address, place.machine.cells
    tasks = values_of(cells, "task")
    fingerprint = place.machine.newest.fingerprint
    words: list[str] = []
    with st.sidebar:
        models = address.text("models", "Models", "names, or globs: resnet*").split()
        # Elsewhere all tasks can be looked at together; a recommendation is for one.
        task = address.one("ship_task", "Task", tasks, said=lambda word: word.replace("_", " "))
        rows = [cell.row for cell in cells if cell.row.task == task]
        ran = sorted({row.device == REMOTE for row in rows})
        at = _among(address, "at", "Where it ran", [_SERVERS if remote else _HERE for remote in ran])
        scenario = _among(address, "scenario", "Scenario", sorted({row.scenario for row in rows}))
    machine = None if at is None else f"{REMOTE}-{fingerprint}" if at == _SERVERS else fingerprint
    words += flag_words("--models", *models) if models else ()
    words += flag_words("--machine", machine) if machine else ()
    words += flag_words("--task", task) if len(tasks) > 1 else ()
    words += flag_words("--scenario", scenario) if scenario else ()
    return Scope(tuple(models), machine, task, scenario), words


def _among(address: Address, name: str, label: str, options: list[str]) -> str | None:
    """One of several; None where there is but one, or the last one is meant, whichever that is."""
    if len(options) < 2:
        return None
    chosen = address.one(name, label, [_LAST, *options], said=lambda word: word.replace("_", " "))
    return None if chosen == _LAST else chosen


def _fields(place: Place, task: str) -> dict[str, list[str]]:
    """Draw them, and give the words of those that hold any."""
    fields = [field for field in _FIELDS if task != TEXT or field[0] not in _NOT_OF_TOKENS]
    fields += _OF_TOKENS if task == TEXT else ()
    said = {}
    for number, (name, label, example) in enumerate(fields):
        # Row by row, so that they stand in this order on a phone, too.
        if number % _ACROSS == 0:
            columns = st.columns(_ACROSS)
        with columns[number % _ACROSS]:
            text = place.address.text(name, label.format(units=f"{unit_of(task).capitalize()}s"), example)
        if text.strip():
            said[name] = text.split() if name in _SEVERAL else [text.strip()]
    return said


def _recommend(place: Place, scope: Scope, minimize: Goal, said: dict[str, list[str]]) -> Recommendation:
    single = {name: words[0] for name, words in said.items() if name not in _SEVERAL and name != "calls"}
    several = {name: words for name, words in said.items() if name in _SEVERAL}
    wanted = wanted_of(minimize=minimize, calls=_calls(said.get("calls")), **single, **several)  # type: ignore[arg-type]
    return recommend_from(place.holdings.of_machine(place.machine), wanted, scope)


def _calls(said: list[str] | None) -> int | None:
    if said is None:
        return None
    # Digits of other scripts would be digits to Python; and a number of thousands of them is none that is meant.
    if not (said[0].isascii() and said[0].isdigit() and len(said[0]) <= 15):
        raise UsageError(f"--calls {said[0]!r}: a whole number is needed, such as 1000000")
    return int(said[0])


def _show(place: Place, found: Recommendation, words: list[str]) -> None:
    folder = place.holdings.folders[0].path
    title, *blocks = recommendation_blocks(found, folder)
    # The page is called what the answer is called where there is one.
    show_blocks([*([title] if found.best is None else []), *blocks])
    shown = [reference(row) for row in found.shown if isinstance(row, Row)]
    left, right = st.columns(2)
    with left:
        if st.button("Open the record", disabled=found.best is None, width="stretch"):
            place.go("detail", record=shown[:1])
    with right:
        if st.button("Compare with those beside it", disabled=len(shown) < 2, width="stretch"):
            place.go("compare", cells=shown)
    if len(place.holdings.folders) == 1:
        asked = command_line(["zoobench", "recommend", *flag_words("--results-dir", str(folder)), *words])
        show_blocks([Heading(3, "The same as a command"), Command((asked,))])
