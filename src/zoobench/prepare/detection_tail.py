"""What a detector computes after its last learned layers: boxes and scores, which no 8 bits may share.

Pixels up to 640 and probabilities below 1 in one tensor get one scale, of 2.5 a step, in which every probability is zero.
So the nodes that follow the last learned layers stay in fp32. They are found in the graph alone, whoever made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

TAIL, HEAD = "detection_tail", "detection_head"
"""What a recipe's `exclude` may say."""

_FEWEST_WEIGHTS = 64
"""A layer with fewer has learned nothing: box arithmetic is written as layers too, such as the mean of a distribution (DFL, 16
constants in YOLOv8 and 33 in D-FINE) or corners of centres (a matrix of 16). YOLOv8's smallest last layer has 64: one class of 64
channels. And where a learned layer is that small, little is lost when it stays in fp32."""


@dataclass(frozen=True)
class Node:
    """One node of a graph of any kind.

    Attributes:
        layer: its operator may have weights, such as Conv and MatMul.
        reads: the tensors that it needs.
        writes: the tensors that it makes.
    """

    name: str
    layer: bool
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def tail_of(nodes: Sequence[Node], constants: Mapping[str, int]) -> set[str]:
    """Names of the nodes from which no learned layer is reached any more; empty where nothing is learned.

    A bias that is added by a node of its own is one of them: it costs little in fp32, and classes have large ones.

    Args:
        nodes: in the order in which they run, each with a name of its own.
        constants: name of a constant tensor → how many numbers it holds.
    """
    learned, leading = _learned(nodes, constants)
    return {node.name for node in nodes} - learned - leading if learned else set()


def head_of(nodes: Sequence[Node], constants: Mapping[str, int]) -> set[str]:
    """`tail_of`, and the last learned layer of each branch: those after which there is no other."""
    learned, leading = _learned(nodes, constants)
    return tail_of(nodes, constants) | (learned - leading)


def _learned(nodes: Sequence[Node], constants: Mapping[str, int]) -> tuple[set[str], set[str]]:
    """The learned layers, and what leads to one of them."""
    sizes, learned = dict(constants), set()
    for node in nodes:
        if node.reads and all(name in sizes for name in node.reads):
            # Exporters unpack, reshape and transpose weights in the graph.
            sizes.update(dict.fromkeys(node.writes, max(sizes[name] for name in node.reads)))
        elif node.layer and any(sizes.get(name, 0) >= _FEWEST_WEIGHTS for name in node.reads):
            learned.add(node.name)
    wanted: set[str] = set()
    leading: set[str] = set()
    for node in reversed(nodes):
        if wanted.intersection(node.writes):
            leading.add(node.name)
        if node.name in learned or node.name in leading:
            wanted.update(node.reads)
    return learned, leading


def words_of(exclude: Iterable[str]) -> list[str]:
    """Those words of a recipe's `exclude` that mean the tail."""
    return [word for word in exclude if word in (TAIL, HEAD)]


def told(exclude: Iterable[str], left_out: Sequence[str]) -> list[str]:
    """For people: how many nodes stay in fp32, and where they lie; nothing where there are none.

    Args:
        exclude: a recipe's.
        left_out: names of the nodes that its `words_of` mean, in the order in which they run.
    """
    if not left_out:
        return []
    what = "detection head" if HEAD in exclude else "detection tail"
    where = " … ".join(dict.fromkeys((left_out[0], left_out[-1])))
    return [f"{len(left_out)} nodes of the {what} left in fp32 ({where})"]
