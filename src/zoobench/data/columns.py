"""Which columns of a parquet dataset hold its pictures and what they show, told from types and names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zoobench.data.layout import class_names
from zoobench.data.object_column import Fields, feature_below, fields_of
from zoobench.errors import UsageError, printable

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_NAMES = ("image", "img")
LABEL_NAMES = ("label", "labels", "class", "fine_label")
_SIDES = ("width", "height")


class Columns:
    """The columns that are meant.

    Attributes:
        image: holds the encoded pictures.
        label: holds a class each, or objects.

    Args:
        title: of the dataset, for people.
        schema: of one of its files.
        card: column → what the dataset's card says of it; asked only where the schema says nothing.
        asked: the names that the user gave for "image" and "label", or None.

    Raises:
        UsageError: they cannot be told.
    """

    def __init__(
        self,
        title: str,
        schema: pa.Schema,
        card: Callable[[], dict[str, Any]],
        asked: Mapping[str, str | None],
    ) -> None:
        self._title, self._schema, self._card, self._asked = title, schema, card, asked
        self._fields = {field.name: field.type for field in schema}
        self.image, self.label = self._pictures(), self._labels()

    def _pictures(self) -> str:
        import pyarrow as pa

        fields = self._fields
        binary = {name for name, kind in fields.items() if _is_binary(kind)}
        pictures = binary | {
            name
            for name, kind in fields.items()
            if pa.types.is_struct(kind)
            and kind.get_field_index("bytes") >= 0
            and _is_binary(kind.field(kind.get_field_index("bytes")).type)
        }
        stated = {name for name, feature in self._features.items() if _type_of(feature) == "Image"}
        return self._choose(
            "image", pictures, stated & pictures, pictures - binary, pictures & set(IMAGE_NAMES)
        )

    def _labels(self) -> str:
        import pyarrow as pa

        fields = self._fields
        possible = {
            name
            for name, kind in fields.items()
            if pa.types.is_integer(kind)
            or _is_text(kind)
            or (pa.types.is_dictionary(kind) and _is_text(kind.value_type))
        }
        named = {name for name in possible if self.stated_names(name) is not None}
        objects = {name for name, kind in fields.items() if fields_of(kind) is not None}
        return self._choose("label", possible | objects, named | objects, possible & set(LABEL_NAMES))

    @property
    def objects(self) -> Fields | None:
        """What the label column holds of objects; None: it holds classes."""
        return fields_of(self._fields[self.label])

    @property
    def image_is_plain(self) -> bool:
        """Whether its rows are the bytes, and no struct around them."""
        return _is_binary(self._fields[self.image])

    def _choose(self, noun: str, possible: set[str], *better: set[str]) -> str:
        """The asked one, else the only one of the first of `better` that has any."""
        asked, flag = self._asked[noun], f"--{noun}-column"
        there = printable(", ".join(sorted(self._schema.names)[:20]))
        if asked is not None:
            if asked in possible:
                return asked
            problem = "cannot be one" if asked in self._schema.names else "does not exist"
            raise UsageError(
                f"{self._title}: the {noun} column {printable(asked)!r} {problem}; the columns are {there}"
            )
        candidates = next((names for names in better if names), set())
        if len(candidates) == 1:
            return next(iter(candidates))
        if not candidates:
            raise UsageError(
                f"{self._title} has no {noun} column that can be told, only {there}: name it with {flag}"
            )
        raise UsageError(
            f"{self._title} has several {noun} columns, {printable(', '.join(sorted(candidates)))}: say which"
            f" with {flag}"
        )

    def stated_names(self, column: str) -> tuple[str, ...] | None:
        """Class names of a column, by the schema or else by the card."""
        feature, fields = self._features.get(column), fields_of(self._fields[column])
        if fields is not None:
            return _names_below(feature, fields.classes) or _names_below(
                self._card_features.get(column), fields.classes
            )
        if isinstance(feature, dict) and _type_of(feature) == "ClassLabel":
            return class_names(feature.get("names"))
        stated = self._card_features.get(column)
        if isinstance(stated, dict) and isinstance(stated.get("class_label"), dict):
            return class_names(stated["class_label"].get("names"))
        return None

    @cached_property
    def sides(self) -> list[str]:
        """The columns that state the pictures' width and height, where there are both."""
        import pyarrow as pa

        there = {field.name for field in self._schema if pa.types.is_integer(field.type)}
        return [*_SIDES] if there.issuperset(_SIDES) else []

    @cached_property
    def _features(self) -> dict[str, Any]:
        """What the `datasets` library wrote into the schema: column → its feature."""
        try:
            stated = json.loads((self._schema.metadata or {})[b"huggingface"])["info"]["features"]
        except (KeyError, ValueError, TypeError):
            return {}
        return stated if isinstance(stated, dict) else {}

    @cached_property
    def _card_features(self) -> dict[str, Any]:
        return self._card()


def _names_below(feature: Any, field: str) -> tuple[str, ...] | None:
    return class_names(feature_below(feature_below(feature, field), "names"))


def _type_of(feature: Any) -> Any:
    return feature.get("_type") if isinstance(feature, dict) else None


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
