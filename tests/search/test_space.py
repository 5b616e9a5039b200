"""What is tried: a small table, the defaults first, only options that the backends have."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoobench.backends import BACKENDS, FLAGS
from zoobench.search.space import SPACE, Axis, Configuration, configurations, thread_counts


def test_every_option_is_one_that_the_backend_has() -> None:
    for backend, axes in SPACE.items():
        assert {axis.option for axis in axes} <= set(BACKENDS[backend].options), backend
        for axis in axes:
            assert axis.default not in axis.others
            if axis.option in FLAGS:
                assert {axis.default, *axis.others} == {True, False}


@pytest.mark.parametrize("backend", SPACE)
@pytest.mark.parametrize("cpus", [1, 2, 6, 64])
def test_the_defaults_come_first_and_there_are_tens_at_most(backend: str, cpus: int) -> None:
    found = configurations(backend, cpus)
    assert found[0] == Configuration(cpus)
    assert len(set(found)) == len(found) < 100


def test_threads_are_all_and_the_powers_of_two_below() -> None:
    assert thread_counts(1) == [1]
    assert thread_counts(2) == [2, 1]
    assert thread_counts(6) == [6, 4, 2, 1]
    assert thread_counts(8) == [8, 4, 2, 1]


def test_an_option_that_one_thread_makes_meaningless_is_not_tried_with_one() -> None:
    spinning = [c.threads for c in configurations("onnx_cpu", 4) if ("allow_spinning", False) in c.options]
    assert set(spinning) == {4, 2}


def test_a_gpu_is_not_tuned_by_threads() -> None:
    assert {c.threads for c in configurations("pytorch_cuda", 8)} == {8}


def test_a_backend_without_options_has_nothing_but_its_defaults() -> None:
    assert configurations("ort_genai", 4) == [Configuration(4)]


def test_a_label_is_what_a_person_types() -> None:
    space = {"fake": (Axis("a", False, (True,)), Axis("b", "x", ("y",)))}
    assert configurations("fake", 1, space)[-1].label == "threads=1 a=true b=y"


def test_the_documented_table_is_the_one_that_is_tried() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/tune.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    for backend in set(SPACE) - {"fake"}:
        said = " ".join(line for line in lines if f"`{backend}`" in line.split("|")[1])
        for axis in SPACE[backend]:
            assert f"`{axis.option}`" in said
            for value in (axis.default, *axis.others):
                shown = value if isinstance(value, str) else str(value).lower()
                assert shown in said.replace("`", ""), (backend, axis.option, value)
