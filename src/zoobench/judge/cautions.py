"""What to know of a configuration before it is shipped. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from zoobench.judge.wanted import Goal, Wanted
from zoobench.results.row import RankedRow
from zoobench.terms import TEXT, DropDecision, Precision, VerdictValue


def cautions(
    best: RankedRow,
    wanted: Wanted,
    best_valid: RankedRow | None,
    models: Set[str],
    later: Set[str],
    unranked: Iterable[RankedRow] = (),
) -> Iterator[str]:
    """One sentence each.

    Args:
        best_valid: what would be shipped of the valid ones, where `best` is none and goes before them.
        models: that hold every limit.
        later: measurement keys of rows after which another attempt brought no numbers, or was disturbed.
        unranked: the cells that are invalid, or have no number.
    """
    if best.is_fake:
        yield "it was made by the fake backend on a virtual clock; nothing was measured"
    if best.verdict is not VerdictValue.VALID:
        why = "; ".join(reason.message for reason in best.reasons) or "it was not judged"
        yield (
            f"its number is unstable and no valid one holds every limit: {why}"
            if best_valid is None
            else f"its number is unstable, and even at twice its time it comes before the valid ones, of which {best_valid.label} "
            f"would be shipped; measure again to know how good it is: {why}"
        )
    if best.weights == "random":
        yield "its weights are random: speed, memory and size are real, and what it gets right was not measured"
    if not is_known_faithful(best):
        drop = (
            "whether it loses too much against fp32 is open"
            if best.drop_decision is DropDecision.INCONCLUSIVE
            else "what it loses against fp32 was not measured"
        )
        yield drop
    if best.calibrated_on_noise:
        yield "its ranges were set on noise, for want of pictures: calibrate it on some of yours (--calibration) before it is shipped"
    smaller = sorted(
        {row.batch for row in unranked if _is_smaller_batch(row, best)}
        if wanted.minimize is Goal.LATENCY
        else ()
    )
    if smaller:
        yield (
            f"batch {' and '.join(map(str, smaller))} of it, which takes less time a call, could not be ranked: measure it again "
            "before you ship a larger one"
        )
    if len(models) > 1 and wanted.min_accuracy is None:
        yield (
            f"{len(models)} models are ranked together, and what they get right counts for nothing in it: give --min-accuracy, or "
            "name the model with --models"
            if best.task != TEXT
            else f"{len(models)} models are ranked together, and how good their answers are counts for nothing in it: name the "
            "model with --models"
        )
    if best.measurement_key in later:
        yield "a later attempt to measure it failed or was disturbed; these numbers are older ones"
    if (binding := binding_licence(best.licence)) is not None:
        yield f"its licence is {best.licence}: {binding}"


def _is_smaller_batch(row: RankedRow, best: RankedRow) -> bool:
    same = ("model", "backend", "device", "precision", "threads", "options")
    return row.batch < best.batch and all(getattr(row, name) == getattr(best, name) for name in same)


_BINDING = (
    (("agpl",), "copyleft, which binds who serves what is built on it, too"),
    (("gpl",), "copyleft, which binds who passes on what is built on it"),
    (("-nc", "noncommercial", "non-commercial", "research"), "not for commercial use"),
)


def binding_licence(licence: str | None) -> str | None:
    """What a licence asks of who ships the model, where it is one of the kinds that do; told by its name alone."""
    name = (licence or "").casefold()
    return next((said for words, said in _BINDING if any(word in name for word in words)), None)


def is_known_faithful(row: RankedRow) -> bool:
    """It computes what fp32 does, or was seen to lose no more than its margin."""
    if row.task == TEXT:
        return row.precision == Precision.FP32 or row.quality_passed is True
    if row.drop_decision is not None:
        return row.drop_decision is DropDecision.PASS
    return row.precision == Precision.FP32
