"""Ratios of p50 over pairs that differ in the backend alone."""

from __future__ import annotations

import pytest
from tests.show import records
from tests.show.records import OTHER_MACHINE

from zoobench.results.row import Row, row_of
from zoobench.show.speedup import find_pairs, summarise
from zoobench.terms import VerdictValue


def make_row(*args: object, **more: object) -> Row:
    return row_of(records.make_record(*args, **more))  # type: ignore[arg-type]


def pair(torch: float, onnx: float, model: str = "resnet18", **more: object) -> list[Row]:
    return [make_row(model, "pytorch", torch, **more), make_row(model, "onnx_cpu", onnx, **more)]


def test_the_ratio_is_of_p50_and_its_interval_is_conservative() -> None:
    (found,) = find_pairs(pair(20.0, 10.0, width=0.1))
    assert found.ratio == 2.0
    assert found.interval == pytest.approx((18 / 11, 22 / 9))
    assert found.verdict == "faster"
    assert found.took_turns


@pytest.mark.parametrize(
    ("torch", "onnx", "verdict"), [(10, 10.1, "undecided"), (10, 20, "slower"), (20, 10, "faster")]
)
def test_an_interval_that_holds_1_decides_nothing(torch: float, onnx: float, verdict: str) -> None:
    (found,) = find_pairs(pair(torch, onnx))
    assert found.verdict == verdict


@pytest.mark.parametrize(
    "change",
    [{"batch": 4}, {"precision": "bf16"}, {"threads": 1}, {"machine": OTHER_MACHINE}, {"weights": "random"}],
)
def test_what_differs_in_more_than_the_backend_is_no_pair(change: dict[str, object]) -> None:
    rows = [make_row(backend="pytorch"), make_row(backend="onnx_cpu", **change)]
    assert find_pairs(rows) == []


def test_a_baseline_with_the_same_options_is_preferred() -> None:
    plain, same = make_row(backend="pytorch"), make_row(backend="pytorch", options={"allow_spinning": False})
    other = make_row(options={"allow_spinning": False})
    (found,) = find_pairs([plain, same, other])
    assert found.base is same
    (found,) = find_pairs([plain, other])
    assert found.base is plain


def test_what_was_called_otherwise_is_no_baseline() -> None:
    plain, rested = (
        make_row(backend="pytorch"),
        make_row(options={"gap_ms": 5.0, "graph_optimization": "basic"}),
    )
    assert find_pairs([plain, rested]) == []
    base = make_row(backend="pytorch", options={"gap_ms": 5.0})
    (found,) = find_pairs([plain, rested, base])
    assert found.base is base


def test_cuda_is_compared_with_pytorch_on_cuda() -> None:
    cpu, gpu = make_row(backend="pytorch"), make_row(backend="pytorch_cuda", device="cuda")
    (found,) = find_pairs([cpu, gpu, make_row(backend="onnx_cuda", device="cuda")])
    assert found.base is gpu


def test_the_sentence_tells_range_mean_and_number_of_pairs() -> None:
    (summary,) = summarise(find_pairs(pair(20, 10) + pair(16, 2, "resnet50")))
    assert summary.geometric_mean == pytest.approx(4.0)
    for part in (
        "ONNX Runtime",
        "PyTorch",
        "4.00×",
        "2 pairs over 2 models",
        "2.00× (resnet18",
        "8.00× (resnet50",
    ):
        assert part in summary.sentence
    assert "2 faster" in summary.sentence
    assert "unstable" not in summary.sentence


def test_the_sentence_warns_of_unstable_numbers_and_of_different_runs() -> None:
    rows = pair(20, 10)
    rows.append(make_row("resnet50", "pytorch", 30.0, verdict=VerdictValue.UNSTABLE))
    rows.append(make_row("resnet50", "onnx_cpu", 10.0, run_id="run-2"))
    (summary,) = summarise(find_pairs(rows))
    assert "1 pair with a number marked unstable" in summary.sentence
    assert "1 pair that took no turns" in summary.sentence


def test_cells_that_memory_took_apart_took_no_turns() -> None:
    rows = [make_row("resnet18", "pytorch", 20.0, group=0), make_row("resnet18", "onnx_cpu", 10.0, group=1)]
    assert "1 pair that took no turns" in summarise(find_pairs(rows))[0].sentence
    rows[1] = make_row("resnet18", "onnx_cpu", 10.0, group=0)
    assert "took no turns" not in summarise(find_pairs(rows))[0].sentence


def test_served_cells_are_no_speed_up() -> None:
    told = {"scenario": "server", "options": {"target_qps": 50.0}}
    assert not find_pairs([make_row(backend="pytorch", p50=20.0, **told), make_row(p50=10.0, **told)])
