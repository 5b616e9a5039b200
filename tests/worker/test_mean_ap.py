"""mAP is pycocotools' own, to the last digit, and its interval is of the same count."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from tests.worker.coco_cases import NAMES, by_files, random_world, seen, truth

from zoobench.errors import UsageError
from zoobench.tasks.boxes import Detections
from zoobench.worker.mean_ap import (
    ClassMatches,
    Evaluated,
    evaluate,
    mean_ap,
    paired,
    resampled,
    summarised,
)

pytest.importorskip("pycocotools")

A, B, FAR = (10.0, 10.0, 110.0, 60.0), (200.0, 200.0, 260.0, 300.0), (400.0, 400.0, 450.0, 450.0)
CLOSE = (20.0, 10.0, 120.0, 60.0)
"""IoU with A: 90 / 110."""
INSIDE = (30.0, 20.0, 60.0, 50.0)
SMALL, MEDIUM, LARGE = (0.0, 0.0, 20.0, 20.0), (100.0, 100.0, 160.0, 160.0), (300.0, 300.0, 500.0, 500.0)
MANY = [(0, (float(i), 500.0, float(i + 9), 509.0), 0.9 - i / 1000) for i in range(130)]

CASES = {
    "perfect": ([truth((0, A), (1, B))], [seen((0, A, 0.9), (1, B, 0.8))]),
    "shifted": ([truth((0, A), (0, B))], [seen((0, CLOSE, 0.9), (0, B, 0.8))]),
    "wrong class": ([truth((0, A), (1, B))], [seen((1, A, 0.9), (1, B, 0.8))]),
    "doubled": ([truth((0, A), (0, B))], [seen((0, A, 0.9), (0, A, 0.8), (0, B, 0.7))]),
    "in a crowd": (
        [truth((0, A), (0, B), crowds=(True, False))],
        [seen((0, INSIDE, 0.9), (0, A, 0.8), (0, B, 0.7))],
    ),
    "only crowds": ([truth((0, A), crowds=(True,)), truth((1, B))], [seen((0, INSIDE, 0.9)), seen((1, B, 0.5))]),
    "an empty picture": ([truth((0, A)), truth()], [seen((0, A, 0.9)), seen()]),
    "false on an empty picture": ([truth((0, A)), truth()], [seen((0, A, 0.6)), seen((0, B, 0.9))]),
    "a picture without boxes": ([truth((0, A)), truth((0, B), (1, A))], [seen((0, A, 0.9)), seen()]),
    "a class without objects": ([truth((0, A))], [seen((0, A, 0.5), (2, B, 0.9))]),
    "more than a hundred": (
        [truth((0, A), (0, MANY[40][1]), (1, B))],
        [seen(*MANY, (0, A, 0.5), (1, B, 0.4))],
    ),
    "tied": ([truth((0, A)), truth((0, B))], [seen((0, FAR, 0.5), (0, A, 0.5)), seen((0, B, 0.5), (0, A, 0.5))]),
    "one object": ([truth((3, A))], [seen((3, FAR, 0.9), (3, CLOSE, 0.8))]),
    "sizes": (
        [truth((0, SMALL), (0, MEDIUM), (1, LARGE))],
        [seen((0, SMALL, 0.9), (0, FAR, 0.85), (0, (104.0, 100.0, 164.0, 160.0), 0.8), (1, (310.0, 300.0, 510.0, 500.0), 0.7))],
    ),
    "an outline smaller than its box": ([truth((0, MEDIUM), share=0.2)], [seen((0, MEDIUM, 0.9), (0, SMALL, 0.95))]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_figures_are_those_of_pycocotools_on_files(name, tmp_path):
    truths, found = CASES[name]
    judged = evaluate(truths, found, NAMES)
    assert judged.stats == pytest.approx(by_files(tmp_path, truths, found), abs=1e-12)
    assert resampled(judged, np.ones((1, len(truths)), dtype=int))[0] == pytest.approx(
        judged.stats[0], abs=1e-9
    )


def test_figures_of_random_worlds_are_those_of_pycocotools(tmp_path):
    for seed in range(20):
        truths, found = random_world(seed)
        judged = evaluate(truths, found, NAMES)
        assert judged.stats == pytest.approx(by_files(tmp_path, truths, found), abs=1e-12), seed
        ones = np.ones((1, len(truths)), dtype=int)
        assert resampled(judged, ones)[0] == pytest.approx(judged.stats[0], abs=1e-9), seed


def test_a_resample_is_what_pycocotools_says_of_pictures_that_are_there_so_often():
    for seed in range(6):
        truths, found = random_world(seed, tied=False)
        draws = np.random.default_rng(seed).integers(0, 3, (3, len(truths)))
        counted = resampled(evaluate(truths, found, NAMES), draws)
        for often, figure in zip(draws, counted, strict=True):
            again = [i for i, n in enumerate(often) for _ in range(n)]
            judged = evaluate([truths[i] for i in again], [found[i] for i in again], NAMES)
            assert figure == pytest.approx(judged.stats[0], abs=1e-9)


def test_a_class_that_a_resample_lacks_is_left_out():
    judged = evaluate([truth((0, A)), truth((1, B))], [seen((0, A, 0.9)), seen((1, A, 0.9))], NAMES)
    drawn = resampled(judged, np.array([[1, 1], [2, 0], [0, 2]]))
    assert drawn == pytest.approx([0.5, 1.0, 0.0])
    lonely = evaluate([truth((0, A)), truth()], [seen((0, A, 0.9)), seen()], NAMES)
    assert np.isnan(resampled(lonely, np.array([[0, 2]]))[0])
    low, high = summarised(lonely).interval or (0.0, 0.0)
    assert low == pytest.approx(1 - 1.96 / 4, abs=1e-3) and high == 1.0


def test_what_is_known_by_hand():
    assert mean_ap(*CASES["perfect"], NAMES).map == pytest.approx(1.0)
    crowd = mean_ap(*CASES["in a crowd"], NAMES)
    assert (crowd.map, crowd.objects, crowd.crowds) == (pytest.approx(1.0), 1, 1)
    # 7 of the 10 thresholds, 0.5 to 0.8, lie below 9/11; at the others the first box is wrong and the second right.
    shifted = mean_ap([truth((0, A))], [seen((0, CLOSE, 0.9))], NAMES)
    assert (shifted.map, shifted.map50, shifted.map75) == pytest.approx((0.7, 1.0, 1.0))
    wrong = mean_ap(*CASES["wrong class"], NAMES)
    assert wrong.by_class == {"cat": 0.0, "dog": 0.5} and wrong.map == pytest.approx(0.25)
    sizes = mean_ap(*CASES["sizes"], NAMES)
    assert sizes.small is not None and sizes.medium is not None and sizes.large is not None
    assert (mean_ap(*CASES["perfect"], NAMES).small, sizes.categories, sizes.pictures) == (None, 2, 1)
    assert sizes.evaluator.startswith("pycocotools 2")


def test_classes_of_one_name_are_two():
    judged = evaluate([truth((0, A), (1, B))], [seen((0, A, 0.9))], ("cat", "cat"))
    assert resampled(judged, np.ones((1, 1), dtype=int))[0] == pytest.approx(judged.stats[0])
    assert summarised(judged).categories == 2


def test_nothing_found_is_zero_and_nothing_to_find_is_none():
    nothing = mean_ap([truth((0, A))], [seen()], NAMES)
    assert (nothing.map, nothing.large, nothing.boxes) == (0.0, None, 0)
    assert nothing.interval is not None and nothing.interval[0] == 0.0
    for truths in ([truth()], [truth((0, A), crowds=(True,))]):
        untold = mean_ap(truths, [seen((0, A, 0.9))], NAMES)
        assert (untold.map, untold.map50, untold.interval, untold.categories) == (None, None, None, 0)
        assert paired(*[evaluate(truths, [seen()], NAMES)] * 2) is None


def test_what_is_not_finite_is_left_out_and_counted():
    nan, inf = float("nan"), float("inf")
    boxes = [
        (0, A, 0.5),
        (0, A, nan),
        (0, (nan, 0.0, 1.0, 1.0), 0.9),
        (1, (0.0, 0.0, inf, 5.0), 0.9),
        (1, B, inf),
    ]
    found = mean_ap([truth((0, A), (1, B))], [seen(*boxes)], NAMES)
    assert (found.not_finite, found.boxes, found.map) == (4, 1, pytest.approx(0.5))


def test_boxes_below_the_threshold_are_left_out_and_what_it_is_stands_beside():
    found = mean_ap([truth((0, A))], [seen((0, A, 0.0009))], NAMES)
    assert (found.map, found.boxes, found.score_threshold, found.max_detections) == (0.0, 0, 0.001, 100)
    assert mean_ap([truth((0, A))], [seen((0, A, 0.001))], NAMES).map == pytest.approx(1.0)


def test_it_prints_nothing(capsys):
    evaluate(*CASES["perfect"], NAMES)
    assert capsys.readouterr() == ("", "")


def test_without_pycocotools_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(UsageError, match=r"pycocotools is not installed; .*pip install .*\[coco\]'"):
        evaluate(*CASES["perfect"], NAMES)


def test_other_pictures_are_refused():
    one, two = ([truth((0, A))], [seen()]), ([truth((0, A)), truth()], [seen(), seen()])
    with pytest.raises(ValueError, match="1 truths and 2 lists"):
        evaluate(one[0], two[1], NAMES)
    with pytest.raises(ValueError, match="different pictures"):
        paired(evaluate(*one, NAMES), evaluate(*two, NAMES))


def test_three_perfect_pictures_prove_little():
    truths, found = [truth((0, A))] * 3, [seen((0, A, 0.9))] * 3
    judged = evaluate(truths, found, NAMES)
    low, high = summarised(judged).interval or (1.0, 1.0)
    assert (low, high) == (pytest.approx(1 - 1.96 / 5, abs=1e-3), 1.0)
    same = paired(judged, judged)
    assert same is not None and same.value == 0.0
    assert same.interval == (pytest.approx(-1.96 / 5, abs=1e-3), pytest.approx(1.96 / 5, abs=1e-3))


def test_intervals_are_seeded_and_shrink_with_the_pictures():
    few, many = (evaluate(*random_world(3, pictures), NAMES) for pictures in (20, 120))
    assert summarised(few) == summarised(few)
    assert summarised(few).interval != summarised(few, seed=1).interval
    widths = [np.ptp(summarised(one).interval or ()) for one in (few, many)]
    assert widths[1] < 0.7 * widths[0]


def test_of_a_pair_what_is_hard_for_both_cancels_out():
    truths, found = random_world(4, 60)
    worse = [Detections(one.boxes + 4.0, one.scores, one.classes) for one in found]
    before, after = evaluate(truths, found, NAMES), evaluate(truths, worse, NAMES)
    drop = paired(before, after)
    assert drop is not None and drop.value == pytest.approx(before.stats[0] - after.stats[0])
    low, high = drop.interval
    assert 0 < low < drop.value < high
    alone = [np.ptp(summarised(one).interval or ()) for one in (before, after)]
    assert high - low < 0.7 * np.hypot(*alone)
    gain = paired(after, before)
    assert gain is not None and gain.interval == (pytest.approx(-high), pytest.approx(-low))


@pytest.mark.slow
def test_intervals_cover_and_plain_percentiles_would_not():
    """Samples of a made-up source, the drop against boxes that are right less often."""
    source, pictures, trials, often = 3000, 150, 60, {"resamples": 100}
    before, after = _made_up(source), _made_up(source, worse=0.1)
    true, less = before.stats[0], after.stats[0]
    rng = np.random.default_rng(2)
    covered = np.zeros(3)
    for seed in range(trials):
        chosen = rng.choice(source, pictures, replace=False)
        one, other = _part(before, chosen), _part(after, chosen)
        drop = paired(one, other, seed=seed, **often)
        drawn = resampled(one, rng.multinomial(pictures, np.full(pictures, 1 / pictures), 100))
        assert drop is not None
        intervals = [
            summarised(one, seed=seed, **often).interval,
            drop.interval,
            np.quantile(drawn, (0.025, 0.975)),
        ]
        covered += [
            low <= figure <= high
            for (low, high), figure in zip(intervals, (true, true - less, true), strict=True)
        ]
    of_map, of_drop, plain = covered / trials
    assert of_map > 0.88 and of_drop > 0.94 and plain < 0.75, covered / trials


def _made_up(pictures: int, classes: int = 12, worse: float = 0.0) -> Evaluated:
    """Matches without boxes: an object's quality decides the thresholds at which it is found, and its score follows it."""
    rng = np.random.default_rng(1)
    found = {}
    for one in range(classes):
        objects = rng.poisson(2 / (one + 2), pictures)
        places = np.repeat(np.arange(pictures), objects)
        quality = rng.random(len(places))
        lost = worse * (rng.random(len(places)) < 0.3)
        wrong = rng.choice(pictures, 2 * len(places))
        scores = np.concatenate([0.5 * quality + 0.5 * rng.random(len(places)), rng.beta(1.5, 3, len(wrong))])
        right = (quality - lost) > np.array([[0.3], [0.7]])
        right = np.concatenate([right, np.zeros((2, len(wrong)), dtype=bool)], axis=1)
        order = np.argsort(-scores, kind="stable")
        where = np.concatenate([places, wrong])
        found[one] = ClassMatches(where[order], right[:, order], np.zeros_like(right), objects)
    return _whole(found, pictures)


def _part(of: Evaluated, chosen: np.ndarray) -> Evaluated:
    place = np.full(of.pictures, -1)
    place[chosen] = np.arange(len(chosen))
    found = {}
    for number, one in of.classes.items():
        kept = place[one.pictures] >= 0
        if one.objects[chosen].any():
            found[number] = ClassMatches(
                place[one.pictures[kept]], one.right[:, kept], one.ignored[:, kept], one.objects[chosen]
            )
    return _whole(found, len(chosen))


def _whole(classes: dict[int, ClassMatches], pictures: int) -> Evaluated:
    names = tuple(map(str, classes))
    bare = Evaluated((0.0,) * 6, names, classes, pictures, 0, 0, 0, 0)
    figure = float(resampled(bare, np.ones((1, pictures), dtype=int))[0])
    return Evaluated((figure,) * 6, names, classes, pictures, 0, 0, 0, 0)
