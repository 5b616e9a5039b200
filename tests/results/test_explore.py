"""Looking for cells: filters, orders, one cell over time, one record."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.show.records import OTHER_MACHINE, full_run, make_failure, make_record, write_results

from zoobench.errors import UsageError
from zoobench.outcome import Slot
from zoobench.results.explore import (
    ORDERS,
    Filters,
    failing,
    find_record,
    history,
    in_order_of,
    milliseconds,
    slots_of,
    values_of,
)
from zoobench.results.query import Cell, latest_cells
from zoobench.results.record import Record
from zoobench.results.row import row_of
from zoobench.terms import VerdictValue


def cells(*records: Record) -> list[Cell]:
    return latest_cells(map(row_of, records))


FULL = cells(*full_run())


def fitting(**words: set[str]) -> list[Cell]:
    return Filters({name: frozenset(chosen) for name, chosen in words.items()}).apply(FULL)


def test_filters_are_joined_by_and_and_words_of_one_by_or() -> None:
    assert len(fitting()) == len(FULL) == 25
    found = fitting(backend={"pytorch"}, batch={"1", "8"})
    assert len(found) == 8
    assert {(c.row.backend, c.row.batch) for c in found} == {("pytorch", 1), ("pytorch", 8)}
    assert fitting(verdict={"invalid"})[0].row.verdict is VerdictValue.INVALID
    assert {c.row.error_message for c in fitting(verdict={"skipped", "out of memory"})} == {
        c.row.error_message for c in failing(FULL)
    }


def test_a_model_is_found_by_a_part_of_its_name_and_a_size_by_its_bytes() -> None:
    assert {c.row.model for c in Filters({}, model=" ResNet5").apply(FULL)} == {"resnet50"}
    assert Filters({}, most_bytes=46_830_570).apply(FULL) == []
    assert (
        len(Filters({}, most_bytes=46_830_571).apply(FULL)) == 23
    )  # the two without an artifact have no size


def test_words_are_in_order() -> None:
    assert values_of(FULL, "batch") == ["1", "4", "8"]
    many = cells(*(make_record(batch=batch) for batch in (16, 2, 128)))
    assert values_of(many, "batch") == ["2", "16", "128"]


@pytest.mark.parametrize("order", ORDERS)
def test_whatever_the_order_what_cannot_be_believed_is_last(order: str) -> None:
    lie = make_record("aaa", p50=0.01, verdict=VerdictValue.INVALID, throughput_per_s=1e9)
    found = in_order_of(
        cells(lie, make_failure("aab"), make_record("b", p50=2.0), make_record("c", p50=1.0)), order
    )
    assert {c.row.model for c in found[:2]} == {"b", "c"}
    best = "b" if order in ("model",) else "c"
    if order in ("latency", "throughput", "model"):
        assert found[0].row.model == best


def test_not_a_number_is_no_best_number() -> None:
    odd = make_record("odd", throughput_per_s=float("nan"))
    assert in_order_of(cells(odd, make_record("even")), "throughput")[0].row.model == "even"


def test_history_is_of_one_cell_on_one_machine() -> None:
    wanted = [make_record(run_id=f"run-{n}", at=f"2026-11-2{n}T00:00:00+00:00") for n in range(3)]
    strangers = [make_record(threads=1), make_record(machine=OTHER_MACHINE), make_record(options={"a": 1})]
    rows = [row_of(record) for record in [*wanted, *strangers]]
    assert [row.run_id for row in history(rows, rows[1])] == ["run-0", "run-1", "run-2"]


def test_a_record_is_found_by_its_key_and_the_later_of_two(tmp_path: Path) -> None:
    first, again = make_record(), make_record(p50=8.0)
    write_results(tmp_path, [first, make_record("resnet50"), again])
    run = tmp_path / "runs/run-1"
    with (run / "records.jsonl").open("a") as file:
        file.write('{"measurement_key": "' + first.measurement_key + '", "torn')
    assert find_record(run, first.measurement_key) == again
    with pytest.raises(UsageError, match="holds no record 'nobody'"):
        find_record(run, "nobody")
    with pytest.raises(UsageError, match="cannot be read"):
        find_record(tmp_path, first.measurement_key)


def test_samples_that_are_gone_are_said(tmp_path: Path) -> None:
    assert slots_of(tmp_path, make_record()) == ((), "no samples were kept of this record")
    slots, why = slots_of(tmp_path, make_record(samples_file="samples/x.json.gz"))
    assert slots == ()
    assert why is not None
    assert "cannot be read" in why
    slot = Slot(fork=0, round=0, position=0, settling_ns=1, samples_ns=(1_000_000, 2_500_000))
    assert milliseconds([slot, slot]) == [1.0, 2.5, 1.0, 2.5]
