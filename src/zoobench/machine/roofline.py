"""How fast the machine could be: measured ceilings, kept on disk, and how near to them a model came."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from zoobench.errors import UsageError
from zoobench.spec import Frozen

CEILINGS_VERSION = 2
"""Part of the file name: ceilings measured by another recipe are measured again, never mixed."""

Bound = Literal["compute", "memory"]


class Ceilings(Frozen):
    """The best that any runtime present reached on this machine's CPUs at this thread count.

    `bytes_per_s` counts a copy as one read and one write.
    """

    fingerprint: str
    threads: int = Field(ge=1)
    flops_per_s: dict[str, float] = Field(description="by precision; multiply and add counted as two")
    bytes_per_s: float | None
    by_runtime: dict[str, dict[str, Any]] = Field(default_factory=dict)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`$ZOOBENCH_CACHE`, else `$XDG_CACHE_HOME/zoobench`, else `~/.cache/zoobench`; not created."""
    if own := environment.get("ZOOBENCH_CACHE"):
        try:
            return Path(own).expanduser()
        except RuntimeError as error:
            raise UsageError(
                f"ZOOBENCH_CACHE is {own!r}: there is no such home; write the whole path"
            ) from error
    if xdg := environment.get("XDG_CACHE_HOME"):
        return Path(xdg) / "zoobench"
    return Path.home() / ".cache" / "zoobench"


def ceilings_path(fingerprint: str, threads: int, cache: Path | None = None) -> Path:
    """Where the ceilings of one machine at one thread count are kept."""
    folder = (cache_folder() if cache is None else cache) / "ceilings"
    return folder / f"{fingerprint}-t{threads}-v{CEILINGS_VERSION}.json"


def load_ceilings(fingerprint: str, threads: int, cache: Path | None = None) -> Ceilings | None:
    """The stored ceilings, or None without a sound file: then they are measured again."""
    try:
        return Ceilings.model_validate_json(ceilings_path(fingerprint, threads, cache).read_bytes())
    except (OSError, ValidationError):
        return None


def save_ceilings(ceilings: Ceilings, cache: Path | None = None) -> Path:
    """Store `ceilings` whole or not at all; of two runs at once the later wins.

    Raises:
        OSError: the cache cannot be written.
    """
    path = ceilings_path(ceilings.fingerprint, ceilings.threads, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(ceilings.model_dump(mode="json"), indent=2) + "\n")
    draft.replace(path)
    return path


def combine(fingerprint: str, threads: int, measured: Iterable[Mapping[str, Any]]) -> Ceilings:
    """Fold what `zoobench.ceilings.measure_ceilings` found in each runtime into the best of each figure.

    Libraries differ by more than a factor of two on the same cores: one library's best is not the machine's.
    """
    by_runtime = {str(one["runtime"]): dict(one) for one in measured}
    flops: dict[str, float] = {}
    for one in by_runtime.values():
        for precision, value in one["flops_per_s"].items():
            flops[precision] = max(value, flops.get(precision, 0.0))
    copies = [one["bytes_per_s"] for one in by_runtime.values() if one["bytes_per_s"] is not None]
    return Ceilings(
        fingerprint=fingerprint,
        threads=threads,
        flops_per_s=flops,
        bytes_per_s=max(copies, default=None),
        by_runtime=by_runtime,
    )


def roofline(
    ceilings: Ceilings, precision: str, flops: int | None, bytes_moved: int | None, p50_ms: float | None
) -> tuple[float, Bound] | None:
    """How near a call came to what the machine can do, and which limit is the nearer one.

        fraction = max(flops / peak FLOP/s, bytes / peak bytes/s) / p50

    after the roofline model (Williams, Waterman, Patterson, "Roofline: an insightful visual performance
    model", CACM 52(4), 2009), with floor times in place of intensities. It is not clamped: a fraction above 1
    says that the ceilings were measured under contention, that the weights stayed in the cache (the bytes
    ceiling is that of main memory), or that the kernels save arithmetic (Winograd).

    Args:
        ceilings: of the CPUs; they say nothing about a GPU.
        precision: of the arithmetic.
        flops: of one call at its batch size, multiply and add counted as two.
        bytes_moved: the least that one call must move, at its batch size.
        p50_ms: median latency of the call.

    Returns:
        (fraction, bound), or None when anything it needs is unknown.
    """
    peak = ceilings.flops_per_s.get(precision)
    if not peak or not ceilings.bytes_per_s or flops is None or bytes_moved is None or not p50_ms:
        return None
    compute_s, memory_s = flops / peak, bytes_moved / ceilings.bytes_per_s
    bound: Bound = "compute" if compute_s >= memory_s else "memory"
    return max(compute_s, memory_s) * 1000 / p50_ms, bound
