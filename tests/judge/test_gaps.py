"""What was not measured, and that the runs which would measure it are just those."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.judge.rows import cell, speaker
from tests.show.records import make_accuracy, make_failure

from zoobench.judge.asks import Ask, Carried, Gap, Wish, cover
from zoobench.judge.holes import Offer
from zoobench.judge.recommend import recommend
from zoobench.judge.wanted import Goal, LatencyLimit, Wanted
from zoobench.results.row import row_of
from zoobench.terms import Status, VerdictValue


def limit(percentile: int, ms: float) -> Wanted:
    return Wanted(latency=(LatencyLimit(percentile, ms),))


def gap(kind: str, rows: Any, wanted: Wanted | None = None, **more: Any) -> Gap | None:
    found = [one for one in recommend(rows, wanted or Wanted(), **more).gaps if one.kind == kind]
    assert len(found) < 2
    return found[0] if found else None


def words(found: Gap | None) -> list[str]:
    assert found is not None
    return [" ".join(ask.words("results")) for ask in found.asks]


RUN = "zoobench run --models resnet18 --backends onnx_cpu --precisions"


def test_a_percentile_asks_for_more_calls() -> None:
    assert words(gap("percentile", [cell()], limit(99, 20))) == [
        f"{RUN} fp32 --batch-sizes 1 --effort standard --results-dir results"
    ]
    # 500 calls of 400 ms do not fit into a minute.
    slow = cell(p50=400, mean_ms=400.0)
    assert words(gap("percentile", [slow], limit(99, 500))) == [
        f"{RUN} fp32 --batch-sizes 1 --effort standard --max-case-time 250 --results-dir results"
    ]
    bought = [cell(effort=effort) for effort in ("standard", "thorough")]
    assert "--effort thorough --results-dir" in words(gap("percentile", bought[:1], limit(99, 20)))[0]
    assert (
        "--effort thorough --on-existing rerun --max-case-time"
        in words(gap("percentile", bought[1:], limit(99, 20)))[0]
    )


def test_what_cannot_hold_the_limit_is_not_asked_for() -> None:
    assert gap("percentile", [cell(p50=21)], limit(99, 20)) is None
    # The best one is known to be faster than this median already.
    known = cell(backend="openvino", p50=5, p99_ms=6.0, p99_interval_ms=(5.5, 7.0))
    assert gap("percentile", [cell(p50=10), known], limit(99, 20)) is None
    assert gap("percentile", [cell(p50=6), known], limit(99, 20)) is not None


def test_a_wide_interval_asks_for_more_calls() -> None:
    near = cell(p50=10, p99_ms=19.0, p99_interval_ms=(18.0, 21.0))
    found = gap("interval", [near], limit(99, 20))
    assert found is not None and found.what.startswith("1 cell holds --max-latency p99:20ms by the figure")
    assert "--effort standard" in words(found)[0]


def test_a_drop_asks_for_pictures() -> None:
    rows = [cell(precision="int8", p50=5), cell(p50=10)]
    sample = "--dataset mini-imagenet --calibration mini-imagenet"
    assert words(gap("drop", rows, Wanted(max_drop=0.01))) == [
        f"{RUN} int8 --batch-sizes 1 {sample} --results-dir results"
    ]
    # Nobody asked, but who ships it should know.
    assert words(gap("drop", rows)) == [f"{RUN} int8 --batch-sizes 1 {sample} --results-dir results"]
    own = Carried.of(["zoobench", "run", "--dataset=./mine", "--calibration", "./others", "--samples", "50"])
    few = cell(precision="int8", p50=5, accuracy=make_accuracy(76, 100, lost=1, won=1, agree=97))
    said = words(gap("open", [few], Wanted(max_drop=0.01), carried={"run-1": own}))
    assert few.images_needed is not None
    assert f"--dataset ./mine --samples {few.images_needed} --calibration ./others" in said[0]
    assert "--samples 50" not in said[0]


def test_random_weights_claim_nothing_however_many_pictures() -> None:
    rows = [cell(precision="int8", p50=5, weights="random")]
    said = words(
        gap("drop", rows, Wanted(max_drop=0.01), carried={"run-1": Carried(("--weights", "random"))})
    )
    assert "--weights pretrained" in said[0] and "--weights random" not in said[0]


def test_unstable_and_disturbed_ones_are_measured_again() -> None:
    shaky = cell(backend="openvino", p50=5, verdict=VerdictValue.UNSTABLE)
    slow = cell(backend="pytorch", p50=50, verdict=VerdictValue.UNSTABLE)
    noisy = cell(
        backend="torch_compile", verdict=VerdictValue.INVALID, reasons=[("cpu_contended", "another process")]
    )
    wrong = cell(precision="int8", verdict=VerdictValue.INVALID, reasons=[("outputs_differ", "not equal")])
    rows = [cell(p50=10), shaky, slow, noisy, wrong]
    again = "--precisions fp32 --batch-sizes 1 --on-existing rerun --results-dir results"
    # The best one is measured with it where one run can: then they take turns.
    assert words(gap("unstable", rows)) == [
        f"zoobench run --models resnet18 --backends onnx_cpu openvino {again}"
    ]
    other = [cell("resnet50", p50=10), shaky]
    assert words(gap("unstable", other)) == [f"zoobench run --models resnet18 --backends openvino {again}"]
    assert words(gap("disturbed", rows)) == [
        f"zoobench run --models resnet18 --backends torch_compile {again}"
    ]


def test_what_was_so_disturbed_that_it_has_no_median_is_counted_and_measured_again() -> None:
    noisy = cell(verdict=VerdictValue.INVALID, reasons=[("cpu_contended", "another process")], p50_ms=None)
    found = recommend([noisy, cell(backend="pytorch")], Wanted())
    assert [row.backend for row in found.missing] == ["onnx_cpu"] and found.invalid == ()
    assert "--backends onnx_cpu" in words(gap("disturbed", [noisy]))[0]


def test_holes_of_the_grid_are_asked_for_and_nothing_else() -> None:
    rows = [
        cell("a", p50=10),
        cell("a", "openvino", p50=12),
        cell("b", p50=20),
        cell("c", "openvino", p50=30),
        row_of(make_failure("c", status=Status.SKIPPED)),
    ]
    end = "--precisions fp32 --batch-sizes 1 --results-dir results"
    assert words(gap("cells", rows)) == [f"zoobench run --models b --backends openvino {end}"]


def test_larger_batches_are_asked_for_where_throughput_counts() -> None:
    rows = [cell("a", p50=10), cell("a", batch=8, p50=70), cell("b", p50=12)]
    assert gap("cells", rows) is None
    for wanted in (Wanted(min_throughput=50), Wanted(minimize=Goal.COST, price_per_hour=1.0)):
        assert "--models b" in words(gap("cells", rows, wanted))[0]


def test_what_was_never_tried_is_offered_for_the_best_one() -> None:
    offers = {
        "onnx_cpu": Offer("cpu", ("fp32", "int8"), ("image_classification",)),
        "openvino": Offer("cpu", ("fp32", "int8"), ("image_classification",)),
        "onnx_cuda": Offer("cuda", ("fp32",), ("image_classification",)),
        "llama_cpp": Offer("cpu", ("int4",), ("text_generation",)),
    }
    said = words(gap("untried", [cell(batch=4)], offers=offers))
    assert said == [
        "zoobench run --models resnet18 --backends openvino --precisions fp32 int8 --batch-sizes 4 --results-dir results",
        f"{RUN} int8 --batch-sizes 4 --results-dir results",
    ]
    on_gpu = words(gap("untried", [cell(gpus=("NVIDIA L4",))], offers=offers))
    assert any("onnx_cuda" in line for line in on_gpu)
    with_drop = words(gap("untried", [cell()], Wanted(max_drop=0.01), offers=offers))
    assert all("--dataset mini-imagenet" in line for line in with_drop)
    assert all(("--calibration" in line) is ("int8" in line) for line in with_drop)


def test_energy_says_what_would_count_it() -> None:
    found = gap("energy", [cell()], Wanted(minimize=Goal.ENERGY))
    assert found is not None and "RAPL" in found.what
    assert "--on-existing rerun" in words(found)[0]


def test_the_model_is_named_as_it_was_typed() -> None:
    argv = ["zoobench", "run", "--models", "./nets/my net.onnx", "./smollm2", "--registry", "mine.toml"]
    carried = {"run-1": Carried.of(argv)}
    rows = [cell("my_net.onnx", weights="local"), cell("smollm2/", weights="local", p50=12)]
    found = gap("percentile", rows, limit(99, 20), carried=carried)
    assert found is not None
    assert found.asks[0].models == ("./nets/my net.onnx", "./smollm2")
    assert found.asks[0].rest[-2:] == ("--registry", "mine.toml")


@pytest.mark.parametrize(
    ("said", "carried"),
    [
        (["--allow-pickle"], ["--allow-pickle"]),
        (["--allow_pickle=TRUE"], ["--allow-pickle"]),
        (["--allow-pickle=false"], []),
        (["--allow-pickle=0", "--task", "t"], ["--task", "t"]),
        (["--dataset_config", "x"], ["--dataset-config", "x"]),
        (["--registry=a=b"], ["--registry", "a=b"]),
        (["--registry=-r.yaml", "--inputs=--weights"], ["--registry", "-r.yaml", "--inputs", "--weights"]),
        (["--dataset"], []),
    ],
)
def test_flags_are_carried_as_the_command_line_reads_them(said: list[str], carried: list[str]) -> None:
    assert Carried.of(["zoobench", "run", *said]).flags == tuple(carried)


def test_a_value_that_looks_like_a_flag_is_typed_behind_an_equals_sign() -> None:
    rest = (
        "--io-binding",
        "--registry",
        "-r.yaml",
        "--allow-pickle",
        "--inputs",
        "--x",
        "--options",
        "a=1",
        "b=2",
    )
    said = Ask(("a",), ("b",), ("fp32",), (1,), rest).words("-x")
    assert said[-9:] == (
        "1", "--io-binding", "--registry=-r.yaml", "--allow-pickle", "--inputs=--x", "--options", "a=1", "b=2", "--results-dir=-x",
    )  # fmt: skip


def test_the_load_is_asked_for_again() -> None:
    row = speaker(
        options={"concurrency": 4, "ttft_limit_ms": 500.00000000001}, verdict=VerdictValue.UNSTABLE, threads=1
    )
    (said,) = words(gap("unstable", [row]))
    for flag in (
        "--prompt-tokens 128", "--new-tokens 64", "--concurrency 4", "--max-ttft 500.00000000001ms", "--threads 1",
    ):  # fmt: skip
        assert flag in said
    tuned = cell(
        options={"graph_optimization": "all", "spin": True, "name": "8"}, verdict=VerdictValue.UNSTABLE
    )
    assert '--options graph_optimization=all name="8" spin=true' in words(gap("unstable", [tuned]))[0]


_WISHES = st.lists(
    st.builds(
        Wish,
        st.sampled_from("abc"),
        st.sampled_from(["x", "y"]),
        st.sampled_from(["fp32", "int8"]),
        st.integers(1, 3),
        st.sampled_from([(), ("--registry", "r.toml")]),
        st.sampled_from([(), ("--effort", "standard")]),
    ),
    max_size=25,
)


@given(_WISHES)
def test_the_runs_measure_just_what_was_wished_for(wishes: list[Wish]) -> None:
    def cells(ask: Ask) -> list[Any]:
        product = itertools.product(ask.models, ask.backends, ask.precisions, ask.batches)
        return [(*one, ask.rest) for one in product]

    wished = {(w.model, w.backend, w.precision, w.batch, (*w.words, *w.flags)) for w in wishes}
    asked = Counter(one for ask in cover(wishes) for one in cells(ask))
    assert set(asked) == wished
    assert all(count == 1 for count in asked.values())
    assert sum(ask.cells for ask in cover(wishes)) == len(wished)


@pytest.mark.parametrize(
    ("p50", "reasons", "asked"),
    [
        (19.0, [("cpu_contended", "another process")], True),
        (21.0, [("cpu_contended", "another process")], False),
        (19.0, [("cpu_contended", "another process"), ("drift", "it drifted")], True),
        (19.0, [("cpu_contended", "another process"), ("differs_from_reference", "not equal")], False),
    ],
)
def test_what_was_disturbed_is_asked_for_where_half_its_time_could_win(
    p50: float, reasons: list[tuple[str, str]], asked: bool
) -> None:
    noisy = cell(backend="openvino", p50=p50, width=0.001, verdict=VerdictValue.INVALID, reasons=reasons)
    found = gap("disturbed", [cell(p50=10, width=0.001), noisy])
    assert (found is not None) is asked
