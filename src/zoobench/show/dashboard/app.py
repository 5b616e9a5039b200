"""What is common to all pages, and which of them is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import streamlit as st

from zoobench.results.query import collector_paused
from zoobench.results.watch import Folder, Machine, State, Watch
from zoobench.show.dashboard import compare, detail, failures, history, leaderboard, pareto, ship
from zoobench.show.dashboard.address import Address
from zoobench.show.dashboard.markup import show_blocks, show_notice, show_style
from zoobench.show.dashboard.place import Place
from zoobench.show.dashboard.watching import watch_of
from zoobench.show.no_results import explained, problem_list
from zoobench.show.numbers import counted
from zoobench.show.tables import machine_title

PAGES: dict[str, tuple[ModuleType, str]] = {
    "leaderboard": (leaderboard, "Leaderboard"),
    "ship": (ship, "What to ship"),
    "pareto": (pareto, "Pareto"),
    "compare": (compare, "Compare"),
    "history": (history, "History"),
    "detail": (detail, "Run detail"),
    "failures": (failures, "Failures"),
}
# Often enough to follow a run that is being written, rare enough not to be what it measures; and to see that one has begun.
REFRESH_S, IDLE_S = 10, 60


def show(folders: Sequence[Path]) -> None:
    """Draw the page that the address names, over these results folders."""
    with collector_paused():
        _show(folders)


def _show(folders: Sequence[Path]) -> None:
    st.set_page_config(page_title="zoobench", layout="wide")
    place: list[Place] = []
    pages = {
        name: st.Page(_runner(module, place), title=title, url_path=name)
        for name, (module, title) in PAGES.items()
    }
    module, title = PAGES["leaderboard"]
    # The first page stands at the bare address too, and under its name only once in the menu.
    first = st.Page(_runner(module, place), title=title, url_path="home", default=True)
    hidden = st.Page(_runner(module, place), title=title, url_path="leaderboard", visibility="hidden")
    pages |= {"leaderboard": first}
    page = st.navigation([*pages.values(), hidden])
    show_style()
    notices = st.container()
    watch = watch_of(tuple(folders))
    seen = watch.look()
    _follow(watch, seen)
    address = Address(page.url_path)
    chosen = _folders(address, seen)
    holdings = watch.holdings(chosen)
    for folder in chosen:
        _tell(folder, alone=not holdings.rows)
    if holdings.rows:
        place.append(Place(holdings, _machine(address, holdings.machines), address, pages))
        st.title(page.title, anchor=False)
        page.run()
    said = [*address.ignored, *(f"{name!r} means nothing on this page" for name in address.unused())]
    if said:
        more = f"; and {len(said) - 5} more" if len(said) > 5 else ""
        with notices:
            show_notice(f"Ignored in the address: {'; '.join(said[:5])}{more}.", "warning")
    address.write()


def _runner(module: ModuleType, place: list[Place]) -> Callable[[], None]:
    return lambda: module.show(place[0])


def _follow(watch: Watch, seen: tuple[Folder, ...]) -> None:
    """Look again by itself while somebody writes; draw anew only when something came."""
    running = [progress for folder in seen for progress in folder.running]
    waiting = any(folder.state is not State.FILLED for folder in seen)

    @st.fragment(run_every=REFRESH_S if running or waiting else IDLE_S)
    def look_again() -> None:
        for one in running:
            of = f" of {one.cells}" if one.cells is not None else ""
            show_notice(f"Run {one.run_id} is in progress: {one.done}{of} cells. This page follows it.")
        if watch.look() != seen:
            st.rerun(scope="app")

    look_again()


def _folders(address: Address, seen: tuple[Folder, ...]) -> list[Folder]:
    """Those that were chosen; all where there is nothing to choose."""
    if len(seen) < 2:
        return list(seen)
    by_name = {str(folder.path): folder for folder in seen}
    with st.sidebar:
        names = address.many("results", "Results folders", list(by_name), what="results folder")
    return [by_name[name] for name in names] or list(by_name.values())


def _machine(address: Address, machines: Sequence[Machine]) -> Machine:
    by_key = {machine.key: machine for machine in machines}
    with st.sidebar:
        key = address.one(
            "machine", "Machine", list(by_key), said=lambda k: machine_title(by_key[k].newest), always=True
        )
    return by_key[key]


def _tell(folder: Folder, *, alone: bool) -> None:
    """What is wrong with a folder: the whole page where there is nothing else to show."""
    if folder.state is not State.FILLED:
        blocks = explained(folder)
        if alone:
            show_blocks(blocks)
        else:
            with st.expander("A results folder has nothing to show"):
                show_blocks(blocks)
    elif folder.problems:
        count = len(folder.problems)
        with st.expander(f"{counted(count, 'thing')} could not be read"):
            show_blocks(problem_list(folder.problems))
