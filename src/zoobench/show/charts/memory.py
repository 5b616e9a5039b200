"""What a model needs of memory while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoobench.results.row import Row
from zoobench.show.charts.bars import Chart, Mark, Panel, Scope, bar, rows_of_panels
from zoobench.show.numbers import format_megabytes

MOST_BATCHES = 2


def peak_chart(rows: Sequence[Row]) -> Chart | None:
    """Bars of the worker's highest resident memory, and of GPU memory beside it where it is known.

    Args:
        rows: believable ones of one machine, in the order in which they are shown.
    """
    scope = Scope.of([r for r in rows if r.peak_bytes or r.gpu_bytes], most_batches=MOST_BATCHES)
    if not scope.rows:
        return None
    kinds: list[tuple[str, Callable[[Row], int | None]]] = [
        ("host", lambda r: r.peak_bytes),
        ("GPU", lambda r: r.gpu_bytes),
    ]
    panels = [
        panel
        for kind, of in kinds
        for batch in scope.batches
        if (panel := _panel(scope, kind, batch, of)).marks
    ]
    caption = (
        "Peak resident memory of the worker process, its runtime included (MB, 10⁶ bytes, less is better)."
    )
    if any(r.gpu_bytes for r in scope.rows):
        caption += (
            " GPU memory is what the driver says the worker holds after its calls, the CUDA context included."
        )
    caption += scope.remark
    return Chart("peak_memory", rows_of_panels(scope, panels, bar, caption), caption)


def _panel(scope: Scope, kind: str, batch: int, of: Callable[[Row], int | None]) -> Panel:
    marks = {
        place[:2]: Mark(value / 1e6, None, format_megabytes(value))
        for place, row in scope.at.items()
        if row.batch == batch and (value := of(row))
    }
    return Panel(f"{kind} · batch {batch}", f"{kind} memory (MB)", marks)
