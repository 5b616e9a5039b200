"""Which pictures are taken: how many of each class, from how few blocks, and always the same ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoobench.data import Block, Pick
from zoobench.data.select import select
from zoobench.data.truth import Objects
from zoobench.errors import UsageError


def blocks_of(*labels: list[int]) -> list[Block]:
    return [
        Block(f"b{number}", [f"{number}#{row}" for row in range(len(rows))], np.array(rows, np.int64))
        for number, rows in enumerate(labels)
    ]


def taken(blocks: list[Block], picks: list[Pick]) -> Counter[int]:
    return Counter(int(blocks[block].labels[row]) for block, row in picks)


MIXED = blocks_of(*[[row % 10 for row in range(100)] for _ in range(50)])


def test_the_choice_is_the_same_on_every_machine() -> None:
    blocks = blocks_of([0, 1, 2, 0, 1], [2, 1, 0, 0], [1, 1, 2])
    assert select(blocks, 5, 7) == [Pick(0, 0), Pick(0, 2), Pick(0, 3), Pick(0, 4), Pick(1, 0)]


def test_another_seed_gives_other_pictures_and_the_same_seed_the_same() -> None:
    assert select(MIXED, 50, 1) == select(MIXED, 50, 1) != select(MIXED, 50, 2)


def test_what_does_not_divide_goes_to_seeded_classes() -> None:
    extra = {
        label
        for seed in range(20)
        for label, count in taken(MIXED, select(MIXED, 51, seed)).items()
        if count == 6
    }
    assert len(extra) > 3


def test_few_blocks_are_touched_where_classes_are_mixed() -> None:
    assert len({pick.block for pick in select(MIXED, 100, 0)}) == 1
    assert len({pick.block for pick in select(MIXED, 101, 0)}) == 2


def test_a_class_with_too_few_is_made_up_for_by_the_others() -> None:
    blocks = blocks_of([0] * 2 + [1] * 50 + [2] * 50)
    counts = taken(blocks, select(blocks, 31, 0))
    assert counts[0] == 2 and sorted((counts[1], counts[2])) == [14, 15]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(-1, 5), max_size=12), min_size=1, max_size=6),
    st.integers(0, 2**32),
    st.data(),
)
def test_exactly_so_many_balanced_in_order_and_none_excluded(
    labels: list[list[int]], seed: int, data: st.DataObject
) -> None:
    blocks = blocks_of(*labels)
    ids = [picture for block in blocks for picture in block.ids]
    exclude = frozenset(data.draw(st.sets(st.sampled_from(ids)))) if ids else frozenset()
    there = Counter(
        int(label)
        for block in blocks
        for picture, label in zip(block.ids, block.labels, strict=True)
        if label >= 0 and picture not in exclude
    )
    if not there:
        with pytest.raises(UsageError, match="no picture"):
            select(blocks, None, seed, exclude)
        return
    samples = data.draw(st.none() | st.integers(1, there.total()))
    picks = select(blocks, samples, seed, exclude)
    assert len(picks) == len(set(picks)) == (samples or there.total())
    assert not {blocks[block].ids[row] for block, row in picks} & exclude
    counts = taken(blocks, picks)
    assert counts[-1] == 0
    unexhausted = [counts[label] for label in there if counts[label] < there[label]]
    most = max(counts.values())
    assert all(most - count <= 1 for count in unexhausted)
    order = [pick.block for pick in picks]
    assert [b for i, b in enumerate(order) if i == 0 or order[i - 1] != b] == list(dict.fromkeys(order))
    for block in set(order):
        rows = [pick.row for pick in picks if pick.block == block]
        assert rows == sorted(rows)


@pytest.mark.parametrize(
    ("samples", "seed", "exclude", "words"),
    [
        (4, 0, set(), "4 pictures were asked for, the dataset has 3"),
        (3, 0, {"0#0"}, "has 2 beside the 1 that are excluded"),
        (0, 0, set(), "at least 1"),
        (1, -1, set(), "0 or more"),
        (1, 0, {"0#0", "0#1", "0#3"}, "no picture with a label beside"),
    ],
)
def test_what_cannot_be_is_one_line(samples: int, seed: int, exclude: set[str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        select(blocks_of([0, 1, -1, 1]), samples, seed, exclude)
    assert "\n" not in str(error.value)


def with_objects(*lengths: int) -> list[Block]:
    def nothing(length: int) -> Objects:
        none = np.empty(0)
        return Objects(
            np.zeros(length, np.int64), np.zeros((length, 2)), none, none.reshape(0, 4), none, none
        )

    return [
        Block(
            f"b{number}", [f"{number}#{row}" for row in range(length)], np.full(length, -1), nothing(length)
        )
        for number, length in enumerate(lengths)
    ]


def test_pictures_with_boxes_are_taken_from_anywhere() -> None:
    blocks = with_objects(30, 30, 40)
    picks = select(blocks, 50, 0)
    assert picks == sorted(set(picks)) and len(picks) == 50
    assert Counter(pick.block for pick in picks).keys() == {0, 1, 2}
    assert picks == select(blocks, 50, 0) != select(blocks, 50, 1)
    assert set(select(blocks, 20, 0)) < set(picks)
    assert len(select(blocks, None, 0)) == 100


def test_each_picture_with_boxes_is_as_likely() -> None:
    blocks = with_objects(2, 8)
    seen = Counter(pick for seed in range(400) for pick in select(blocks, 3, seed))
    assert len(seen) == 10 and min(seen.values()) > 80 and max(seen.values()) < 160


def test_the_choice_of_pictures_with_boxes_is_the_same_on_every_machine() -> None:
    assert select(with_objects(5, 4), 4, 7) == [Pick(0, 0), Pick(0, 3), Pick(0, 4), Pick(1, 1)]


def test_pictures_with_boxes_can_be_excluded_and_run_out() -> None:
    blocks = with_objects(3)
    assert select(blocks, 9, 0, {"0#1"}, at_most=True) == [Pick(0, 0), Pick(0, 2)]
    with pytest.raises(UsageError, match="3 pictures were asked for, the dataset has 2 beside the 1"):
        select(blocks, 3, 0, {"0#1"})
    with pytest.raises(UsageError, match="no pictures beside the 3"):
        select(blocks, None, 0, {"0#0", "0#1", "0#2"})
