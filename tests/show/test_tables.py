"""The documented table."""

from __future__ import annotations

import io

from rich.console import Console
from tests.show.records import OTHER_MACHINE, full_run, make_failure, make_record

from zoobench.outcome import LoadSummary
from zoobench.results.query import Cell, latest_cells
from zoobench.results.record import ModelInfo, Record
from zoobench.results.row import row_of
from zoobench.show.console import console_blocks, run_blocks
from zoobench.show.document import Heading, Table
from zoobench.show.tables import Notes, documented_table, in_order
from zoobench.terms import Status, VerdictValue


def table_of(*records: Record) -> Table:
    return documented_table(in_order(latest_cells(map(row_of, records))), Notes())


def heads(table: Table) -> list[str]:
    return [column.head for column in table.columns]


def cells_of(record: Record) -> dict[str, str]:
    table = table_of(record)
    return dict(zip(heads(table), table.rows[0], strict=True))


def test_the_documented_columns() -> None:
    assert cells_of(make_record(p95=10.2)) == {
        "Model": "resnet18",
        "Backend": "onnx_cpu",
        "Latency (ms)": "9.53 [9.39, 9.67] 🟢",
        "p95 (ms)": "10.2",
        "Throughput (items/s)": "104",
        "Top-1 (%)": "—",
        "Size (MB)": "46.8",
        "Peak memory (MB)": "162",
        "Verdict": "valid",
    }


def test_what_is_not_supported_is_a_dash() -> None:
    row = cells_of(make_failure())
    assert {row[name] for name in ("Latency (ms)", "p95 (ms)", "Throughput (items/s)", "Size (MB)")} == {"—"}
    assert row["Verdict"] == "failed (load)"
    assert cells_of(make_record())["p95 (ms)"] == "—"


def test_random_weights_are_marked_in_every_row() -> None:
    assert cells_of(make_record(weights="random"))["Model"] == "resnet18 (random weights)"


def test_an_invalid_number_gets_no_light_and_ranks_last() -> None:
    reasons = [("not_finite", "outputs are not finite; check the weights")]
    bad = make_record(p50=1.0, verdict=VerdictValue.INVALID, reasons=reasons)
    table = table_of(bad, make_record(backend="pytorch", p50=17.7))
    assert [row[1] for row in table.rows] == ["pytorch", "onnx_cpu"]
    assert not set("🟢🟡🔴") & set(table.rows[1][2])
    assert table.rows[1][-1] == "❌ invalid · note 1"


def test_equal_reasons_share_a_note_and_warnings_are_told_too() -> None:
    notes = Notes()
    drift = [("drift", "drifted by 4%; raise --effort")]
    more = [("drift", "drifted by 5%; raise --effort")]
    warned = [("one_fork", "within one process")]
    records = [
        make_record(verdict=VerdictValue.UNSTABLE, reasons=drift, warnings=warned),
        make_record("resnet50", verdict=VerdictValue.UNSTABLE, reasons=more),
        make_record("vit", warnings=warned),
    ]
    marks = [notes.mark(row_of(r)) for r in records]
    assert marks == ["⚠ unstable · notes 1, 2", "⚠ unstable · note 1", "valid · note 2"]
    assert [(n.code, n.cells, len(n.messages)) for n in notes.notes.values()] == [
        ("drift", 2, 2),
        ("one_fork", 2, 1),
    ]


def test_models_are_ordered_by_their_fastest_and_backends_within() -> None:
    records = [
        make_record("slow", "onnx_cpu", 30), make_record("fast", "pytorch", 40), make_record("fast", "onnx_cpu", 3),
        make_record("slow", "pytorch", 20),
    ]  # fmt: skip
    rows = table_of(*records).rows
    assert [(r[0], r[1]) for r in rows] == [
        ("fast", "onnx_cpu"), ("fast", "pytorch"), ("slow", "pytorch"), ("slow", "onnx_cpu"),
    ]  # fmt: skip


def test_columns_that_set_cells_apart_appear_only_when_needed() -> None:
    assert "Precision" not in heads(table_of(make_record()))
    assert "Precision" in heads(table_of(make_record(), make_record(precision="bf16")))
    assert "Threads" in heads(table_of(make_record(), make_record(threads=1)))
    assert cells_of(make_record(options={"gap_ms": 5}))["Backend"] == "onnx_cpu (gap_ms=5)"


def test_older_numbers_say_that_a_later_attempt_failed() -> None:
    cell = Cell(row_of(make_record()), later=row_of(make_failure("resnet18")))
    assert documented_table([cell], Notes()).rows[0][-1] == "valid · a later attempt: failed (load)"


def rendered(records: list[Record], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for one in console_blocks(run_blocks(records)):
        console.print(one)
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def test_the_console_shows_the_same_numbers_and_marks_in_100_columns() -> None:
    out = rendered(full_run(), 100)
    assert max(map(len, out.splitlines())) <= 100
    for part in (
        "Batch 1",
        "Batch 8",
        "mobilenetv2_100",
        "2.43 [2.39, 2.47] 🟢",
        "❌ invalid",
        "drift",
        "machine 0f3a9c21",
    ):
        assert part in out


def test_the_console_never_mixes_machines_nor_obeys_names() -> None:
    hostile = make_record("[bold]x[/bold]\x1b[31m", machine=OTHER_MACHINE)
    out = rendered([make_record(), hostile], 140)
    assert out.count("Batch 1") == 2
    assert "[bold]x[/bold]" in out
    assert "\x1b" not in out


def test_what_was_not_measured_stands_in_a_table_of_its_own_with_its_reason() -> None:
    [heading, _] = run_blocks(
        [make_failure(status=Status.SKIPPED, message="it is not installed", stage="plan")]
    )
    assert heading == Heading(2, "Not measured")
    out = rendered([make_record(), make_failure(status=Status.SKIPPED, message="it is not installed")], 120)
    assert "resnet50 · onnx_cpu · fp32 · batch 1" in out and "it is not installed" in out
    assert "Not measured" not in rendered([make_record()], 120)


def test_local_files_of_one_name_are_told_apart() -> None:
    def local(content: str) -> Record:
        model = ModelInfo(name="model.onnx", weights="local", revision=content * 40)
        return make_record("model.onnx").model_copy(update={"model": model})

    out = rendered([local("a"), local("b")], 120)
    assert "model.onnx (aaaaaaaa)" in out and "model.onnx (bbbbbbbb)" in out


SERVER = {"target_qps": 50.0, "latency_percentile": 99.0, "latency_limit_ms": 40.0, "max_batch": 8}
LOAD = LoadSummary(
    tests=2, valid_tests=2, completed_qps=49.5, latency_percentile=99, percentile_ms=24.31, queries=1000
)


def test_a_served_cell_says_its_load_and_what_loadgen_thinks() -> None:
    options = {**SERVER, "batch_timeout_ms": 2.0, "graph_optimization": "all"}
    served = make_record(scenario="server", options=options, load=LOAD, throughput_per_s=49.5)
    cells = cells_of(served)
    assert cells["Backend"] == "onnx_cpu (graph_optimization=all)"
    assert cells["Scenario"] == "server 50/s, p99 ≤ 40 ms, up to 8 joined within 2 ms"
    assert cells["LoadGen (ms)"] == "VALID, p99 24.3"
    assert cells["Throughput (items/s)"] == "49.5"
    for valid, word in ((0, "INVALID"), (1, "1 of 2 VALID")):
        load = LOAD.model_copy(update={"valid_tests": valid})
        told = cells_of(make_record(scenario="server", options=SERVER, load=load))["LoadGen (ms)"]
        assert told == f"{word}, p99 24.3"
    offline = make_record(scenario="offline", load=LoadSummary(tests=1, valid_tests=1, completed_qps=104))
    assert cells_of(offline)["LoadGen (ms)"] == "VALID"


def test_only_where_loadgen_was_is_it_spoken_of() -> None:
    assert "LoadGen (ms)" not in heads(table_of(make_record()))
    mixed = table_of(make_record(), make_record(scenario="server", options=SERVER, load=LOAD))
    column = heads(mixed).index("LoadGen (ms)")
    assert sorted(row[column] for row in mixed.rows) == ["VALID, p99 24.3", "—"]
