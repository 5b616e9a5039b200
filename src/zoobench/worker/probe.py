"""The probe role: which backends can run here, and how fast the machine can be at best."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from zoobench.backends import BACKENDS, open_backend
from zoobench.errors import pip_install
from zoobench.worker.roles import Emit


class ProbeRole:
    """Verbs: `probe`, `ceilings`, `reach`."""

    def handle(self, verb: str, args: dict[str, Any], emit: Emit) -> Any:
        """Answer one verb."""
        if verb == "probe":
            return {name: probe(name) for name in args["names"]}
        if verb == "ceilings":
            from zoobench.ceilings import measure_ceilings

            return measure_ceilings(args["runtime"], threads=args["threads"])
        if verb == "reach":
            from zoobench.hub.snapshots import describe_reachability

            reached, text = describe_reachability()
            return {"reached": reached, "text": text}
        raise ValueError(f"the probe role has no verb {verb!r}")


def probe(name: str) -> dict[str, str | None]:
    """Why the backend cannot run here (None when it can), and the version of its first package."""
    row = BACKENDS[name]
    try:
        reason = open_backend(name).unavailable()
    except ImportError as error:
        reason = f"{error.name or error} cannot be imported; {pip_install(*row.packages)}"
    return {"reason": reason, "version": _version(row.packages[0]) if row.packages else None}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
