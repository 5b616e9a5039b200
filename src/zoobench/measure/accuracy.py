"""From what an accuracy pass counted to shares with intervals, and what may be claimed of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoobench.measure.detection import box_agreement, box_drop
from zoobench.measure.proportions import drop, share
from zoobench.outcome import Accuracy, BoxDrop, Drop, Fidelity, MeanAP
from zoobench.spec import Artifact, Evaluation
from zoobench.terms import DropDecision, Reason

BENT = 0.8
"""Cosine to fp32's outputs below which a precision has bent a picture's outputs, whatever class comes first."""
DROP_CODES = frozenset({"accuracy_drop", "accuracy_undecided"})
RANDOM_WEIGHTS = "random weights: what they get right says nothing of the model"
NOISE_CALIBRATED = "calibrated on noise: give --calibration"


def summarise(raw: Mapping[str, Any], evaluation: Evaluation, artifact: Artifact) -> Accuracy:
    """Make shares of counts.

    Args:
        raw: what the worker's `accuracy` verb returned.
        evaluation: what was due.
        artifact: what was run.
    """
    n, unclaimed = int(raw["images"]), _unclaimed(raw, artifact)
    claimed = unclaimed is None

    def of_images(k: int | None) -> Any:
        return share(k, n) if claimed and k is not None else None

    if artifact.detector is not None:
        right: dict[str, Any] = {
            "boxes": raw["boxes"] if claimed else None,
            "published_map": evaluation.published,
        }
    else:
        right = {
            "top1": of_images(raw["right"]),
            "top5": of_images(raw["right5"]),
            "top1_masked": of_images(raw["masked"]),
            "published_top1": evaluation.published,
        }
    return Accuracy(
        data=evaluation.data,
        artifact_sha256=artifact.sha256,
        meaning_sha256=artifact.meaning_sha256,
        images=n,
        undecodable=raw["undecodable"],
        undecodable_ids=tuple(raw["undecodable_ids"]),
        outputs=raw["outputs"],
        classes=raw["classes"],
        **right,
        unclaimed=unclaimed,
        assumed=raw["assumed"] if claimed else None,
        not_finite=raw["not_finite"],
        fidelity=_fidelity(raw["fidelity"], n, evaluation.max_drop, claimed),
        batch=raw["batch"],
        images_per_s=n / raw["seconds"],
        seconds=raw["seconds"],
        preprocessing=raw["preprocessing"],
    )


def _unclaimed(raw: Mapping[str, Any], artifact: Artifact) -> str | None:
    if artifact.weights == "random":
        return RANDOM_WEIGHTS
    if artifact.calibrated_on_noise:
        return NOISE_CALIBRATED
    if raw["not_finite"] == raw["images"]:
        return "the outputs of every picture hold NaN or infinity"
    told: str | None = raw["unclaimed"]
    return told


def _fidelity(raw: Mapping[str, Any] | None, n: int, max_drop: float, claimed: bool) -> Fidelity | None:
    if raw is None:
        return None
    if "boxes" in raw:
        lost = raw["box_drop"] if claimed else None
        return Fidelity(
            reference_sha256=raw["reference_sha256"],
            boxes=box_agreement(raw["boxes"]),
            box_drop=box_drop(lost, max_drop) if lost else None,
        )
    return Fidelity(
        reference_sha256=raw["reference_sha256"],
        agreement=share(raw["agree"], n),
        cosine_min=raw["cosine_min"],
        cosine_mean=raw["cosine_mean"],
        drop=drop(raw["lost"], raw["won"], n, max_drop) if claimed else None,
    )


def accuracy_warnings(accuracy: Accuracy | None, unassessed: str | None) -> Iterator[Reason]:
    """What a reader of the accuracy must know. It never changes whether the latency can be believed."""
    if unassessed is not None:
        yield Reason(code="no_accuracy", message=f"the accuracy pass failed: {unassessed}")
    if accuracy is None:
        return
    if accuracy.unclaimed:
        yield Reason(code="accuracy_not_claimed", message=f"no accuracy is claimed: {accuracy.unclaimed}")
    if accuracy.assumed:
        yield Reason(
            code="labels_assumed",
            message=f"{accuracy.assumed}; if that is not so, state the model's labels in a registry (labels = [ … ])",
        )
    if accuracy.not_finite:
        yield Reason(
            code="not_finite_outputs",
            message=f"the outputs of {accuracy.not_finite} pictures hold NaN or infinity; they count as wrong",
        )
    for note in accuracy.data.notes:
        yield Reason(code="data_note", message=note)
    if str(accuracy.preprocessing.get("source", "")).startswith("assumed"):
        taken, theirs = (
            ("YOLO's letterbox", "COCO's") if accuracy.data.boxes else ("ImageNet's usual", "ImageNet's")
        )
        yield Reason(
            code="preprocessing_assumed",
            message=f"how the model wants its pictures is not told by its file, so {taken} was taken; state it in a "
            f"registry (preprocessing = {{ … }}), and labels = … where its outputs are not {theirs} classes",
        )
    if accuracy.undecodable:
        yield Reason(
            code="undecodable_pictures",
            message=f"{accuracy.undecodable} of {accuracy.images + accuracy.undecodable} pictures could not be decoded and "
            f"were left out: {', '.join(accuracy.undecodable_ids[:3])}",
        )
    cosine = accuracy.fidelity.cosine_min if accuracy.fidelity else None
    if cosine is not None and cosine < BENT and accuracy.unclaimed is None:
        yield Reason(
            code="outputs_bent",
            message=f"the outputs of one picture have a cosine of {cosine:.2f} to fp32's: whatever the "
            "classes say, this file computes something else there; try another --calibration or another runtime",
        )
    yield from _published(accuracy)
    if accuracy.fidelity:
        yield from drop_warnings(accuracy.fidelity.drop or accuracy.fidelity.box_drop)


def _published(accuracy: Accuracy) -> Iterator[Reason]:
    """The reference against the catalog's figure, which holds for all of ImageNet and not for a part of its classes."""
    close = accuracy.fidelity
    if (
        accuracy.boxes is not None
        and accuracy.published_map is not None
        and (not close or not close.box_drop)
    ):
        yield from _published_map(accuracy.boxes, accuracy.published_map)
    if close is not None or accuracy.published_top1 is None or accuracy.top1 is None:
        return
    low, high = (100 * edge for edge in accuracy.top1.interval)
    part = accuracy.classes is not None and accuracy.classes < 1000
    if not low <= accuracy.published_top1 <= high:
        yield Reason(
            code="not_as_published",
            message=f"top-1 is {100 * accuracy.top1.value:.1f}% [{low:.1f}, {high:.1f}], the published figure "
            f"{accuracy.published_top1:.1f}% lies outside"
            + (
                f"; it was measured on all of ImageNet's classes and this on {accuracy.classes}, so it need not fit"
                if part
                else "; check the weights, the pre-processing and the label order before you believe either"
            ),
        )


def _published_map(boxes: MeanAP, published: float) -> Iterator[Reason]:
    if boxes.interval is None or boxes.interval[0] <= published / 100 <= boxes.interval[1]:
        return
    low, high = (100 * edge for edge in boxes.interval)
    yield Reason(
        code="not_as_published",
        message=f"mAP is {100 * (boxes.map or 0.0):.1f}% [{low:.1f}, {high:.1f}], the published figure {published:.1f}% lies outside; it "
        "is of all of COCO val2017, with pictures prepared as its source says: compare them before you believe either",
    )


def drop_warnings(lost: Drop | BoxDrop | None) -> Iterator[Reason]:
    """What a reader of a drop that does not pass must know; `DROP_CODES` has the codes."""
    if lost is None or lost.decision is DropDecision.PASS:
        return
    low, high = (100 * edge for edge in lost.interval)
    measure = "mAP" if isinstance(lost, BoxDrop) else "top-1"
    what = f"{measure} drops by {100 * lost.value:.2f} points [{low:.2f}, {high:.2f}] against fp32"
    if lost.decision is DropDecision.FAIL:
        yield Reason(code="accuracy_drop", message=f"{what}, more than the {100 * lost.max_drop:g} allowed")
    else:
        needed = f"; about {lost.images_needed:,} pictures would decide" if lost.images_needed else ""
        yield Reason(
            code="accuracy_undecided",
            message=f"{what}: whether that is more than the {100 * lost.max_drop:g} allowed is open{needed}; give more labelled pictures",
        )
