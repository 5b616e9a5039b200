"""Ratios of p50 over pairs that differ in the backend alone."""

from __future__ import annotations

import pytest
from tests.show import records
from tests.show.records import OTHER_MACHINE

from zoobench.judge.compare import VARYING, compare
from zoobench.outcome import Slot
from zoobench.results.row import Row, row_of
from zoobench.show import speedup
from zoobench.show.speedup import find_pairs, judged, summarise
from zoobench.terms import VerdictValue


def make_row(*args: object, **more: object) -> Row:
    return row_of(records.make_record(*args, **more))  # type: ignore[arg-type]


def pair(torch: float, onnx: float, model: str = "resnet18", **more: object) -> list[Row]:
    return [make_row(model, "pytorch", torch, **more), make_row(model, "onnx_cpu", onnx, **more)]


def slots(*ms: float) -> tuple[Slot, ...]:
    """A round each; the smallest call is the given one."""
    return tuple(
        Slot(fork=0, round=n, position=0, settling_ns=1, samples_ns=(round(x * 1e6), round(x * 1.5e6)))
        for n, x in enumerate(ms)
    )


def test_what_took_turns_is_told_as_compare_tells_it() -> None:
    torch, onnx = records.make_record(backend="pytorch", p50=20.0), records.make_record(p50=10.0)
    kept = {"pytorch": slots(16.0, 17.0, 18.0, 19.0), "onnx_cpu": slots(10.0, 12.0, 9.0, 11.0)}
    word = compare(
        "", (torch, kept["pytorch"]), (onnx, kept["onnx_cpu"]), delta=0.05, varying=VARYING["backend"]
    )
    (found,) = judged(find_pairs([row_of(torch), row_of(onnx)]), lambda row: kept[row.backend])
    assert found.kind == word.kind == "turns"
    assert word.ratio and word.interval and found.interval
    assert found.ratio == pytest.approx(1 / word.ratio)
    assert found.interval == pytest.approx((1 / word.interval[1], 1 / word.interval[0]))
    assert found.interval[0] < 1.52 < 1.9 < found.interval[1]


def test_without_turns_or_samples_it_is_told_by_the_medians_and_said() -> None:
    none_kept = judged(find_pairs(pair(20.0, 10.0)), lambda _: ())
    assert (none_kept[0].ratio, none_kept[0].kind) == (2.0, "intervals")
    assert "1 pair told by the two medians alone" in summarise(none_kept)[0].sentence
    rows = [make_row(backend="pytorch", p50=20.0), make_row(p50=10.0, run_id="run-2")]
    (apart,) = judged(find_pairs(rows), lambda _: slots(1.0, 1.0, 1.0))
    assert apart.kind == "intervals"


def test_samples_are_read_for_as_many_pairs_as_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speedup, "MOST_JUDGED", 2)
    rows = [row for n in range(5) for row in pair(20.0, 10.0, f"m{n}")]
    asked: list[str] = []
    found = judged(find_pairs(rows), lambda row: (asked.append(row.model), slots(1.0, 1.0, 1.0))[1])
    assert [p.kind for p in found] == ["turns", "turns", "intervals", "intervals", "intervals"]
    assert set(asked) == {"m0", "m1"}


def test_of_medians_the_interval_is_from_low_over_high_to_high_over_low() -> None:
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
