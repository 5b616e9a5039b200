"""`zoobench schema`: the shape of a record."""

from __future__ import annotations

from zoobench.commands.printing import print_json


def schema() -> int:
    """Print the JSON Schema of a record."""
    from zoobench.results.record import Record

    print_json(Record.model_json_schema(mode="serialization"))
    return 0
