"""Files for OpenVINO GenAI: a language model as OpenVINO IR, and its weights in fewer bits by NNCF."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoobench.backends.openvino_genai import MODEL_FILE
from zoobench.backends.torch_text import load_causal_lm
from zoobench.errors import PrepareError, explained
from zoobench.prepare.quantize_openvino import name_evenly
from zoobench.prepare.text_validation import artifact_of, validated
from zoobench.prepare.versions import versions
from zoobench.spec import Artifact
from zoobench.terms import Precision

OPENVINO_TEXT_PACKAGES = ("openvino", "openvino-genai", "nncf", "transformers", "torch")
_COPIED = ("config.json", "tokenizer.json")
"""Which tokens end a text, and what reads one. Not generation_config.json, which would tell GenAI other ends."""
_GROUP = 128


def derived_recipe(key: str, source: Artifact, calibration: object = None) -> dict[str, Any]:
    """All that decides what the artifact holds; JSON."""
    return {
        "recipe": 1,
        "key": key,
        "from": source.sha256,
        "weights": source.weights,
        "versions": versions(OPENVINO_TEXT_PACKAGES),
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
    """Make the artifact `openvino_text:PRECISION` of a language model's torch artifact in the empty `folder`.

    Raises:
        PrepareError: the model cannot be converted or compressed, or what came of it does not run.
    """
    precision = Precision(key.partition(":")[2])
    progress(f"converting {precision.value} for OpenVINO GenAI")
    _refuse_windows(source)
    with explained(f"{source.model}: {source.architecture} cannot be converted for OpenVINO"):
        _write(source, folder, precision)
    for name in _COPIED:
        shutil.copyfile(source.path / name, folder / name)
    artifact = artifact_of(
        folder,
        source,
        file=MODEL_FILE,
        precision=precision,
        backend="openvino_genai",
        recipe=recipe,
        packages=OPENVINO_TEXT_PACKAGES,
    )
    return validated(artifact, source, backend="openvino_genai", maker="OpenVINO")


def _refuse_windows(source: Artifact) -> None:
    """The mask that is traced looks at all that came before, and no check prompt is as long as a window."""
    config = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
    others = sorted(set(config.get("layer_types") or []) - {"full_attention"})
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    if not others and window is not None and not config.get("layer_types"):
        others = [f"a sliding window of {window} tokens"]
    if others:
        raise PrepareError(
            f"{source.model}: {source.architecture} has {', '.join(others)}, and files for OpenVINO GenAI are made of full "
            "attention only; use pytorch or ort_genai"
        )


def _write(source: Artifact, folder: Path, precision: Precision) -> None:
    import openvino
    import torch

    from zoobench.prepare.openvino_decoder import stateful

    assert source.decoder is not None
    graph = stateful(load_causal_lm(source, torch.float32), source.decoder)
    if precision is not Precision.FP32:
        graph = _compressed(graph, precision)
    name_evenly(graph)
    # Or it is counted too.
    graph.set_friendly_name("decoder")
    openvino.save_model(graph, folder / MODEL_FILE, compress_to_fp16=False)


def _compressed(graph: Any, precision: Precision) -> Any:
    """Weights in 8 bits, each row with a scale of its own; or in 4, a scale for 128, as optimum-intel does unless told.

    Where 128 does not divide a row (SmolLM2's have 576), a smaller group is taken: left alone NNCF would keep that layer in 8.
    The first and the last layer stay in 8 bits, as NNCF's makers advise.
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    told: dict[str, Any] = {"mode": nncf.CompressWeightsMode.INT8_ASYM}
    if precision is Precision.INT4:
        told = {
            "mode": nncf.CompressWeightsMode.INT4_ASYM,
            "group_size": _GROUP,
            "ratio": 1.0,
            "advanced_parameters": nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
            ),
        }
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.compress_weights(graph, **told)
