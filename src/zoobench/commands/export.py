"""`zoobench export`: one model to ONNX."""

from __future__ import annotations

from pathlib import Path

from zoobench import artifacts
from zoobench.commands.flags import AsJson, Flag
from zoobench.commands.printing import print_json
from zoobench.terms import WeightsPolicy


def export(
    model: str,
    *,
    output: Path | None = None,
    opset: int | None = None,
    weights: WeightsPolicy = WeightsPolicy.AUTO,
    registry: Path | None = None,
    allow_pickle: Flag = False,
    wait: Flag = False,
    as_json: AsJson = False,
) -> int:
    """Export one model to ONNX and compare it with its reference.

    Parameters
    ----------
    model
        A name, Hub id or local folder.
    output
        Where to copy the .onnx file; default: MODEL.onnx here.
    opset
        ONNX opset; default: the catalog's.
    weights
        auto, pretrained or random.
    registry
        A TOML or Python file with models of your own.
    allow_pickle
        Accept a model that has only a pickle.
    wait
        Wait for another measurement on this machine to end.
    as_json
        Print the manifest as JSON.
    """
    from zoobench.show.progress import watch

    with watch() as observer:
        artifact, file = artifacts.export(
            model,
            output,
            opset=opset,
            weights=weights,
            registry=registry,
            allow_pickle=allow_pickle,
            wait=wait,
            observer=observer,
        )
    check = artifact.validation
    if as_json:
        print_json({"file": str(file), **artifact.model_dump(mode="json")})
    else:
        how = f"opset {artifact.opset} (asked {artifact.opset_asked}), {artifact.export_rung}, {artifact.weights} weights"
        # The file holds a card besides, so its own hash is another one.
        how += f", of artifact {artifact.sha256[:12]}"
        print(f"{file}: {artifact.size_bytes / 1e6:.1f} MB, {how}")
        if check:
            print(
                f"against {check.reference}: max |Δ| / max |reference| = {check.max_rel:.2e} "
                f"(tolerance {check.tolerance or 0:g}), {'passed' if check.passed else 'FAILED'}"
            )
    return 0 if check is None or check.passed else 1
