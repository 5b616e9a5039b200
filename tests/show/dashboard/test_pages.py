"""Every page, as Streamlit runs it: what it says, where a click leads, and what a link restores."""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.show.records import (
    OTHER_MACHINE,
    full_run,
    make_accuracy,
    make_failure,
    make_record,
    write_results,
)

import zoobench
from zoobench.judge.wanted import Goal
from zoobench.outcome import Slot
from zoobench.results.record import ModelInfo, Record
from zoobench.results.row import row_of
from zoobench.results.store import write_samples
from zoobench.results.watch import reference
from zoobench.terms import TEXT, VerdictValue

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from zoobench.show import dashboard
from zoobench.show.document import Heading
from zoobench.show.recommendation import answer, recommendation_blocks

SCRIPT = Path(dashboard.__file__).with_name("script.py")
HOSTILE = "<img src=x onerror=alert(1)>|**x**"
FINGERPRINT = "0f3a9c21b7d84e66"


class App:
    """One visitor of the dashboard over some folders."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
        monkeypatch.setattr(sys, "argv", ["script.py", *map(str, folders)])
        self.test = AppTest.from_file(SCRIPT, default_timeout=60)

    def open(self, page: str = "leaderboard", **values: str | list[str]) -> App:
        for name, value in values.items():
            self.test.query_params[name] = value
        self.test.switch_page(f"{page}.py")
        return self.run()

    def turn_to(self, page: str) -> App:
        """As the menu does: the bare address of another page, in the same session."""
        for name in list(self.test.query_params):
            del self.test.query_params[name]
        # AppTest.switch_page knows no page that is a function, once the first has been drawn.
        self.test._page_hash = calc_hash(page)
        return self.run()

    def run(self) -> App:
        self.test.run()
        assert not self.test.exception, self.test.exception
        return self

    @property
    def html(self) -> str:
        return "\n".join(element.proto.body for element in self.test.get("html"))

    @property
    def text(self) -> str:
        """All that is not in a table that is drawn on a canvas."""
        others = [*self.test.title, *self.test.markdown, *self.test.caption, *self.test.subheader]
        return "\n".join([self.html, *(str(element.value) for element in others)])

    def grid(self, at: int = 0) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.test.dataframe[at].value.to_dict("records")
        return rows

    def choose(self, name: str, value: Any) -> App:
        widgets = [
            *self.test.selectbox,
            *self.test.multiselect,
            *self.test.text_input,
            *self.test.number_input,
        ]
        (widget,) = [widget for widget in widgets if widget.key == f"choose:{name}"]
        widget.set_value(value)
        return self.run()

    def value(self, name: str) -> Any:
        return self.test.session_state[f"choose:{name}"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(tmp_path / "results", full_run())


@pytest.fixture
def app(results: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    return App(monkeypatch, results)


def named(record: Record) -> str:
    return reference(row_of(record))


def test_the_leaderboard_shows_the_smallest_batch_ranked_and_the_rest_apart(app: App) -> None:
    app.open()
    assert [row["Model"] for row in app.grid()][:2] == ["mobilenetv2_100", "mobilenetv2_100"]
    assert "Batch" not in app.grid()[0]
    assert "9 of 25 cells fit the filters: 8 valid, 1 skipped." in app.html
    assert "Why a cell has no number stands under Failures" in app.html
    assert "Batch size 1 only, of 3: choose all there for every one." in app.html
    assert "Task" not in app.html
    app.choose("batch", "8")
    (lie,) = app.grid(1)
    assert lie["Model"] == "resnet50"
    assert lie["Latency (ms)"] == 190.0
    assert "1 invalid" in app.html
    app.choose("batch", "all")
    assert "25 of 25 cells fit the filters: 21 valid, 1 unstable, 1 invalid" in app.html
    assert "only, of" not in app.html
    assert "190" not in {row["Latency (ms)"] for row in app.grid()}


def test_filters_and_sorting_go_into_the_address_and_come_back(app: App, results: Path) -> None:
    app.open().choose("backend", ["onnx_cpu"])
    app.choose("sort", "latency")
    app.choose("model", "NET")
    app.choose("size", 50.0)
    assert app.test.query_params == {
        "machine": FINGERPRINT,
        "backend": "onnx_cpu",
        "model": "NET",
        "size": "50",
        "sort": "latency",
    }
    shown = app.grid()
    assert [row["Latency (ms)"] for row in shown] == sorted(row["Latency (ms)"] for row in shown)
    visitor = App(pytest.MonkeyPatch(), results)
    visitor.open(**app.test.query_params)
    assert visitor.grid() == shown
    assert visitor.value("sort") == "latency"
    assert visitor.value("backend") == ["onnx_cpu"]


def test_what_a_link_chose_survives_every_change_of_page(app: App) -> None:
    app.open(batch="8", backend="onnx_cpu")
    for page in ("pareto", "history", "leaderboard", "pareto"):
        app.turn_to(page)
        assert (app.value("batch"), app.value("backend")) == ("8", ["onnx_cpu"]), page
        assert app.test.query_params["batch"] == "8"
    app.choose("batch", "4").turn_to("history").turn_to("pareto")
    assert app.value("batch") == "4"
    assert app.choose("batch", "1").value("batch") == "1"


def test_a_hostile_link_changes_nothing_and_says_so(app: App) -> None:
    app.open(
        machine=HOSTILE,
        backend=["onnx_cpu", "<script>alert(1)</script>"],
        batch="-1",
        size="nan",
        record="../../etc/passwd",
        sort="'; drop table",
        x=["1"] * 300,
    )
    assert "Ignored in the address" in app.html
    assert "&lt;img src=x onerror=alert(1)&gt;|**x**" in app.html
    assert "<script>alert(1)" not in app.text
    assert "<img src=x" not in app.text
    assert app.value("backend") == ["onnx_cpu"]
    assert app.value("batch") == "1"
    assert app.run().html.count("Ignored in the address") == 0


def test_two_machines_are_never_in_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_record("vit", machine=OTHER_MACHINE, run_id="run-2", at="2026-11-29T00:00:00+00:00")
    folder = write_results(tmp_path, [make_record(), other])
    app = App(monkeypatch, folder).open()
    assert [row["Model"] for row in app.grid()] == ["vit"]
    app.choose("machine", FINGERPRINT)
    assert [row["Model"] for row in app.grid()] == ["resnet18"]
    assert app.test.query_params["machine"] == FINGERPRINT


@pytest.mark.parametrize(
    "page", ["leaderboard", "ship", "pareto", "compare", "history", "detail", "failures"]
)
def test_what_nobody_measured_is_called_so_on_every_page(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_results(tmp_path, [make_record("resnet18", "fake", weights="fake")])
    assert "nothing was measured) ·" in App(monkeypatch, folder).open(page).html


def test_each_folder_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write_results(tmp_path / "one", [make_record()])
    two = write_results(tmp_path / "two", [make_record("resnet50", run_id="run-2")])
    app = App(monkeypatch, one, two).open()
    assert {row["Model"] for row in app.grid()} == {"resnet18", "resnet50"}
    app.choose("results", [str(two)])
    assert [row["Model"] for row in app.grid()] == ["resnet50"]


def test_pareto_takes_any_two_figures(app: App) -> None:
    app.open("pareto")
    assert "Up: size of the file (MB); across: p50 (ms)" in app.html
    assert {row["Backend"] for row in app.grid()} == {"onnx_cpu"}
    app.choose("x", "memory")
    app.choose("y", "size")
    assert "Up: size of the file (MB); across: peak memory (MB)" in app.html
    app.choose("y", "top-1")
    assert "it takes two cells with both peak memory (MB) and top-1 (%)" in app.html
    app.choose("x", "top-1")
    assert "Choose two different figures" in app.html


def test_there_is_a_front_for_each_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [{"prompt_tokens": prompt, "new_tokens": 64} for prompt in (128, 512)]
    records = [
        make_record("smol", backend, p50, scenario="tokens", options=options)
        for options in asked
        for backend, p50 in (("pytorch", 90.0), ("ort_genai", 40.0))
    ]
    records += [
        make_record("smol", "ort_genai", 60.0, scenario="tokens", options={**asked[0], "concurrency": 4})
    ]
    app = App(monkeypatch, write_results(tmp_path, records)).open("pareto")
    assert "image classification · 128 + 64 tokens" in app.html
    assert app.html.count("<figure>") == len(app.test.dataframe) == 2
    assert {row["Backend"] for at in (0, 1) for row in app.grid(at)} == {"ort_genai"}


def test_a_winner_among_several_thread_counts_tells_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [make_record(threads=2, p50=5.0), make_record(threads=1, p50=9.0)]
    app = App(monkeypatch, write_results(tmp_path, records)).open("pareto")
    (winner,) = app.grid()
    assert winner["Threads"] == 2


def test_calls_with_a_gap_between_them_have_a_front_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [make_record(f"m{n}", options=options) for n in (1, 2) for options in ({}, {"gap_ms": 5.0})]
    app = App(monkeypatch, write_results(tmp_path, records)).open("pareto")
    assert "image classification · single_stream</h3>" in app.html
    assert "image classification · single_stream, gap_ms=5.0" in app.html


def test_cells_are_compared_by_the_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = []
    for backend, ns in (("pytorch", 20_000_000), ("onnx_cpu", 10_000_000)):
        record = make_record("resnet18", backend, ns / 1e6, samples_file="samples/case.json.gz")
        records.append(record.model_copy(update={"samples_file": f"samples/{backend}.json.gz"}))
    write_results(tmp_path, records)
    (tmp_path / "runs/run-1/samples").mkdir()
    for record, ns in zip(records, (20_000_000, 10_000_000), strict=True):
        slots = [
            Slot(fork=0, round=n, position=0, settling_ns=1, samples_ns=(ns + n * 1000, ns + 9000))
            for n in range(8)
        ]
        assert record.samples_file is not None
        write_samples(tmp_path / "runs/run-1" / record.samples_file, record, slots)
    app = App(monkeypatch, tmp_path).open("compare", cells=[named(record) for record in records])
    assert "they took turns in one run" in app.html
    assert "▼ faster" in app.html
    assert ">0.500<" in app.html
    assert "20.0 [19.7, 20.3]" in app.html
    assert "Every timed call" in app.html


def test_comparing_needs_two_and_tells_what_it_cannot_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = make_record(threads=1), make_record("resnet50", threads=2), make_record("vit", p50=4.0)
    app = App(monkeypatch, write_results(tmp_path, [one, two, three])).open("compare")
    assert "Choose two or more cells" in app.html
    app.choose("cells", [named(one), named(two)])
    assert "≠ not comparable" in app.html
    assert "threads 1 → 2" in app.html
    app.choose("cells", [named(two), named(three)])
    assert "measured apart: from the two medians" in app.html
    assert "model resnet50 → vit" in app.html


def test_history_has_every_record_of_a_cell_with_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_record(run_id="run-1", at="2026-11-01T10:00:00+00:00")
    new = make_record(
        run_id="run-2", at="2026-11-02T10:00:00+00:00", p50=8.0, versions={"onnxruntime": "1.33.0"}
    )
    app = App(monkeypatch, write_results(tmp_path, [old, new])).open("history")
    assert "2 records on this machine" in app.html
    newest, first = app.grid()
    assert newest["Changed"] == "onnxruntime 1.32.0 → 1.33.0"
    assert first["Changed"] == "first record"
    assert newest["Latency (ms)"] == 8.0


def test_a_record_is_shown_with_all_that_is_known_of_it(app: App) -> None:
    unstable = full_run()[4]
    app.open("detail", record=named(unstable))
    for text in (
        "the second half was 4.1% slower",
        "one_fork (a warning)",
        "zoobench run --models",
        FINGERPRINT,
    ):
        assert text in app.html, text
    assert "There is nothing to draw: no samples were kept of this record" in app.html


def test_a_renamed_run_is_opened_and_compared(app: App, results: Path) -> None:
    (results / "runs/run-1").rename(results / "runs/kept")
    app.open("detail", record=named(full_run()[0]))
    assert "zoobench run --models" in app.html and "no samples were kept" in app.html


def test_failures_say_why(app: App, results: Path) -> None:
    app.open("failures")
    assert "the worker was killed for memory at 7.4 GB; use a smaller batch" in app.html
    assert "no CUDA device" in app.html


def test_failures_lead_to_what_is_invalid(app: App) -> None:
    app.open("failures", backend="pytorch")
    assert "Cells whose number is invalid: 1." in app.html
    app.test.button[0].click()
    app.run()
    assert (app.value("verdict"), app.value("batch"), app.value("backend")) == (["invalid"], "all", [])
    assert [row["Model"] for row in app.grid()] == ["resnet50"]


def test_without_failures_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(monkeypatch, write_results(tmp_path, [make_record()])).open("failures")
    assert "Every cell of this machine has a number" in app.html


@pytest.mark.parametrize(
    "page", ["leaderboard", "ship", "pareto", "compare", "history", "detail", "failures"]
)
def test_a_hostile_name_is_text_on_every_page(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        make_record(
            HOSTILE,
            p50=5.0,
            accuracy=make_accuracy(),
            reasons=[("drift", HOSTILE)],
            verdict=VerdictValue.UNSTABLE,
        ),
        make_record(HOSTILE, "pytorch", p50=9.0, options={HOSTILE: HOSTILE}),
        make_failure(HOSTILE, "openvino", message=HOSTILE),
    ]
    app = App(monkeypatch, write_results(tmp_path, records, argv=["zoobench", "run", HOSTILE]))
    app.open(page, cells=[named(record) for record in records[:2]], record=named(records[0]))
    assert "<img src=x" not in app.text
    unescaped = [*app.test.title, *app.test.markdown, *app.test.caption, *app.test.subheader]
    assert not any("onerror" in str(element.value) for element in unescaped)
    if page not in ("leaderboard", "pareto"):
        assert "&lt;img src=x onerror=alert(1)&gt;" in app.html
    else:
        assert app.grid()[0]["Model"] == HOSTILE


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "There is no such folder"),
        ("file", "A file, not a results folder"),
        ("foreign", "Not a results folder"),
        ("empty", "No results yet"),
        ("damaged", "No record can be read"),
        ("newer", "Written by a newer zoobench"),
        ("run", "One run, not a results folder"),
    ],
)
def test_a_folder_without_results_gets_a_page_that_helps(
    kind: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "there"
    if kind == "file":
        folder.write_text("x")
    elif kind == "foreign":
        (folder / "holiday").mkdir(parents=True)
    elif kind == "empty":
        (folder / "runs").mkdir(parents=True)
    elif kind in ("damaged", "newer"):
        write_results(folder, [make_record()])
        line = {**make_record().model_dump(mode="json"), "schema_version": 99}
        (folder / "runs/run-1/records.jsonl").write_text(
            '{"to' if kind == "damaged" else json.dumps(line) + "\n"
        )
    elif kind == "run":
        folder = write_results(folder, [make_record()]) / "runs/run-1"
    app = App(monkeypatch, folder).open("pareto")
    assert said in app.html
    assert str(folder) in app.html


def test_damaged_lines_and_odd_numbers_leave_the_others_alone(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = make_record("odd").model_dump(mode="json")
    odd["latency"]["p50_ms"] = float("nan")
    odd["throughput_per_s"] = float("inf")
    with (results / "runs/run-1/records.jsonl").open("a") as file:
        file.write(json.dumps(odd) + "\n" + '{"schema_version": 1, "torn')
    for page in ("leaderboard", "ship", "pareto", "failures", "history", "compare", "detail"):
        app = App(monkeypatch, results).open(page)
        assert "cut short by an interruption" in app.html
        assert app.test.expander


def test_a_run_that_comes_while_the_page_is_open_is_shown(app: App, results: Path) -> None:
    app.open()
    before = len(app.grid())
    write_results(results, [make_record("newcomer", run_id="run-2")])
    assert len(app.run().grid()) == before + 1


@pytest.mark.parametrize("page", ["leaderboard", "pareto", "history", "detail"])
def test_filters_that_fit_nothing_can_be_cleared(page: str, app: App) -> None:
    app.open(page, model="nobody")
    assert "these filters" in app.html
    app.test.button[0].click()
    app.run()
    assert app.value("model") == ""
    assert "these filters" not in app.html


@pytest.mark.parametrize(
    ("name", "page"),
    [
        *(("resnet18", page) for page in ("leaderboard", "ship", "history", "detail", "compare")),
        *(
            (name, page)
            for name in ("onnx_cpu", "run-1", FINGERPRINT)
            for page in ("leaderboard", "ship", "detail")
        ),
    ],
)
def test_a_name_that_is_no_unicode_breaks_no_page(
    name: str, page: str, results: Path, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in results.glob("runs/*/records.jsonl"):
        text = file.read_text("utf-8")
        assert f'"{name}"' in text
        file.write_text(text.replace(f'"{name}"', r'"a\ud800b"'), "utf-8")
    app.open(page)


class TestWhatToShip:
    def test_the_answer_is_that_of_the_command(self, app: App, results: Path) -> None:
        app.open("ship")
        found = zoobench.recommend(results)
        assert found.best is not None
        assert answer(found) in html.unescape(app.html)
        assert f"zoobench recommend --results-dir {results}" in app.html
        _, *blocks = recommendation_blocks(found, results)
        heads = [block.text for block in blocks if isinstance(block, Heading)]
        assert heads and all(f">{html.escape(head)}</h" in app.html for head in heads)

    def test_fields_are_its_flags_and_a_link_restores_them(self, app: App, results: Path) -> None:
        app.open("ship", max_latency="p50:20ms p95:30ms", minimize="size", models="resnet*")
        wanted = zoobench.Wanted(
            minimize=Goal.SIZE, latency=(zoobench.LatencyLimit(50, 20.0), zoobench.LatencyLimit(95, 30.0))
        )
        found = zoobench.recommend(results, wanted, zoobench.Scope(models=("resnet*",)))
        assert answer(found) in html.unescape(app.html)
        assert "--models 'resnet*' --minimize size --max-latency p50:20ms p95:30ms" in html.unescape(app.html)
        app.choose("max_memory", "1kB")
        assert "Nothing holds every limit" in app.html and "Relax" in app.html
        assert app.test.query_params["max_memory"] == "1kB"

    @pytest.mark.parametrize(
        ("name", "word", "said"),
        [
            ("max_latency", "20", "the unit is missing; write 20ms"),
            ("max_drop", "0.5", "the unit is missing"),
            ("calls", "²", "a whole number is needed"),
            ("calls", "9" * 200, "a whole number is needed"),
            ("models", "no_such_model", "no result is of such a model"),
            ("min_throughput", HOSTILE, "a number a second is needed"),
        ],
    )
    def test_what_is_not_understood_is_said_as_in_a_shell(
        self, app: App, name: str, word: str, said: str
    ) -> None:
        app.open("ship").choose(name, word)
        assert said in html.unescape(app.html)
        assert "<img src=x" not in app.html

    def test_the_answer_leads_to_its_record_and_to_those_beside_it(self, app: App) -> None:
        app.open("ship")
        best = zoobench.recommend(Path(sys.argv[1])).best
        assert best is not None
        (button,) = [one for one in app.test.button if one.label == "Open the record"]
        button.click()
        app.run()
        assert best.label in html.unescape(app.text)

    def test_a_language_model_has_limits_of_its_own_and_no_drop(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spoken = make_record("smol", "pytorch", 500.0, scenario="tokens")
        spoken = spoken.model_copy(update={"model": ModelInfo(name="smol", task=TEXT)})
        app = App(monkeypatch, write_results(tmp_path / "spoken", [spoken])).open("ship")
        keys = {widget.key for widget in app.test.text_input}
        assert {"choose:max_ttft", "choose:max_tpot"} <= keys
        assert not {"choose:max_drop", "choose:min_accuracy"} & keys
        assert "smol" in app.html

    def test_where_there_is_a_choice_of_results_it_is_offered(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records = [
            make_record("mine", p50=5.0),
            make_record("mine", p50=7.0, scenario="offline"),
            make_record("theirs", "endpoint", 9.0, device="remote"),
        ]
        results = write_results(tmp_path / "both", records)
        app = App(monkeypatch, results).open("ship", at="here", scenario="offline")
        assert "Ship mine" in app.html and "offline" in app.html
        assert f"--machine {FINGERPRINT} --scenario offline" in app.html
        app.choose("scenario", "as measured last")
        app.choose("at", "on servers")
        assert "Ship theirs" in app.html and f"--machine remote-{FINGERPRINT}" in app.html

    def test_the_command_names_the_machine_where_there_are_several(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records = [
            make_record("old_one", p50=5.0, machine=OTHER_MACHINE, at="2026-11-20T00:00:00+00:00"),
            make_record("new_one", p50=9.0),
        ]
        app = App(monkeypatch, write_results(tmp_path / "two", records)).open("ship")
        assert "Ship new_one" in app.html and f"--machine {FINGERPRINT}" in app.html
        app.choose("machine", OTHER_MACHINE.fingerprint)
        assert "Ship old_one" in app.html and f"--machine {OTHER_MACHINE.fingerprint}" in app.html

    def test_fake_cells_beside_real_ones_are_no_commands(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records = [make_record(), make_record("made_up", "fake", weights="fake")]
        app = App(monkeypatch, write_results(tmp_path / "mixed", records)).open("ship")
        assert "The same as a command" in app.html and "--machine" not in app.html
        app.choose("machine", f"{FINGERPRINT}-fake")
        assert "Ship made_up" in app.html and "The same as a command" not in app.html

    @pytest.mark.parametrize("typed", ["p50:20ms p95:30ms", "p50: 20 ms, p95:30ms", "p50:20 ms p95: 30 ms"])
    def test_limits_are_set_apart_as_people_do(self, app: App, typed: str) -> None:
        app.open("ship").choose("max_latency", typed)
        assert "--max-latency p50:20ms p95:30ms" in app.html

    def test_unstable_ones_have_a_field(self, app: App) -> None:
        app.open("ship").choose("unstable", "never")
        assert "--unstable never" in app.html
        app.choose("unstable", "twice")
        assert "--unstable never" not in app.html

    def test_a_models_name_may_have_a_space_and_tells_the_task(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spoken = make_record("my model", "pytorch", 500.0, scenario="tokens")
        spoken = spoken.model_copy(update={"model": ModelInfo(name="my model", task=TEXT)})
        results = write_results(tmp_path / "both", [make_record(), spoken])
        app = App(monkeypatch, results).open("ship", models="my model")
        assert "Ship my model" in app.html and "--models 'my model'" in html.unescape(app.html)
