"""Versions of what lies on disk, and the steps that lift an older record to today's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoobench.errors import ZoobenchError

SCHEMA_VERSION = 1


class SchemaError(ZoobenchError):
    """A stored record cannot be read by this version."""


class NewerSchemaError(SchemaError):
    """It was written by a later version."""


class NotARecordError(ZoobenchError):
    """JSON that is no record: where in it, and why."""


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""`UPGRADES[n]` lifts a record of schema version n to n + 1. One function a step, never removed."""


def upgrade(data: dict[str, Any]) -> dict[str, Any]:
    """Lift a stored record, step by step, to `SCHEMA_VERSION`.

    Raises:
        SchemaError: the record is newer than this program, or carries no version.
    """
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SchemaError(
            f"a record has no usable schema_version ({version!r}); it was not written by zoobench"
        )
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"a record has schema version {version}, this zoobench reads up to {SCHEMA_VERSION}; upgrade zoobench"
        )
    while version < SCHEMA_VERSION:
        data = UPGRADES[version](data)
        version += 1
    return data
