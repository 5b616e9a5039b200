"""Charts: what is drawn, that it stays bounded, and that it says what it leaves out."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from tests.show.charts.drawn import SVG, attributes, fills, texts
from tests.show.records import full_run, make_record

from zoobench.results.query import latest_cells
from zoobench.results.record import Record
from zoobench.results.row import row_of
from zoobench.show.charts.bars import latency_chart, speedup_chart
from zoobench.show.charts.batches import batch_chart
from zoobench.show.charts.front import front_chart
from zoobench.show.charts.memory import peak_chart
from zoobench.show.charts.series import series_colours
from zoobench.show.svg import fit, round_ticks, text_width
from zoobench.show.view import View, views_of
from zoobench.terms import VerdictValue


def view(records: list[Record]) -> View:
    return views_of(latest_cells(map(row_of, records)))[0]


def test_latency_has_a_bar_for_each_believable_cell_and_units_on_its_axis() -> None:
    chart = latency_chart(view(full_run()).believable)
    assert fills(chart, "rect").count("#0072B2") == 11  # ten cells and the legend
    assert fills(chart, "rect").count("#D55E00") == 13
    shown = texts(chart)
    assert {"batch 1", "batch 4", "batch 8", "p50 (ms)", "resnet18", "9.53"} <= set(shown)
    assert "190" not in shown  # the invalid cell
    assert chart is not None and "Pale bars in a frame are unstable" in chart.caption


def test_one_backend_has_one_colour_in_every_chart() -> None:
    own = view(full_run())
    rows = own.believable
    drawn = [
        latency_chart(rows),
        speedup_chart(own.pairs),
        front_chart(rows),
        batch_chart(rows),
        peak_chart(rows),
    ]
    assert all("#0072B2" in fills(chart, "rect") for chart in drawn)


def test_bars_are_as_long_as_their_values() -> None:
    records = [make_record("a", p50=10.0, width=0), make_record("b", p50=20.0, width=0)]
    chart = latency_chart(view(records).believable)
    assert chart is not None
    rects = [e.attrib for e in ElementTree.fromstring(chart.svg).iter(f"{SVG}rect")]
    widths = sorted(float(r["width"]) for r in rects if r["fill"] == "#0072B2")[1:]
    assert widths[1] / widths[0] == pytest.approx(2, rel=0.01)


def test_charts_without_anything_to_show_are_none() -> None:
    assert latency_chart([]) is None
    assert speedup_chart([]) is None


def test_thousands_of_cells_stay_bounded_and_the_caption_says_so() -> None:
    records = [
        make_record(f"model_{i:03}", backend, p50=5.0 + i, batch=batch)
        for i in range(60)
        for backend in ("pytorch", "onnx_cpu")
        for batch in (1, 2, 4, 8, 16, 32)
    ]
    own = view(records)
    for chart in (latency_chart(own.believable), speedup_chart(own.pairs)):
        assert chart is not None
        assert "The first 30 of 60 models are shown." in chart.caption
        assert "Of 6 batch sizes 1, 2, 8, 32 are shown." in chart.caption
        assert len(chart.svg) < 150_000


@pytest.mark.parametrize("p50", [1e-4, 1e9])
def test_extreme_numbers_draw(p50: float) -> None:
    records = [make_record(p50=p50), make_record(backend="pytorch", p50=1.0), make_record("b", p50=3.0)]
    own = view(records)
    for chart in (latency_chart(own.believable), speedup_chart(own.pairs)):
        assert "nan" not in "".join(texts(chart))


def test_a_model_has_no_lines_for_series_that_it_does_not_have() -> None:

    many = latency_chart(
        [
            row_of(make_record("a", p50=1.0)),
            *(row_of(make_record("b", p50=2.0, threads=n)) for n in (2, 3, 4)),
        ]
    )
    assert many is not None
    bars = [float(r["y"]) for r in attributes(many, "rect") if r["height"] == "13.5"]
    assert len(bars) == 4
    assert bars[1] - bars[0] < 25, "b follows at once"


def test_hostile_names_are_text_and_cut() -> None:
    name = "<script>alert(1)</script>\x1b" + "x" * 150
    chart = latency_chart([row_of(make_record(name))])
    assert chart is not None
    assert "<script" not in chart.svg
    assert max(map(len, texts(chart))) < 60


def test_unstable_cells_are_pale() -> None:
    chart = latency_chart([row_of(make_record(verdict=VerdictValue.UNSTABLE))])
    assert chart is not None and 'opacity="0.45"' in chart.svg


@pytest.mark.parametrize("highest", [0.003, 0.7, 1, 9.99, 10, 49, 1234, 0, float("inf")])
def test_ticks_are_round_start_at_0_and_reach_the_top(highest: float) -> None:
    ticks = round_ticks(highest)
    assert ticks[0] == 0
    assert 3 <= len(ticks) <= 8
    assert highest == float("inf") or ticks[-1] >= highest * 0.998


def test_fit_cuts_to_the_width() -> None:
    assert fit("resnet18", 100) == "resnet18"
    assert fit("x" * 100, 100).endswith("…")
    assert text_width(fit("模" * 100, 100)) <= 100


def test_a_precision_has_the_same_colour_whatever_stands_beside_it() -> None:
    alone = series_colours(["onnx_cpu · int8"])
    assert series_colours(["onnx_cpu", "onnx_cpu · bf16", "onnx_cpu · int8"])[2] == alone[0]
    assert (
        len(set(series_colours(["onnx_cpu", "onnx_cpu (a=1)", "onnx_cpu · int8", "onnx_cpu (a=1) · int8"])))
        == 4
    )
