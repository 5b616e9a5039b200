"""Where a cell's time goes, and against fp32 where the difference comes from: on records with kernels made here."""

from __future__ import annotations

import pytest
from tests.judge.profiled import against, evidence, fp32, int8, rung
from tests.show.records import OTHER_MACHINE, make_failure, make_record

from zoobench.judge.explain import explain, find_counterpart
from zoobench.outcome import Slot
from zoobench.results.record import Record
from zoobench.terms import VerdictValue


def test_shares_by_kind_are_of_all_kernels_and_make_a_whole() -> None:
    found = explain(int8())
    assert found.profiled_us == pytest.approx(10_000)
    assert {k.name: (k.nodes, round(k.share, 4)) for k in found.kinds} == {
        "int8": (91, 0.334),
        "conversion": (181, 0.37),
        "layout": (2, 0.006),
        "float": (147, 0.29),
    }
    assert sum(o.share for o in found.operators) == pytest.approx(1)
    assert [o.name for o in found.operators[:3]] == ["QLinearConv", "DequantizeLinear", "Mul"]
    assert found.slowest[0].share == pytest.approx(3200 / 81 / 10_000)


def test_time_outside_of_kernels_has_a_sign() -> None:
    assert explain(int8(10.4)).outside_us == pytest.approx(400)
    assert explain(int8(9.0)).outside_us == pytest.approx(-1000), "profiling has an overhead of its own"
    assert explain(int8(10.4, scenario="server")).outside_us is None, "there p50 is no single call"


def test_what_stays_in_floats_knows_its_kernels_and_the_recipe() -> None:
    found = explain(int8(rungs=[rung("plain")]))
    told = {o.name: (o.has_int8, o.named) for o in found.leftovers}
    assert told == {"Mul": (True, False), "Sigmoid": (True, False), "ReduceMean": (False, False)}
    named = explain(int8(rungs=[rung("mul_sigmoid", "Mul", "Sigmoid")])).leftovers
    assert [o.named for o in named] == [True, True, False]
    assert [o.named for o in explain(int8()).leftovers] == [None] * 3, "no recipe is known"
    assert explain(fp32()).leftovers == (), "in fp32 all is on floats"


def test_a_fused_kernel_is_called_what_the_file_calls_it() -> None:
    kernels = [("QLinearConv", "int8", 1, 10.0), ("QuickGelu", "float", 1, 10.0)]
    (left,) = explain(int8(evidence=evidence(kernels))).leftovers
    assert (left.name, left.operators, left.has_int8) == ("QuickGelu", ("Sigmoid", "Mul"), True)


def test_the_same_work_is_matched_whatever_the_runtime_calls_it() -> None:
    found = against(int8(), fp32()).versus
    assert found is not None
    told = {d.group: (d.fp32_us, d.us, d.delta_us) for d in found.differences}
    assert told == {
        "conversions": (0, 3700, 3700),
        "convolution": (5000, 3200, -1800),
        "activation and scaling": (1500, 2600, 1100),
        "layout": (700, 60, -640),
        "pooling and means": (200, 300, 100),
        "addition": (0, 100, 100),
        "matrix product": (100, 40, -60),
    }
    assert [d.group for d in found.differences[:3]] == [
        "conversions",
        "convolution",
        "activation and scaling",
    ]
    assert sum(d.delta_us for d in found.differences) == pytest.approx(10_000 - 7_500)


@pytest.mark.parametrize(
    ("kernel", "group"),
    [
        ("FusedConv", "convolution"),
        ("ConvInteger", "convolution"),
        ("FusedMatMul", "matrix product"),
        ("QLinearMatMul", "matrix product"),
        ("MatMulIntegerToFloat", "matrix product"),
        ("DynamicQuantizeMatMul", "matrix product"),
        ("QLinearSigmoid", "activation and scaling"),
        ("QLinearMul", "activation and scaling"),
        ("QLinearGlobalAveragePool", "pooling and means"),
        ("QAttention", "attention and softmax"),
        ("Reshape", "others"),
    ],
)
def test_kernels_find_their_group(kernel: str, group: str) -> None:
    record = int8(evidence=evidence([(kernel, "int8", 1, 10.0)]))
    versus = against(record, fp32()).versus
    assert versus is not None
    assert [d.group for d in versus.differences if d.us] == [group]


def test_the_ratio_is_by_turns_where_both_took_them_and_else_from_the_intervals() -> None:
    def slots(ms: float) -> list[Slot]:
        ns = int(ms * 1e6)
        return [
            Slot(fork=f, round=r, position=0, settling_ns=ns, samples_ns=(ns + 10_000 * r, ns + 20_000))
            for f in range(3)
            for r in range(3)
        ]

    turns = explain(int8(), slots(10.0), (fp32(), slots(8.0))).versus
    assert turns is not None
    assert (turns.kind, turns.pays) == ("turns", "costs")
    assert turns.ratio == pytest.approx(1.25, rel=0.001)
    apart = against(int8(run_id="run-2"), fp32()).versus
    assert apart is not None
    assert (apart.kind, apart.same_run, apart.ratio) == ("intervals", False, pytest.approx(10.4 / 7.7))


@pytest.mark.parametrize(("p50", "pays"), [(6.0, "pays"), (7.7, "undecided"), (10.0, "costs")])
def test_it_pays_only_where_the_whole_interval_lies_below_1(p50: float, pays: str) -> None:
    versus = against(int8(p50), fp32()).versus
    assert versus is not None
    assert versus.pays == pays


def test_no_ratio_where_it_would_mean_nothing() -> None:
    other = fp32(versions={"onnxruntime": "1.20.0"})
    for record, counterpart, why in (
        (int8(), other, "they differ in versions"),
        (int8(scenario="server"), fp32(scenario="server"), "queue"),
        (
            int8(verdict=VerdictValue.INVALID, reasons=[("nan", "not finite")]),
            fp32(),
            "the int8 number is invalid (nan)",
        ),
    ):
        versus = against(record, counterpart).versus
        assert versus is not None
        assert (versus.ratio, versus.pays) == (None, None)
        assert why in (versus.refusal or "")
        assert versus.differences, "where the time goes can still be told"


def test_the_counterpart_is_the_same_cell_in_fp32_of_the_same_run_if_there_is_one() -> None:
    record = int8(at="2026-11-23T20:00:00+00:00")
    mine = fp32(at="2026-11-23T19:00:00+00:00")
    newer = fp32(at="2026-11-25T19:00:00+00:00", run_id="run-9")
    newest_but_other = fp32(
        at="2026-11-26T19:00:00+00:00", run_id="run-9", versions={"onnxruntime": "1.20.0"}
    )
    strangers = [
        fp32(machine=OTHER_MACHINE),
        fp32(threads=1),
        fp32(batch=4),
        fp32(options={"graph_optimization": "basic"}),
        make_record("effnet", "openvino"),
        make_failure("effnet", "onnx_cpu"),
        record,
    ]
    assert find_counterpart(record, strangers) is None
    assert find_counterpart(record, [newer, mine, *strangers]) is mine
    assert find_counterpart(record, [newer, newest_but_other, *strangers]) is newer
    assert find_counterpart(record, [newest_but_other]) is newest_but_other, "better than none"
    assert find_counterpart(mine, [newer, mine]) is None, "fp32 has none"


def test_files_that_were_made_of_one_model_are_counterparts() -> None:
    def made_of(record: Record, origin: str) -> Record:
        assert record.artifact is not None
        return record.model_copy(
            update={"artifact": record.artifact.model_copy(update={"derived_from": origin})}
        )

    record, plain = made_of(int8(), "m" * 64), made_of(fp32(), "m" * 64)
    assert find_counterpart(record, [plain]) is plain
    assert find_counterpart(record, [made_of(fp32(), "o" * 64)]) is None


def test_the_ladder_says_what_was_tried_and_what_was_chosen() -> None:
    found = explain(int8(rungs=[rung("plain"), rung("mul_sigmoid", "Mul", speed=1.25), "junk"])).ladder
    assert found is not None
    assert [(r.name, r.speed, r.chosen) for r in found.rungs] == [
        ("plain", 0.76, True),
        ("mul_sigmoid", 1.25, False),
    ]
    assert found.chosen is found.rungs[0]
    assert found.rungs[1].op_types == ("Conv", "Gemm", "Mul")
    assert explain(int8()).ladder is None


def test_a_runtime_without_kernels_tells_what_it_knows() -> None:
    told = evidence(
        [],
        runtime="openvino",
        version="2026.4",
        details={"layers": {"i8": 66, "f32": 5}, "compile_mode": "m"},
    )
    found = explain(make_record("effnet", "openvino", evidence=told))
    assert (found.profiled_us, found.outside_us, found.kinds, found.operators) == (None, None, (), ())
    assert (found.layers, found.compile_mode) == ({"i8": 66, "f32": 5}, "m")
    assert explain(make_record(evidence=None)).runtime is None
