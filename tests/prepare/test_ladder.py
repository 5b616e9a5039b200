"""The ladder stops where both bounds are met, keeps what it tried, and says what fell short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from tests.prepare.small_nets import DETECTOR, DETECTOR_TAIL, detector, pictures, squeezed_net

from zoobench.errors import PrepareError
from zoobench.prepare import ladder
from zoobench.prepare.detection_tail import HEAD, TAIL
from zoobench.prepare.fidelity import Boxes
from zoobench.prepare.ladder import DETECTOR_RUNGS, RUNGS, Ladder, Rung, climb, climb_openvino
from zoobench.prepare.quantize import Recipe
from zoobench.tasks import open_task

slow = pytest.mark.slow
CALIBRATION = [pictures(4), pictures(4, seed=1)]
JUDGE = pictures(8, seed=2)
NAMES = [name for name, _ in RUNGS]
WORDS = ("squeeze_excite", "first_last", "before_stride_8", "before_stride_16")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return squeezed_net(tmp_path / "net.onnx")


@pytest.fixture
def boxes_net(tmp_path: Path) -> Path:
    return detector(tmp_path / "net.onnx")


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "_SHORTEST_TURN_S", 0.0)
    monkeypatch.setattr(ladder, "_ROUNDS", 3)
    monkeypatch.setattr(ladder, "_MOST_ROUNDS", 3)


def up(net: Path, **asked: Any) -> Ladder:
    asked = {"threads": 1, "min_agreement": 0.0, "min_speed": 0.0, **asked}
    return climb(net, net.parent / "rungs", CALIBRATION, JUDGE, **asked)


def rung(name: str, speed: float, agreement: float, **more: Any) -> Rung:
    figures = {
        "speed": speed,
        "speed_interval": (speed - 0.01, speed + 0.01),
        "agreement": agreement,
        "cosine": 0.9,
    }
    return Rung(recipe=Recipe(name=name), seconds=1.0, **{**figures, **more})


def climbed(*rungs: Rung) -> ladder._Climb:
    found = ladder._Climb(min_agreement=0.9, min_speed=1.0)
    found.rungs = list(rungs)
    return found


@slow
def test_it_stops_at_the_first_rung_that_meets_both(net: Path) -> None:
    told: list[Rung] = []
    found = up(net, on_rung=told.append)
    assert [r.recipe.name for r in found.rungs] == ["plain"]
    assert (found.chosen, found.met, tuple(told)) == (0, True, found.rungs)
    assert found.words.startswith("plain: ")
    first = found.rungs[0]
    assert (first.quantized_nodes, first.float_nodes) == (12, 4)
    assert first.speed
    assert first.cosine
    assert first.cosine > 0.95
    assert first.size_bytes == (net.parent / "rungs/plain.onnx").stat().st_size


@slow
def test_every_rung_that_was_tried_stays(net: Path) -> None:
    found = up(net, min_speed=1e6)
    assert [r.recipe.name for r in found.rungs] == NAMES
    assert [r.error for r in found.rungs] == [None] * len(NAMES)
    assert not found.met
    assert "speed below the 1000000.00 × asked for" in found.words
    assert "agreement below" not in found.words
    files = {p.name for p in (net.parent / "rungs").iterdir()}
    assert files == {f"{name}.onnx" for name in NAMES}
    assert Ladder.model_validate_json(found.model_dump_json()) == found
    by_name = {r.recipe.name: r for r in found.rungs}
    assert by_name["mul_sigmoid"].float_nodes == 0
    worst = {w for w in by_name["without_worst"].recipe.exclude if w not in WORDS}
    assert worst
    assert worst <= {"mean_flat", *(n.name for n in onnx.load(net).graph.node)}


@slow
def test_a_rung_that_raises_is_a_rung(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ladder.write_quantized

    def write(ready: Path, target: Path, recipe: Recipe, *rest: Any, **named: Any) -> Any:
        if recipe.name == "plain":
            raise RuntimeError("the kernel is on strike\nsecond line")
        return real(ready, target, recipe, *rest, **named)

    monkeypatch.setattr(ladder, "write_quantized", write)
    found = up(net)
    assert [(r.recipe.name, r.error) for r in found.rungs] == [
        ("plain", "the kernel is on strike"),
        ("mul_sigmoid", None),
    ]
    assert (found.chosen, found.met) == (1, True)


@slow
def test_when_every_rung_fails_nothing_is_chosen(net: Path) -> None:
    found = climb(net, net.parent / "rungs", [], JUDGE, threads=1)
    assert len(found.rungs) == len(NAMES)
    assert all(r.error for r in found.rungs)
    assert (found.chosen, found.met) == (None, False)
    assert found.words == "no int8 file could be made: net.onnx: there is no calibration data; " + (
        "give at least one batch of pictures"
    )


@slow
def test_a_budget_stops_the_climbing_and_says_so(net: Path) -> None:
    found = up(net, min_speed=1e6, budget_s=0.0)
    assert (found.rungs, found.chosen) == ((), None)
    assert found.words.endswith(f"; the budget of 0 s ended before {len(NAMES)} more")


@slow
def test_a_rung_that_makes_the_same_file_is_not_measured_again(net: Path) -> None:
    model = onnx.load(net)
    # Without the Mul that scales, the pool leads nowhere: there is no squeeze-excite left.
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "se_scale_out":
                node.input[i] = "silu1_mul_out"
    kept = [n for n in model.graph.node if not n.name.startswith("se_")]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, net)
    by_name = {r.recipe.name: r for r in up(net, min_speed=1e6).rungs}
    without = by_name["without_squeeze_excite"]
    assert without.same_as in ("mul_sigmoid", "plain")
    same = by_name[without.same_as]
    assert (without.speed, without.agreement) == (same.speed, same.agreement)


@slow
def test_speed_is_the_median_of_turns(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ladder._Judge(net, JUDGE, threads=1, batch=2)
    assert judge.timed["pixels"].shape == (2, 3, 16, 16)
    first: list[bool] = []

    def turn(session: Any, calls: int) -> float:
        first.append(session is judge.fp32)
        drift = 1.0 + len(first) // 2
        return calls * drift * (3.0 if session is judge.fp32 else 2.0)

    monkeypatch.setattr(judge, "_turn_s", turn)
    monkeypatch.setattr(ladder, "_ROUNDS", 4)
    speed, interval = judge._speed(object())
    assert speed == pytest.approx(1.5, rel=0.3) and interval[0] <= speed <= interval[1]
    assert first[2:] == [False, True, True, False] * 2


@slow
def test_an_untouched_copy_agrees_with_itself(net: Path) -> None:
    figures = ladder._Judge(net, JUDGE, threads=1, batch=1).figures(net)
    assert figures["agreement"] == 1.0
    assert figures["cosine"] == pytest.approx(1.0)


@slow
def test_a_fixed_batch_is_judged_by_its_size(tmp_path: Path) -> None:
    found = up(squeezed_net(tmp_path / "net.onnx", batch=4))
    assert found.met


def test_calibration_must_be_readable_twice(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="give a list of batches"):
        climb(tmp_path / "net.onnx", tmp_path, iter(CALIBRATION), JUDGE, threads=1)


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match=r"net\.onnx does not run on the inputs that judge it"):
        climb(tmp_path / "net.onnx", tmp_path / "rungs", CALIBRATION, JUDGE, threads=1)


def test_agreement_goes_before_speed() -> None:
    found = climbed(rung("fast", 2.0, 0.5), rung("faithful", 0.8, 0.95), rung("both_less", 0.9, 0.89))
    assert found.chosen == 1
    assert not found.met
    assert "faithful: 0.80 [0.79, 0.81] × fp32's speed, top-1 agreement 95.0%" in found.words(found.chosen)
    assert "speed below the 1.00 × asked for" in found.words(found.chosen)


def test_among_the_faithful_the_fastest_is_chosen() -> None:
    assert climbed(rung("a", 0.7, 1.0), rung("b", 0.9, 0.91), rung("c", 0.8, 0.95)).chosen == 1


def test_meeting_both_goes_before_all() -> None:
    found = climbed(rung("slow", 0.9, 1.0), rung("good", 1.1, 0.9), Rung(recipe=Recipe(name="x"), seconds=1))
    assert (found.chosen, found.met) == (1, True)


def test_further_rungs_build_on_a_fast_one() -> None:
    found = climbed(rung("faithful", 0.7, 0.85), rung("fast", 1.2, 0.6), rung("fast_too", 1.1, 0.7))
    assert found.base is not None
    assert found.base.recipe.name == "fast_too"


def test_a_rung_changes_the_base_and_adds_to_what_is_left_out() -> None:
    base = Rung(recipe=Recipe(name="b", exclude=("squeeze_excite",), extra_op_types=("Mul",)), seconds=1)
    recipe = ladder._recipe("without_first_last", {"exclude": ("first_last",)}, base)
    assert recipe == Recipe(
        name="without_first_last", exclude=("squeeze_excite", "first_last"), extra_op_types=("Mul",)
    )


def test_a_rung_is_timed_longer_while_the_bound_lies_in_its_interval() -> None:
    near, far = [0.9, 1.1] * 8, [1.5, 1.6] * 8
    assert ladder._within(1.0, ladder._interval(near)) and not ladder._within(1.0, ladder._interval(far))
    assert ladder._within(1.55, ladder._interval(far))


def test_as_fast_as_fp32_by_chance_is_not_fast() -> None:
    tied = rung("tied", 1.02, 1.0, speed_interval=(0.98, 1.05))
    assert not climbed(tied).met
    found = climbed(tied, rung("faster", 1.06, 0.95, speed_interval=(1.01, 1.1)))
    assert found.met and found.chosen == 1


@slow
def test_openvinos_ladder_leaves_depthwise_convolutions_out_where_that_is_nearer(net: Path) -> None:
    pytest.importorskip("nncf")
    asked = {"threads": 1, "min_agreement": 0.0, "min_speed": 0.0}
    easy = climb_openvino(net, net.parent / "easy", CALIBRATION, JUDGE, min_cosine=0.5, **asked)
    assert [r.recipe.name for r in easy.rungs] == ["nncf", "nncf_without_depthwise"] and easy.met
    assert easy.rungs[easy.chosen].cosine == max(r.cosine for r in easy.rungs)
    hard = climb_openvino(net, net.parent / "hard", CALIBRATION, JUDGE, min_cosine=1.1, **asked)
    assert [r.recipe.name for r in hard.rungs] == ["nncf", "nncf_without_depthwise"] and not hard.met
    assert "smallest cosine 1.1 asked for" in hard.words
    assert hard.rungs[hard.chosen].cosine == max(r.cosine for r in hard.rungs)


FINDS = open_task("object_detection", DETECTOR)


@slow
def test_no_rung_of_a_detector_touches_its_tail(boxes_net: Path) -> None:
    found = up(boxes_net, min_speed=1e6, task=FINDS)
    assert [r.recipe.name for r in found.rungs] == [name for name, _ in DETECTOR_RUNGS]
    assert [r.error for r in found.rungs] == [None] * len(DETECTOR_RUNGS)
    assert all(TAIL in r.recipe.exclude for r in found.rungs)
    for rung in found.rungs:
        model = onnx.load(boxes_net.parent / f"rungs/{rung.file}")
        reads = {x for n in model.graph.node if n.name in DETECTOR_TAIL for x in n.input}
        assert {x for x in reads if "DequantizeLinear" in x} <= {
            "d_DequantizeLinear_Output",
            "e_DequantizeLinear_Output",
        }
    head = next(r for r in found.rungs if r.recipe.name == "without_head")
    assert HEAD in head.recipe.exclude
    assert set(found.left_out) >= DETECTOR_TAIL
    assert found.alike == "boxes"
    assert Ladder.model_validate_json(found.model_dump_json()) == found


@slow
def test_a_detector_is_judged_by_its_boxes_and_scores(boxes_net: Path) -> None:
    found = up(boxes_net, min_agreement=0.5, min_cosine=0.9, task=FINDS)
    assert found.met and found.rungs[0].recipe.name == "chain"
    assert "box agreement" in found.words
    judge = ladder._Judge(boxes_net, JUDGE, threads=1, batch=1, task=FINDS)
    figures = judge.figures(boxes_net)
    assert figures["cosine"] == pytest.approx(1.0)
    assert list(judge.expected) == ["output0"] and judge.expected["output0"].shape == (8, 7, 64)


@slow
def test_a_rung_that_finds_nothing_failed_whatever_is_asked(
    boxes_net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = ("Concat", "Div", "Mul", "Reshape", "Sigmoid", "Softmax", "Split", "Sub", "Transpose")
    monkeypatch.setattr(ladder, "PLAIN_DETECTOR", Recipe(name="plain"))
    monkeypatch.setattr(
        ladder,
        "DETECTOR_RUNGS",
        (
            ("whole", {"extra_op_types": everything}),
            ("apart", {"exclude": (TAIL,), "extra_op_types": everything}),
        ),
    )
    found = up(boxes_net, min_cosine=-1.0, task=FINDS)
    assert [bool(r.error) for r in found.rungs] == [True, False]
    assert "it finds nothing: its surest box has a score of 0, fp32's has 1" in str(found.rungs[0].error)
    assert found.chosen == 1 and found.met


@slow
def test_openvinos_rungs_of_a_detector_leave_its_tail_out(boxes_net: Path) -> None:
    pytest.importorskip("nncf")
    asked = {"threads": 1, "min_agreement": 0.0, "min_speed": 0.0, "min_cosine": 0.5}
    found = climb_openvino(boxes_net, boxes_net.parent / "rungs", CALIBRATION, JUDGE, task=FINDS, **asked)
    assert [r.error for r in found.rungs] == [None] * 3 and found.met
    assert all({TAIL, HEAD} & set(r.recipe.exclude) for r in found.rungs)
    assert {"dfl", "softmax", "pixels_of", "near", "far"} <= set(found.left_out)
    assert "nodes of the detection" in found.rungs[0].notes[0]


def test_where_no_box_decides_the_cosine_does() -> None:
    def judged(agreement: float | None, cosine: float) -> tuple[bool, str]:
        found = ladder._Climb(min_agreement=0.9, min_speed=1.0, min_cosine=0.8, fidelity=Boxes(FINDS))
        found.rungs = [rung("r", 1.1, 0.0).model_copy(update={"agreement": agreement, "cosine": cosine})]
        return found.met, found.words(found.chosen)

    met, words = judged(None, 0.9)
    assert met and "box agreement undecided, smallest cosine 0.9000" in words
    met, words = judged(None, 0.7)
    assert not met and "smallest cosine 0.8 asked for" in words
    # On a picture that shows nothing scores are noise, so found boxes say more.
    assert judged(0.95, 0.7)[0]
    met, words = judged(0.85, 0.95)
    assert not met and "below the 90.0% box agreement asked for" in words


def test_of_detectors_for_openvino_the_one_that_finds_most_is_taken() -> None:
    rungs = [
        rung("near", 1.2, 0.6, cosine=0.99),
        rung("finds", 1.1, 0.9, cosine=0.8),
        rung("slow", 0.5, 1.0, cosine=0.99),
    ]
    found = ladder._Climb(min_agreement=0.9, min_speed=1.0, fidelity=Boxes(FINDS))
    found.rungs = rungs
    assert found.nearest == 1
    assert climbed(*rungs).nearest == 0, "of a classifier the cosine says it"


def test_a_detectors_first_rung_may_fail() -> None:
    recipe = ladder._recipe("plain", {"extra_op_types": ()}, None, ladder.PLAIN_DETECTOR)
    assert recipe.exclude == (TAIL,)
