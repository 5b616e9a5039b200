"""Bring an exported graph down to the opset that was asked.

torch's exporter makes opset 18 at the least. The step from 18 to 17, the catalog's default, is made here:
onnx's own converter has no way down for Split and Pad, and leaves an attribute on ReduceMean that opset 17
does not know. The changes of 18 are listed in onnx's Changelog.md, version 18.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EXPORTER_FLOOR = 18
_LOWEST_OWN = 17


class NoWayDown(Exception):  # noqa: N818 - it is an answer, not a fault
    """The graph uses what the lower opset cannot say. `str()` names the operator and the feature."""


def opset_of(model: Any) -> int:
    """Version of the default operator set that an `onnx.ModelProto` imports, 0 when it imports none."""
    return max((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def lowered(model: Any, opset: int) -> Any:
    """`model` at a lower opset; the argument is left as it was.

    Args:
        model: `onnx.ModelProto` at opset 18 or lower.
        opset: asked version, lower than the model's.

    Raises:
        NoWayDown: some operator cannot be expressed there.
    """
    import onnx
    from onnx import version_converter

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if opset_of(copy) == EXPORTER_FLOOR:
        _from_18_to_17(copy)
    if opset >= _LOWEST_OWN:
        return copy
    try:
        return version_converter.convert_version(copy, opset)
    except (RuntimeError, ValueError) as error:
        raise NoWayDown(str(error).splitlines()[0]) from error


def _from_18_to_17(model: Any) -> None:
    from onnx import defs

    graph = model.graph
    facts = _Facts.of(graph)
    for node in graph.node:
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise NoWayDown(f"{node.op_type} holds a sub-graph")
        if node.domain or defs.get_schema(node.op_type, EXPORTER_FLOOR).since_version < EXPORTER_FLOOR:
            continue
        step = _STEPS.get("Reduce" if node.op_type.startswith("Reduce") else node.op_type)
        if step is None:
            raise NoWayDown(f"{node.op_type} changed in opset {EXPORTER_FLOOR}")
        step(node, facts)
    _drop_unused(graph)
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = _LOWEST_OWN


@dataclass(frozen=True)
class _Facts:
    """What the graph says about its values: tensors that are constant, and sizes (0: not known)."""

    constants: dict[str, Any]
    sizes: dict[str, list[int]]

    @classmethod
    def of(cls, graph: Any) -> _Facts:
        constants = {t.name: t for t in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        sizes = {
            value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in (*graph.value_info, *graph.input)
        }
        return cls(constants, sizes)

    def constant(self, name: str) -> Any:
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name]).tolist() if name in self.constants else None


def _attribute(node: Any, name: str) -> Any:
    """Take the attribute off the node; its value, None when it had none."""
    from onnx import helper

    for index, attribute in enumerate(node.attribute):
        if attribute.name == name:
            value = helper.get_attribute_value(attribute)
            del node.attribute[index]
            return value
    return None


def _reduce(node: Any, facts: _Facts) -> None:
    """18 takes the axes as an input, 17 as an attribute."""
    from onnx import helper

    named = len(node.input) > 1 and node.input[1]
    axes = facts.constant(node.input[1]) if named else None
    if named and axes is None:
        raise NoWayDown(f"{node.op_type} computes its axes")
    if _attribute(node, "noop_with_empty_axes") and not axes:
        raise NoWayDown(f"{node.op_type} with noop_with_empty_axes")
    del node.input[1:]
    if axes:
        node.attribute.append(helper.make_attribute("axes", axes))


def _split(node: Any, facts: _Facts) -> None:
    """18 can name the number of parts, and then lets the last one be smaller; 17 makes them equal."""
    parts = _attribute(node, "num_outputs")
    if not parts or (len(node.input) > 1 and node.input[1]):
        return
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    sizes = facts.sizes.get(node.input[0])
    if not sizes or not sizes[axis] or sizes[axis] % parts:
        raise NoWayDown("Split into parts that are not known to be equal")


def _pad(node: Any, facts: _Facts) -> None:
    """18 can name the axes that are padded; the `wrap` mode came later."""
    if len(node.input) > 3 and node.input[3]:
        raise NoWayDown("Pad of named axes")
    del node.input[3:]


def _resize(node: Any, facts: _Facts) -> None:
    """18 added anti-aliasing, named axes and a policy for the aspect ratio; without them it is as in 17."""
    if _attribute(node, "antialias") or _attribute(node, "axes"):
        raise NoWayDown("Resize with antialias or named axes")
    if _attribute(node, "keep_aspect_ratio_policy") not in (None, b"stretch"):
        raise NoWayDown("Resize that keeps the aspect ratio")


def _scatter(node: Any, facts: _Facts) -> None:
    """18 added the reductions min and max."""
    if any(a.name == "reduction" and a.s in (b"min", b"max") for a in node.attribute):
        raise NoWayDown(f"{node.op_type} with a min or max reduction")


_STEPS: dict[str, Callable[[Any, _Facts], None]] = {
    "Reduce": _reduce,
    "Split": _split,
    "Pad": _pad,
    "Resize": _resize,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
}


def _drop_unused(graph: Any) -> None:
    """Axes that became attributes leave constants behind that nobody reads."""
    used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]
