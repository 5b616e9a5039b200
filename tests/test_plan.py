"""The plan: pure, so every rule is tried without starting anything."""

from __future__ import annotations

import dataclasses

import pytest

from zoobench.errors import UsageError
from zoobench.plan import Inventory, Request, Variant, check, plan
from zoobench.spec import ModelSpec
from zoobench.terms import Precision

A = ModelSpec(name="a", hf_id="org/a")
B = ModelSpec(name="b", hf_id="org/b")
FILE = ModelSpec(name="f.onnx", library="onnx", path="/models/f.onnx")
HERE = Inventory(4, {})


def asked(**changes: object) -> Request:
    return dataclasses.replace(Request(models=[A], backends=["pytorch", "onnx_cpu"]), **changes)


def test_cases_of_one_model_and_batch_form_a_group_in_the_order_asked() -> None:
    planned = plan(asked(models=[A, B], batch_sizes=[1, 8]), HERE)
    seen = [[(c.model, c.backend, c.batch) for c in group.cases] for group in planned.groups]
    assert seen == [
        [("a", "pytorch", 1), ("a", "onnx_cpu", 1)],
        [("a", "pytorch", 8), ("a", "onnx_cpu", 8)],
        [("b", "pytorch", 1), ("b", "onnx_cpu", 1)],
        [("b", "pytorch", 8), ("b", "onnx_cpu", 8)],
    ]
    assert not planned.skips
    assert {c.threads for c in planned.cases} == {4}


def test_a_backend_that_cannot_run_here_is_a_skip_with_its_reason() -> None:
    planned = plan(asked(), Inventory(4, {"onnx_cpu": "it is not installed"}))
    assert [c.backend for c in planned.cases] == ["pytorch"]
    assert [(s.case.backend, s.reason) for s in planned.skips] == [("onnx_cpu", "it is not installed")]


def test_a_precision_that_a_backend_does_not_run_is_a_skip() -> None:
    planned = plan(asked(precisions=[Precision.FP32, Precision.INT4]), HERE)
    assert [s.case.precision for s in planned.skips] == [Precision.INT4, Precision.INT4]
    assert "it runs fp32" in planned.skips[0].reason


def test_a_precision_that_would_be_no_gain_is_a_skip_that_says_why() -> None:
    planned = plan(asked(precisions=[Precision.BF16]), HERE)
    [skip] = planned.skips
    assert skip.case.backend == "onnx_cpu" and "no bf16 kernels" in skip.reason


def test_an_onnx_file_is_not_given_to_pytorch() -> None:
    planned = plan(asked(models=[FILE]), HERE)
    assert [c.backend for c in planned.cases] == ["onnx_cpu"]
    assert "use onnx_cpu or openvino" in planned.skips[0].reason


def test_more_threads_than_cpus_and_impossible_gaps_are_refused() -> None:
    with pytest.raises(UsageError, match="--threads 5 is out of range; this process may use 4 CPUs"):
        plan(asked(threads=5), HERE)
    for gap in ("banana", True, -1, 1e9, float("nan")):
        with pytest.raises(UsageError, match="--gap"):
            plan(asked(options={"gap_ms": gap}), HERE)


def test_two_models_of_one_name_would_share_their_results() -> None:
    with pytest.raises(UsageError, match="two of the models are called 'a'"):
        plan(asked(models=[A, ModelSpec(name="a", hf_id="other/a")]), HERE)


def test_an_option_reaches_only_the_backends_that_understand_it() -> None:
    planned = plan(asked(options={"graph_optimization": "none", "gap_ms": 5.0}), HERE)
    options = {c.backend: c.options for c in planned.cases}
    assert options == {"pytorch": {"gap_ms": 5.0}, "onnx_cpu": {"gap_ms": 5.0, "graph_optimization": "none"}}


def test_the_identity_of_a_case_is_stable_and_tells_every_field_apart() -> None:
    first, again = plan(asked(), HERE).cases[0], plan(asked(), HERE).cases[0]
    assert first.id == again.id
    others = [
        *plan(asked(batch_sizes=[2]), HERE).cases,
        *plan(asked(threads=1), HERE).cases,
        *plan(asked(options={"gap_ms": 1.0}), HERE).cases,
        *plan(asked(models=[B]), HERE).cases,
        *plan(asked(arm="head"), HERE).cases,
        *plan(asked(precisions=[Precision.BF16]), HERE).cases,
    ]
    ids = [case.id for case in others]
    assert first.id not in ids and len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": []}, "--models is empty"),
        ({"backends": []}, "--backends is empty"),
        ({"batch_sizes": []}, "--batch-sizes is empty"),
        ({"precisions": []}, "--precisions is empty"),
        ({"backends": ["onx_cpu"]}, "did you mean 'onnx_cpu'"),
        ({"batch_sizes": [0]}, "--batch-sizes 0 is out of range"),
        ({"batch_sizes": [-1]}, "--batch-sizes -1 is out of range"),
        ({"batch_sizes": [10**9]}, "--batch-sizes 1000000000 is out of range"),
        ({"threads": 0}, "--threads 0 is out of range; this process may use 4 CPUs"),
        ({"options": {"turbo": True}}, "--options turbo"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_flag_and_the_value(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check(asked(**changes), 4)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_load_is_refused_where_it_cannot_be_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    offline = asked(scenario="offline", backends=["fake"])
    with pytest.raises(UsageError, match="fake_clock=wall"):
        check(offline, 2)
    wall = dataclasses.replace(offline, options={"fake_clock": "wall"})
    check(wall, 2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"not installed; .*pip install .*\[loadgen\]'"):
        check(wall, 2)


CHAT = ModelSpec(name="chat", hf_id="org/chat", task="text_generation")
AT = {"endpoint": "http://127.0.0.1:1/v1"}


def test_numbers_of_clients_are_cells_of_their_own() -> None:
    planned = plan(asked(models=[CHAT], backends=["pytorch"], concurrency=[1, 4]), HERE)
    assert [[c.options.get("concurrency") for c in group.cases] for group in planned.groups] == [[None], [4]]
    with pytest.raises(UsageError, match="--concurrency is for language models"):
        plan(asked(concurrency=[2]), HERE)
    with pytest.raises(UsageError, match="--max-ttft is for language models"):
        plan(asked(options={"ttft_limit_ms": 5.0}), HERE)
    with pytest.raises(UsageError, match="--concurrency 0 is out of range"):
        plan(asked(models=[CHAT], concurrency=[0]), HERE)


def test_a_server_runs_what_it_runs_once_whatever_precisions_are_asked_for() -> None:
    both = asked(
        models=[CHAT],
        backends=["pytorch", "endpoint"],
        precisions=[Precision.FP32, Precision.BF16],
        options=AT,
    )
    cases = plan(both, HERE).cases
    assert [(c.backend, c.precision.value, c.device) for c in cases] == [
        ("pytorch", "fp32", "cpu"), ("pytorch", "bf16", "cpu"), ("endpoint", "served", "remote"),
    ]  # fmt: skip
    assert [c.options.get("endpoint") for c in cases] == [None, None, AT["endpoint"]]
    with pytest.raises(UsageError, match="needs the server's address"):
        plan(asked(models=[CHAT], backends=["endpoint"]), HERE)
    [skip] = plan(asked(models=[CHAT], backends=["endpoint"], batch_sizes=[4], options=AT), HERE).skips
    assert "ask with --concurrency 4" in skip.reason
    [skip] = plan(asked(backends=["endpoint"], options=AT), HERE).skips
    assert "does not run image_classification" in skip.reason


def test_language_models_and_others_are_served_apart() -> None:
    rate = {"target_qps": 1.0, "latency_percentile": 99.0, "ttft_limit_ms": 1e3}
    served = asked(models=[CHAT], backends=["pytorch"], scenario="server", options=rate)
    assert [c.scenario for c in plan(served, HERE).cases] == ["server"]
    with pytest.raises(UsageError, match="run them apart"):
        plan(dataclasses.replace(served, models=[CHAT, A]), HERE)


def test_variants_take_turns_in_the_group_of_their_cell_and_leave_the_others_as_they_are() -> None:
    variants = [
        Variant({}, 4, backend="onnx_cpu", batch=1),
        Variant({"allow_spinning": False}, 2, backend="onnx_cpu", batch=1),
        Variant({"allow_spinning": False}, 2, backend="onnx_cpu", batch=1),
    ]
    planned = plan(asked(batch_sizes=[1, 8], variants=variants), HERE)
    first, second = ([(c.backend, c.threads, c.options) for c in g.cases] for g in planned.groups)
    assert first == [("pytorch", 4, {}), ("onnx_cpu", 4, {}), ("onnx_cpu", 2, {"allow_spinning": False})]
    assert second == [("pytorch", 4, {}), ("onnx_cpu", 4, {})]


def test_what_the_request_says_goes_before_a_variant() -> None:
    variants = [Variant({"graph_optimization": "basic"}, 2, backend="onnx_cpu")]
    planned = plan(asked(options={"graph_optimization": "none"}, threads=1, variants=variants), HERE)
    assert [(c.threads, c.options) for c in planned.cases] == [(1, {}), (1, {"graph_optimization": "none"})]


def test_a_variant_of_more_threads_than_there_are_cpus_is_refused() -> None:
    with pytest.raises(UsageError, match="say 8 threads, and this process may use 4 CPUs"):
        check(asked(variants=[Variant({}, 8, backend="onnx_cpu")]), cpus=4)
