"""Selections live in the address: a link restores them, and what of it cannot be meant is said and ignored.

Each control reads its start from the address, draws its widget and tells what was chosen; `write` puts that into the
address. What another page chose is kept for the session, so that a machine or a filter survives a change of page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import streamlit as st

from zoobench.show.document import plain

LONGEST, MOST_VALUES = 200, 400
"""Characters of a value, and values of one name, that are looked at."""
_KEPT, _WRITTEN, _TOUCHED, _DRAWN = "address:kept", "address:written", "address:touched", "address:drawn"


class Address:
    """The selections of one run of a page.

    Attributes:
        ignored: a line for each thing in the address that could not be meant.
    """

    def __init__(self, page: str) -> None:
        """Read the address of this page; a run that a widget caused keeps what the session has."""
        state = st.session_state
        self._page = page
        self._drawn: dict[str, str] = state.setdefault(
            _DRAWN, {}
        )  # control → the page on which it was drawn last
        self._here = {name: st.query_params.get_all(name) for name in st.query_params}
        touched = state.pop(_TOUCHED, False)
        # A browser may still show the address of before the last click: a click is never an arrival.
        self.arrived = bool(self._here) and not touched and self._here != state.get(_WRITTEN)
        self._kept: dict[str, list[str]] = state.setdefault(_KEPT, {})
        if self.arrived:
            self._kept.clear()
            for name, values in self._here.items():
                self._kept[name] = [value[:LONGEST] for value in values[:MOST_VALUES]]
        self._chosen: dict[str, list[str]] = {}
        self._used: set[str] = set()
        self.ignored: list[str] = []

    def one(
        self,
        name: str,
        label: str,
        options: Sequence[str],
        *,
        default: str | None = None,
        said: Callable[[str], str] = str,
        what: str | None = None,
        always: bool = False,
    ) -> str:
        """One of `options`, which are never none.

        Args:
            default: None: the first.
            always: write it even where it is the default, which may be another one tomorrow.
            said: how an option is shown.
            what: what an option is called where one is unknown; None: as the label.
        """
        standard = options[0] if default is None else default
        known = self._known(name, options, what or label.lower(), most=1)
        start = known[0] if known else standard
        self._begin(name, start, lambda now: now in options)
        chosen = st.selectbox(
            label, options, key=_key(name), format_func=lambda o: plain(said(o)), on_change=_touch
        )
        self._keep(name, [chosen], [] if always else [standard])
        return chosen

    def many(
        self,
        name: str,
        label: str,
        options: Sequence[str],
        *,
        said: Callable[[str], str] = str,
        placeholder: str = "all",
        what: str | None = None,
    ) -> list[str]:
        """Some of `options`, in the order in which they were chosen; none means no restriction."""
        known = self._known(name, options, what or label.lower(), most=MOST_VALUES)
        self._begin(name, known, lambda now: isinstance(now, list) and set(now) <= set(options))
        chosen = st.multiselect(
            label,
            options,
            key=_key(name),
            format_func=lambda o: plain(said(o)),
            on_change=_touch,
            placeholder=placeholder,
        )
        self._keep(name, chosen, [])
        return chosen

    def text(self, name: str, label: str, placeholder: str = "") -> str:
        """A few words."""
        kept = self._take(name)
        self._begin(name, kept[0] if kept else "", lambda now: isinstance(now, str))
        chosen = st.text_input(
            label, key=_key(name), max_chars=LONGEST, placeholder=placeholder, on_change=_touch
        )
        self._keep(name, [chosen] if chosen else [], [])
        return chosen

    def number(self, name: str, label: str, placeholder: str = "") -> float | None:
        """A number above 0, or None."""
        kept = self._take(name)
        start = _positive(kept[0]) if kept else None
        if kept and start is None:
            self.ignored.append(f"{name} {kept[0]!r} is no number above 0")
        self._begin(name, start, lambda now: now is None or isinstance(now, float))
        chosen = st.number_input(
            label,
            min_value=0.0,
            value=None,
            step=10.0,
            format="%g",
            key=_key(name),
            placeholder=placeholder,
            on_change=_touch,
        )
        self._keep(name, [repr(chosen).removesuffix(".0")] if chosen else [], [])
        return chosen or None

    def go(self, page: object, shared: Collection[str], **values: list[str]) -> None:
        """Open another page with these values; everything else that was chosen is kept.

        Args:
            shared: names that the other page writes too.
        """
        self._kept.update(values)
        for name in values:
            st.session_state.pop(_key(name), None)
        there = {**{name: chosen for name, chosen in self._chosen.items() if name in shared}, **values}
        there = {name: chosen for name, chosen in there.items() if chosen}
        # Streamlit makes an entry of the browser's history of each address, so that Back would lead to a page without
        # its selections, which writes them, and so on: the page is opened with all of them.
        st.session_state[_WRITTEN] = there
        st.switch_page(page, query_params=there)  # type: ignore[arg-type]

    def clear(self, names: Sequence[str]) -> None:
        """Forget what was chosen of these, and draw the page again."""
        for name in names:
            self._kept.pop(name, None)
            st.session_state.pop(_key(name), None)
        _touch()
        st.query_params.clear()
        st.rerun()

    def write(self) -> None:
        """Put what was chosen into the address, once all controls are drawn."""
        if self._chosen != self._here:
            st.query_params.from_dict(self._chosen)
        st.session_state[_WRITTEN] = self._chosen

    def asked(self, name: str) -> list[str]:
        """What the address, or the session, says of this name."""
        return list(self._kept.get(name, []))

    def unused(self) -> list[str]:
        """Names in the address that no control of this page knows."""
        return sorted(set(self._here) - self._used) if self.arrived else []

    def _take(self, name: str) -> list[str]:
        self._used.add(name)
        return self._kept.get(name, [])

    def _known(self, name: str, options: Sequence[str], what: str, most: int) -> list[str]:
        places = frozenset(options)
        asked = list(dict.fromkeys(self._take(name)))
        self.ignored += [f"there is no {what} {value!r} here" for value in asked if value not in places]
        return [value for value in asked if value in places][:most]

    def _begin(self, name: str, start: object, fits: Callable[[object], bool]) -> None:
        """Set the widget where the address says so, where it is new, and where what it holds exists no more."""
        key = _key(name)
        # To Streamlit the same control on another page is another one, which begins at its default.
        known = key in st.session_state and self._drawn.get(name) == self._page
        if self.arrived or not known or not fits(st.session_state[key]):
            st.session_state[key] = start
        self._drawn[name] = self._page

    def _keep(self, name: str, chosen: list[str], default: list[str]) -> None:
        self._kept[name] = chosen
        if chosen != default and all(map(_fits_an_address, chosen)):
            self._chosen[name] = chosen


def _key(name: str) -> str:
    return f"choose:{name}"


def _fits_an_address(value: str) -> bool:
    """A lone surrogate, which JSON can hold and UTF-8 cannot, fits none."""
    return value.isprintable() or not any("\ud800" <= c <= "\udfff" for c in value)


def _touch() -> None:
    st.session_state[_TOUCHED] = True


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
