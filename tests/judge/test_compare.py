"""Two stored results: which is faster, by how much, and whether they may be compared at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.show.records import MACHINE, OTHER_MACHINE, make_accuracy, make_failure, make_record

from zoobench.judge.compare import DEFAULT_FAIL_ON, VARYING, Change, Comparison, compare, exit_code, hard_keys
from zoobench.measure.stats import describe
from zoobench.outcome import Evidence, Slot
from zoobench.results.record import ArtifactInfo, ModelInfo, Record
from zoobench.terms import Status, VerdictValue

SEED = 20261125
TRIALS = 400


def slots(
    ms: float, forks: int = 6, rounds: int = 4, calls: int = 5, spread: float = 0.002, fork_spread: float = 0.0,
    rng: np.random.Generator | None = None, moments: dict[tuple[int, int], float] | None = None,
) -> list[Slot]:  # fmt: skip
    """Slots of lognormal calls; `moments` is what the machine did in each round, as a factor."""
    rng = rng or np.random.default_rng(SEED + int(ms * 1e6))
    found = []
    for fork in range(forks):
        own = math.exp(rng.normal(0, fork_spread))
        for turn in range(rounds):
            factor = own * (moments or {}).get((fork, turn), 1.0)
            samples = 1e6 * ms * factor * np.exp(rng.normal(0, spread, calls))
            found.append(
                Slot(fork=fork, round=turn, position=0, settling_ns=1, samples_ns=tuple(map(int, samples)))
            )
    return found


def compared(
    a: Record, b: Record, a_slots: Sequence[Slot] = (), b_slots: Sequence[Slot] = (), delta: float = 0.05,
    kind: str = "run",
) -> Comparison:  # fmt: skip
    return compare("case", (a, a_slots), (b, b_slots), delta=delta, varying=VARYING[kind])


def of_ms(a_ms: float, b_ms: float, delta: float = 0.05) -> Comparison:
    """Two runs of six processes each."""
    a, b = make_record(p50=a_ms), make_record(p50=b_ms, run_id="run-2")
    return compared(a, b, slots(a_ms), slots(b_ms), delta)


# --- what became of it


@pytest.mark.parametrize(
    ("b_ms", "change"),
    [
        (12.0, Change.SLOWER),
        (8.0, Change.FASTER),
        (10.1, Change.SAME),
        (9.9, Change.SAME),
        (10.5, Change.INCONCLUSIVE),
    ],
)
def test_the_interval_against_the_margin_decides(b_ms: float, change: Change) -> None:
    found = of_ms(10.0, b_ms)
    assert found.change is change
    assert found.ratio == pytest.approx(b_ms / 10, rel=0.005)
    assert found.interval and found.interval[0] < b_ms / 10 < found.interval[1]
    assert (found.a_ms, found.b_ms) == (10.0, b_ms)
    assert f"{found.ratio:.3f} [{found.interval[0]:.3f}, {found.interval[1]:.3f}]" in found.message
    assert ("crosses 1.050 or its inverse" in found.message) is (change is Change.INCONCLUSIVE)


def test_the_margin_is_as_wide_downwards_as_upwards() -> None:
    for b_ms, change in ((10.0 / 1.2, Change.FASTER), (12.0, Change.SLOWER)):
        assert of_ms(10.0, b_ms, delta=0.15).change is change
        assert of_ms(10.0, b_ms, delta=0.25).change is Change.SAME
    assert of_ms(10.0, 8.6, delta=0.15).change is Change.FASTER, "below 1 / 1.15, though not below 1 - 0.15"


def test_a_margin_of_nothing_leaves_no_room_for_the_same() -> None:
    assert of_ms(10.0, 10.0, delta=0).change is Change.INCONCLUSIVE
    assert of_ms(10.0, 10.2, delta=0).change is Change.SLOWER
    assert of_ms(10.2, 10.0, delta=0).change is Change.FASTER


def test_swapping_the_sides_inverts_the_ratio() -> None:
    there, back = of_ms(10.0, 12.0), of_ms(12.0, 10.0)
    assert there.ratio and back.ratio and there.interval and back.interval
    assert there.ratio * back.ratio == pytest.approx(1)
    assert there.interval[0] * back.interval[1] == pytest.approx(1)


def test_without_enough_calls_it_says_what_would_be() -> None:
    few = make_record()
    assert few.latency
    few = few.model_copy(update={"latency": few.latency.model_copy(update={"p50_interval_ms": None})})
    found = compared(few, few)
    assert (found.change, found.ratio, found.interval, found.kind) == (Change.INCONCLUSIVE, None, None, None)
    assert "--effort standard" in found.message and found.a_ms == 9.53


# --- what failed


@pytest.mark.parametrize(
    "bad",
    [
        make_failure("resnet18"),
        make_failure("resnet18", status=Status.TIMEOUT),
        make_record(verdict=VerdictValue.INVALID, reasons=[("not_finite", "the file is truncated")]),
    ],
)
def test_a_side_without_a_number(bad: Record) -> None:
    good = make_record()
    newly, fixed, failing = compared(good, bad), compared(bad, good), compared(bad, bad)
    assert [c.change for c in (newly, fixed, failing)] == [
        Change.NEWLY_FAILING,
        Change.FIXED,
        Change.FAILING,
    ]
    assert all("the file is truncated" in c.message and c.ratio is None for c in (newly, fixed, failing))


def test_a_record_that_timed_nothing_is_a_failure() -> None:
    found = compared(make_record(), make_record(p50=None))
    assert found.change is Change.NEWLY_FAILING and "no call was timed" in found.message


def test_a_case_that_one_side_lacks() -> None:
    one = (make_record(), ())
    for a, b, side in ((one, None, "A"), (None, one, "B")):
        found = compare("case", a, b, delta=0.05)
        assert (found.change, found.message) == (Change.NOT_COMPARABLE, f"only {side} has it")


# --- what may not be compared


def other_model(**changes: Any) -> Record:
    model = {"name": "resnet18", "weights": "pretrained", "revision": "c" * 40} | changes
    return make_record().model_copy(update={"model": ModelInfo(**model)})


HARD = {
    "cpu_model": make_record(machine=OTHER_MACHINE),
    "cpus_usable": make_record(machine=MACHINE.model_copy(update={"cpus_usable": 4})),
    "affinity": make_record(machine=MACHINE.model_copy(update={"affinity": (0, 1)})),
    "isa": make_record(machine=MACHINE.model_copy(update={"isa": ("avx2",)})),
    "gpus": make_record(machine=MACHINE.model_copy(update={"gpus": ("H100",)})),
    "gpu_driver": make_record(machine=MACHINE.model_copy(update={"gpu_driver": "550.1"})),
    "model": make_record("resnet50"),
    "revision": other_model(revision="e" * 40),
    "weights": other_model(weights="random"),
    "shape": make_record().model_copy(
        update={"case": make_record().case.model_copy(update={"shape": (3, 256, 256)})}
    ),
    "batch": make_record(batch=8),
    "precision": make_record(precision="int8"),
    "backend": make_record(backend="pytorch", versions={"onnxruntime": "1.32.0"}),
    "device": make_record(device="cuda"),
    "options": make_record(options={"io_binding": True}),
    "threads": make_record(threads=1),
    "scenario": make_record().model_copy(
        update={"case": make_record().case.model_copy(update={"scenario": "server"})}
    ),
    "protocol_version": make_record(protocol_version=2),
    "boundary": make_record(
        evidence=Evidence(runtime="x", device="cpu", details={"boundary": "device_to_device"})
    ),
}


@pytest.mark.parametrize("key", HARD)
def test_a_hard_difference_refuses_and_is_named(key: str) -> None:
    found = compared(make_record(), HARD[key], slots(10.0), slots(10.0))
    assert (found.change, found.ratio) == (Change.NOT_COMPARABLE, None)
    assert f"they differ in {key} " in found.message and "→" in found.message


def test_every_key_that_is_looked_at_is_hard_soft_or_meant_to_differ() -> None:
    from zoobench.machine.identity import SOFT_KEYS

    tried = set(HARD) | SOFT_KEYS | VARYING["run"]
    assert set(hard_keys(make_record())) - tried == {"cpu_id", "cpus_affinity", "cores_usable", "cuda"}


def test_many_differences_are_counted() -> None:
    other = make_record("resnet50", "pytorch", batch=8, precision="int8", threads=1)
    message = compared(make_record(), other).message
    assert message.count("→") == 3 and "and 2 more" in message


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("run", {"versions": {"onnxruntime": "1.33.0"}}),
        ("run", {"artifact": ArtifactInfo(sha256="e" * 64, size_bytes=1, format="onnx")}),
        ("backend", {"backend": "pytorch", "options": {"compile": True}}),
        ("precision", {"precision": "int8"}),
        ("batch", {"batch": 8, "artifact": ArtifactInfo(sha256="e" * 64, size_bytes=1, format="onnx")}),
    ],
)
def test_what_is_compared_may_differ_and_is_noted(kind: str, other: dict[str, Any]) -> None:
    found = compared(make_record(), make_record(**other), kind=kind)
    assert found.change is not Change.NOT_COMPARABLE
    noted = [note.split(" ")[0] for note in found.differences]
    assert set(other) <= set(noted) <= VARYING[kind] and noted == sorted(noted)


def test_a_soft_difference_is_noted_and_refuses_nothing() -> None:
    other = make_record(machine=MACHINE.model_copy(update={"kernel": "6.8.0", "governor": "powersave"}))
    found = compared(make_record(), other)
    assert found.change is not Change.NOT_COMPARABLE
    assert found.differences == ("governor None → powersave", "kernel 6.1.0 → 6.8.0")
    assert compared(make_record(), make_record()).differences == ()


def test_a_tuple_that_went_through_json_is_no_difference() -> None:
    machine = MACHINE.model_copy(update={"isa": ("avx2", "avx512f")})
    one = make_record(machine=machine)
    assert (
        compared(one, Record.model_validate_json(one.model_dump_json())).change is not Change.NOT_COMPARABLE
    )


# --- how the interval is made


def test_slots_that_took_turns_are_compared_pair_by_pair() -> None:
    """The machine halves its speed from round to round; only pairs can see 10% through that."""
    rng = np.random.default_rng(SEED)
    here, there = (
        {(fork, turn): float(rng.uniform(1, 2)) for fork in range(6) for turn in range(4)} for _ in range(2)
    )
    a = slots(10.0, moments=here)
    turns = compared(
        make_record(), make_record(backend="pytorch"), a, slots(11.0, moments=here), kind="backend"
    )
    assert (turns.kind, turns.change) == ("turns", Change.SLOWER)
    assert turns.ratio == pytest.approx(1.1, rel=0.01)
    apart = compared(make_record(), make_record(run_id="run-2"), a, slots(11.0, moments=there))
    assert apart.kind == "forks" and turns.interval and apart.interval
    assert np.ptp(apart.interval) > 20 * np.ptp(turns.interval)


def test_cases_of_one_run_that_memory_took_apart_are_no_pairs() -> None:
    """They have rounds of the same numbers, and saw other minutes."""
    a, b = make_record(group=0), make_record(backend="pytorch", group=1)
    times = slots(10.0, 1, 3), slots(10.0, 1, 3)
    apart = compared(a, b, *times, kind="backend")
    assert apart.kind == "intervals" and "they did not take turns" in apart.message
    turns = compared(a, b.model_copy(update={"group": 0}), *times, kind="backend")
    assert turns.kind == "turns" and "did not take turns" not in turns.message


def test_two_runs_of_few_processes_go_by_the_intervals_of_their_medians() -> None:
    a, b = make_record(p50=10.0, width=0.01), make_record(p50=12.0, width=0.02, run_id="run-2")
    found = compared(a, b, slots(10.0, forks=2), slots(12.0, forks=6))
    assert (found.kind, found.change, found.ratio) == ("intervals", Change.SLOWER, pytest.approx(1.2))
    assert found.interval == pytest.approx((12 * 0.98 / 10.1, 12 * 1.02 / 9.9))
    assert "two runs of one process each" in found.message


def test_turns_that_are_too_few_fall_back() -> None:
    a, b = make_record(), make_record(backend="pytorch")
    assert compared(a, b, slots(10.0, 1, 2), slots(10.0, 1, 2), kind="backend").kind == "intervals"
    assert compared(a, b, slots(10.0, 1, 3), slots(10.0, 1, 3), kind="backend").kind == "turns"
    assert compared(a, b, (), slots(10.0), kind="backend").kind == "intervals"


def test_equal_forks_have_an_interval_of_no_width() -> None:
    a = slots(10.0, spread=0.0)
    found = compared(make_record(), make_record(run_id="run-2"), a, a)
    assert (found.kind, found.ratio, found.interval) == ("forks", 1.0, (1.0, 1.0))
    assert found.change is Change.SAME


def test_batches_are_compared_an_item() -> None:
    a, b = make_record(p50=10.0), make_record(p50=40.0, batch=8)
    for forks, kind in ((6, "forks"), (1, "intervals")):
        found = compared(a, b, slots(10.0, forks), slots(40.0, forks), kind="batch")
        assert (found.kind, found.change) == (kind, Change.FASTER)
        assert found.ratio == pytest.approx(0.5, rel=0.01)
        assert found.interval and found.interval[0] <= found.ratio <= found.interval[1]
        assert "of A's time an item" in found.message
        assert (found.a_ms, found.b_ms) == (10.0, 40.0), "the times stay those of a call"


def held(kind: str) -> float:
    """Share of the trials whose interval holds the true ratio, 1.1."""
    rng, count = np.random.default_rng(SEED), 0
    for _ in range(TRIALS):
        if kind == "intervals":
            sides = [slots(ms, 1, 10, 15, 0.1, rng=rng) for ms in (10.0, 11.0)]
        else:
            moments = {(f, t): float(rng.uniform(1, 2)) for f in range(6) for t in range(3)}
            shared = moments if kind == "turns" else None
            sides = [slots(ms, 6, 3, 3, 0.01, 0.02, rng, shared) for ms in (10.0, 11.0)]
        records = [make_record(run_id=kind if kind == "turns" else name) for name in ("run-1", "run-2")]
        if kind == "intervals":
            records = [
                r.model_copy(update={"latency": describe(s)}) for r, s in zip(records, sides, strict=True)
            ]
        found = compared(*records, *sides)
        assert found.kind == kind and found.interval
        count += found.interval[0] <= 1.1 <= found.interval[1]
    return count / TRIALS


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("turns", 0.92, 0.98), ("forks", 0.92, 0.98), ("intervals", 0.9, 1.0)]
)
def test_the_intervals_hold_the_truth_as_often_as_they_say(kind: str, least: float, most: float) -> None:
    """95% from slots, give or take 2.7 standard errors of 400 trials; at least 90% from two medians' intervals."""
    assert least <= held(kind) <= most


# --- what it exits with


def changes(*found: Change) -> list[Comparison]:
    return [Comparison("case", change, "") for change in found]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (Change.SLOWER, 3),
        (Change.FASTER, 3),
        (Change.SAME, 3),
        (Change.NEWLY_FAILING, 3),
        (Change.FIXED, 3),
        (Change.FAILING, 3),
        (Change.INCONCLUSIVE, 4),
        (Change.NOT_COMPARABLE, 5),
    ],
)
def test_each_change_fails_when_it_was_asked_to(change: Change, code: int) -> None:
    found = changes(change, Change.SAME)
    assert exit_code(found, {change}) == code
    assert exit_code(found, set(Change) - {change, Change.SAME}) == 0
    assert exit_code(found, DEFAULT_FAIL_ON) == (3 if change in (Change.SLOWER, Change.NEWLY_FAILING) else 0)


def test_of_several_codes_3_comes_before_5_and_5_before_4() -> None:
    found = changes(Change.INCONCLUSIVE, Change.NOT_COMPARABLE, Change.SLOWER)
    assert exit_code(found, set(Change)) == 3
    assert exit_code(found[:2], set(Change)) == 5
    assert exit_code(found[:1], set(Change)) == 4


def test_when_nothing_compares_it_is_5_whatever_was_asked() -> None:
    assert exit_code(changes(Change.NOT_COMPARABLE, Change.NOT_COMPARABLE), ()) == 5
    assert exit_code([], DEFAULT_FAIL_ON) == 5
    assert exit_code(changes(Change.NOT_COMPARABLE, Change.FAILING), ()) == 5
    assert exit_code(changes(Change.SAME, Change.FAILING), ()) == 0


@pytest.mark.parametrize(
    ("kind", "change"),
    [("backend", Change.NOT_COMPARABLE), ("precision", Change.NOT_COMPARABLE), ("run", Change.NEWLY_FAILING)],
)
def test_what_a_side_does_not_run_at_all_is_no_new_failure(kind: str, change: Change) -> None:
    skipped = make_failure(status=Status.SKIPPED, stage="plan", message="pytorch does not run int8 here")
    found = compared(make_record(), skipped, kind=kind)
    assert found.change is change and "does not run int8" in found.message


def test_what_a_change_costs_in_accuracy_stands_beside_it() -> None:
    a = make_record(p50=10.0, accuracy=make_accuracy(760, artifact_sha256="b" * 64))
    b = make_record(p50=5.0, precision="int8", accuracy=make_accuracy(640, lost=140, won=20))
    notes = compared(a, b, slots(10.0), slots(5.0), kind="precision").differences
    assert (
        "top-1 76.0% [73.3, 78.5] → 64.0% [61.0, 66.9] of 1000 pictures of timm/mini-imagenet@1a2b3c4 test"
        in notes
    )
    [drop] = [note for note in notes if "drops by" in note]
    assert drop.startswith("top-1 drops by 12.00 points [9.6") and drop.endswith("with 1 allowed: fail")
    other = b.accuracy.data.model_copy(update={"content_sha256": "0" * 64, "label": "others"})
    b = b.model_copy(update={"accuracy": b.accuracy.model_copy(update={"data": other})})
    notes = compared(a, b, slots(10.0), slots(5.0), kind="precision").differences
    assert any("accuracies are of other pictures" in note for note in notes)
    assert not any("top-1" in note for note in notes)
