"""Peak memory: a bar a cell, and the GPU's beside it where it is known."""

from __future__ import annotations

from tests.show.charts.drawn import HOSTILE, attributes, fills, is_harmless, texts
from tests.show.records import full_run, make_record

from zoobench.outcome import Memory
from zoobench.results.row import Row, row_of
from zoobench.show.charts.memory import peak_chart


def cell(
    model: str = "resnet18", peak: int | None = 162_000_000, gpu: int | None = None, **more: object
) -> Row:
    return row_of(make_record(model, memory=Memory(peak_bytes=peak, gpu_bytes=gpu), **more))  # type: ignore[arg-type]


def test_bars_are_megabytes_at_the_smallest_and_the_largest_batch() -> None:
    chart = peak_chart([r for r in map(row_of, full_run()) if r.is_believable])
    shown = texts(chart)
    assert {"host · batch 1", "host · batch 8", "host memory (MB)", "162", "resnet18"} <= set(shown)
    assert not any("GPU" in text or "batch 4" in text for text in shown)
    assert {"#0072B2", "#D55E00"} <= set(fills(chart, "rect"))
    assert chart is not None and "Of 3 batch sizes 1, 8 are shown." in chart.caption


def test_gpu_memory_stands_beside_where_it_is_known() -> None:
    chart = peak_chart([cell(backend="onnx_cuda", gpu=617_000_000, device="cuda"), cell()])
    assert {"GPU · batch 1", "GPU memory (MB)", "617"} <= set(texts(chart))
    assert chart is not None and "the CUDA context included" in chart.caption


def test_nothing_known_is_no_chart() -> None:
    assert peak_chart([]) is None
    assert peak_chart([cell(peak=None)]) is None


def test_thousands_of_cells_stay_bounded() -> None:
    chart = peak_chart([cell(f"model_{n}", batch=batch) for n in range(300) for batch in (1, 2, 4)])
    assert chart is not None and "The first 30 of 300 models are shown." in chart.caption
    assert len(attributes(chart, "rect")) < 100


def test_a_hostile_name_is_text() -> None:
    assert is_harmless(peak_chart([cell(HOSTILE)]))
