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
DETECTS = "ForObjectDetection"
"""How the names of transformers' detectors end."""
DETECTOR_OUTPUTS = ("logits", "pred_boxes")
"""What transformers' detectors return, by its names."""


def import_library(artifact: Artifact) -> None:
    """Import torch and the one library that the artifact's model needs."""
    import safetensors.torch  # noqa: F401
    import torch  # noqa: F401

    if artifact.decoder is not None:
        from transformers import AutoModelForCausalLM  # noqa: F401
    elif artifact.library == "timm":
        import timm  # noqa: F401
    elif artifact.library == "ultralytics":
        from zoobench.backends.torch_yolo import import_ultralytics

        import_ultralytics()
    else:
        from transformers import AutoConfig  # noqa: F401

        auto_model(artifact.architecture or "")


def load_torch_module(artifact: Artifact) -> Any:
    """Rebuild the module: evaluation mode, fp32, on the CPU, (batch, *input_shape) → logits, or a detector's outputs.

    Raises:
        PrepareError: the artifact's files do not fit together; the cache was damaged. Or ultralytics is not installed.
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
    if config["library"] == "ultralytics":
        from zoobench.backends.torch_yolo import build_yolo, settled

        return settled(build_yolo(config["yaml"], config["classes"]), tuple(config["input_shape"]))
    import torch
    from transformers import AutoConfig

    numbers = dict(config["config"])
    made = AutoConfig.for_model(numbers.pop("model_type"), **numbers)
    return auto_model(config["architecture"]).from_config(made, dtype=torch.float32)


def auto_model(architecture: str) -> Any:
    """The class of transformers that makes and loads models of this architecture."""
    import transformers

    if architecture.endswith(DETECTS):
        return transformers.AutoModelForObjectDetection
    return transformers.AutoModelForImageClassification


def ready(model: Any, library: Library) -> Any:
    """fp32, evaluation mode, no gradients, and outputs as plain tensors: what exporters and compilers want."""
    model = model.float().eval().requires_grad_(False)
    if library != "transformers":
        return model
    detects = type(model).__name__.endswith(DETECTS)
    return _plain(model, DETECTOR_OUTPUTS if detects else ("logits",)).eval()


def _plain(model: Any, outputs: tuple[str, ...]) -> Any:
    import torch

    class Plain(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            found = self.model(pixel_values=pixel_values)
            several = tuple(getattr(found, name) for name in outputs)
            return several if len(several) > 1 else several[0]

    return Plain(model)
