"""What can be tuned: the options of each runtime and the values that are worth a try, as one table.

Left out is what changes results or is never faster: precisions are cells of their own, ONNX Runtime's level `none` is for debugging,
`reduce-overhead` of torch.compile is CUDA graphs, which a CPU has not.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from zoobench.backends import BACKENDS
from zoobench.terms import OptionValue


@dataclass(frozen=True)
class Axis:
    """One option.

    Attributes:
        default: what the runtime is run with when nothing is said; never written as an option.
        others: what is tried instead.
        threads: without so many threads the option means nothing, and is left alone.
    """

    option: str
    default: OptionValue
    others: tuple[OptionValue, ...]
    threads: int = 1


_CHANNELS_LAST = Axis("channels_last", False, (True,))
_GRAPH = Axis("graph_optimization", "all", ("extended", "basic"))

SPACE: Mapping[str, tuple[Axis, ...]] = {
    "pytorch": (_CHANNELS_LAST,),
    "torch_compile": (_CHANNELS_LAST, Axis("compile_mode", "default", ("max-autotune-no-cudagraphs",))),
    "onnx_cpu": (
        _GRAPH,
        Axis("allow_spinning", True, (False,), threads=2),
        Axis("enable_cpu_mem_arena", True, (False,)),
    ),
    "openvino": (
        Axis("performance_hint", "latency", ("throughput",)),
        Axis("num_streams", 1, (2,), threads=2),
    ),
    "pytorch_cuda": (_CHANNELS_LAST,),
    "torch_compile_cuda": (
        _CHANNELS_LAST,
        Axis("compile_mode", "default", ("reduce-overhead", "max-autotune")),
    ),
    "onnx_cuda": (_GRAPH,),
    "onnx_tensorrt": (_GRAPH,),
    # Its slowdown stands for what an option may do, so that a whole search can be tried in seconds.
    "fake": (Axis("fake_slowdown", 1.0, (0.8, 1.25)),),
}
"""Backend → its options. On a CPU the threads are tried as well: every power of two below the CPUs that may be used, and all."""


@dataclass(frozen=True)
class Configuration:
    """Threads, and the options that are not the defaults: (name, value), by name."""

    threads: int
    options: tuple[tuple[str, OptionValue], ...] = ()

    @property
    def label(self) -> str:
        """As a person would type it."""
        return " ".join([f"threads={self.threads}", *([typed(self.options)] if self.options else [])])


def typed(options: Iterable[tuple[str, OptionValue]]) -> str:
    """As a person would type them."""
    return " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in options
    )


def free(space: Mapping[str, tuple[Axis, ...]], held: Collection[str]) -> Mapping[str, tuple[Axis, ...]]:
    """Without the options in `held`: what the user has decided is not sought."""
    return {
        backend: tuple(axis for axis in axes if axis.option not in held) for backend, axes in space.items()
    }


def configurations(
    backend: str, cpus: int, space: Mapping[str, tuple[Axis, ...]] = SPACE
) -> list[Configuration]:
    """All that are tried of a backend, the defaults first; no other where there is nothing to tune.

    Args:
        cpus: how many may be used, which is how many threads the defaults have.
    """
    axes = space.get(backend, ())
    counts = thread_counts(cpus) if BACKENDS[backend].device == "cpu" and backend in space else [cpus]
    found = []
    for threads in counts:
        choices = [
            ((axis.default, *axis.others) if threads >= axis.threads else (axis.default,)) for axis in axes
        ]
        for values in itertools.product(*choices):
            said = sorted(
                (axis.option, value)
                for axis, value in zip(axes, values, strict=True)
                if value != axis.default
            )
            found.append(Configuration(threads, tuple(said)))
    return found


def thread_counts(cpus: int) -> list[int]:
    """All, and every power of two below."""
    return [cpus, *(2**power for power in reversed(range(cpus.bit_length())) if 2**power < cpus)]
