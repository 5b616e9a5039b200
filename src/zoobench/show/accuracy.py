"""What a report says of accuracy: what each artifact gets right, and what its precision costs."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from zoobench.results.row import Row
from zoobench.show.document import Block, Column, Heading, Paragraph
from zoobench.show.numbers import DASH, Keyed, format_megabytes, format_number
from zoobench.show.tables import Field, backend_label, drop_word, make_table, model_label, top1_cell


def accuracy_section(rows: Sequence[Row]) -> list[Block]:
    """One line an artifact and runtime; the batch does not change what a model gets right.

    Args:
        rows: of one machine, the newest first; of equal artifacts and pictures the first is shown.
    """
    shown = _by_artifact(rows)
    if not shown:
        return []
    fields: list[Field] = [
        (Column("Model"), model_label),
        (Column("Backend"), backend_label),
        (Column("Precision"), lambda r: r.precision),
        (Column("Top-1 (%)", "right"), top1_cell),
        (Column("Top-5 (%)", "right"), lambda r: percent(r.top5)),
    ]
    if len({r.data_sha256 for r in shown}) > 1:
        # Figures of other pictures must not be read side by side.
        fields.insert(3, (Column("Pictures"), lambda r: f"{r.pictures} of {r.data_label}"))
    if any(r.top1_masked is not None for r in shown):
        fields.append((Column("Top-1 masked (%)", "right"), lambda r: percent(r.top1_masked)))
    if any(r.published_top1 is not None for r in shown):
        fields.append((Column("Published (%)", "right"), lambda r: format_number(r.published_top1)))
    if any(r.agreement is not None for r in shown):
        fields += [
            (Column("Drop against fp32 (points)", "right"), drop_cell),
            (Column("Drop"), decision_cell),
            (Column("McNemar p", "right"), _p),
            (Column("Same class as fp32 (%)", "right"), lambda r: percent(r.agreement)),
            (
                Column("Smallest cosine", "right"),
                lambda r: DASH if r.cosine_min is None else f"{r.cosine_min:.4f}",
            ),
        ]
    fields += [
        (Column("Size (MB)", "right"), lambda r: format_megabytes(r.size_bytes)),
        (Column("Peak memory (MB)", "right"), lambda r: format_megabytes(r.peak_bytes)),
    ]
    return [Heading(3, "Accuracy"), *map(Paragraph, _sentences(shown)), make_table(fields, shown)]


def _by_artifact(rows: Sequence[Row]) -> list[Row]:
    first: dict[Hashable, Row] = {}
    for row in rows:
        if row.pictures and not row.is_detector:
            key = (row.model, backend_label(row), row.precision, row.artifact_sha256, row.data_sha256)
            first.setdefault(key, row)
    return by_name(first.values())


def by_name(rows: Iterable[Row]) -> list[Row]:
    """Model by model, fp32 before what is held against it."""
    return sorted(rows, key=lambda r: (r.model, backend_label(r), r.precision != "fp32", r.precision))


def _sentences(rows: Sequence[Row]) -> list[str]:
    told: dict[str, None] = {}
    for row in rows:
        bad = f", {row.undecodable} more could not be decoded" if row.undecodable else ""
        over = f"over all {row.outputs} classes" if row.outputs else ""
        told[f"{row.pictures} pictures of {row.data_label}{bad}; the argmax runs {over}."] = None
    if any(r.top1_masked is not None for r in rows):
        told["Masked: the argmax runs over the classes of the data only, which is easier."] = None
    told[
        "Intervals are Wilson's, 95%; a drop's is Agresti and Min's, over the pictures on which the two disagree."
    ] = None
    return [*told, *margin_sentences(rows)]


def margin_sentences(rows: Sequence[Row]) -> list[str]:
    """When a drop passes, and why some rows claim nothing."""
    told: list[str] = []
    margins = sorted({r.max_drop for r in rows if r.max_drop is not None})
    if len(margins) == 1:
        told.append(
            f"A drop passes where its whole interval lies below {_points(margins[0])}, and fails where it lies above."
        )
    elif margins:
        told.append(
            f"A drop passes where its whole interval lies below its run's margin ({' or '.join(map(_points, margins))}); "
            "`zoobench report --max-drop 1%` judges all by one."
        )
    unclaimed = dict.fromkeys(r.unclaimed for r in rows if r.unclaimed)
    return [*told, *(f"Where there is a dash no accuracy is claimed: {why}." for why in unclaimed)]


def _points(margin: float) -> str:
    return f"{100 * margin:g} point{'s' * (margin != 0.01)}"


def percent(value: float | None) -> str:
    """Of a share."""
    return DASH if value is None else Keyed(f"{100 * value:.1f}", value)


def drop_cell(row: Row) -> str:
    """`0.42 [-0.10, 0.94]`, points."""
    if row.drop is None or row.drop_interval is None:
        return DASH
    low, high = row.drop_interval
    return Keyed(f"{100 * row.drop:.2f} [{100 * low:.2f}, {100 * high:.2f}]", row.drop)


def _p(row: Row) -> str:
    if row.mcnemar_p is None:
        return DASH
    return Keyed("< 0.001" if row.mcnemar_p < 0.001 else f"{row.mcnemar_p:.3f}", row.mcnemar_p)


def decision_cell(row: Row) -> str:
    """Whether it passes, and what would decide it."""
    needed = f" (≈ {row.images_needed:,} pictures would decide)" if row.images_needed else ""
    return drop_word(row) + needed
