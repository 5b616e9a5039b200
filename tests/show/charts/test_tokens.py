"""Charts of language models: what is drawn where, what is left out, and that nothing lies on anything else."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.show.records import make_record, write_results

from zoobench.measure.generation import summarise_tokens
from zoobench.outcome import Memory, Slot
from zoobench.results.record import Record
from zoobench.results.row import Row, row_of
from zoobench.show.charts.bars import Chart, latency_chart
from zoobench.show.charts.tokens import decode_chart, itl_chart, memory_chart
from zoobench.show.report import write_report
from zoobench.show.svg import DIM
from zoobench.terms import VerdictValue

SVG = "{http://www.w3.org/2000/svg}"
MB = 10**6
LEFT = 72
"""Of the first panel's axis."""


def spoken(
    backend: str = "ort_genai",
    precision: str = "fp32",
    *,
    prompt: int = 64,
    new: int = 9,
    token_ms: float = 20.0,
    model: str = "tinyllama",
    peak: int = 800 * MB,
    verdict: VerdictValue = VerdictValue.VALID,
    **more: Any,
) -> Record:
    """Six requests; token i + 1 comes `token_ms` + i ms after token i."""
    options = {"prompt_tokens": prompt, "new_tokens": new, **more.pop("options", {})}
    times = [200.0]
    for i in range(new - 1):
        times.append(times[-1] + token_ms + i)
    record = make_record(
        model, backend, times[-1], precision=precision, scenario="tokens", options=options, verdict=verdict, **more
    )  # fmt: skip
    token_ns = tuple(int(t * 1e6) for t in times)
    slot = Slot(
        fork=0, round=0, position=0, settling_ns=0, samples_ns=(token_ns[-1],) * 6, token_ns=(token_ns,) * 6
    )
    memory = Memory(peak_bytes=peak, kv_used_bytes=(prompt + new - 1) * MB)
    return record.model_copy(update={"generation": summarise_tokens(record.case, [slot]), "memory": memory})


def rows(*records: Record) -> list[Row]:
    return [row for row in map(row_of, records) if row.is_believable]


def shapes(chart: Chart | None, kind: str) -> list[ElementTree.Element]:
    assert chart is not None
    return list(ElementTree.fromstring(chart.svg).iter(f"{SVG}{kind}"))


def texts(chart: Chart | None) -> list[str]:
    return [e.text or "" for e in shapes(chart, "text")]


def points(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())]


def axis_of(chart: Chart | None) -> float:
    """Where 0 lies in the lowest panel."""
    return max(float(e.attrib["y1"]) for e in shapes(chart, "line") if e.attrib["stroke"] == DIM)


def test_itl_has_a_line_a_backend_and_precision_and_a_panel_for_each_length() -> None:
    chart = itl_chart(rows(spoken(), spoken(precision="int4", token_ms=10.0), spoken(prompt=128)))
    lines = shapes(chart, "polyline")
    assert [len(points(line)) for line in lines] == [8, 8, 8]
    assert {"tinyllama", "batch 1 · 64 + 9 tokens", "batch 1 · 128 + 9 tokens"} <= set(texts(chart))
    assert {"ort_genai", "ort_genai · int4", "ITL (ms)", "position of the token"} <= set(texts(chart))
    # Times of 20 to 27 ms over 10 to 17 ms, on one axis that begins at 0.
    upper, lower = (points(line) for line in lines[:2])
    bottom = axis_of(chart)
    assert (bottom - upper[0][1]) / (bottom - lower[0][1]) == pytest.approx(2.0, rel=0.01)
    assert (bottom - upper[7][1]) / (bottom - lower[7][1]) == pytest.approx(27 / 17, rel=0.01)
    assert (upper[0][0] - LEFT) / (upper[7][0] - LEFT) == pytest.approx(2 / 9, abs=0.01), (
        "the second token first"
    )


def test_a_line_of_a_long_answer_has_few_points_and_the_caption_says_so() -> None:
    chart = itl_chart(rows(spoken(new=1001)))
    assert len(points(shapes(chart, "polyline")[0])) == 200
    assert chart is not None and "up to 5 neighbours drawn as their median" in chart.caption


def test_rate_and_memory_are_drawn_where_two_lengths_were_measured() -> None:
    short, long = spoken(), spoken(prompt=576, token_ms=40.0, peak=1000 * MB)
    other = spoken(model="phi")
    decode = decode_chart(rows(short, long, other))
    assert [text for text in texts(decode) if text in ("tinyllama", "phi", "batch 1")] == [
        "tinyllama",
        "batch 1",
    ]
    [line] = map(points, shapes(decode, "polyline"))
    bottom = axis_of(decode)
    rates = [r.decode_tokens_per_s or 0.0 for r in rows(short, long)]
    assert (bottom - line[0][1]) / (bottom - line[1][1]) == pytest.approx(rates[0] / rates[1], rel=0.01)
    assert (line[0][0] - LEFT) / (line[1][0] - LEFT) == pytest.approx(73 / 585, rel=0.02)
    memory = memory_chart(rows(short, long, other))
    assert {"peak (MB)", "KV used (MB)", "prompt + new tokens"} <= set(texts(memory))
    assert [len(points(line)) for line in shapes(memory, "polyline")] == [2, 2]


def test_a_chart_of_one_point_is_left_out() -> None:
    assert itl_chart(rows(spoken(new=2))) is None and itl_chart(rows(spoken(new=1))) is None
    for chart in (decode_chart, memory_chart):
        assert chart([]) is None
        assert chart(rows(spoken())) is None
        # Another batch or other threads are another line, and no second length.
        assert chart(rows(spoken(), spoken(prompt=576, batch=2))) is None
        assert chart(rows(spoken(), spoken(prompt=576, threads=1))) is None
    # 64 + 128 and 128 + 64 tokens are two cells of one length.
    assert decode_chart(rows(spoken(prompt=64, new=128), spoken(prompt=128, new=64))) is None


def test_what_cannot_be_believed_is_not_drawn_and_what_may_move_is_marked() -> None:
    unstable = spoken(prompt=576, verdict=VerdictValue.UNSTABLE)
    invalid = spoken(prompt=1152, verdict=VerdictValue.INVALID)
    chart = decode_chart(rows(spoken(), unstable, invalid))
    assert [e.attrib["fill"] for e in shapes(chart, "circle")] == ["#54278F", "white"]
    assert chart is not None and "Rings are unstable." in chart.caption
    steady = decode_chart(rows(spoken(), spoken(prompt=576)))
    assert steady is not None and "unstable" not in steady.caption and "dasharray" not in steady.svg
    dashed = itl_chart(rows(spoken(verdict=VerdictValue.UNSTABLE)))
    assert "stroke-dasharray" in shapes(dashed, "polyline")[0].attrib
    assert dashed is not None and "Dashed lines are unstable." in dashed.caption


def test_colours_are_those_of_the_other_charts() -> None:
    kinds = (("ort_genai", "fp32"), ("ort_genai", "int4"), ("pytorch", "fp32"))
    shown = rows(*(spoken(backend, precision, prompt=n) for backend, precision in kinds for n in (64, 576)))
    latency = latency_chart([r for r in shown if r.prompt_tokens == 64])
    theirs = {e.attrib["fill"] for e in shapes(latency, "rect")[1:]}
    for chart in (itl_chart(shown), memory_chart(shown)):
        assert {e.attrib["fill"] for e in shapes(chart, "rect")[1:]} == theirs


def test_a_line_needs_two_lengths_and_a_panel_a_line() -> None:
    shown = rows(spoken(), spoken(prompt=576), spoken("pytorch"))
    chart = decode_chart(shown)
    assert len(shapes(chart, "polyline")) == 1 and chart is not None and "pytorch" not in chart.svg
    many = [spoken(f"b{n}") for n in range(16)] + [spoken("late", model="other")]
    chart = itl_chart(rows(*many))
    assert chart is not None and "other" not in chart.svg and "The first 16 of 17" in chart.caption


def test_lines_that_lie_on_each_other_are_nested() -> None:
    shown = rows(*(spoken(precision=p, prompt=n) for p in ("fp32", "int4") for n in (64, 576)))
    widths = [float(e.attrib["stroke-width"]) for e in shapes(decode_chart(shown), "polyline")]
    assert widths == [4, 2]


def test_names_stand_beside_the_ends_and_none_lies_on_another() -> None:
    shown = rows(
        *(
            spoken(backend, options={"concurrency": clients}, prompt=n, token_ms=ms)
            for backend, ms in (("ort_genai", 20.0), ("pytorch", 400.0))
            for clients in (1, 2, 4, 8)
            for n in (64, 576)
        )
    )
    chart = decode_chart(shown)
    assert chart is not None
    names = [e for e in shapes(chart, "text") if (e.text or "").startswith(("ort_genai", "pytorch"))]
    heights = sorted(float(e.attrib["y"]) for e in names)
    assert len(heights) == 8 and all(after - before >= 14 for before, after in pairwise(heights))
    # Four slow lines end just above the axis; their names do not run into what stands below it.
    assert heights[-1] <= axis_of(chart) + 4
    assert len({e.attrib["x"] for e in names}) == 1


def test_many_models_stay_bounded_and_the_caption_says_so() -> None:
    chart = decode_chart(rows(*(spoken(model=f"m{i}", prompt=n) for i in range(20) for n in (64, 576))))
    assert chart is not None and "The first 12 of 20 panels are shown." in chart.caption


def test_the_report_holds_them_as_files_and_the_page_within_itself(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", [spoken(), spoken(prompt=576)])
    written = write_report(results, tmp_path / "R.md")
    assert {p.name for p in written.charts} >= {"itl.svg", "decode.svg", "memory.svg"}
    text = written.report.read_text("utf-8")
    at = [
        text.index(word)
        for word in ("### Language models", "itl.svg", "decode.svg", "### Memory", "memory.svg")
    ]
    assert at == sorted(at)
    page = write_report(results, tmp_path / "R.html", "html").report.read_text("utf-8")
    assert len(re.findall(r"<figure>", page)) == len(written.charts)
