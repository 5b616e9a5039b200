"""Throughput and latency over the batch size: lines, knee and units."""

from __future__ import annotations

from tests.show.charts.drawn import HOSTILE, attributes, fills, is_harmless, texts
from tests.show.records import full_run, make_record

from zoobench.results.row import Row, row_of
from zoobench.show.charts.batches import batch_chart
from zoobench.terms import VerdictValue


def curve(p50s: dict[int, float], backend: str = "onnx_cpu", model: str = "resnet18") -> list[Row]:
    return [row_of(make_record(model, backend, p50, batch=batch)) for batch, p50 in p50s.items()]


def rings(rows: list[Row]) -> list[dict[str, str]]:
    return [circle for circle in attributes(batch_chart(rows), "circle") if circle["fill"] == "none"]


def test_units_stand_at_every_axis() -> None:
    chart = batch_chart([r for r in map(row_of, full_run()) if r.is_believable])
    shown = texts(chart)
    assert [shown.count(unit) for unit in ("items/s", "p50 (ms)", "batch size")] == [4, 4, 4]
    assert {"1", "4", "8", "resnet18"} <= set(shown)
    assert {"#0072B2", "#D55E00"} <= set(fills(chart, "circle"))


def test_the_knee_has_a_ring_where_larger_batches_buy_little() -> None:
    # 100, 195, 200 and 205 items/s.
    rows = curve({1: 10.0, 2: 10.26, 4: 20.0, 8: 39.0})
    (ring,) = rings(rows)
    dots = attributes(batch_chart(rows), "circle")
    assert ring["cx"] == dots[1]["cx"], "at batch 2"


def test_the_knee_is_that_of_all_batches_and_is_drawn_wherever_it_is() -> None:
    # Up to 14 throughput grows with the batch, and from there on by nothing.
    rows = curve({batch: 10.0 * max(1.0, batch / 14) for batch in range(1, 31)})
    chart = batch_chart(rows)
    (ring,) = rings(rows)
    at_13 = [c for c in attributes(chart, "circle") if c["cx"] == ring["cx"] and c["cy"] == ring["cy"]]
    assert len(at_13) == 2, "the point and its ring"
    assert chart is not None and " 13, " in chart.caption.partition("Of 30 batch sizes")[2]


def test_each_number_of_threads_is_a_line_of_its_own() -> None:
    two = [row_of(make_record(p50=5.0 * batch, batch=batch, threads=2)) for batch in (1, 2)]
    one = [row_of(make_record(p50=9.0 * batch, batch=batch, threads=1)) for batch in (1, 2)]
    chart = batch_chart(two + one)
    assert {"onnx_cpu · 1 thread", "onnx_cpu · 2 threads"} <= set(texts(chart))
    assert len(attributes(chart, "polyline")) == 4


def test_without_a_knee_nothing_is_marked() -> None:
    assert rings(curve({1: 10.0, 2: 10.0, 4: 10.0})) == []
    assert rings(curve({1: 10.0, 2: 20.0})) != []


def test_a_line_breaks_where_a_cell_has_no_number() -> None:
    whole = batch_chart(curve({1: 1.0, 2: 2.0, 8: 8.0, 16: 16.0}))
    assert len(attributes(whole, "polyline")) == 2, "throughput and latency"
    other = curve({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0, 16: 16.0}, "pytorch")
    broken = batch_chart(curve({1: 1.0, 2: 2.0, 8: 8.0, 16: 16.0}) + other)
    assert len(attributes(broken, "polyline")) == 6


def test_a_single_batch_size_is_no_curve() -> None:
    assert batch_chart([]) is None
    assert batch_chart(curve({4: 10.0})) is None
    assert batch_chart(curve({4: 10.0}) + curve({8: 10.0}, model="other")) is None


def test_unstable_points_are_hollow() -> None:
    shaky = row_of(make_record(batch=8, p50=70.0, verdict=VerdictValue.UNSTABLE))
    chart = batch_chart([*curve({1: 10.0}), shaky])
    assert fills(chart, "circle").count("white") == 2
    assert chart is not None and "Hollow points are unstable" in chart.caption


def test_many_models_and_batches_stay_bounded_and_are_told() -> None:
    rows = [
        row
        for n in range(40)
        for backend in ("pytorch", "onnx_cpu")
        for row in curve({b: 5.0 + n * b for b in range(1, 31)}, backend, f"model_{n:02}")
    ]
    chart = batch_chart(rows)
    assert chart is not None
    assert "The first 12 of 40 models are shown." in chart.caption and "Of 30 batch sizes" in chart.caption
    assert len(chart.svg) < 250_000


def test_a_hostile_name_is_text() -> None:
    assert is_harmless(batch_chart(curve({1: 1.0, 2: 2.0}, model=HOSTILE)))
