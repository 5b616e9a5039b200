"""What PyTorch eager says about a module: the outputs that runtimes are held to, and an item's costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoobench.backends.torch_module import tensors

if TYPE_CHECKING:
    import numpy as np

_REFERENCE_BATCH = 4


def reference_outputs(
    module: Any, inputs: np.ndarray, names: Sequence[str] = ("logits",)
) -> dict[str, np.ndarray]:
    """Outputs of PyTorch eager in fp32 on the CPU, float32, one row for each row of `inputs`, by name."""
    import numpy as np
    import torch

    batches: list[list[np.ndarray]] = []
    with torch.inference_mode():
        for i in range(0, len(inputs), _REFERENCE_BATCH):
            outputs = tensors(module(torch.from_numpy(inputs[i : i + _REFERENCE_BATCH])))
            batches.append([output.float().numpy() for output in outputs])
    return {name: np.concatenate(rows) for name, rows in zip(names, zip(*batches, strict=True), strict=True)}


@dataclass(frozen=True)
class Costs:
    """What one item costs.

    Attributes:
        parameters: trainable numbers.
        flops: convolutions, matrix products and attention (`torch.utils.flop_counter`), multiply-add as two.
        bytes_moved: parameters and buffers, one item's input and its output, in bytes.
    """

    parameters: int
    flops: int
    bytes_moved: int


def costs_of(module: Any, input_shape: tuple[int, ...]) -> Costs:
    """Count parameters, FLOPs and bytes of one item (batch 1)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    item = torch.zeros((1, *input_shape))
    counter = FlopCounterMode(display=False)
    # no_grad, not inference_mode: there a linear layer is one opaque operator that the counter passes over.
    with torch.no_grad(), counter:
        outputs = tensors(module(item))
    held = [*module.parameters(), *module.buffers()]
    return Costs(
        parameters=sum(p.numel() for p in module.parameters()),
        flops=int(counter.get_total_flops()),
        bytes_moved=sum(t.numel() * t.element_size() for t in [*held, item, *outputs]),
    )
