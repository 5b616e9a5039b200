"""What has a colour of its own, and what it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.show.charts.drawn import texts
from tests.show.records import make_record

from zoobench.outcome import Memory
from zoobench.results.row import Row, row_of
from zoobench.show.charts.bars import Chart, latency_chart, speedup_chart
from zoobench.show.charts.distributions import distribution_chart
from zoobench.show.charts.front import front_chart
from zoobench.show.charts.memory import peak_chart
from zoobench.show.charts.plane import MEASURES, plane_chart
from zoobench.show.charts.series import colours_of, series_names
from zoobench.show.speedup import find_pairs


def measured(backend: str = "onnx_cpu", threads: int = 2, p50: float = 9.0, **more: object) -> Row:
    return row_of(make_record("resnet18", backend, p50, threads=threads, **more))  # type: ignore[arg-type]


BOTH = [measured(threads=2), measured(threads=1, p50=17.0)]
LONG = [measured(options={"compile_mode": mode}) for mode in ("max-autotune", "max-autotune-no-cudagraphs")]
HASHES = [measured(options={"inputs_sha256": 32 * pair}) for pair in ("ab", "cd")]


def _plane(rows: Sequence[Row]) -> Chart | None:
    return plane_chart(rows, MEASURES["latency"], MEASURES["size"])


def _distributions(rows: Sequence[Row]) -> Chart | None:
    return distribution_chart([(row, [row.median] * 9) for row in rows])


def _speedups(rows: Sequence[Row]) -> Chart | None:
    slow = [row_of(make_record("resnet18", "pytorch", 20.0, threads=row.threads)) for row in rows]
    return speedup_chart(find_pairs([*rows, *slow]))


@pytest.mark.parametrize(
    "draw",
    [latency_chart, _speedups, front_chart, _plane, peak_chart, _distributions],
    ids=lambda d: d.__name__,
)
def test_no_number_of_threads_hides_another(draw: Callable[[Sequence[Row]], Chart | None]) -> None:
    shown = " ".join(texts(draw(BOTH)))
    assert "onnx_cpu · 1 thread" in shown and "onnx_cpu · 2 threads" in shown
    assert "thread" not in " ".join(texts(draw([BOTH[0], measured("openvino")])))


def test_long_names_of_strips_are_whole() -> None:
    rows = [measured(precision="int8_dynamic", threads=n, batch=128) for n in (1, 2)]
    assert "onnx_cpu · int8_dynamic · 2 threads · batch 128" in texts(_distributions(rows))


def test_options_of_one_beginning_are_two_series_and_a_hash_is_cut() -> None:
    assert len(set(map(series_names(LONG), LONG))) == 2
    assert next(map(series_names(HASHES), HASHES)) == "onnx_cpu (inputs_sha256=abababababab)"
    assert latency_chart(LONG) is not None


def test_what_is_named_alike_is_not_hidden_in_silence() -> None:
    twins = [measured(memory=Memory(peak_bytes=9)), measured(p50=3.0, memory=Memory(peak_bytes=9))]
    chart = latency_chart(twins)
    assert chart is not None and chart.caption.endswith("the first is shown; left out: 1.")


def test_few_threads_come_before_many() -> None:
    names = [f"onnx_cpu · {n} threads" for n in (16, 2)]
    assert list(colours_of(names)) == names[::-1]
    assert len(set(colours_of(names).values())) == 2
