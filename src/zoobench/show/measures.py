"""A configuration and its measures, as tables and sentences show them."""

from __future__ import annotations

from collections.abc import Callable

from zoobench.judge.measures import Figure, Kind, Measure
from zoobench.results.row import RankedRow
from zoobench.show.numbers import DASH, with_interval
from zoobench.show.tables import backend_label, model_label
from zoobench.terms import VerdictValue


def cell_of(measure: Measure) -> Callable[[RankedRow], str]:
    """What a table's cell shows of a row: `9.53 [9.41, 9.70]`, bytes in MB, shares in percent; `—` where it is not known."""

    def show(row: RankedRow) -> str:
        figure = measure.figure(row)
        # A throughput's interval is the median's in other words, and so is a cost's.
        is_rate = measure.kind in ("per_s", "money")
        return _number(Figure(figure.value) if is_rate else figure, measure.kind)

    return show


def _number(figure: Figure, kind: Kind) -> str:
    scale = {"share": 100.0, "bytes": 1e-6}.get(kind, 1.0)
    if figure.value is None:
        return DASH
    interval = None if figure.interval is None else (figure.interval[0] * scale, figure.interval[1] * scale)
    return with_interval(figure.value * scale, interval)


def told(measure: Measure, row: RankedRow) -> str:
    """The figure with its unit: `4.12 [4.05, 4.20] ms`."""
    unit = {"ms": " ms", "bytes": " MB", "share": "%", "per_s": "/s", "joules": " J", "money": ""}
    said = cell_of(measure)(row)
    return said if said == DASH else said + unit[measure.kind]


def clients_of(row: RankedRow) -> int:
    """How many ask a language model at once."""
    asked = (row.options or {}).get("concurrency", 1)
    return asked if isinstance(asked, int) else 1


def short_name(row: RankedRow) -> str:
    """A configuration within a sentence or a cell: `resnet18 · onnx_cpu · int8 · batch 8`, and threads where not all CPUs have one."""
    clients = f" · {clients_of(row)} clients" if clients_of(row) > 1 else ""
    threads = ""
    if row.cpus_usable is not None and row.threads != row.cpus_usable:
        threads = f" · {row.threads} thread{'' if row.threads == 1 else 's'}"
    return (
        f"{model_label(row)} · {backend_label(row)} · {row.precision} · batch {row.batch}{clients}{threads}"
    )


DOUBT = {
    VerdictValue.VALID: "",
    VerdictValue.UNSTABLE: " (⚠ unstable)",
    VerdictValue.INVALID: " (invalid)",
    None: " (no verdict)",
}


def doubted(row: RankedRow) -> str:
    """As `short_name`, with a mark where its number is not valid."""
    return short_name(row) + DOUBT[row.verdict]


def capital(text: str) -> str:
    """With a capital letter, at the beginning of a sentence or a heading."""
    # `p99 latency` begins with the name of a percentile, which stays as it is.
    return text if text[:1] == "p" and text[1:2].isdigit() else text[:1].upper() + text[1:]
