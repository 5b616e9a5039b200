"""Looking at an ONNX graph and rewriting it: what quantizing needs to know about nodes.

Models are `onnx.ModelProto`. Functions that change one say so; the others only look.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from zoobench.errors import PrepareError
from zoobench.prepare.detection_tail import HEAD, TAIL, Node, head_of, tail_of

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose second input is a weight, where it is constant."""

_STRIDE = re.compile(r"before_stride_([1-9][0-9]{0,3})")
_POOLING = ("GlobalAveragePool", "ReduceMean")


def only_input(model: Any, what: str) -> tuple[str, int | None]:
    """Name and fixed batch (None: any) of the model's one input; weights that are listed as inputs do not count.

    Raises:
        PrepareError: it has none, or several.
    """
    constant = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constant]
    if len(inputs) != 1:
        raise PrepareError(f"{what} has {len(inputs)} inputs; only models with one can be quantized")
    dims = inputs[0].type.tensor_type.shape.dim
    fixed = dims[0].dim_value if dims and dims[0].HasField("dim_value") else None
    return inputs[0].name, fixed or None


def has_weighted(model: Any, op_types: Iterable[str]) -> bool:
    """Whether a node of one of these types has a constant second input."""
    wanted, constant = set(op_types), _constants(model)
    return any(node.op_type in wanted and node.input[1] in constant for node in model.graph.node)


def name_nodes(model: Any) -> None:
    """Change the model: give every node a name of its own, since recipes exclude nodes by name."""
    taken: set[str] = set()
    for i, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{i}"
        while name in taken:
            name += "_"
        node.name = name
        taken.add(name)


def pool_means(model: Any) -> int:
    """Change the model: write means over height and width as GlobalAveragePool, and return how many there were.

    Exporters write global pooling and squeeze-excite as ReduceMean, for which ONNX Runtime has no int8 kernel.
    Only tensors of known rank 4 qualify. A mean that drops its axes is followed by Flatten.
    """
    from onnx import helper

    ranks = _ranks(model)
    constants = _constants(model)
    rewritten: list[Any] = []
    changed = 0
    for node in model.graph.node:
        keeps = _pooling_mean(node, ranks, constants)
        if keeps is None:
            rewritten.append(node)
            continue
        changed += 1
        pooled = node.output[0] if keeps else f"{node.output[0]}_pooled"
        rewritten.append(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name))
        if not keeps:
            name = f"{node.name}_flat" if node.name else ""
            rewritten.append(helper.make_node("Flatten", [pooled], [node.output[0]], name=name, axis=1))
    if changed:
        del model.graph.node[:]
        model.graph.node.extend(rewritten)
        _drop_unused_constants(model)
    return changed


def _pooling_mean(node: Any, ranks: dict[str, int], constants: dict[str, Any]) -> bool | None:
    """Whether this mean over height and width keeps its axes; None when it is something else."""
    from onnx import helper, numpy_helper

    if node.op_type != "ReduceMean" or node.domain not in ("", "ai.onnx") or ranks.get(node.input[0]) != 4:
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    axes = attributes.get("axes", [])
    # Axes are an input from opset 18 on.
    if len(node.input) > 1 and node.input[1] in constants:
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        return None
    return bool(attributes.get("keepdims", 1))


def excluded_nodes(model: Any, exclude: Iterable[str], what: str) -> set[str]:
    """The names of the nodes that a recipe's `exclude` means.

    Raises:
        PrepareError: it names a node that the graph has not.
    """
    names = {node.name for node in model.graph.node}
    found: set[str] = set()
    for word in exclude:
        if word == "squeeze_excite":
            found |= squeeze_excite(model)
        elif word == "first_last":
            found |= first_last(model)
        elif word == TAIL:
            found |= detection_tail(model)
        elif word == HEAD:
            found |= detection_head(model)
        elif stride := _STRIDE.fullmatch(word):
            found |= before_stride(model, int(stride[1]))
        elif word in names:
            found.add(word)
        else:
            raise PrepareError(
                f"{what} has no node {word!r} to exclude; name one of its nodes, squeeze_excite, first_last, before_stride_16, "
                "detection_tail or detection_head"
            )
    return found


def squeeze_excite(model: Any) -> set[str]:
    """Nodes between a global pool and the Mul that scales the pooled tensor by what they make of it.

    Pool and Mul are not among them: they work on the whole picture, where int8 pays.
    """
    consumers = _consumers(model)
    found: set[str] = set()
    for pool in model.graph.node:
        if pool.op_type not in _POOLING:
            continue
        gated, inside, ahead = False, set(), list(pool.output)
        while ahead:
            for node in consumers[ahead.pop()]:
                if node.op_type == "Mul" and pool.input[0] in node.input:
                    gated = True
                elif node.name not in inside:
                    inside.add(node.name)
                    ahead.extend(node.output)
        found |= inside if gated else set()
    return found


def first_last(model: Any) -> set[str]:
    """The first and the last node with weights, in the order of the graph."""
    constants = _constants(model)
    weighted = [n.name for n in model.graph.node if n.op_type in WEIGHTED and n.input[1] in constants]
    return {weighted[0], weighted[-1]} if weighted else set()


def before_stride(model: Any, stride: int) -> set[str]:
    """Nodes before the first with weights whose output is `stride` times less high than the input; none where none is.

    Heights must be known, and the nodes stand in the order in which they run.
    """
    constants = _constants(model)
    heights = _heights(model)
    inputs = [heights.get(value.name, 0) for value in model.graph.input if value.name not in constants]
    most = -(-max(inputs, default=0) // stride)
    before: set[str] = set()
    for node in model.graph.node:
        # What follows a pool over the whole picture, such as squeeze-excite, has a height of 1.
        if node.op_type in WEIGHTED and 1 < heights.get(node.output[0], 0) <= most:
            return before
        before.add(node.name)
    return set()


def detection_tail(model: Any) -> set[str]:
    """Nodes after the last learned layers, see `zoobench.prepare.detection_tail`; nodes have names of their own."""
    return tail_of(*_as_nodes(model))


def detection_head(model: Any) -> set[str]:
    """`detection_tail`, and the last learned layer of each branch."""
    return head_of(*_as_nodes(model))


def _as_nodes(model: Any) -> tuple[list[Node], dict[str, int]]:
    """Nodes without those that are constants, and how many numbers each constant holds; their values are not needed."""
    constants = {name: math.prod(tensor.dims) for name, tensor in _constants(model).items()}
    nodes = []
    for node in model.graph.node:
        inside = list(_inside(node))
        for graph in _subgraphs(node, *inside):
            constants.update({tensor.name: math.prod(tensor.dims) for tensor in graph.initializer})
        if node.op_type != "Constant":
            nodes.append(
                Node(
                    name=node.name,
                    layer=any(one.op_type in WEIGHTED for one in (node, *inside)),
                    reads=tuple(name for one in (node, *inside) for name in one.input if name),
                    writes=tuple(node.output),
                )
            )
    return nodes, constants


def _inside(node: Any) -> Iterator[Any]:
    """The nodes of its subgraphs (of If and Loop), and of theirs; they may read any tensor of the graph around them."""
    for graph in _subgraphs(node):
        for child in graph.node:
            yield child
            yield from _inside(child)


def _subgraphs(*nodes: Any) -> list[Any]:
    attributes = [a for node in nodes for a in node.attribute]
    return [graph for a in attributes for graph in (*((a.g,) if a.HasField("g") else ()), *a.graphs)]


def nodes_around(model: Any, tensors: Iterable[str]) -> set[str]:
    """Names of the nodes that make or read one of `tensors`: without them it stays in fp32."""
    wanted = set(tensors)
    return {node.name for node in model.graph.node if wanted & {*node.input, *node.output}}


def strip_provenance(model: Any) -> None:
    """Change the model: drop documentation and metadata, where exporters keep stack traces with their paths."""
    for thing in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
        *model.functions,
    ):
        thing.ClearField("doc_string")
        if thing is not model:
            thing.ClearField("metadata_props")


def _ranks(model: Any) -> dict[str, int]:
    return {name: len(dims) for name, dims in _shapes(model).items()}


def _heights(model: Any) -> dict[str, int]:
    """Third axis of what has four and is known."""
    shapes = _shapes(model).items()
    return {name: dims[2].dim_value for name, dims in shapes if len(dims) == 4 and dims[2].dim_value}


def _shapes(model: Any) -> dict[str, Any]:
    graph = model.graph
    return {
        value.name: value.type.tensor_type.shape.dim
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _constants(model: Any) -> dict[str, Any]:
    """Name → TensorProto, of initializers and Constant nodes."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def _consumers(model: Any) -> defaultdict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            found[name].append(node)
    return found


def _drop_unused_constants(model: Any) -> None:
    used = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
    # Subgraphs (If, Loop) may read any tensor of the graph around them.
    if _subgraphs(*model.graph.node):
        return
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
