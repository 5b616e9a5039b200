"""What every page is given: the results that were chosen, one machine of them, and the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from zoobench.errors import UsageError
from zoobench.outcome import Slot
from zoobench.results.explore import ANY, Filters, find_record, slots_of
from zoobench.results.query import Cell
from zoobench.results.record import Record
from zoobench.results.row import Row
from zoobench.results.watch import Holdings, Machine, reference
from zoobench.show.dashboard.address import Address
from zoobench.show.dashboard.markup import show_notice
from zoobench.show.numbers import counted
from zoobench.show.tables import machine_title

MOST_OPTIONS = 400
"""Cells among which one can be picked from a list; filters lead to the others."""
FILTERS = ("task", "model", "backend", "precision", "batch", "verdict", "size")
_MB = 1e6


@dataclass(frozen=True)
class Place:
    """One run of one page.

    Attributes:
        pages: name → Streamlit's page, to go there.
    """

    holdings: Holdings
    machine: Machine
    address: Address
    pages: dict[str, Any]

    @property
    def where(self) -> str:
        """The machine, as each page begins."""
        return machine_title(self.machine.newest)

    def filtered(self) -> list[Cell]:
        """Draw the filters, and give the cells that fit them."""
        address, values = self.address, self.machine.values
        words = {}
        with st.sidebar:
            # A classifier does not compete with a language model, so that both are seen only when asked for.
            words["task"] = _chosen(address.one("task", "Task", [*values["task"], ANY], said=_spoken))
            model = address.text("model", "Model", "a part of its name")
            words["backend"] = frozenset(address.many("backend", "Backend", values["backend"]))
            words["precision"] = frozenset(address.many("precision", "Precision", values["precision"]))
            words["batch"] = _chosen(address.one("batch", "Batch size", [*values["batch"], ANY]))
            words["verdict"] = frozenset(address.many("verdict", "Verdict", values["verdict"]))
            size = address.number("size", "Size at most (MB)", "any")
        # What leaves out most goes first.
        words = {name: words[name] for name in ("batch", *words)}
        return Filters(words, model, None if size is None else size * _MB).apply(self.machine.cells)

    def narrowed(self) -> list[str]:
        """What is left out though nobody need have asked for it, and the way to it; once the filters are drawn."""
        told = []
        for name, label in (("task", "Task"), ("batch", "Batch size")):
            count, chosen = len(self.machine.values[name]), self.address.asked(name)
            if count > 1 and chosen != [ANY]:
                told.append(f"{label} {_spoken(*chosen)} only, of {count}: choose {ANY} there for every one.")
        return told

    def pick(self, cells: Sequence[Cell], name: str, label: str) -> Row:
        """One record; the address may name any, the list shows those of `cells`."""
        options = self._options(cells, name)
        chosen = self.address.one(
            name, label, list(options), said=lambda o: _label(options[o]), what="record", always=True
        )
        return options[chosen]

    def pick_many(self, cells: Sequence[Cell], name: str, label: str) -> list[Row]:
        """Some records, in the order in which they were chosen."""
        options = self._options(cells, name)
        chosen = self.address.many(
            name,
            label,
            list(options),
            said=lambda o: _label(options[o]),
            placeholder="choose two or more",
            what="record",
        )
        return [options[o] for o in chosen]

    def _options(self, cells: Sequence[Cell], name: str) -> dict[str, Row]:
        known = self.holdings.by_reference
        asked = [o for o in self.address.asked(name) if o in known]
        newest, fake = self.machine.newest, self.machine.fake
        mine = [o for o in asked if (known[o].fingerprint, known[o].is_fake) == (newest.fingerprint, fake)]
        shown = [reference(cell.row) for cell in cells[:MOST_OPTIONS]]
        return {o: known[o] for o in dict.fromkeys([*mine, *shown])}

    def measured(self, row: Row) -> tuple[Record, Sequence[Slot], str | None] | None:
        """The row's whole record, its slots, and why they are not there; None, and a notice, where it cannot be read."""
        folder = self.holdings.run_folder(row.run_id)
        assert folder is not None, row.run_id
        try:
            record = find_record(folder, row.measurement_key)
        except UsageError as error:
            show_notice(str(error), "warning")
            return None
        return record, *slots_of(folder, record)

    def offer_clearing(self) -> None:
        """Where nothing fits: the way out."""
        if st.button("Clear the filters"):
            self.address.clear(FILTERS)

    def go(self, page: str, **values: list[str]) -> None:
        """Open another page."""
        self.address.go(self.pages[page], ("results", "machine", *FILTERS), **values)


def _chosen(word: str) -> frozenset[str]:
    return frozenset() if word == ANY else frozenset([word])


def _spoken(word: str) -> str:
    return word.replace("_", " ")


def _label(row: Row) -> str:
    return f"{row.label} · {counted(row.threads, 'thread')} · {row.recorded_at[:16].replace('T', ' ')}"
