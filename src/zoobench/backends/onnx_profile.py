"""ONNX Runtime's profile: which kernels ran, on what, for how long."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoobench.outcome import KernelKind, KernelTime, NodeTime

_KERNEL = "_kernel_time"
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"})
_LAYOUTS = frozenset({"ReorderInput", "ReorderOutput", "Transpose", "MemcpyToHost", "MemcpyFromHost"})
_BYTES = frozenset({"int8", "uint8"})
_SLOWEST = 15


@dataclass(frozen=True)
class Profile:
    """One call of a model.

    Attributes:
        kernels: by operator, kind and provider, slowest first.
        slowest: single nodes.
        provider_nodes: provider → number of nodes.
        provider_us: provider → microseconds.
    """

    kernels: tuple[KernelTime, ...]
    slowest: tuple[NodeTime, ...]
    provider_nodes: dict[str, int]
    provider_us: dict[str, float]

    @property
    def quantized(self) -> str | None:
        """`int8` or `int8_dynamic` where a kernel ran on bytes; None where all ran on floats."""
        if not any(kernel.kind == "int8" and _computes(kernel.op) for kernel in self.kernels):
            return None
        dynamic = any(kernel.op.startswith("DynamicQuantize") for kernel in self.kernels)
        return "int8_dynamic" if dynamic else "int8"


def read_profile(events: Iterable[Mapping[str, Any]]) -> Profile:
    """Fold the events of several calls into one call: a node's time is the median over them.

    The first call pays for what others reuse, and a median leaves it out from three calls on.

    Args:
        events: the profile's JSON.
    """
    times: dict[tuple[str, str], list[float]] = {}
    about: dict[tuple[str, str], tuple[str, KernelKind, str]] = {}
    for event in events:
        args, name = event.get("args", {}), str(event.get("name", ""))
        provider = args.get("provider")
        if event.get("cat") != "Node" or not provider or not name.endswith(_KERNEL):
            continue
        # A fused node may bear another's name; its place in the graph tells them apart.
        key = name.removesuffix(_KERNEL), str(args.get("node_index"))
        times.setdefault(key, []).append(float(event.get("dur", 0)))
        op = str(args.get("op_name"))
        about[key] = op, _kind(op, args.get("input_type_shape") or ()), str(provider)
    nodes = {key: statistics.median(values) for key, values in times.items()}
    kernels: dict[tuple[str, KernelKind, str], list[float]] = {}
    for key, us in nodes.items():
        kernels.setdefault(about[key], []).append(us)
    found = [
        KernelTime(op=op, kind=kind, provider=provider, nodes=len(us), us=sum(us))
        for (op, kind, provider), us in kernels.items()
    ]
    slowest = sorted(nodes, key=lambda key: -nodes[key])[:_SLOWEST]
    counts: dict[str, int] = {}
    sums: dict[str, float] = {}
    for key, us in nodes.items():
        provider = about[key][2]
        counts[provider] = counts.get(provider, 0) + 1
        sums[provider] = sums.get(provider, 0.0) + us
    return Profile(
        kernels=tuple(sorted(found, key=lambda k: -k.us)),
        slowest=tuple(
            NodeTime(name=key[0], op=about[key][0], kind=about[key][1], us=nodes[key]) for key in slowest
        ),
        provider_nodes=counts,
        provider_us=sums,
    )


def _computes(op: str) -> bool:
    """A kernel that multiplies bytes; pooling or reshaping them proves nothing."""
    return op.startswith(("QLinear", "QGemm", "QAttention", "DynamicQuantize")) or "Integer" in op


def _kind(op: str, inputs: Sequence[Mapping[str, Any]]) -> KernelKind:
    if op in _CONVERSIONS:
        return "conversion"
    if op in _LAYOUTS:
        return "layout"
    types = {name for one in inputs for name in one}
    return "int8" if types & _BYTES else "float"
