"""From a torch artifact back to a module. Preparing writes these artifacts; measuring workers load them.

A torch artifact is `model.safetensors` with `config.json`: all that is needed to rebuild the module offline.
"""

from __future__ import annotations

import json
from typing import Any

from zoobench.errors import PrepareError
from zoobench.spec import Artifact, Library

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


def import_library(artifact: Artifact) -> None:
    """Import torch and the one library that the artifact's model needs."""
    import safetensors.torch  # noqa: F401
    import torch  # noqa: F401

    if artifact.decoder is not None:
        from transformers import AutoModelForCausalLM  # noqa: F401
    elif artifact.library == "timm":
        import timm  # noqa: F401
    else:
        from transformers import AutoConfig, AutoModelForImageClassification  # noqa: F401


def load_torch_module(artifact: Artifact) -> Any:
    """Rebuild the module: evaluation mode, fp32, on the CPU, (batch, *input_shape) → logits.

    Raises:
        PrepareError: the artifact's files do not fit together; the cache was damaged.
    """
    from safetensors.torch import load_file

    try:
        config = json.loads((artifact.path / CONFIG_FILE).read_text(encoding="utf-8"))
        model = build_module(config)
        model.load_state_dict(load_file(artifact.path / WEIGHTS_FILE), strict=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise PrepareError(
            f"{artifact.model}: the artifact in {artifact.path} cannot be loaded ({error}); "
            "zoobench cache prune --everything, then run again"
        ) from error
    return ready(model, config["library"])


def tensors(outputs: Any) -> tuple[Any, ...]:
    """What a module returned, one tensor or several, as several."""
    return tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)


def build_module(config: dict[str, Any]) -> Any:
    """The bare library model, randomly initialised, that a torch artifact's `config.json` describes."""
    if config["library"] == "timm":
        import timm

        return timm.create_model(
            config["architecture"],
            pretrained=False,
            pretrained_cfg=config["pretrained_cfg"],
            **config["kwargs"],
        )
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification

    numbers = dict(config["config"])
    made = AutoConfig.for_model(numbers.pop("model_type"), **numbers)
    return AutoModelForImageClassification.from_config(made, dtype=torch.float32)


def ready(model: Any, library: Library) -> Any:
    """fp32, evaluation mode, no gradients, and logits as a plain tensor: what exporters and compilers want."""
    model = model.float().eval().requires_grad_(False)
    return _logits_of(model).eval() if library == "transformers" else model


def _logits_of(model: Any) -> Any:
    import torch

    class Logits(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            return self.model(pixel_values=pixel_values).logits

    return Logits(model)
