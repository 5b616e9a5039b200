from __future__ import annotations

from pathlib import Path

import pytest

from zoobench.machine import (
    Ceilings,
    cache_folder,
    ceilings_path,
    combine,
    load_ceilings,
    roofline,
    save_ceilings,
)

CEILINGS = Ceilings(fingerprint="abc", threads=2, flops_per_s={"fp32": 400e9}, bytes_per_s=20e9)


def test_compute_bound() -> None:
    """4 GFLOP at 400 GFLOP/s is 10 ms; 20 MB at 20 GB/s is 1 ms."""
    found = roofline(CEILINGS, "fp32", 4_000_000_000, 20_000_000, p50_ms=20.0)
    assert found == (pytest.approx(0.5), "compute")


def test_memory_bound() -> None:
    """0.4 GFLOP is 1 ms; 100 MB is 5 ms."""
    found = roofline(CEILINGS, "fp32", 400_000_000, 100_000_000, p50_ms=10.0)
    assert found == (pytest.approx(0.5), "memory")


@pytest.mark.parametrize(
    ("precision", "flops", "moved", "p50"),
    [
        ("bf16", 1, 1, 1.0),
        ("fp32", None, 1, 1.0),
        ("fp32", 1, None, 1.0),
        ("fp32", 1, 1, None),
        ("fp32", 1, 1, 0.0),
    ],
)
def test_what_is_not_known_is_none(
    precision: str, flops: int | None, moved: int | None, p50: float | None
) -> None:
    assert roofline(CEILINGS, precision, flops, moved, p50) is None


def test_the_ceiling_is_the_best_over_the_runtimes() -> None:
    ceilings = combine(
        "abc",
        2,
        [
            {"runtime": "numpy", "flops_per_s": {"fp32": 200.0}, "bytes_per_s": 9.0},
            {"runtime": "torch", "flops_per_s": {"fp32": 100.0, "bf16": 300.0}, "bytes_per_s": 12.0},
            {"runtime": "onnxruntime", "flops_per_s": {"fp32": 400.0}, "bytes_per_s": None},
        ],
    )
    assert ceilings.flops_per_s == {"fp32": 400.0, "bf16": 300.0}
    assert ceilings.bytes_per_s == 12.0
    assert set(ceilings.by_runtime) == {"numpy", "torch", "onnxruntime"}


def test_stored_by_machine_and_threads(tmp_path: Path) -> None:
    assert load_ceilings("abc", 2, tmp_path) is None
    path = save_ceilings(CEILINGS, tmp_path)
    assert path == ceilings_path("abc", 2, tmp_path)
    assert load_ceilings("abc", 2, tmp_path) == CEILINGS
    assert load_ceilings("abc", 4, tmp_path) is None
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no draft is left"


@pytest.mark.parametrize("damage", ["", "{", '{"fingerprint": "abc"}', "\x00"])
def test_a_damaged_file_is_measured_again(tmp_path: Path, damage: str) -> None:
    save_ceilings(CEILINGS, tmp_path).write_text(damage)
    assert load_ceilings("abc", 2, tmp_path) is None


def test_where_the_cache_lies() -> None:
    assert cache_folder({"ZOOBENCH_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/zoobench")
    assert cache_folder({}) == Path.home() / ".cache/zoobench"
