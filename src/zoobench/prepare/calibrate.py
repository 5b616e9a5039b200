"""Make random weights worth running: alive, not dying out from layer to layer.

Libraries initialise models for training: the last BatchNorm of a residual block and layer scales start at (or
near) zero, and BatchNorm's running statistics fit no data. Outputs of such a model are nearly zero or ignore
most of the network, so comparing them between runtimes proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoobench.errors import PrepareError

if TYPE_CHECKING:
    import numpy as np

_ASLEEP = 1e-3
_AWAKE_SCALE = 0.5
_AWAKE_STDEV = 0.02
_SMALLEST_OUTPUT = 1e-6
_SMALLEST_SPREAD = 1e-5


def calibrate(module: Any, inputs: np.ndarray) -> None:
    """Wake sleeping parameters, then set every BatchNorm's running statistics from one forward pass.

    Only BatchNorm layers are in training mode, so dropout and stochastic depth stay off. Frozen ones, which detectors'
    backbones have and which know no training mode, are set from what comes in, layer after layer in the same pass.

    Args:
        module: a torch module in evaluation mode; changed in place.
        inputs: float32, shape (items, *input_shape), at least 2 items.
    """
    import torch

    _wake(module)
    norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    tracked = [m for m in norms if m.track_running_stats]
    momenta = [m.momentum for m in tracked]
    for norm in tracked:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    frozen = [m for m in module.modules() if _is_frozen_norm(m)]
    hooks = [m.register_forward_pre_hook(_fit_to_input) for m in frozen]
    try:
        if tracked or frozen:
            with torch.no_grad(), one_thread():
                module(torch.from_numpy(inputs))
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(tracked, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums of floats depend on how they are split, and random weights must not depend on the CPU count."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _is_frozen_norm(module: Any) -> bool:
    """A BatchNorm that somebody wrote anew with fixed statistics, of pictures."""
    return type(module).__name__.endswith("FrozenBatchNorm2d") and hasattr(module, "running_var")


def _fit_to_input(norm: Any, inputs: tuple[Any, ...]) -> None:
    (features,) = inputs
    norm.running_mean.copy_(features.mean((0, 2, 3)))
    norm.running_var.copy_(features.var((0, 2, 3), unbiased=False))


def _wake(module: Any) -> None:
    """Give every scale or weight that is constant and (nearly) zero a value that lets signal through."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "bias" in name.rpartition(".")[2] or parameter.numel() == 0:
                continue
            lowest, highest = parameter.min().item(), parameter.max().item()
            if lowest != highest or abs(highest) >= _ASLEEP:
                continue
            if sum(n > 1 for n in parameter.shape) <= 1:
                parameter.fill_(_AWAKE_SCALE)
            else:
                parameter.normal_(0.0, _AWAKE_STDEV)


def require_alive(outputs: np.ndarray, what: str) -> None:
    """Refuse outputs that would prove nothing when they are compared.

    Args:
        outputs: shape (items, ...), one row for each check item.
        what: whose outputs, for the message.

    Raises:
        PrepareError: outputs are not finite, nearly zero, or the same for every input.
    """
    import numpy as np

    if not np.isfinite(outputs).all():
        raise PrepareError(f"{what}: random weights give outputs that are not finite; use pretrained weights")
    scale = float(np.abs(outputs).max())
    if scale < _SMALLEST_OUTPUT:
        raise PrepareError(
            f"{what}: random weights let the signal die out (largest output {scale:.1e}); use pretrained ones"
        )
    if float(np.ptp(outputs, axis=0).max()) < _SMALLEST_SPREAD * scale:
        raise PrepareError(
            f"{what}: random weights give the same outputs for every input; use pretrained weights"
        )
