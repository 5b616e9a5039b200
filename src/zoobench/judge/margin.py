"""Whether a drop passes, by another margin than the one that was asked for when it was measured: the counts are stored."""

from __future__ import annotations

from collections.abc import Iterable

from zoobench.measure.accuracy import DROP_CODES, drop_warnings
from zoobench.measure.detection import box_drop
from zoobench.measure.proportions import drop
from zoobench.outcome import BoxDrop, Drop
from zoobench.results.record import Record
from zoobench.results.row import R, Row, changed
from zoobench.terms import Reason


def judged_record(record: Record, max_drop: float) -> Record:
    """The record as it would be had `max_drop` (a share) been asked for; itself where it was, or there is no drop."""
    accuracy = record.accuracy
    if accuracy is None or accuracy.fidelity is None:
        return record
    before = accuracy.fidelity.drop or accuracy.fidelity.box_drop
    if before is None or before.max_drop == max_drop:
        return record
    fresh: Drop | BoxDrop
    if isinstance(before, BoxDrop):
        fresh = box_drop(before.model_dump(), max_drop)
        fidelity = accuracy.fidelity.model_copy(update={"box_drop": fresh})
    else:
        fresh = drop(before.lost, before.won, before.n, max_drop)
        fidelity = accuracy.fidelity.model_copy(update={"drop": fresh})
    accuracy = accuracy.model_copy(update={"fidelity": fidelity})
    verdict = record.verdict and record.verdict.model_copy(
        update={"warnings": _warnings(record.verdict.warnings, fresh)}
    )
    return record.model_copy(update={"accuracy": accuracy, "verdict": verdict})


def judged_row(row: R, max_drop: float) -> R:
    """As `judged_record`, of what tables show."""
    if row.drop is None or row.drop_interval is None or row.max_drop == max_drop:
        return row
    # The drop's own pictures: top-1 may be of others.
    lost, won = row.drop_lost or 0, row.drop_won or 0
    fresh: Drop | BoxDrop
    if row.drop_pictures is not None:
        stored = {"value": row.drop, "interval": row.drop_interval, "pictures": row.drop_pictures}
        fresh = box_drop({**stored, "resamples": 0, "seed": 0}, max_drop)
    elif row.drop_n is not None and lost + won <= row.drop_n:
        fresh = drop(lost, won, row.drop_n, max_drop)
    else:
        return row
    told = {"warnings": _warnings(row.warnings, fresh)} if isinstance(row, Row) else {}
    return changed(
        row, max_drop=max_drop, drop_decision=fresh.decision, images_needed=fresh.images_needed, **told
    )


def _warnings(before: Iterable[Reason], fresh: Drop | BoxDrop) -> tuple[Reason, ...]:
    return (*(reason for reason in before if reason.code not in DROP_CODES), *drop_warnings(fresh))
