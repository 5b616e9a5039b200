"""The prepare role: download, export, validate; everything that must be done before measuring begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoobench.prepare import prepare_model
from zoobench.prepare.cache import ArtifactCache
from zoobench.spec import ModelSpec, WeightsPolicy
from zoobench.worker.roles import Emit


class PrepareRole:
    """Verbs: `prepare`, with a `progress` event for every step, and `weigh`, which fetches nothing."""

    def handle(self, verb: str, args: dict[str, Any], emit: Emit) -> Any:
        """Answer one verb."""
        if verb == "weigh":
            return _download_bytes(ModelSpec.model_validate(args["model"]))
        if verb != "prepare":
            raise ValueError(f"the prepare role has no verb {verb!r}")
        prepared = prepare_model(
            ModelSpec.model_validate(args["model"]),
            formats=args["formats"],
            weights=WeightsPolicy(args["weights"]),
            allow_pickle=args["allow_pickle"],
            cache=ArtifactCache(Path(args["cache"])),
            progress=lambda text: emit("progress", text),
        )
        return prepared.model_dump(mode="json")


def _download_bytes(spec: ModelSpec) -> int | None:
    """What the Hub would send, bytes; None for a model that names none there."""
    from zoobench.prepare import hub

    if spec.hf_id is None:
        return None
    commit = hub.resolve(spec.hf_id, spec.revision)
    return sum(size for _, size in hub.plan_download(spec.hf_id, commit))
