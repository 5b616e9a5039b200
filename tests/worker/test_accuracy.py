"""The accuracy pass on a session whose answers are known: what is counted, kept, compared and left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoobench.data import DataRequest, open_source
from zoobench.data.pack import Pack, collect
from zoobench.errors import UsageError
from zoobench.measure.accuracy import NOISE_CALIBRATED, RANDOM_WEIGHTS, accuracy_warnings, summarise
from zoobench.spec import Artifact, Case, DataInfo, Evaluation, Preprocessing
from zoobench.terms import Precision
from zoobench.worker.accuracy import BATCH, assess, is_whole

CLASSES = 10
PIXELS = Preprocessing(scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))


class Reading:
    """A model that reads the class from the red pixel, unless `wrong` says otherwise; counts what it is given."""

    def __init__(self, wrong: Mapping[int, int] | None = None, scale: float = 1.0) -> None:
        self.wrong, self.scale = wrong or {}, scale
        self.batches: list[int] = []
        self.closed = 0

    def bind(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        (tensors,) = inputs.values()
        self.batches.append(len(tensors))
        seen = [
            self.wrong.get(int(n), int(c))
            for n, c in zip(tensors[:, 1, 0, 0], tensors[:, 0, 0, 0], strict=True)
        ]
        rows = np.full((len(seen), CLASSES), -1.0, np.float32) + 0.01 * np.arange(CLASSES, dtype=np.float32)
        rows[np.arange(len(seen)), seen] = 5.0 * self.scale
        return lambda: {"logits": rows}

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """23 pictures: red is the class, green the number."""
    for number in range(23):
        home = tmp_path / "pictures" / str(number % CLASSES)
        home.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number % CLASSES, number, 0)).save(home / f"{number:02}.png")
    return packed(tmp_path)


def packed(tmp_path: Path) -> Pack:
    asked = DataRequest(str(tmp_path / "pictures"))
    return collect(open_source(asked), asked, tmp_path / "cache")


def artifact(name: str = "a", **fields: Any) -> Artifact:
    return Artifact(
        path=Path("/nowhere"), format="onnx", sha256=name * 64, size_bytes=1, model="m", input_shape=(3, 4, 4),
        preprocessing=PIXELS, weights="local", **fields,
    )  # fmt: skip


CASE = Case(model="m", backend="onnx_cpu", threads=2, batch=3)
INT8 = CASE.model_copy(update={"precision": Precision.INT8})


def judge(
    pack: Pack, folder: Path, sessions: Mapping[str, Reading], case: Case = CASE, **more: Any
) -> dict[str, Any]:
    opened: list[tuple[str, str, int]] = []

    def open_session(what: Artifact, how: Case) -> Reading:
        opened.append((what.sha256[0], how.precision.value, how.batch))
        return sessions[what.sha256[0]]

    found = assess(
        case, more.pop("artifact", artifact()), pack=pack.folder, outputs=folder / "outputs",
        reference=more.pop("reference", None), open_session=open_session, progress=lambda _: None, workers=2, **more,
    )  # fmt: skip
    return {**found, "opened": opened}


def test_what_is_right_is_counted(pack, tmp_path):
    session = Reading(wrong={3: 4, 17: 0})
    found = judge(pack, tmp_path, {"a": session})
    assert (found["images"], found["right"], found["outputs"], found["classes"]) == (23, 21, 10, 10)
    assert found["masked"] is None and found["fidelity"] is None and found["unclaimed"] is None
    # Full batches only, whatever is left at the end, and one session of the pass's own.
    assert session.batches == [BATCH] * 3 and session.closed == 1
    assert found["opened"] == [("a", "fp32", BATCH)]


def test_a_graph_with_a_fixed_batch_gets_that_batch(pack, tmp_path):
    session = Reading()
    found = judge(pack, tmp_path, {"a": session}, artifact=artifact(dynamic_batch=False, fixed_batch=5))
    assert found["right"] == 23 and session.batches == [5] * 5


def test_another_precision_is_held_against_the_reference_on_the_same_pictures(pack, tmp_path):
    sessions = {"a": Reading(wrong={3: 4, 17: 0}), "b": Reading(wrong={3: 4, 5: 6, 8: 9}, scale=0.9)}
    judge(pack, tmp_path, sessions)
    before = len(sessions["a"].batches)
    found = judge(pack, tmp_path, sessions, INT8, artifact=artifact("b"), reference=artifact())
    assert len(sessions["a"].batches) == before, "the reference's outputs were kept"
    close = found["fidelity"]
    assert (close["agree"], close["lost"], close["won"]) == (20, 2, 1)
    assert close["reference_sha256"] == "a" * 64
    assert -1 < close["cosine_min"] < 0 < close["cosine_mean"] < 1


def test_a_reference_that_was_not_measured_is_made_first(pack, tmp_path):
    sessions = {"a": Reading(), "b": Reading(wrong={1: 2})}
    found = judge(pack, tmp_path, sessions, INT8, artifact=artifact("b"), reference=artifact())
    assert found["opened"] == [("a", "fp32", BATCH), ("b", "int8", BATCH)]
    assert (found["fidelity"]["lost"], found["fidelity"]["won"]) == (1, 0)


def test_a_pass_that_breaks_off_leaves_no_half_reference(pack, tmp_path):
    class Breaking(Reading):
        def bind(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
            if len(self.batches) == 1:
                raise RuntimeError("the runtime broke")
            return super().bind(inputs)

    with pytest.raises(RuntimeError, match="broke"):
        judge(pack, tmp_path, {"a": Breaking()})
    assert list((tmp_path / "outputs").iterdir()) == []


def test_a_damaged_reference_is_made_anew(pack, tmp_path):
    sessions = {"a": Reading(), "b": Reading(wrong={1: 2})}
    judge(pack, tmp_path, sessions)
    [kept] = (tmp_path / "outputs").iterdir()
    rows = kept / "rows.f32"
    # As long as before: only its content tells.
    rows.write_bytes(bytes(40) + rows.read_bytes()[40:])
    found = judge(pack, tmp_path, sessions, INT8, artifact=artifact("b"), reference=artifact())
    assert [name for name, *_ in found["opened"]] == ["a", "b"] and found["fidelity"]["lost"] == 1
    assert is_whole(kept)


def test_how_a_model_is_called_makes_no_other_reference(pack, tmp_path):
    sessions = {"a": Reading(), "b": Reading()}
    judge(pack, tmp_path, sessions)
    spaced = INT8.model_copy(update={"options": {"gap_ms": 5.0}})
    found = judge(pack, tmp_path, sessions, spaced, artifact=artifact("b"), reference=artifact())
    assert [name for name, *_ in found["opened"]] == ["b"]


def test_what_has_no_fp32_file_is_held_against_nothing_and_is_no_reference(pack, tmp_path):
    found = judge(pack, tmp_path, {"b": Reading()}, INT8, artifact=artifact("b"))
    assert found["right"] == 23 and found["fidelity"] is None
    assert not (tmp_path / "outputs").exists()


def test_outputs_that_are_not_finite_are_never_right(pack, tmp_path):
    class Broken(Reading):
        def bind(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
            rows = super().bind(inputs)()["logits"]
            # Red 0 is class 0, which the argmax of nothing but NaN would be too.
            rows[rows.argmax(axis=1) == 0] = np.nan
            return lambda: {"logits": rows}

    found = judge(
        pack, tmp_path, {"a": Reading(), "b": Broken()}, INT8, artifact=artifact("b"), reference=artifact()
    )
    assert (found["right"], found["right5"], found["not_finite"]) == (20, 20, 3)
    assert (found["fidelity"]["agree"], found["fidelity"]["lost"]) == (20, 3)


def test_kept_outputs_of_other_pictures_are_refused(pack, tmp_path):
    judge(pack, tmp_path, {"a": Reading()})
    [kept] = (tmp_path / "outputs").iterdir()
    index = kept / "index.json"
    index.write_text(index.read_text().replace("[0, 1,", "[0, 2,"))
    with pytest.raises(UsageError, match="are of other pictures; delete that folder"):
        judge(
            pack,
            tmp_path,
            {"a": Reading(), "b": Reading()},
            INT8,
            artifact=artifact("b"),
            reference=artifact(),
        )


def test_what_does_not_decode_is_left_out_of_both(pack, tmp_path):
    (tmp_path / "pictures" / "3" / "03.png").write_bytes(b"no picture")
    broken = packed(tmp_path)
    found = judge(
        broken, tmp_path, {"a": Reading(), "b": Reading()}, INT8, artifact=artifact("b"), reference=artifact()
    )
    assert (found["images"], found["undecodable"], found["right"]) == (22, 1, 22)
    assert found["undecodable_ids"][0].startswith("3/03.png (")
    assert found["fidelity"]["agree"] == 22


def test_nothing_that_decodes_is_an_error(tmp_path):
    home = tmp_path / "pictures" / "0"
    home.mkdir(parents=True)
    (home / "a.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"none of the 1 pictures can be decoded; the first: 0/a\.png"):
        judge(packed(tmp_path), tmp_path, {"a": Reading()})


def test_classes_that_the_model_does_not_have_make_no_claim(pack, tmp_path):
    named = judge(pack, tmp_path, {"a": Reading()}, artifact=artifact(labels="imagenet-1k"))
    assert "has 10 outputs" in named["unclaimed"]
    told = summarise(named, evaluation(pack), artifact())
    assert told.top1 is None and told.unclaimed == named["unclaimed"] and told.images == 23


def evaluation(pack: Pack, **fields: Any) -> Evaluation:
    info = DataInfo(
        label=pack.label, identity={}, samples=len(pack), seed=0, ids_sha256=pack.ids_sha256,
        content_sha256=pack.content_sha256, labels_sha256=pack.labels_sha256,
    )  # fmt: skip
    return Evaluation(pack=str(pack.folder), data=info, outputs="", **fields)


def test_counts_become_shares_and_a_drop(pack, tmp_path):
    sessions = {"a": Reading(), "b": Reading(wrong={1: 2, 4: 5})}
    raw = judge(pack, tmp_path, sessions, INT8, artifact=artifact("b"), reference=artifact())
    found = summarise(raw, evaluation(pack, max_drop=0.02), artifact("b"))
    assert (found.top1.k, found.top1.n, found.top5.k) == (21, 23, 21 + 0)
    assert found.fidelity.drop.lost == 2 and found.fidelity.drop.max_drop == 0.02
    assert found.data.content_sha256 == pack.content_sha256 and found.artifact_sha256 == "b" * 64
    [said] = [r for r in accuracy_warnings(found, None) if r.code == "accuracy_undecided"]
    assert "top-1 drops by 8.70 points" in said.message and "pictures would decide" in said.message


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"weights": "random"}, RANDOM_WEIGHTS),
        ({"weights": "local", "calibrated_on_noise": True}, NOISE_CALIBRATED),
    ],
)
def test_what_knows_nothing_claims_nothing(pack, tmp_path, fields, why):
    sessions = {"a": Reading(), "b": Reading()}
    raw = judge(pack, tmp_path, sessions, INT8, artifact=artifact("b"), reference=artifact())
    found = summarise(raw, evaluation(pack), artifact("b").model_copy(update=fields))
    assert found.unclaimed == why and found.top1 is None and found.fidelity.drop is None
    assert found.fidelity.agreement.value == 1.0


def test_a_figure_that_is_not_the_published_one_is_said(pack, tmp_path):
    raw = judge(pack, tmp_path, {"a": Reading(wrong=dict.fromkeys(range(1, 12), 0))})
    far = summarise(raw, evaluation(pack, published=95.0), artifact())
    assert "not_as_published" in [r.code for r in accuracy_warnings(far, None)]
    near = summarise(raw, evaluation(pack, published=55.0), artifact())
    assert list(accuracy_warnings(near, None)) == []
    [said] = accuracy_warnings(None, "the worker died")
    assert said.code == "no_accuracy" and "the worker died" in said.message


def test_outputs_that_are_no_row_of_classes_are_refused(pack, tmp_path):
    class Boxes(Reading):
        def bind(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
            return lambda: {"boxes": np.zeros((BATCH, 6, 20), np.float32)}

    with pytest.raises(UsageError, match="shape 8 × 6 × 20: not one number a class"):
        judge(pack, tmp_path, {"a": Boxes()})

    class Pooled(Reading):
        def bind(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
            call = super().bind(inputs)
            return lambda: {"logits": call()["logits"][:, :, None, None]}

    assert judge(pack, tmp_path, {"a": Pooled()})["right"] == 23
