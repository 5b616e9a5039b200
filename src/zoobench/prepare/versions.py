"""Which versions of which packages decide what an artifact holds; asked without importing any of them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

_VALIDATORS = ("onnxruntime", "onnxruntime-gpu", "openvino")
TORCH_PACKAGES = ("torch", "timm", "transformers")
ONNX_FILE_PACKAGES = ("onnx", *_VALIDATORS)
ONNX_PACKAGES = (*TORCH_PACKAGES, "onnxscript", *ONNX_FILE_PACKAGES)


def with_library(packages: Sequence[str], library: str | None) -> tuple[str, ...]:
    """Those of a model whose architecture an extra brings."""
    return (*packages, "ultralytics") if library == "ultralytics" else tuple(packages)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Distribution → installed version; what is not installed is left out."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
