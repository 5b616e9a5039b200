"""`zoobench models`: what is known by name."""

from __future__ import annotations

from pathlib import Path

from zoobench.commands.flags import AsJson
from zoobench.commands.printing import print_blocks, print_json


def models(*, registry: Path | None = None, as_json: AsJson = False) -> int:
    """List the models that are known by name.

    Parameters
    ----------
    registry
        A TOML or Python file with models of your own, listed too.
    as_json
        Print JSON.
    """
    from zoobench.catalog import MODEL_REGISTRY, known_models, load_registry

    entries = MODEL_REGISTRY if registry is None else {**MODEL_REGISTRY, **load_registry(registry)}
    known = known_models(entries)
    if as_json:
        print_json([model.model_dump(mode="json") for model in known])
    else:
        from zoobench.show.listings import models_table

        print_blocks([models_table(known)])
    return 0
