"""Flat columns out of nested JSON, nearly as fast as the JSON can be read.

A class with flat columns says of each where in the JSON its value stands. From that follow, once, the nested types that msgspec
decodes into, and the way of their values into the columns; what no column asks for is passed over without being built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from operator import itemgetter
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import astuple

T = TypeVar("T", bound=msgspec.Struct)
Fill = Callable[[msgspec.Struct, list[Any]], None]


class Repeated:
    """Marks a column whose values are few, whatever the number of rows: equal ones are kept once.

    That saves a quarter of the memory, and more of the time of whoever looks at thousands of rows.
    """


@dataclass(frozen=True, slots=True)
class At:
    """Where a column's value stands.

    Attributes:
        within: the objects around it, outermost first; several names where it stands in the first of them that is there.
        key: its name there.
        absent: the value where there is none; None: by the column's type.
    """

    within: tuple[str | tuple[str, ...], ...]
    key: str
    absent: Any = None


class Columns(Generic[T]):
    """Reads objects of a `msgspec.Struct` without defaults, whose columns are annotated with `At`, or stand at the top under their name.

    A value that is not there is None, or an empty tuple, where the column's type has that; else it has to be there.
    """

    def __init__(self, row: type[T]) -> None:
        self.row = row
        self._once: dict[Any, Any] = {}

    def from_json(self, line: bytes) -> T:
        """One object, read. Raises msgspec.DecodeError, UnicodeDecodeError (both are ValueErrors) or RecursionError."""
        return self._flat(self._decode(line))

    def from_data(self, data: Any) -> T:
        """From JSON that was parsed already. Raises msgspec.ValidationError."""
        return self._flat(msgspec.convert(data, self._top.type))

    def _flat(self, nested: msgspec.Struct) -> T:
        values: list[Any] = []
        self._fill(nested, values)
        once = self._once
        for at in self._repeated:
            value = values[at]
            values[at] = once.setdefault(value, value)
        return self.row(*(self._in_order(values) if self._in_order else values))

    # All of this is made at the first reading: most commands read nothing.

    @cached_property
    def _decode(self) -> Callable[[bytes], Any]:
        return msgspec.json.Decoder(self._top.type).decode

    @cached_property
    def _fill(self) -> Fill:
        return _fill(self._top)

    @cached_property
    def _repeated(self) -> list[int]:
        hints = _hints(self.row)
        return [
            at
            for at, column in enumerate(self._top.columns())
            if Repeated in getattr(hints[column], "__metadata__", ())
        ]

    @cached_property
    def _in_order(self) -> Callable[[list[Any]], tuple[Any, ...]] | None:
        """None where the columns stand as they are read: an object's own first, then those of the objects in it."""
        given, columns = tuple(self._top.columns()), self.row.__struct_fields__
        return None if given == columns else itemgetter(*map(given.index, columns))

    @cached_property
    def _top(self) -> _Part:
        top, hints = _Part(self.row.__name__), _hints(self.row)
        for name in self.row.__struct_fields__:
            said = getattr(hints[name], "__metadata__", ())
            place = next((each for each in said if isinstance(each, At)), At((), name))
            part = top
            for names in place.within:
                part = part.below((names,) if isinstance(names, str) else names)
            part.own[place.key] = _Column(name, hints[name], _absent(hints[name], place))
        return top


@cache
def _hints(row: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(row, include_extras=True)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def column_types(row: type[msgspec.Struct]) -> dict[str, Any]:
    """Column → the type of its values, such as `str | None`."""
    return {name: _bare(kind) for name, kind in _hints(row).items()}


def _absent(kind: Any, place: At) -> Any:
    if place.absent is not None:
        return place.absent
    kind = _bare(kind)
    if type(None) in get_args(kind):
        return None
    return () if get_origin(kind) is tuple else msgspec.NODEFAULT


class _Column(NamedTuple):
    name: str
    type: Any
    default: Any


@dataclass
class _Part:
    """One object of the JSON: the columns that stand in it, and the objects in it that hold more of them."""

    name: str
    own: dict[str, _Column] = field(default_factory=dict)
    parts: dict[tuple[str, ...], _Part] = field(default_factory=dict)

    def below(self, names: tuple[str, ...]) -> _Part:
        return self.parts.setdefault(names, _Part(f"{self.name}_{names[0]}"))

    def columns(self) -> Iterator[str]:
        """In the order in which `_fill` gives their values."""
        yield from (column.name for column in self.own.values())
        for part in self.parts.values():
            yield from part.columns()

    def blanks(self) -> Iterator[Any]:
        """What the columns hold where there is no such object."""
        yield from (column.default for column in self.own.values())
        for part in self.parts.values():
            yield from part.blanks()

    @property
    def is_required(self) -> bool:
        return msgspec.NODEFAULT in self.blanks()

    @cached_property
    def type(self) -> type[msgspec.Struct]:
        """What it is decoded into: first its own columns, then the objects below."""
        own = [(key, column.type, column.default) for key, column in self.own.items()]
        below = [
            (name, part.type, msgspec.NODEFAULT) if part.is_required else (name, part.type | None, None)
            for names, part in self.parts.items()
            for name in names
        ]
        return msgspec.defstruct(self.name, [*own, *below], kw_only=True, gc=False)


def _fill(part: _Part) -> Fill:
    """Appends the values of all its columns; a closure, because it runs for every object of every record."""
    count = len(part.own)
    below = [
        (len(names), tuple(each.blanks()), _fill(each) if each.parts else None)
        for names, each in part.parts.items()
    ]

    def fill(found: msgspec.Struct, values: list[Any]) -> None:
        there = astuple(found)
        values += there[:count]
        at = count
        for names, blanks, deeper in below:
            each = there[at]
            if each is None and names > 1:
                each = next((other for other in there[at : at + names] if other is not None), None)
            at += names
            if each is None:
                values += blanks
            elif deeper is None:
                values += astuple(each)
            else:
                deeper(each, values)

    return fill
