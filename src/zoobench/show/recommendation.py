"""`zoobench recommend` as blocks: the answer in words, its tables below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from zoobench.judge.measures import (
    MEMORY,
    SIZE,
    Measure,
    accuracy_of,
    cost_of,
    latency_of,
    memory_bytes,
    throughput_of,
    unit_of,
)
from zoobench.judge.payback import Payback, Pays
from zoobench.judge.recommend import Recommendation, Relaxation
from zoobench.judge.scope import REMOTE, load_label
from zoobench.judge.wanted import Faithful, Unstable
from zoobench.results.row import RankedRow
from zoobench.shell import command_line
from zoobench.show.document import Block, Command, Heading, Items, Paragraph
from zoobench.show.measures import DOUBT, capital, clients_of, doubted, short_name, told
from zoobench.show.numbers import DASH, counted, format_bytes, format_number
from zoobench.show.recommendation_tables import (
    exclusion_blocks,
    front_blocks,
    gap_blocks,
    ranking_blocks,
)
from zoobench.show.tables import backend_label, drop_word, machine_label, model_label
from zoobench.terms import UNSTABLE_CODES, Precision, Status

MOST_NAMED = 3
"""Names in a sentence; the rest is counted."""


def recommendation_blocks(found: Recommendation, results_dir: Path) -> list[Block]:
    """The answer in a sentence, then what stands behind it."""
    title = "What to ship" if found.best else "Nothing holds every limit"
    if not found.judged:
        title = "Nothing to recommend from yet"
    elif found.best is None and found.unranked:
        title = f"{capital(found.goal.name)} is not known"
    return [
        Heading(1, title),
        Paragraph(answer(found), strong=True),
        Items(tuple(_remarks(found))),
        *_file(found),
        *ranking_blocks(found),
        *exclusion_blocks(found),
        *front_blocks(found),
        *gap_blocks(found.gaps, results_dir),
    ]


def _file(found: Recommendation) -> Iterator[Block]:
    if found.file_words is not None:
        yield Paragraph("The file to ship, from what is prepared here already:")
        yield Command((command_line(found.file_words),))


def answer(found: Recommendation) -> str:
    """What to ship with its figures, or why nothing can be recommended and which limit to relax, to what."""
    best = found.best
    if best is None:
        return _no_answer(found)
    task = found.question.task
    unit = f"{unit_of(task)}s/s"
    facts = [
        _told_measure(latency_of(50), best),
        *([_told_measure(found.goal, best)] if found.goal.name != "p50 latency" else []),
        f"{format_number(throughput_of(task).value(best))} {unit}",
        *([f"{format_bytes(memory_bytes(best))} peak memory"] if found.goal is not MEMORY else []),
        *([f"{format_bytes(best.size_bytes or None)} on disk"] if found.goal is not SIZE else []),
    ]
    if best.drop is not None and best.drop_interval is not None:
        facts.append(f"drop against fp32 {_points(best)}")
    accuracy = accuracy_of(task)
    if accuracy.value(best) is not None:
        facts.append(_told_measure(accuracy, best))
    price = found.wanted.price_per_hour
    if price is not None and found.goal.kind != "money":
        facts.append(_told_measure(cost_of(task, price), best))
    known = [fact for fact in facts if DASH not in fact]
    return f"Ship {_configuration(best)}{DOUBT[best.verdict]}: {', '.join(known)}."


def _configuration(row: RankedRow) -> str:
    """Everything that has to be set to run it so."""
    clients = clients_of(row)
    parts = [
        f"{model_label(row)} on {backend_label(row)}{'' if row.precision == Precision.SERVED else f' in {row.precision}'}",
        f"batch {row.batch}",
        *([f"{clients} clients"] if clients != 1 else []),
        # Of a server they are not known.
        *([f"{row.threads} thread{'' if row.threads == 1 else 's'}"] if row.device != REMOTE else []),
    ]
    return ", ".join(parts)


def _no_answer(found: Recommendation) -> str:
    if found.unranked:
        return (
            f"{counted(len(found.unranked), 'configuration')} hold every limit, and {found.goal.name} is known of none of them, so "
            "none is recommended."
        )
    if not found.judged:
        return "No configuration has a number that can be believed."
    if not found.relax:
        return (
            f"None of {counted(found.judged, 'configuration')} holds {_limits(found)}, and no other value of a limit would help: "
            "what is missing was not measured."
        )
    first = found.relax[0]
    if len(first.changes) == 1:
        return (
            f"None of {counted(found.judged, 'configuration')} holds {_limits(found)}. Relax one: "
            f"{_changes(first)} would recommend {doubted(first.row)}."
        )
    return (
        f"None of {counted(found.judged, 'configuration')} holds {_limits(found)}, and no single limit is to blame: "
        f"{_changes(first)} together would recommend {doubted(first.row)}."
    )


def _limits(found: Recommendation) -> str:
    asked = [limit.said for limit in found.limits if not isinstance(limit, Faithful)]
    return ", ".join(asked) or "what fp32 answers"


def _changes(one: Relaxation) -> str:
    return " ".join(limit.said for limit in one.changes)


def _remarks(found: Recommendation) -> Iterator[tuple[str, str]]:
    slack = found.goal.slack
    within = f"; within {slack.said} two are ties" if slack else ""
    yield "Minimized:", f"{found.goal.name}{_under(found)}{within}"
    yield "Ranked:", _ranked(found)
    for aside in found.asides:
        yield "Left aside:", aside
    if found.best is not None:
        yield from _about_best(found, found.best)
    for one in found.relax[1:]:
        yield "Or relax:", f"{_changes(one)} would recommend {doubted(one.row)}."


def _under(found: Recommendation) -> str:
    asked = [limit.said for limit in found.limits if not isinstance(limit, Faithful)]
    return f", with {', '.join(asked)}" if asked else ""


def _ranked(found: Recommendation) -> str:
    where = (
        f"servers, asked from {machine_label(found.newest)}"
        if found.question.remote
        else machine_label(found.newest)
    )
    parts = [f"{counted(found.judged, 'configuration')} on {where}"]
    parts.append(load_label(found.question.scenario, found.question.load))
    if found.invalid:
        # A cell that is invalid may have been unstable besides, which alone would let it rank.
        codes = sorted({reason.code for row in found.invalid for reason in row.reasons} - UNSTABLE_CODES)
        why = f" ({', '.join(codes)})" if codes else ""
        parts.append(f"{len(found.invalid)} invalid, which never rank{why}")
    if found.missing:
        words = sorted({_without_number(row) for row in found.missing})
        parts.append(f"{len(found.missing)} without a number ({', '.join(words)})")
    return "; ".join(parts)


def _without_number(row: RankedRow) -> str:
    return "too few calls" if row.status is Status.OK else row.status.value.replace("_", " ")


def _about_best(found: Recommendation, best: RankedRow) -> Iterator[tuple[str, str]]:
    if found.ties:
        yield "Ties:", _ties(found, best)
    for caution in found.cautions:
        yield "Caution:", caution + "."
    if found.better_if_steady:
        yield _shaky(found, found.better_if_steady)
    pays = found.paybacks.get(id(best))
    if pays is not None:
        yield "Breaks even:", _payback(pays, best, found.wanted.calls)


def _shaky(found: Recommendation, rows: Sequence[RankedRow]) -> tuple[str, str]:
    """Of rows whose number may move, or of which it is not known."""
    one = len(rows) == 1
    unstable = f"{'is' if one else 'are'} unstable" if any(row.verdict for row in rows) else ""
    unknown = f"{'has' if one else 'have'} no verdict" if any(row.verdict is None for row in rows) else ""
    its = "its" if one else "their"
    twice = (
        f": such a one comes before valid ones only where it would win at twice {its} measured time, too"
        if found.wanted.unstable is Unstable.TWICE
        else ", so valid ones come first"
    )
    return (
        "Unstable:" if unstable else "No verdict:",
        f"{_names(rows)} read{'s' if one else ''} better ({told(found.goal, rows[0])}) and "
        f"{' or '.join(filter(None, (unstable, unknown)))}{twice}; measure again before you decide.",
    )


def _ties(found: Recommendation, best: RankedRow) -> str:
    leader = found.leader
    why = "the intervals overlap" if found.goal.interval(best) else "the figures are equal"
    if found.goal.slack is not None:
        why = f"two measurements of one configuration may differ by as much ({found.goal.slack.said})"
    said = (
        f"{_names(found.ties)} {'is' if len(found.ties) == 1 else 'are'} not told apart from it: {why}. "
        f"Of them this one {found.decided_by}"
    )
    if leader is not None and leader is not best:
        said += f"; {short_name(leader)} reads lower ({told(found.goal, leader)})"
    return said + "."


def _names(rows: Sequence[RankedRow]) -> str:
    more = len(rows) - MOST_NAMED
    return ", ".join(short_name(row) for row in rows[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _payback(pays: Payback, row: RankedRow, calls: int | None) -> str:
    base = short_name(pays.base) + (" (unstable)" if pays.base.is_unstable else "")
    match pays.pays:
        case Pays.UNDECIDED | Pays.UNKNOWN:
            return f"not told against {base}: {pays.why}."
        case Pays.NEVER:
            return f"never against {base}: {pays.why}."
        case Pays.AT_ONCE:
            return f"at once against {base}: nothing takes longer, and a call saves {format_number(pays.saving_ms)} ms."
    parts = (("file", pays.made_s), ("load", pays.load_s), ("compile", pays.compile_s))
    told_s = [(name, s) for name, s in parts if s is not None and abs(s) > 0.01 * (pays.once_s or 0.0)]
    # Of a single part no figure: in the last digit it may differ from the sum.
    once = ", ".join(name if len(told_s) == 1 else f"{name} {format_number(s)}" for name, s in told_s)
    if pays.without_origin:
        once += "; without the fp32 file that it is made of, whose time is not known here"
    unit = "call" if row.batch == 1 else f"call of {row.batch}"
    said = (
        f"after {pays.calls:,} calls against {base}: {format_number(pays.once_s)} s once ({once}), and each {unit} saves "
        f"{format_number(pays.saving_ms)} ms"
    )
    if pays.base.run_id != row.run_id:
        said += " (the two were measured in different runs: `zoobench compare` says how sure that is)"
    if calls is not None and (saved := pays.saved_s(calls)) is not None:
        verb = "save" if saved >= 0 else "cost"
        said += f"; {calls:,} calls {verb} {format_number(abs(saved))} s in all"
    return said + "."


def _told_measure(measure: Measure, row: RankedRow) -> str:
    return f"{measure.name} {told(measure, row)}"


def _points(row: RankedRow) -> str:
    assert row.drop is not None and row.drop_interval is not None
    interval = (100 * row.drop_interval[0], 100 * row.drop_interval[1])
    return f"{100 * row.drop:.2f} [{interval[0]:.2f}, {interval[1]:.2f}] points ({drop_word(row)})"
