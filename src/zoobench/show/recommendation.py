"""`zoobench recommend` as blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from zoobench.judge.asks import Gap
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
from zoobench.judge.recommend import Exclusion, Recommendation, Relaxation
from zoobench.judge.scope import REMOTE, load_label
from zoobench.judge.wanted import Faithful, Limit, Standing, Unstable
from zoobench.results.row import RankedRow
from zoobench.shell import command_line
from zoobench.show.document import Block, Column, Command, Heading, Items, Paragraph, Table
from zoobench.show.measures import cell_of, clients_of, short_name, told
from zoobench.show.numbers import (
    DASH,
    format_bytes,
    format_megabytes,
    format_number,
)
from zoobench.show.tables import (
    MARKS,
    RankedField,
    backend_label,
    case_fields,
    drop_word,
    machine_label,
    make_table,
    model_label,
)
from zoobench.terms import TEXT, UNSTABLE_CODES, Precision, Status, VerdictValue

MOST_TIES, MOST_FRONT, MOST_COMMANDS, MOST_NAMED = 5, 12, 3, 3
"""Ties in the table, rows of the front, commands of one gap, and names in a sentence; the rest is counted."""

_BATCH: RankedField = (Column("Batch", "right"), lambda r: str(r.batch))


def recommendation_blocks(found: Recommendation, results_dir: Path) -> list[Block]:
    """The answer in a sentence, then what stands behind it."""
    title = "What to ship" if found.best else "Nothing holds every limit"
    if not found.judged:
        title = "Nothing to recommend from yet"
    elif found.best is None and found.unranked:
        title = f"{_capital(found.goal.name)} is not known"
    return [
        Heading(1, title),
        Paragraph(answer(found), strong=True),
        Items(tuple(_remarks(found))),
        *_file(found),
        *_ranking(found),
        *_exclusions(found),
        *_front(found),
        *_gaps(found.gaps, results_dir),
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
    return f"Ship {_configuration(best)}{_DOUBT[best.verdict]}: {', '.join(known)}."


_DOUBT = {
    VerdictValue.VALID: "",
    VerdictValue.UNSTABLE: " (⚠ unstable)",
    VerdictValue.INVALID: " (invalid)",
    None: " (no verdict)",
}


def _doubted(row: RankedRow) -> str:
    return short_name(row) + _DOUBT[row.verdict]


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
            f"{_count(len(found.unranked), 'configuration')} hold every limit, and {found.goal.name} is known of none of them, so "
            "none is recommended."
        )
    if not found.judged:
        return "No configuration has a number that can be believed."
    if not found.relax:
        return (
            f"None of {_count(found.judged, 'configuration')} holds {_limits(found)}, and no other value of a limit would help: "
            "what is missing was not measured."
        )
    first = found.relax[0]
    if len(first.changes) == 1:
        return (
            f"None of {_count(found.judged, 'configuration')} holds {_limits(found)}. Relax one: "
            f"{_changes(first)} would recommend {_doubted(first.row)}."
        )
    return (
        f"None of {_count(found.judged, 'configuration')} holds {_limits(found)}, and no single limit is to blame: "
        f"{_changes(first)} together would recommend {_doubted(first.row)}."
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
        yield "Or relax:", f"{_changes(one)} would recommend {_doubted(one.row)}."


def _under(found: Recommendation) -> str:
    asked = [limit.said for limit in found.limits if not isinstance(limit, Faithful)]
    return f", with {', '.join(asked)}" if asked else ""


def _ranked(found: Recommendation) -> str:
    where = (
        f"servers, asked from {machine_label(found.newest)}"
        if found.question.remote
        else machine_label(found.newest)
    )
    parts = [f"{_count(found.judged, 'configuration')} on {where}"]
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


def _ranking(found: Recommendation) -> Iterator[Block]:
    if found.best is None:
        return
    ties = found.ties[:MOST_TIES]
    rows = [found.best, *ties, *found.runners_up]
    words = {id(found.best): "ship"} | {id(row): "tie" for row in ties}
    task = found.question.task
    yield Heading(2, "The best, its ties and the runners-up")
    yield make_table(
        [
            (Column(""), lambda r: words.get(id(r), "")),
            *_identity(rows),
            *_figures(found, rows),
            (Column("Pays after", "right"), lambda r: _pays_cell(found.paybacks.get(id(r)))),
            (Column("Verdict"), lambda r: MARKS[r.verdict] if r.verdict else DASH),
        ],
        rows,
    )
    more = len(found.ties) - len(ties)
    if more > 0:
        yield Paragraph(f"And {_count(more, 'more tie')}.")
    if found.wanted.price_per_hour is not None:
        yield Paragraph(
            f"Cost, of a million {unit_of(task)}s, is {found.wanted.price_per_hour:g} an hour / ({unit_of(task)}s a second · 3,600) · 10⁶, of one machine that is "
            "busy all the time."
        )


def _identity(rows: Sequence[RankedRow]) -> list[RankedField]:
    """What sets them apart; the load is the same of all, and stands above."""
    fields = [(column, show) for column, show in case_fields(rows) if column.head != "Scenario"]
    if len({clients_of(row) for row in rows}) > 1:
        fields.append((Column("Clients", "right"), lambda r: str(clients_of(r))))
    return [*fields, _BATCH]


def _figures(found: Recommendation, rows: Sequence[RankedRow]) -> list[RankedField]:
    """What was asked about, and what everybody wants to know; columns of which nothing is known are left out."""
    task = found.question.task
    measures = [latency_of(50), *(limit.measure for limit in found.limits), found.goal]
    timed = {measure.name: measure for measure in measures if measure.kind == "ms"}
    price = found.wanted.price_per_hour
    accuracy = accuracy_of(task)
    asked: list[tuple[str, Measure]] = [
        *((f"{name.removesuffix(' latency')} (ms)", measure) for name, measure in timed.items()),
        (f"{unit_of(task)}s/s", throughput_of(task)),
        (f"{accuracy.name} (%)", accuracy),
        *([("Cost (per 10⁶)", cost_of(task, price))] if price is not None else []),
        *([("Energy (J)", found.goal)] if found.goal.kind == "joules" else []),
    ]
    fields: list[RankedField] = [
        (Column(_capital(head), "right"), cell_of(measure))
        for head, measure in asked
        if any(measure.value(row) is not None for row in rows)
    ]
    if any(row.drop_decision for row in rows):
        fields.append((Column("Drop"), drop_word))
    if task == TEXT:
        fields.append((Column("Quality"), _quality))
    return [
        *fields,
        (Column("Peak memory (MB)", "right"), lambda r: format_megabytes(memory_bytes(r))),
        (Column("Size (MB)", "right"), lambda r: format_megabytes(r.size_bytes or None)),
    ]


def _quality(row: RankedRow) -> str:
    return DASH if row.quality_passed is None else "pass" if row.quality_passed else "❌ fail"


def _told_measure(measure: Measure, row: RankedRow) -> str:
    return f"{measure.name} {told(measure, row)}"


def _points(row: RankedRow) -> str:
    assert row.drop is not None and row.drop_interval is not None
    interval = (100 * row.drop_interval[0], 100 * row.drop_interval[1])
    return f"{100 * row.drop:.2f} [{interval[0]:.2f}, {interval[1]:.2f}] points ({drop_word(row)})"


def _pays_cell(pays: Payback | None) -> str:
    if pays is None:
        return DASH
    return f"{pays.calls:,}" if pays.calls is not None else pays.pays.value.replace("_", " ")


def _exclusions(found: Recommendation) -> Iterator[Block]:
    if not found.exclusions:
        return
    yield Heading(2, f"What the limits left out, of {_count(found.judged, 'configuration')}")
    columns = (
        Column("Limit"),
        Column("Left out", "right"),
        Column("By it alone", "right"),
        Column("Not known", "right"),
        Column("Open", "right"),
        Column("Nearest"),
    )
    yield Table(columns, [_exclusion(one) for one in found.exclusions])
    if any(one.open for one in found.exclusions):
        yield Paragraph("Open: the figure holds the limit and the end of its interval does not.")


def _exclusion(one: Exclusion) -> tuple[str, ...]:
    near = "; ".join(_near(one.limit, row) for row in one.nearest)
    counts = (one.excluded, one.alone, one.unknown, len(one.open))
    return (one.limit.said, *(f"{count:,}" for count in counts), near or DASH)


def _near(limit: Limit, row: RankedRow) -> str:
    """A near miss, and how far off it is."""
    if limit.measure.value(row) is None:
        return f"{short_name(row)}: its quality gate failed"
    by = " by its interval" if limit.standing(row) is Standing.OPEN else ""
    return f"{short_name(row)}: {told(limit.measure, row)}, {_far(limit, row)}{by}"


def _far(limit: Limit, row: RankedRow) -> str:
    """`38% above`, `3.83 × the limit`, `36% below`."""
    needed = limit.needed(row)
    if needed is None or limit.measure.kind == "share":
        return "off"
    share = abs(needed / limit.bound - 1)
    if not limit.at_least and share >= 1:
        return f"{format_number(needed / limit.bound)} × the limit"
    size = f"{100 * share:.0f}%" if share >= 0.1 else f"{format_number(100 * share)}%"
    return f"{size} {'below' if limit.at_least else 'above'}"


def _front(found: Recommendation) -> Iterator[Block]:
    best = found.best
    beaten = best is not None and not any(row is best for row in found.front)
    if len(found.front) < 2 and not (beaten and found.front):
        return
    rows = found.front[:MOST_FRONT]
    yield Heading(2, f"The Pareto front of {', '.join(found.front_aims)}")
    holds = {id(row): all(limit.standing(row) is Standing.HOLDS for limit in found.limits) for row in rows}
    fields: list[RankedField] = [
        (Column(""), lambda r: "ship" if r is best else ""),
        *_identity(rows),
        *_figures(found, rows),
        (Column("Limits"), lambda r: "held" if holds[id(r)] else "not held"),
        (Column("Verdict"), lambda r: MARKS[r.verdict] if r.verdict else DASH),
    ]
    yield make_table(fields, rows)
    more = len(found.front) - len(rows)
    said = "None is beaten: what is better in one of these is worse in another. Equals stay, and intervals are not asked."
    if more > 0:
        said += f" {more} more are on it."
    if found.front_unplaced:
        said += f" {_count(found.front_unplaced, 'more configuration')} cannot be placed: one of these figures is not known."
    if best is not None and beaten:
        other = found.beats_best
        why = (
            "one of these figures of it is not known"
            if other is None
            else f"{_doubted(other)} is no worse in any of these"
        )
        said += f" The recommended {short_name(best)} is not on it: {why}."
    yield Paragraph(said)


def _gaps(gaps: Sequence[Gap], results_dir: Path) -> Iterator[Block]:
    if not gaps:
        return
    yield Heading(2, "What was not measured")
    for gap in gaps:
        yield Paragraph(_capital(gap.what) + (":" if gap.asks else "."))
        if gap.asks:
            # One more takes no more room than the line that counts it.
            shown = len(gap.asks) if len(gap.asks) == MOST_COMMANDS + 1 else MOST_COMMANDS
            yield Command(commands(gap, results_dir, shown))
            more = len(gap.asks) - shown
            if more > 0:
                yield Paragraph(f"And {more:,} more commands; --json has them.")


def commands(gap: Gap, results_dir: Path, most: int | None = None) -> tuple[str, ...]:
    """The gap's runs as they are typed into a shell."""
    return tuple(command_line(ask.words(str(results_dir))) for ask in gap.asks[:most])


def _capital(text: str) -> str:
    # `p99 latency` begins with the name of a percentile, which stays as it is.
    return text if text[:1] == "p" and text[1:2].isdigit() else text[:1].upper() + text[1:]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
