"""Builds records like those that a run writes, and results folders that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zoobench.measure.proportions import drop, share
from zoobench.outcome import Accuracy, CaseError, Fidelity, Latency, Memory, Slot, Verdict, WarmUp
from zoobench.results.record import ArtifactInfo, MachineInfo, ModelInfo, Record
from zoobench.results.store import SAMPLES, write_samples
from zoobench.spec import Case, DataInfo, stable_hash
from zoobench.terms import Reason, Status, VerdictValue

MACHINE = MachineInfo(
    fingerprint="0f3a9c21b7d84e66",
    cpu_model="Intel(R) Xeon(R) Processor @ 2.10GHz",
    cpus_usable=2,
    cpus_host=2,
    memory_bytes=8_000_000_000,
    kernel="6.1.0",
    python="3.11.9",
)
OTHER_MACHINE = MACHINE.model_copy(update={"fingerprint": "ffee9c21b7d84e66", "cpu_model": "AMD EPYC 9654"})


def make_record(
    model: str = "resnet18",
    backend: str = "onnx_cpu",
    p50: float | None = 9.53,
    *,
    batch: int = 1,
    precision: str = "fp32",
    threads: int = 2,
    width: float = 0.015,
    p95: float | None = None,
    run_id: str = "run-1",
    at: str = "2026-11-23T20:37:23.000001+00:00",
    machine: MachineInfo = MACHINE,
    weights: Any = "pretrained",
    verdict: VerdictValue | None = VerdictValue.VALID,
    reasons: Sequence[tuple[str, str]] = (),
    warnings: Sequence[tuple[str, str]] = (),
    options: dict[str, Any] | None = None,
    device: str = "cpu",
    scenario: str = "single_stream",
    **more: Any,
) -> Record:
    """A record that went well; `width` is the half-width of the interval as a share of p50."""
    case = Case(
        model=model,
        backend=backend,
        batch=batch,
        precision=precision,
        threads=threads,
        device=device,
        scenario=scenario,
        options=options or {},
    )
    fields: dict[str, Any] = {
        "run_id": run_id,
        "recorded_at": at,
        "status": Status.OK,
        "case": case,
        "measurement_key": stable_hash([case.id, machine.fingerprint]),
        "effort": "quick",
        "model": ModelInfo(name=model, hf_id="timm/resnet18.a1_in1k", weights=weights, revision="c" * 40),
        "artifact": ArtifactInfo(sha256="d" * 64, size_bytes=46_830_571, format="onnx", opset=18),
        "machine": machine,
        "versions": {"onnxruntime": "1.32.0"} if backend.startswith("onnx") else {"torch": "2.15.0"},
        "worker_start_s": 0.412,
        "load_s": 0.113,
        "first_call_ms": 33.1,
        "warm_up": WarmUp(calls=109, seconds=1.02, steady=True, window_medians_ms=(9.6, 9.5, 9.5)),
        "latency": None if p50 is None else make_latency(p50, width, p95),
        "throughput_per_s": None if p50 is None else batch / (p50 * 1.01) * 1000,
        "memory": Memory(peak_bytes=162_000_000),
        "roofline_fraction": 0.42,
        "roofline_bound": "compute",
        "verdict": verdict and Verdict(value=verdict, reasons=_reasons(reasons), warnings=_reasons(warnings)),
        "forks": 1,
        "wall_s": 4.2,
    }
    return Record(**(fields | more))


def _reasons(pairs: Sequence[tuple[str, str]]) -> tuple[Reason, ...]:
    return tuple(Reason(code=code, message=message) for code, message in pairs)


def make_accuracy(
    right: int | None = 760,
    n: int = 1000,
    *,
    lost: int | None = None,
    won: int = 0,
    agree: int = 970,
    max_drop: float = 0.01,
    artifact_sha256: str = "a" * 64,
    masked: int | None = None,
    **fields: Any,
) -> Accuracy:
    """What an accuracy pass found; with `lost` it was held against fp32, without `right` nothing is claimed."""
    fidelity = None
    if lost is not None:
        fidelity = Fidelity(
            reference_sha256="b" * 64,
            agreement=share(agree, n),
            cosine_min=0.97,
            cosine_mean=0.995,
            drop=None if right is None else drop(lost, won, n, max_drop),
        )
    return Accuracy(
        data=DataInfo(
            label="timm/mini-imagenet@1a2b3c4 test",
            identity={"kind": "hub"},
            samples=n,
            seed=0,
            ids_sha256="c" * 64,
            content_sha256="d" * 64,
            labels_sha256="e" * 64,
        ),
        artifact_sha256=artifact_sha256,
        meaning_sha256="f" * 64,
        images=n,
        outputs=1000,
        classes=100 if masked is not None else 1000,
        top1=None if right is None else share(right, n),
        top5=None if right is None else share(min(n, right + 150), n),
        top1_masked=None if masked is None else share(masked, n),
        unclaimed="random weights: what they get right says nothing of the model" if right is None else None,
        fidelity=fidelity,
        batch=8,
        images_per_s=90.0,
        seconds=n / 90.0,
        preprocessing={"source": "timm"},
        **fields,
    )


def make_latency(p50: float, width: float, p95: float | None) -> Latency:
    """Statistics around `p50`, p95 left out unless it is given."""
    return Latency(
        n=150,
        n_eff=150,
        vif=None,
        mean_ms=p50 * 1.01,
        stdev_ms=p50 * 0.03,
        min_ms=p50 * 0.97,
        max_ms=p50 * 1.4,
        p50_ms=p50,
        p50_interval_ms=(p50 * (1 - width), p50 * (1 + width)),
        p95_ms=p95,
        p95_interval_ms=None if p95 is None else (p95 * 0.98, p95 * 1.1),
        p99_ms=None,
        p99_interval_ms=None,
        interval_kind="within_process",
        outliers=0,
        drift=0.002,
    )


def make_failure(
    model: str = "resnet50",
    backend: str = "onnx_cpu",
    status: Status = Status.FAILED,
    stage: str = "load",
    message: str = "the file is truncated; export it again with --on-existing rerun",
    **more: Any,
) -> Record:
    """A record without numbers."""
    names = (
        "artifact warm_up memory load_s first_call_ms worker_start_s roofline_fraction roofline_bound verdict"
    )
    nothing: dict[str, Any] = dict.fromkeys(names.split())
    error = CaseError(stage=stage, message=message)
    return make_record(model, backend, None, status=status, error=error, **(nothing | more))


_FULL_ZOO = {
    "resnet18": (17.7, 9.53),
    "resnet50": (41.2, 21.3),
    "mobilenetv2_100": (8.9, 2.43),
    "efficientnet_b0": (16.1, 5.93),
}


def full_run() -> list[Record]:
    """Four models × two backends × three batches, with an invalid, an unstable, a failed and a skipped cell."""
    records = []
    for model, times in _FULL_ZOO.items():
        for backend, p50 in zip(("pytorch", "onnx_cpu"), times, strict=True):
            for batch in (1, 4, 8):
                scaled = p50 * batch * (1.0 if batch == 1 else 0.86)
                records.append(
                    make_record(model, backend, scaled, batch=batch, p95=scaled * 1.12 if batch < 8 else None)
                )
    drift = (
        "drift",
        "the second half was 4.1% slower than the first; close other programs or raise --effort",
    )
    contended = (
        "cpu_contended",
        "another process used 38% of the CPUs in 3 of 4 slots; stop it and run again",
    )
    warned = ("one_fork", "intervals hold within one process only; use --effort thorough for more")
    records[4] = make_record(
        "resnet18", "onnx_cpu", 33.1, batch=4, p95=37.0, width=0.07,
        verdict=VerdictValue.UNSTABLE, reasons=[drift], warnings=[warned],
    )  # fmt: skip
    records[11] = make_record(
        "resnet50", "onnx_cpu", 190.0, batch=8, verdict=VerdictValue.INVALID, reasons=[contended]
    )
    no_memory = "the worker was killed for memory at 7.4 GB; use a smaller batch"
    records[22] = make_failure(
        "efficientnet_b0", batch=4, status=Status.OUT_OF_MEMORY, stage="slot", message=no_memory
    )
    no_gpu = "no CUDA device; see `zoobench doctor`"
    records.append(
        make_failure(
            "resnet18", "onnx_cuda", status=Status.SKIPPED, stage="plan", message=no_gpu, device="cuda"
        )
    )
    return records


def write_results(
    folder: Path, records: Iterable[Record], argv: Sequence[str] = ("zoobench", "run", "--models", "resnet18")
) -> Path:
    """Write `records` as a results folder, each in the run that it names; returns `folder`."""
    for record in records:
        run = folder / "runs" / record.run_id
        run.mkdir(parents=True, exist_ok=True)
        (run / "manifest.json").write_text(json.dumps({"schema_version": 1, "argv": list(argv)}))
        with (run / "records.jsonl").open("ab") as file:
            file.write(record.model_dump_json().encode() + b"\n")
    return folder


def with_samples(folder: Path, record: Record, slots: Sequence[Sequence[float]] | None = None) -> Record:
    """Keep a record's samples in its run under `folder`; returns the record that names them.

    Args:
        slots: milliseconds of each call, slot by slot; None: 150 calls around its p50.
    """
    if slots is None and record.latency:
        slots = [[record.latency.p50_ms * (0.97 + 0.0004 * (n * 37 % 150)) for n in range(150)]]
    made = [
        Slot(
            fork=0,
            round=n,
            position=0,
            settling_ns=99_000_000,
            samples_ns=tuple(int(ms * 1e6) for ms in times),
        )
        for n, times in enumerate(slots or [])
    ]
    record = record.model_copy(update={"samples_file": f"{SAMPLES}/{record.case.id}.json.gz"})
    file = folder / "runs" / record.run_id / SAMPLES / f"{record.case.id}.json.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_samples(file, record, made)
    return record
