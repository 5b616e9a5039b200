"""One cell over time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from tests.show.records import make_failure, make_record

from zoobench.results.row import Row, row_of
from zoobench.show.charts.bars import Chart
from zoobench.show.charts.history import MOST_RECORDS, history_chart
from zoobench.terms import VerdictValue

SVG = "{http://www.w3.org/2000/svg}"


def rows(count: int, **last: object) -> list[Row]:
    made = [
        make_record(p50=9.0 + n % 5 / 10, at=f"2026-10-{1 + n // 24:02d}T{n % 24:02d}:00:00+00:00")
        for n in range(count)
    ]
    made[-1] = make_record(at="2026-11-01T00:00:00+00:00", **last)  # type: ignore[arg-type]
    return [row_of(record) for record in made]


def dashed(chart: Chart | None) -> int:
    assert chart is not None
    lines = ElementTree.fromstring(chart.svg).iter(f"{SVG}line")
    return sum("stroke-dasharray" in line.attrib for line in lines)


def test_a_point_a_record_and_a_line_where_the_software_changed() -> None:
    chart = history_chart(rows(4, versions={"onnxruntime": "9"}))
    assert chart is not None
    assert len(list(ElementTree.fromstring(chart.svg).iter(f"{SVG}circle"))) == 4
    assert dashed(chart) == 1
    assert "p50 (ms)" in chart.svg


def test_an_invalid_number_is_crossed_out_and_joined_to_nothing() -> None:
    chart = history_chart(rows(3, verdict=VerdictValue.INVALID))
    assert chart is not None
    assert "Crosses are invalid" in chart.caption
    (line,) = ElementTree.fromstring(chart.svg).iter(f"{SVG}polyline")
    assert len(line.attrib["points"].split()) == 2


def test_many_records_are_cut_to_the_newest_and_that_is_said() -> None:
    chart = history_chart(rows(MOST_RECORDS + 5))
    assert chart is not None
    assert f"The last {MOST_RECORDS} of {MOST_RECORDS + 5} records" in chart.caption


def test_without_a_number_there_is_no_chart() -> None:
    assert history_chart([row_of(make_failure())]) is None


def test_one_record_is_a_point_and_an_odd_time_is_no_error() -> None:
    chart = history_chart([row_of(make_record(at="yesterday", width=0.0))])
    assert chart is not None
    assert "yesterday" in chart.svg
