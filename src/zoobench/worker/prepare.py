"""The prepare role: download, export, validate; everything that must be done before measuring begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoobench.prepare import prepare_model
from zoobench.prepare.cache import ArtifactCache
from zoobench.spec import ModelSpec, WeightsPolicy
from zoobench.worker.roles import Emit


class PrepareRole:
    """Verb: `prepare`, with a `progress` event for every step."""

    def handle(self, verb: str, args: dict[str, Any], emit: Emit) -> Any:
        """Answer one verb."""
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
