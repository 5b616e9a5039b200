"""Where a detector's tail begins, on graphs that are small enough to see it."""

from __future__ import annotations

import pytest

from zoobench.prepare.detection_tail import HEAD, TAIL, Node, head_of, tail_of, told, words_of


def node(name: str, *reads: str, layer: bool = False) -> Node:
    """Its tensor is called as it is."""
    return Node(name, layer, reads, (name,))


TWO_BRANCHES = [
    node("stem", "pixels", "w_stem", layer=True),
    node("relu", "stem"),
    node("hidden", "relu", "w_hidden", layer=True),
    node("box", "hidden", "w_box", layer=True),
    node("class", "relu", "w_class", layer=True),
    node("sigmoid", "class"),
    node("softmax", "box"),
    node("mean", "softmax", "sixteen", layer=True),
    node("corners", "mean", "matrix", layer=True),
    node("join", "corners", "sigmoid"),
]
WEIGHTS = {"w_stem": 1000, "w_hidden": 1000, "w_box": 1000, "w_class": 64, "sixteen": 16, "matrix": 16}


def test_the_tail_is_what_follows_the_last_learned_layer_of_every_branch() -> None:
    assert tail_of(TWO_BRANCHES, WEIGHTS) == {"sigmoid", "softmax", "mean", "corners", "join"}
    assert head_of(TWO_BRANCHES, WEIGHTS) - tail_of(TWO_BRANCHES, WEIGHTS) == {"box", "class"}


def test_a_layer_of_few_numbers_is_arithmetic() -> None:
    larger = {**WEIGHTS, "matrix": 64}
    assert tail_of(TWO_BRANCHES, larger) == {"sigmoid", "join"}
    smaller = {**WEIGHTS, "w_class": 63}
    assert "class" in tail_of(TWO_BRANCHES, smaller)


def test_what_feeds_a_learned_layer_is_no_tail() -> None:
    refined = [*TWO_BRANCHES, node("again", "join", "w_again", layer=True), node("output", "again")]
    assert tail_of(refined, {**WEIGHTS, "w_again": 500}) == {"output"}
    assert head_of(refined, {**WEIGHTS, "w_again": 500}) == {"again", "output"}


def test_weights_may_be_unpacked_in_the_graph() -> None:
    nodes = [
        node("unpacked", "w"),
        node("turned", "unpacked"),
        node("product", "pixels", "turned", layer=True),
        node("bias", "product", "b"),
    ]
    assert tail_of(nodes, {"w": 4096, "b": 64}) == {"bias"}
    assert head_of(nodes, {"w": 4096, "b": 64}) == {"product", "bias"}


def test_attention_has_no_weights_of_its_own() -> None:
    nodes = [node("query", "pixels", "w", layer=True), node("scores", "query", "query", layer=True)]
    assert tail_of(nodes, {"w": 4096}) == {"scores"}


def test_where_nothing_is_learned_there_is_no_tail() -> None:
    assert tail_of([node("relu", "pixels")], {}) == head_of([node("relu", "pixels")], {}) == set()


@pytest.mark.parametrize(
    ("exclude", "names", "said"),
    [
        ((TAIL,), ["/m/Concat", "/m/Mul", "/m/Last"], ["3 nodes of the detection tail left in fp32 (/m/Concat … /m/Last)"]),
        ((TAIL, HEAD), ["a"], ["1 nodes of the detection head left in fp32 (a)"]),
        ((TAIL,), [], []),
    ],
)  # fmt: skip
def test_people_are_told_how_many_stay(exclude: tuple[str, ...], names: list[str], said: list[str]) -> None:
    assert told(exclude, names) == said


def test_its_words_are_two() -> None:
    assert words_of(("first_last", TAIL, "GroupConvolution", HEAD)) == [TAIL, HEAD]
