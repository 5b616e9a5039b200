"""Flat columns out of nested JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, get_type_hints

import msgspec
import pytest
from tests.show.records import full_run, make_accuracy, make_failure, make_record

from zoobench.results.columns import At, Columns, Repeated
from zoobench.results.record import Record
from zoobench.results.row import RankedRow, Row, ranked_row_from_json, row_from_json


class Flat(msgspec.Struct, frozen=True):
    name: str
    size: Annotated[int, At(("box",), "size")]
    low: Annotated[float | None, At(("box", ("first", "second")), "low")]
    marks: Annotated[tuple[str, ...], At(("box", "lid"), "marks")]
    colour: Annotated[str, At(("box", "lid"), "colour", "white")]


def read(**data: Any) -> Flat:
    flat = Columns(Flat).from_json(json.dumps(data).encode())
    assert Columns(Flat).from_data(data) == flat
    return flat


def test_values_come_from_where_they_stand_and_strangers_are_passed_over() -> None:
    box = {"size": 3, "first": {"low": 1.5, "high": 2}, "lid": {"marks": ["a"], "colour": "red"}, "else": [1]}
    assert read(name="n", box=box, more={"x": 1}) == Flat("n", 3, 1.5, ("a",), "red")


@pytest.mark.parametrize(
    ("parts", "low"),
    [
        ({}, None),
        ({"first": None, "second": None}, None),
        ({"first": None, "second": {"low": 2}}, 2.0),
        ({"first": {}, "second": {"low": 2}}, None),
        ({"second": {"low": None}}, None),
    ],
)
def test_of_several_names_the_first_that_is_there_counts(parts: dict[str, Any], low: float | None) -> None:
    assert read(name="n", box={"size": 3, **parts}) == Flat("n", 3, low, (), "white")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"name": "n"}, "box"),
        ({"name": "n", "box": None}, r"\$\.box"),
        ({"name": "n", "box": {}}, "size"),
        ({"name": 1, "box": {"size": 3}}, r"\$\.name"),
        ({"name": "n", "box": {"size": 3, "lid": {"marks": None}}}, r"\$\.box\.lid\.marks"),
        ({"name": "n", "box": {"size": "3"}}, r"\$\.box\.size"),
    ],
)
def test_what_has_to_be_there_is_named_where_it_is_not(data: dict[str, Any], place: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=place):
        read(**data)


def test_columns_in_any_order_are_read_alike() -> None:
    class Shuffled(msgspec.Struct, frozen=True):
        marks: Annotated[tuple[str, ...], At(("box", "lid"), "marks")]
        size: Annotated[int, At(("box",), "size")]
        name: str

    line = b'{"name": "n", "box": {"size": 3, "lid": {"marks": ["a", "b"]}}}'
    assert Columns(Shuffled).from_json(line) == Shuffled(("a", "b"), 3, "n")


def test_equal_values_of_a_repeated_column_are_one_object() -> None:
    class Named(msgspec.Struct, frozen=True):
        model: Annotated[str, At(("case",), "model"), Repeated]
        key: str

    columns = Columns(Named)
    one, other = (columns.from_json(b'{"case": {"model": "resnet18"}, "key": "k-1"}') for _ in range(2))
    assert one == other
    assert one.model is other.model and one.key is not other.key


def _at(data: Any, place: At) -> Any:
    for names in place.within:
        several = (names,) if isinstance(names, str) else names
        data = next((data[name] for name in several if data.get(name) is not None), None)
        if data is None:
            return place.absent
    return data.get(place.key, place.absent)


@pytest.mark.parametrize(
    "record",
    [
        *full_run(),
        make_failure("resnet18"),
        make_record(options={"gap_ms": 5, "io_binding": True}, warnings=[("one_fork", "x")], p95=10.2),
        make_record().model_copy(update={"accuracy": make_accuracy()}),
    ],
)
def test_every_column_of_a_row_holds_what_stands_at_its_place(record: Record) -> None:
    data = json.loads(record.model_dump_json())
    line = json.dumps(data).encode()
    row, ranked = row_from_json(line), ranked_row_from_json(line)
    assert all(getattr(ranked, name) == getattr(row, name) for name in RankedRow.__struct_fields__)
    assert (ranked.cell, ranked.label, ranked.is_believable) == (row.cell, row.label, row.is_believable)
    shown = json.loads(msgspec.json.encode(row))
    for name, kind in get_type_hints(Row, include_extras=True).items():
        place = next((m for m in getattr(kind, "__metadata__", ()) if isinstance(m, At)), At((), name))
        expected = _at(data, place)
        assert shown[name] == ([] if expected is None and shown[name] == [] else expected), name
