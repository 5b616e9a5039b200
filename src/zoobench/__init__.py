"""zoobench: which model, on which runtime, at which precision and batch size, on this hardware.

    import zoobench
    records = zoobench.run(["resnet18"], batch_sizes=[1, 8])
    records = zoobench.load_results("results")
    found = zoobench.recommend("results", zoobench.Wanted(min_throughput=100.0))
    zoobench.MODEL_REGISTRY["mine"] = {"name": "mine", "hf_id": "me/mine", "img_size": 224}

Names are loaded when they are first used, so that `import zoobench` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoobench._version import __version__

if TYPE_CHECKING:
    from zoobench.advice import recommend
    from zoobench.api import load_results, pictures, run, text_tasks, tuned_options
    from zoobench.catalog import MODEL_REGISTRY
    from zoobench.driver import Settings
    from zoobench.judge.scope import Scope
    from zoobench.judge.wanted import LatencyLimit, Wanted
    from zoobench.results.record import Record
    from zoobench.searches import tune, tuned_entries
    from zoobench.spec import ModelSpec

__all__ = [
    "MODEL_REGISTRY",
    "LatencyLimit",
    "ModelSpec",
    "Record",
    "Scope",
    "Settings",
    "Wanted",
    "__version__",
    "load_results",
    "pictures",
    "recommend",
    "run",
    "text_tasks",
    "tune",
    "tuned_entries",
    "tuned_options",
]

_HOMES = {
    "run": "zoobench.api",
    "load_results": "zoobench.api",
    "pictures": "zoobench.api",
    "recommend": "zoobench.advice",
    "text_tasks": "zoobench.api",
    "tune": "zoobench.searches",
    "tuned_entries": "zoobench.searches",
    "tuned_options": "zoobench.api",
    "MODEL_REGISTRY": "zoobench.catalog",
    "ModelSpec": "zoobench.spec",
    "Record": "zoobench.results.record",
    "Settings": "zoobench.driver",
    "LatencyLimit": "zoobench.judge.wanted",
    "Wanted": "zoobench.judge.wanted",
    "Scope": "zoobench.judge.scope",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoobench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
