"""Files for ONNX Runtime GenAI, which its own model builder writes straight from the weights, without tracing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoobench.backends.ort_genai import CONFIG_FILE
from zoobench.errors import PrepareError
from zoobench.prepare.text_validation import artifact_of, validated
from zoobench.prepare.versions import versions
from zoobench.spec import Artifact
from zoobench.terms import Precision

GENAI_PACKAGES = ("onnxruntime-genai", "onnxruntime-genai-cuda", "onnxruntime", "transformers", "torch")
_BUILT_FOR = {"genai": ("ort_genai", "cpu"), "genai_cuda": ("ort_genai_cuda", "cuda")}
"""Format → the backend that runs it, and the builder's name of its provider."""
_UNKNOWN = "is not currently supported"


def derived_recipe(key: str, source: Artifact, calibration: object = None) -> dict[str, Any]:
    """All that decides what the artifact holds; JSON."""
    return {
        "recipe": 1,
        "key": key,
        "from": source.sha256,
        "weights": source.weights,
        "versions": versions(GENAI_PACKAGES),
    }


def build_derived(
    folder: Path,
    key: str,
    source: Artifact,
    calibration: object = None,
    *,
    recipe: dict[str, Any],
    progress: Callable[[str], None],
) -> Artifact:
    """Make the artifact `genai:PRECISION` of a language model's torch artifact in the empty `folder`.

    Raises:
        PrepareError: the builder does not know the architecture, or fails.
    """
    kind, precision = key.partition(":")[0], Precision(key.partition(":")[2])
    backend, provider = _BUILT_FOR[kind]
    progress(f"building {precision.value} for ONNX Runtime GenAI")
    _run_builder(source, folder, precision, provider)
    artifact = artifact_of(
        folder,
        source,
        file=CONFIG_FILE,
        precision=precision,
        backend=backend,
        recipe=recipe,
        packages=GENAI_PACKAGES,
    )
    return validated(artifact, source, backend=backend, maker="ONNX Runtime GenAI's builder")


def _run_builder(source: Artifact, folder: Path, precision: Precision, provider: str) -> None:
    """In a process of its own: it changes what torch and transformers do, and may take all memory."""
    with tempfile.TemporaryDirectory(prefix="zoobench-genai-") as scratch:
        told = _told_epsilon(source.path, Path(scratch) / "model")
        ran = subprocess.run(
            [
                sys.executable, "-m", "onnxruntime_genai.models.builder",
                "-i", str(told), "-o", str(folder), "-p", precision.value, "-e", provider, "-c", scratch,
                "--extra_options", "hf_token=false",
            ],
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"},
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    if ran.returncode == 0 and (folder / CONFIG_FILE).is_file():
        return
    said = [line.strip() for line in ran.stderr.splitlines() if line.strip()]
    last = said[-1] if said else f"it ended with {ran.returncode}"
    if _UNKNOWN in last:
        raise PrepareError(
            f"{source.model}: ONNX Runtime GenAI's builder does not know {source.architecture}; it knows {', '.join(known_architectures())}"
        )
    raise PrepareError(f"{source.model}: ONNX Runtime GenAI's builder failed: {last[:300]}")


def _told_epsilon(folder: Path, scratch: Path) -> Path:
    """The model's folder, or links to its files beside a configuration that names its epsilon as the builder reads it.

    The builder of 0.18 takes 1e-6 for every LayerNormalization whose configuration has no `rms_norm_eps`, and Phi's says
    `layer_norm_eps`: logits of small activations were seen to differ by 6e-3 of their scale.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "rms_norm_eps" in config or "layer_norm_eps" not in config:
        return folder
    scratch.mkdir()
    for file in folder.iterdir():
        (scratch / file.name).symlink_to(file.resolve())
    (scratch / "config.json").unlink()
    config["rms_norm_eps"] = config["layer_norm_eps"]
    (scratch / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return scratch


def known_architectures() -> list[str]:
    """Classes that the installed builder names in its own source; empty where it cannot be read."""
    import importlib.util
    import re

    spec = importlib.util.find_spec("onnxruntime_genai")
    if spec is None or spec.origin is None:
        return []
    try:
        text = (Path(spec.origin).parent / "models" / "builder.py").read_text(encoding="utf-8")
    except OSError:
        return []
    return sorted(set(re.findall(r'"(\w+ForCausalLM)"', text)))
