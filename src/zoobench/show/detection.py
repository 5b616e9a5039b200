"""What a report says of detectors: what a picture takes from pixels to boxes, and how many of them are right."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from zoobench.results.row import Row
from zoobench.show.accuracy import by_name, decision_cell, drop_cell, margin_sentences, percent
from zoobench.show.document import Block, Column, Heading, Paragraph
from zoobench.show.numbers import DASH, format_megabytes, format_ms, format_number, with_interval
from zoobench.show.tables import Field, backend_label, case_fields, make_table, map_cell, model_label

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
        (Column("Rounds", "right"), lambda r: str(r.stage_rounds)),
    ]
    if len({r.stage_pictures for r in shown}) > 1:
        # What is found on other pictures takes another time.
        fields.insert(len(case_fields(shown)) + 1, (Column("Pictures"), lambda r: r.stage_pictures or DASH))
    more = (
        [Paragraph(f"{len(known) - len(shown)} more rows are in results.csv.")]
        if len(known) > len(shown)
        else []
    )
    return [
        Heading(3, "From pixels to boxes"),
        *map(Paragraph, _pictures(shown)),
        Paragraph(
            "Each round begins with decoded RGB pictures and ends with boxes in their pixels; pre- and post-processing are one "
            "thread's, the same code for every backend. Figures are medians, and the model's own is that of these rounds: the one "
            "to compare is in the first table, from turns that the backends shared."
        ),
        make_table(fields, shown),
        *more,
    ]


def boxes_section(rows: Sequence[Row]) -> list[Block]:
    """COCO's mAP of each artifact and runtime, and how far its boxes are those of fp32.

    Args:
        rows: of one machine, the newest first; of equal artifacts and pictures the first is shown.
    """
    first: dict[Hashable, Row] = {}
    for row in rows:
        if row.pictures and row.is_detector:
            key = (row.model, backend_label(row), row.precision, row.artifact_sha256, row.data_sha256)
            first.setdefault(key, row)
    shown = by_name(first.values())[:_MOST_ROWS]
    if not shown:
        return []
    fields: list[Field] = [
        (Column("Model"), model_label),
        (Column("Backend"), backend_label),
        (Column("Precision"), lambda r: r.precision),
        (Column("mAP (%)", "right"), map_cell),
        (Column("mAP50", "right"), lambda r: percent(r.map50)),
        (Column("mAP75", "right"), lambda r: percent(r.map75)),
        (Column("Small", "right"), lambda r: percent(r.map_small)),
        (Column("Medium", "right"), lambda r: percent(r.map_medium)),
        (Column("Large", "right"), lambda r: percent(r.map_large)),
    ]
    if len({r.data_sha256 for r in shown}) > 1:
        # Figures of other pictures must not be read side by side.
        fields.insert(3, (Column("Pictures"), lambda r: f"{r.pictures} of {r.data_label}"))
    if any(r.drop is not None for r in shown):
        fields += [
            (Column("Drop against fp32 (points)", "right"), drop_cell),
            (Column("Drop"), decision_cell),
        ]
    if any(r.reference_boxes is not None for r in shown):
        fields += [
            (Column("fp32's boxes found (%)", "right"), lambda r: percent(r.boxes_found)),
            (Column("Boxes it has not (%)", "right"), lambda r: percent(r.boxes_extra)),
            (Column("Mean IoU", "right"), lambda r: DASH if r.iou_mean is None else f"{r.iou_mean:.4f}"),
        ]
    fields += [
        (Column("Size (MB)", "right"), lambda r: format_megabytes(r.size_bytes)),
        (Column("Peak memory (MB)", "right"), lambda r: format_megabytes(r.peak_bytes)),
    ]
    return [
        Heading(3, "Accuracy of detectors"),
        *map(Paragraph, _accuracy_sentences(shown)),
        make_table(fields, shown),
    ]


def _accuracy_sentences(rows: Sequence[Row]) -> list[str]:
    told: dict[str, None] = {}
    for row in rows:
        bad = f", {row.undecodable} more could not be used" if row.undecodable else ""
        objects = "" if row.objects is None else f" with {row.objects} objects and {row.crowds or 0} crowds"
        told[f"{row.pictures} pictures of {row.data_label}{objects}{bad}."] = None
    for row in (r for r in rows if r.map_evaluator):
        told[
            f"mAP is COCO's, the mean over IoU thresholds from 0.5 to 0.95, by {row.map_evaluator}: boxes with a score of at least "
            f"{row.map_score_threshold:g}, at most {row.map_most} a picture. Intervals are 95%, of a bootstrap over the pictures; a "
            "drop's draws the same ones for both."
        ] = None
    for row in (r for r in rows if r.reference_boxes is not None):
        told[
            f"Boxes are fp32's where the class is the same and they overlap by {row.same_iou:g} or more, of those with a score of at "
            f"least {row.same_score:g}. Fewer bits are held against fp32 of the same runtime, and fp32 against PyTorch's where that "
            "was run too."
        ] = None
    return [*told, *margin_sentences(rows)]


def _pictures(rows: Sequence[Row]) -> list[str]:
    told: dict[str, None] = {}
    for row in rows:
        kept = f"boxes with a score of at least {row.score_threshold:g} are kept, and of two that overlap by more than {row.iou_threshold:g} the better"
        told[f"On {row.stage_pictures}; {kept}."] = None
    return list(told)


def _end_to_end(row: Row) -> str:
    return (
        DASH
        if row.end_to_end_p50_ms is None
        else with_interval(row.end_to_end_p50_ms, row.end_to_end_interval_ms)
    )


def _pictures_per_s(row: Row) -> str:
    return DASH if not row.end_to_end_p50_ms else format_number(1e3 * row.batch / row.end_to_end_p50_ms)
