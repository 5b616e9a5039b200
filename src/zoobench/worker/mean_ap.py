"""COCO's mAP by pycocotools, and how sure a number of pictures makes it, or a drop of it.

pycocotools matches boxes with objects, picture by picture and class by class, and counts. Its matches do not depend on which
other pictures there are, so a bootstrap draws pictures, as often as there are, with replacement, and only counts again; of
two passes over the same pictures it draws the same ones for both, so that what is hard for both cancels out, as PASCAL VOC's
makers did ("Assessing the significance of performance differences on the PASCAL VOC challenges via bootstrapping", 2013).

mAP of few pictures lies above that of many, because the precision at a recall is the best one at any larger recall, and
resamples lie above their sample as the sample lies above the source. So the interval is the reflected one, from 2m - h to 2m - l
where the middle 95% of the resamples lie from l to h and their sample at m (B. Efron, R. Tibshirani, An Introduction to the
Bootstrap, 1993, call it basic). On made-up matches it covers in nine cases of ten where the plain one covers in six
(`tests/worker/test_mean_ap.py`): a rough 95%, and rougher the rarer the classes are. In a drop the bias cancels out, and its
interval covers nearly always.

What it can say: by how much another sample of as many pictures from the same source would move mAP. What it cannot: anything
of another source; or much of classes that a handful of these pictures hold, whose share of mAP is the same as any other's.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.errors import UsageError, install_extra
from zoobench.outcome import MeanAP
from zoobench.tasks.boxes import EVALUATION, Detections
from zoobench.terms import Interval

if TYPE_CHECKING:
    from zoobench.data.truth import Truth

RESAMPLES = 1000
MAX_DETECTIONS = 100
_AT_ONCE = 100
"""Resamples that are counted together: enough for numpy, few enough for the memory of many pictures."""
_RECALLS = np.linspace(0.0, 1.0, 101)
_Z95 = 1.959963984540054
_DIGITS = 4
"""Of a class's precision, which is there to be looked at."""


@dataclass(frozen=True)
class ClassMatches:
    """What became of the boxes of one class, the best first.

    Attributes:
        pictures: int, (boxes,), on which each lies.
        right: bool, (IoU thresholds, boxes): it has an object of its own.
        ignored: the same shape: it is neither right nor wrong.
        objects: int, (pictures,), that are to be found.
    """

    pictures: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


@dataclass(frozen=True)
class Evaluated:
    """What pycocotools made of one pass.

    Attributes:
        stats: its first six figures, -1 where there is none.
        names: of the dataset's classes.
        classes: index of a class → matches, of those that occur in the objects.
        pictures, objects, crowds: of the truth.
        boxes, not_finite: that were judged, and that were left out because they are no numbers.
    """

    stats: tuple[float, ...]
    names: tuple[str, ...]
    classes: dict[int, ClassMatches]
    pictures: int
    objects: int
    crowds: int
    boxes: int
    not_finite: int


@dataclass(frozen=True)
class Paired:
    """By how much mAP dropped, a share, with its 95% interval."""

    value: float
    interval: Interval
    pictures: int
    resamples: int
    seed: int


def mean_ap(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    names: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MeanAP:
    """`evaluate`, then `summarised`."""
    return summarised(evaluate(truths, detections, names), resamples=resamples, seed=seed)


def evaluate(truths: Sequence[Truth], detections: Sequence[Detections], names: Sequence[str]) -> Evaluated:
    """Have pycocotools judge the boxes.

    Boxes with a score below `EVALUATION.score` are left out, and those that are not finite, which are counted.

    Args:
        truths: what is on each picture.
        detections: what was found on each, in pixels of that picture; classes as in `names`, others are left out.
        names: of the dataset's classes.

    Raises:
        UsageError: pycocotools is not there.
        ValueError: truths and detections are not of equally many pictures.
    """
    kept = [found.at_least(EVALUATION.score) for found in detections]
    # Its errors of a count would come late, or never.
    if len(truths) != len(kept):
        raise ValueError(f"{len(truths)} truths and {len(kept)} lists of boxes")
    judge = _judge(_objects_as_coco(truths, names), _boxes_as_coco(kept, names))
    crowds = sum(sum(truth.crowds) for truth in truths)
    return Evaluated(
        stats=tuple(float(figure) for figure in judge.stats[:6]),
        names=tuple(names),
        classes={
            number: found for number in range(len(names)) if (found := _matches(judge, number)).objects.any()
        },
        pictures=len(truths),
        objects=sum(len(truth.classes) for truth in truths) - crowds,
        crowds=crowds,
        boxes=sum(len(found.scores) for found in kept),
        not_finite=sum(int((~found.finite).sum()) for found in detections),
    )


def summarised(evaluated: Evaluated, *, resamples: int = RESAMPLES, seed: int = 0) -> MeanAP:
    """The figures with the interval of the first.

    Args:
        evaluated: one pass.
        resamples: how often pictures are drawn; below a few hundred the interval's own ends are uncertain.
        seed: of the drawing.
    """
    figures = [figure if figure >= 0 else None for figure in evaluated.stats]
    whole = np.ones((1, evaluated.pictures), dtype=np.int64)
    each = {number: _average_precision(found, whole)[0] for number, found in evaluated.classes.items()}
    interval = None
    if figures[0] is not None:
        drawn = resampled(evaluated, _draws(evaluated.pictures, resamples, seed))
        low, high = _interval(figures[0], drawn, evaluated.pictures)
        interval = max(0.0, low), min(1.0, high)
    return MeanAP(
        map=figures[0],
        map50=figures[1],
        map75=figures[2],
        small=figures[3],
        medium=figures[4],
        large=figures[5],
        interval=interval,
        by_class={evaluated.names[number]: round(float(value), _DIGITS) for number, value in each.items()},
        pictures=evaluated.pictures,
        objects=evaluated.objects,
        crowds=evaluated.crowds,
        categories=len(evaluated.classes),
        boxes=evaluated.boxes,
        not_finite=evaluated.not_finite,
        max_detections=MAX_DETECTIONS,
        score_threshold=EVALUATION.score,
        evaluator=f"pycocotools {importlib.metadata.version('pycocotools')}",
        resamples=resamples,
        seed=seed,
    )


def paired(
    reference: Evaluated, candidate: Evaluated, *, resamples: int = RESAMPLES, seed: int = 0
) -> Paired | None:
    """mAP of the reference less the candidate's; None where no object counts.

    Args:
        reference, candidate: passes over the same pictures, in the same order.
        resamples, seed: as for `summarised`.

    Raises:
        ValueError: the passes are of different pictures.
    """
    pictures = candidate.pictures
    if reference.pictures != pictures or reference.objects != candidate.objects:
        raise ValueError("the two passes are of different pictures")
    if not candidate.classes:
        return None
    draws = _draws(pictures, resamples, seed)
    value = reference.stats[0] - candidate.stats[0]
    drawn = resampled(reference, draws) - resampled(candidate, draws)
    low, high = _interval(value, drawn, pictures)
    return Paired(value, (low, high), pictures, resamples, seed)


def resampled(evaluated: Evaluated, draws: np.ndarray) -> np.ndarray:
    """mAP where each picture occurs so many times, (resamples,); NaN where no object is left.

    Args:
        evaluated: one pass with at least one object.
        draws: int, (resamples, pictures). All ones give COCO's own figure. Of boxes with equal scores
            all that are one box come first.
    """
    found = [
        np.concatenate(
            [
                _average_precision(one, draws[begin : begin + _AT_ONCE])
                for begin in range(0, len(draws), _AT_ONCE)
            ]
        )
        for one in evaluated.classes.values()
    ]
    each = np.array(found)
    occurs = ~np.isnan(each)
    mean: np.ndarray = np.where(occurs, each, 0.0).sum(axis=0) / np.where(
        occurs.any(axis=0), occurs.sum(axis=0), np.nan
    )
    return mean


def _average_precision(found: ClassMatches, draws: np.ndarray) -> np.ndarray:
    """Over all IoU thresholds and recalls, (resamples,); NaN where the class has no object.

    A precision counts only where recall grows, at boxes that are right: the best one from there on, once for every
    recall threshold that was reached there.
    """
    objects = draws @ found.objects
    weights = draws[:, found.pictures].astype(np.int32)
    before = weights.cumsum(axis=1, dtype=np.int32)
    total = np.zeros(len(draws))
    for right, ignored in zip(found.right, found.ignored, strict=True):
        at = np.flatnonzero(right)
        if not len(at):
            continue
        hits = weights[:, at].cumsum(axis=1)
        judged = before[:, at]
        if ignored.any():
            left_out = np.flatnonzero(ignored)
            gone = np.zeros((len(draws), len(left_out) + 1), dtype=np.int64)
            gone[:, 1:] = weights[:, left_out].cumsum(axis=1)
            judged = judged - gone[:, np.searchsorted(left_out, at)]
        precision = hits / np.maximum(judged, 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = hits / np.maximum(objects, 1)[:, None]
        reached = np.searchsorted(_RECALLS, recall, side="right")
        total += (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1)
    mean: np.ndarray = total / (len(found.right) * len(_RECALLS))
    return np.where(objects > 0, mean, np.nan)


def _draws(pictures: int, resamples: int, seed: int) -> np.ndarray:
    """How often each resample holds each picture, int64, (resamples, pictures)."""
    even = np.full(pictures, 1.0 / pictures)
    return np.random.default_rng(seed).multinomial(pictures, even, size=resamples)


def _interval(value: float, drawn: np.ndarray, pictures: int) -> Interval:
    """95%, around `value`, of what was drawn; see the module.

    Where nothing differs between pictures nothing differs between resamples, so that three pictures would prove everything.
    So each end is moved by one picture's z/(n + 2), added in quadrature: what Agresti and Min's interval of a drop of shares
    has where nothing differed, and next to nothing where much did.
    """
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    one = _Z95 / (pictures + 2)
    below, above = (float(np.hypot(max(0.0, reach), one)) for reach in (high - value, value - low))
    return value - below, value + above


def _judge(truth: dict[str, Any], found: dict[str, Any]) -> Any:
    """A COCOeval that has evaluated, accumulated and summarised."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise UsageError(f"pycocotools is not installed; {install_extra('coco')}") from error
    # It prints tables, and how long it took.
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for content in (truth, found):
            side = COCO()
            side.dataset = content
            side.createIndex()
            sides.append(side)
        judge = COCOeval(*sides, iouType="bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def _objects_as_coco(truths: Sequence[Truth], names: Sequence[str]) -> dict[str, Any]:
    """Pictures, classes and objects, numbered from 1: to pycocotools a match with number 0 is none."""
    objects = [
        {"image_id": picture, "category_id": one + 1, "bbox": list(box), "area": area, "iscrowd": int(crowd)}
        for picture, truth in enumerate(truths, 1)
        for one, box, area, crowd in zip(truth.classes, truth.boxes, truth.areas, truth.crowds, strict=True)
    ]
    return _as_coco(len(truths), names, objects)


def _boxes_as_coco(detections: Sequence[Detections], names: Sequence[str]) -> dict[str, Any]:
    boxes = []
    for picture, found in enumerate(detections, 1):
        corners = found.boxes.astype(np.float64)
        sizes = corners[:, 2:] - corners[:, :2]
        boxes += [
            {
                "image_id": picture,
                "category_id": one + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "score": score,
                "iscrowd": 0,
            }
            for one, box, score in zip(
                found.classes.tolist(),
                np.concatenate([corners[:, :2], sizes], axis=1).tolist(),
                found.scores.tolist(),
                strict=True,
            )
        ]
    return _as_coco(len(detections), names, boxes)


def _as_coco(pictures: int, names: Sequence[str], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    return {
        "images": [{"id": number} for number in range(1, pictures + 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
        "annotations": annotations,
    }


def _matches(judge: Any, number: int) -> ClassMatches:
    """Of one class, from COCOeval's matches for objects of every size, which come first of its area ranges."""
    ways, pictures = judge.params, len(judge.params.imgIds)
    begin = number * len(ways.areaRng) * pictures
    objects = np.zeros(pictures, dtype=np.int64)
    scores, places = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    matched = [np.zeros((len(ways.iouThrs), 0), dtype=bool)]
    ignored = [matched[0]]
    for picture, one in enumerate(judge.evalImgs[begin : begin + pictures]):
        if one is None:
            continue
        objects[picture] = np.count_nonzero(one["gtIgnore"] == 0)
        scores.append(np.asarray(one["dtScores"], dtype=np.float64))
        places.append(np.full(len(one["dtScores"]), picture))
        matched.append(one["dtMatches"] > 0)
        ignored.append(one["dtIgnore"].astype(bool))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    left_out = np.concatenate(ignored, axis=1)[:, order]
    return ClassMatches(
        pictures=np.concatenate(places)[order],
        right=np.concatenate(matched, axis=1)[:, order] & ~left_out,
        ignored=left_out,
        objects=objects,
    )
