"""Records whose profile tells kernels: EfficientNet-B0's in fp32 and by the plain int8 recipe, rounded."""

from __future__ import annotations

from typing import Any

from tests.show.records import make_record

from zoobench.judge.explain import Explanation, explain
from zoobench.outcome import Evidence, KernelTime, NodeTime
from zoobench.results.record import ArtifactInfo, Record

Kernel = tuple[str, str, int, float]

FP32: list[Kernel] = [
    ("Conv", "float", 81, 5000),
    ("QuickGelu", "float", 49, 1300),
    ("Mul", "float", 16, 200),
    ("ReorderInput", "layout", 71, 700),
    ("ReduceMean", "float", 17, 200),
    ("Gemm", "float", 1, 100),
]
PLAIN: list[Kernel] = [
    ("QLinearConv", "int8", 81, 3200),
    ("DequantizeLinear", "conversion", 115, 2600),
    ("QuantizeLinear", "conversion", 66, 1100),
    ("Mul", "float", 65, 1400),
    ("Sigmoid", "float", 65, 1200),
    ("ReduceMean", "float", 17, 300),
    ("QLinearAdd", "int8", 9, 100),
    ("Transpose", "layout", 2, 60),
    ("QGemm", "int8", 1, 40),
]


def evidence(kernels: list[Kernel], **more: Any) -> Evidence:
    times = tuple(
        KernelTime(op=op, kind=kind, provider="CPUExecutionProvider", nodes=nodes, us=us)  # type: ignore[arg-type]
        for op, kind, nodes, us in kernels
    )
    slow = tuple(NodeTime(name=f"{k.op}_1", op=k.op, kind=k.kind, us=k.us / k.nodes) for k in times)
    fields: dict[str, Any] = {"runtime": "onnxruntime", "device": "cpu", "kernels": times, "slowest": slow}
    return Evidence(**(fields | more))


def fp32(p50: float = 7.7, **more: Any) -> Record:
    return make_record("effnet", "onnx_cpu", p50, evidence=evidence(FP32), **more)


def int8(p50: float = 10.4, rungs: list[Any] | None = None, **more: Any) -> Record:
    ladder = {"rungs": rungs, "chosen": 0, "met": False, "words": ""} if rungs is not None else None
    artifact = ArtifactInfo(
        sha256="e" * 64, size_bytes=5_800_000, format="onnx", precision="int8", ladder=ladder
    )
    fields: dict[str, Any] = {"precision": "int8", "evidence": evidence(PLAIN), "artifact": artifact}
    return make_record("effnet", "onnx_cpu", p50, **(fields | more))


def rung(name: str, *extra: str, speed: float = 0.76) -> dict[str, Any]:
    recipe = {"name": name, "op_types": ["Conv", "Gemm"], "extra_op_types": list(extra)}
    return {"recipe": recipe, "speed": speed, "agreement": 0.97, "same_as": None, "error": None}


def against(record: Record, other: Record) -> Explanation:
    return explain(record, (), (other, ()))
