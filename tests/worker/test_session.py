"""The session role inside this process, on the fake backend and a virtual clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoobench.backends.fake import FakeSession, VirtualClock
from zoobench.errors import UsageError
from zoobench.inputs import read_inputs
from zoobench.measure.channel import InlineWorker, WorkerError
from zoobench.outcome import Check
from zoobench.spec import REFERENCE_FILE, Artifact, Case, Detector
from zoobench.tasks import open_task
from zoobench.terms import Precision
from zoobench.worker.session import SessionRole, compare_outputs, fill_batch

SHAPE = (4,)
ITEMS = open_task("image_classification").check_inputs(SHAPE)
OUTPUTS = np.stack([ITEMS[:, 0], -ITEMS[:, -1]], axis=1)
"""What the fake backend answers to the check items."""
SLOT = {
    "min_calls": 20,
    "slow_min_calls": 3,
    "min_seconds": 0.25,
    "slow_call_s": 0.1,
    "max_seconds": 20.0,
    "min_sample_ns": 0,
}


def case(batch: int = 1, precision: Precision = Precision.FP32, **options: Any) -> Case:
    return Case(
        model="m",
        backend="fake",
        threads=1,
        batch=batch,
        precision=precision,
        options={"fake_sigma": 0, **options},
    )


def artifact(folder: Path, reference: np.ndarray | None = None, **changes: Any) -> Artifact:
    if reference is not None:
        np.savez(folder / REFERENCE_FILE, outputs=reference)
    fields = {"format": "fake", "sha256": "0" * 64, "size_bytes": 0, "model": "m", "input_shape": SHAPE}
    return Artifact(path=folder, **{**fields, **changes})


class Session:
    """A role that is asked as the conductor asks it."""

    def __init__(self, case: Case, artifact: Artifact, **load: Any) -> None:
        self.role = SessionRole(VirtualClock())
        self.worker = InlineWorker(self.role)
        made = {**artifact.model_dump(mode="json"), "path": str(artifact.path)}
        self.loaded = self.ask("load", case=case.model_dump(mode="json"), artifact=made, **load)

    def ask(self, verb: str, **args: Any) -> Any:
        return self.worker.request(verb, args, deadline_s=1)

    def check(self) -> Check:
        return Check.model_validate(self.ask("check"))


def test_all_verbs_in_order(tmp_path: Path):
    session = Session(case(batch=3), artifact(tmp_path))
    assert session.loaded["load_s"] == 0
    assert session.loaded["after_load_bytes"] >= session.loaded["after_import_bytes"] > 0
    milliseconds = 5.0 * 3**0.8
    assert session.ask("first_call")["first_call_ms"] == pytest.approx(milliseconds)
    assert session.check().finite
    assert session.ask("warm_up")["steady"]
    slot = session.ask("slot", budget=SLOT)
    assert slot["samples_ns"] == pytest.approx([milliseconds * 1e6] * 21, abs=1)
    assert slot["cpu_s"] >= 0
    memory = session.ask("memory")
    assert memory["peak_bytes"] >= memory["pss_anonymous_bytes"] > 0
    assert session.ask("evidence")["details"]["clock"] == "virtual"
    session.ask("close")
    with pytest.raises(WorkerError, match="no session is loaded"):
        session.ask("slot", budget=SLOT)


def test_an_unknown_verb_is_refused():
    with pytest.raises(WorkerError, match="no verb 'sing'"):
        InlineWorker(SessionRole(VirtualClock())).request("sing", {}, deadline_s=1)


@pytest.mark.parametrize("batch", [1, 3, 4, 8, 11])
def test_every_item_is_checked_at_every_batch_size(tmp_path: Path, batch: int):
    reference = OUTPUTS.copy()
    assert Session(case(batch), artifact(tmp_path, reference)).check().passed
    for row in range(len(reference)):
        spoiled = reference.copy()
        spoiled[row] += 1.0
        check = Session(case(batch), artifact(tmp_path, spoiled)).check()
        assert check.compared
        assert check.passed is False, row


def test_the_difference_is_relative_to_the_references_scale(tmp_path: Path):
    reference = OUTPUTS.copy()
    largest = np.unravel_index(np.abs(reference).argmax(), reference.shape)
    smallest = np.unravel_index(np.abs(reference).argmin(), reference.shape)
    reference[smallest] += 0.5e-3 * abs(reference[largest])
    check = Session(case(), artifact(tmp_path, reference)).check()
    assert check.passed
    assert check.max_rel == pytest.approx(0.5e-3, rel=1e-3)
    assert check.tolerance == 1e-3
    assert check.top1_agreement == 1.0


@pytest.mark.parametrize(
    ("precision", "off", "passed"),
    [
        (Precision.FP32, 0.01, False),
        (Precision.BF16, 0.01, True),
        (Precision.FP16, 0.03, False),
        (Precision.INT8, 0.5, None),
    ],
)
def test_each_precision_has_its_tolerance(
    tmp_path: Path, precision: Precision, off: float, passed: bool | None
):
    check = Session(case(precision=precision), artifact(tmp_path, OUTPUTS * (1 + off))).check()
    assert check.passed is passed
    assert check.max_rel == pytest.approx(off / (1 + off), rel=1e-3)


def test_the_models_own_tolerance_counts(tmp_path: Path):
    assert Session(case(), artifact(tmp_path, OUTPUTS * 1.01, tolerance=0.02)).check().passed


def test_without_a_reference_nothing_is_compared(tmp_path: Path):
    check = Session(case(), artifact(tmp_path)).check()
    assert not check.compared
    assert check.passed is None


@pytest.mark.parametrize(
    ("fault", "finite", "constant"), [("nan", False, False), ("constant", True, True), ("", True, False)]
)
def test_outputs_are_looked_at(tmp_path: Path, fault: str, finite: bool, constant: bool):
    check = Session(case(fake_fault=fault), artifact(tmp_path, OUTPUTS)).check()
    assert (check.finite, check.constant) == (finite, constant)


def test_dead_and_wild_outputs_are_judged_and_not_stumbled_over():
    task, reference = open_task("image_classification"), {"outputs": OUTPUTS}
    faint = np.linspace(1, 2, 16, dtype=np.float32).reshape(8, 2) * np.float32(1e-40)
    assert compare_outputs({"outputs": faint}, None, task, tolerance=1e-3).denormal
    largest = OUTPUTS / np.abs(OUTPUTS).max() * np.finfo(np.float32).max
    wild = compare_outputs({"outputs": largest}, reference, task, tolerance=1e-3)
    assert wild.passed is False
    assert np.isfinite([wild.max_abs, wild.max_rel, wild.cosine]).all()
    indices = {"outputs": OUTPUTS, "classes": np.zeros((len(OUTPUTS), 1), np.int64)}
    alive = compare_outputs(indices, None, task, tolerance=1e-3)
    assert not alive.constant and not alive.denormal, "a detector of one class has only index 0"
    other = compare_outputs({"outputs": OUTPUTS[:, :1]}, reference, task, tolerance=1e-3)
    assert other.passed is False


def test_a_detector_whose_scores_are_gone_finds_nothing():
    task = open_task("object_detection", Detector(boxes="boxes", scores="scores"))
    rng = np.random.default_rng(5)
    reference = {"boxes": rng.uniform(0, 1, (8, 20, 4)), "scores": rng.normal(-4, 2, (8, 20, 3))}
    fair = compare_outputs(reference, reference, task, tolerance=None)
    assert not fair.finds_nothing
    assert fair.surest == fair.reference_surest == pytest.approx(1 / (1 + np.exp(-reference["scores"].max())))
    gone = {**reference, "scores": np.full_like(reference["scores"], -12.0)}
    check = compare_outputs(gone, reference, task, tolerance=None)
    assert check.finds_nothing
    assert check.surest == pytest.approx(6.1e-6, rel=0.01)
    classifier = compare_outputs(
        {"outputs": OUTPUTS}, {"outputs": OUTPUTS}, open_task("image_classification"), tolerance=1e-3
    )
    assert (classifier.surest, classifier.finds_nothing) == (None, False)


def test_a_fixed_batch_refuses_others(tmp_path: Path):
    fixed = artifact(tmp_path, dynamic_batch=False, fixed_batch=2)
    assert Session(case(batch=2), fixed).check().finite
    with pytest.raises(WorkerError, match="batch axis is fixed at 2, so batch 4 cannot run") as caught:
        Session(case(batch=4), fixed)
    assert caught.value.kind == "usage"


@pytest.mark.parametrize("option", ["io_binding", "channels_last"])
def test_a_flag_is_true_or_false(tmp_path: Path, option: str):
    with pytest.raises(WorkerError, match=f"{option}=banana: true or false is needed") as caught:
        Session(case(**{option: "banana"}), artifact(tmp_path))
    assert caught.value.kind == "usage"


@pytest.mark.parametrize("fault", ["hang", "die"])
def test_a_fault_that_ends_its_process_needs_one_of_its_own(tmp_path: Path, fault: str):
    with pytest.raises(WorkerError, match="add fake_clock=wall"):
        Session(case(fake_fault=fault), artifact(tmp_path))


def test_a_gap_passes_on_the_virtual_clock(tmp_path: Path):
    session = Session(case(gap_ms=3_600_000.0, fake_p50_ms=200.0), artifact(tmp_path))
    slot = session.ask("slot", budget=SLOT)
    assert slot["elapsed_ns"] > 3 * 3600e9


def test_each_fork_draws_latencies_of_its_own(tmp_path: Path):
    def samples(fork: int) -> list[int]:
        session = Session(case(fake_sigma=0.1), artifact(tmp_path), fork=fork)
        return session.ask("slot", budget=SLOT)["samples_ns"]

    assert samples(0) == samples(0)
    assert samples(0) != samples(1)


def test_the_batch_is_filled_from_the_start_again():
    items = np.arange(3)[:, None]
    assert fill_batch(items, 7).ravel().tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert fill_batch(items, 2).ravel().tolist() == [0, 1]
    assert fill_batch(items, 2).flags.c_contiguous


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Every batch that was bound to the fake session, in order."""
    seen: list[np.ndarray] = []
    bind = FakeSession.bind

    def watched(self: FakeSession, inputs: Any) -> Any:
        seen.append(next(iter(inputs.values())))
        return bind(self, inputs)

    monkeypatch.setattr(FakeSession, "bind", watched)
    return seen


def test_the_users_own_tensors_are_timed_also_after_the_check(tmp_path: Path, bound: list[np.ndarray]):
    own = np.arange(12, dtype=np.float64).reshape(3, 4)
    np.savez(tmp_path / "own.npz", pixel_values=own)
    session = Session(case(batch=4), artifact(tmp_path), inputs=str(tmp_path / "own.npz"))
    timed = own[[0, 1, 2, 0]]
    np.testing.assert_array_equal(bound[-1], timed)
    assert bound[-1].dtype == np.float32
    session.check()
    np.testing.assert_array_equal(bound[-1], timed)


def test_without_tensors_the_check_items_are_timed(tmp_path: Path, bound: list[np.ndarray]):
    Session(case(batch=10), artifact(tmp_path))
    np.testing.assert_array_equal(bound[-1], ITEMS[[0, 1, 2, 3, 4, 5, 6, 7, 0, 1]])


def test_a_single_array_may_have_any_name(tmp_path: Path):
    np.savez(tmp_path / "own.npz", whatever=np.ones((2, 4)))
    assert read_inputs(tmp_path / "own.npz", "pixel_values", SHAPE).shape == (2, 4)


def write_two(file: Path) -> None:
    np.savez(file, a=np.ones((2, 4)), b=np.ones((2, 4)))


def write_truncated(file: Path) -> None:
    np.savez(file, pixel_values=np.ones((200, 4)))
    file.write_bytes(file.read_bytes()[:-100])


def write_damaged(file: Path) -> None:
    np.savez_compressed(file, pixel_values=np.random.default_rng(0).random((200, 4)))
    content = bytearray(file.read_bytes())
    content[66:80] = b"\xff" * 14  # the beginning of the compressed stream
    file.write_bytes(content)


def write_bare_array(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.ones((2, 4)))


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda file: None, "cannot be read"),
        (lambda file: file.write_bytes(b""), "cannot be read"),
        (lambda file: file.write_text("hello"), "cannot be read"),
        (write_bare_array, "cannot be read"),
        (write_truncated, "cannot be read"),
        (write_damaged, "cannot be read"),
        (lambda file: np.savez(file, pixel_values=np.array([{}] * 4, dtype=object)), "cannot be read"),
        (lambda file: np.savez(file, pixel_values=np.array([["a"] * 4])), "cannot be read"),
        (lambda file: np.savez(file), "no array named 'pixel_values'; it holds nothing"),
        (write_two, "no array named 'pixel_values'; it holds a, b"),
        (lambda file: np.savez(file, pixel_values=np.ones((2, 5))), r"\(items, 4\) is needed"),
        (lambda file: np.savez(file, pixel_values=np.ones(4)), r"\(items, 4\) is needed"),
        (lambda file: np.savez(file, pixel_values=np.ones((0, 4))), r"\(items, 4\) is needed"),
    ],
)
def test_tensors_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path, write: Any, why: str):
    file = tmp_path / "own.npz"
    write(file)
    with pytest.raises(UsageError, match=why) as caught:
        read_inputs(file, "pixel_values", SHAPE)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_opened(tmp_path: Path):
    file = tmp_path / "own.npz"
    np.array([Bomb(tmp_path / "gone-off")], dtype=object).dump(file)
    with pytest.raises(UsageError):
        read_inputs(file, "pixel_values", SHAPE)
    assert not (tmp_path / "gone-off").exists()


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)
