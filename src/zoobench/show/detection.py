"""What a report says of detectors: what a picture takes from pixels to boxes."""

from __future__ import annotations

from collections.abc import Sequence

from zoobench.results.row import Row
from zoobench.show.document import Block, Column, Heading, Paragraph
from zoobench.show.numbers import DASH, format_ms, format_number, with_interval
from zoobench.show.tables import Field, case_fields, make_table

_MOST_ROWS = 200
_BATCH: Field = (Column("Batch", "right"), lambda r: str(r.batch))


def stages_section(rows: Sequence[Row]) -> list[Block]:
    """Pre-processing, model, post-processing and all three together.

    Args:
        rows: of one machine, in the order in which they are shown.
    """
    known = [row for row in rows if row.end_to_end_p50_ms is not None]
    if not known:
        return []
    shown = sorted(known, key=lambda r: (r.batch, r.end_to_end_p50_ms or 0.0))[:_MOST_ROWS]
    fields: list[Field] = [
        *case_fields(shown),
        _BATCH,
        (Column("Pre-processing (ms)", "right"), lambda r: format_ms(r.preprocessing_p50_ms)),
        (Column("Model (ms)", "right"), lambda r: format_ms(r.stage_model_p50_ms)),
        (Column("Post-processing (ms)", "right"), lambda r: format_ms(r.postprocessing_p50_ms)),
        (Column("End to end (ms)", "right"), _end_to_end),
        (Column("p95", "right"), lambda r: format_ms(r.end_to_end_p95_ms)),
        (Column("Pictures/s", "right"), _pictures_per_s),
        (Column("Boxes a picture", "right"), lambda r: format_number(r.boxes)),
    ]
    more = (
        [Paragraph(f"{len(known) - len(shown)} more rows are in results.csv.")]
        if len(known) > len(shown)
        else []
    )
    return [
        Heading(3, "From pixels to boxes"),
        Paragraph(
            f"{_pictures(shown)} Each round begins with decoded RGB pictures and ends with boxes in their pixels; pre- and "
            "post-processing are one thread's, the same code for every backend. Figures are medians, and the model's own is "
            "that of these rounds: the one to compare is in the first table, from turns that the backends shared."
        ),
        make_table(fields, shown),
        *more,
    ]


def _pictures(rows: Sequence[Row]) -> str:
    told: dict[str, None] = {}
    for row in rows:
        kept = f"boxes with a score of at least {row.score_threshold:g} are kept, and of two that overlap by more than {row.iou_threshold:g} the better"
        told[f"On {row.stage_pictures}; {kept}."] = None
    return " ".join(told)


def _end_to_end(row: Row) -> str:
    return (
        DASH
        if row.end_to_end_p50_ms is None
        else with_interval(row.end_to_end_p50_ms, row.end_to_end_interval_ms)
    )


def _pictures_per_s(row: Row) -> str:
    return DASH if not row.end_to_end_p50_ms else format_number(1e3 * row.batch / row.end_to_end_p50_ms)
