"""The page in a real browser: nothing hostile runs, the table sorts and filters, and it can be read on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.show.records import full_run, make_failure, make_record, with_samples, write_results

from zoobench.show.report import write_report
from zoobench.terms import VerdictValue

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH"),
]
HOSTILE = "<img src=x onerror=alert(1)>|**x**"
Page = Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    records = [with_samples(folder / "r", r) if r.latency else r for r in full_run()]
    records += [
        with_samples(folder / "r", make_record(HOSTILE, b, p50=p50, precision="int8"))
        for b, p50 in (("onnx_cpu", 3.001), ("pytorch", 3.004))
    ]
    records += [make_failure(HOSTILE, batch=4, message=HOSTILE)]
    results = write_results(folder / "r", records, argv=["zoobench", "run", "--models", HOSTILE])
    return write_report(results, folder / "r.html", "html").report


class Opened:
    """A page, and whatever it did that it should not."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.misdeeds: list[str] = []
        self.page.on(
            "dialog", lambda dialog: (self.misdeeds.append(f"dialog: {dialog.message}"), dialog.dismiss())
        )
        self.page.on("pageerror", lambda error: self.misdeeds.append(f"error: {error}"))
        self.page.on("console", lambda said: said.type == "error" and self.misdeeds.append(said.text))
        self.page.on(
            "request",
            lambda asked: (
                asked.url.startswith(("file:", "data:")) or self.misdeeds.append(f"asked for {asked.url}")
            ),
        )
        self.page.goto(file.as_uri())

    def column(self, head: str, what: str = "text") -> list[str]:
        """The texts of a column of the filtered table, of the rows that are shown."""
        return self.page.evaluate(
            """([head, what]) => {
              const table = document.querySelector("table[data-filter]");
              const at = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === head);
              return [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => {
                const cell = row.cells[at];
                return what === "value" ? cell.dataset.value ?? "" : cell.textContent;
              });
            }""",
            [head, what],
        )

    def numbers(self, head: str) -> list[float]:
        """The numbers behind a column, before they were rounded; those that are not known are 0."""
        return [float(value or 0) for value in self.column(head, "value")]


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    it = Opened(browser, file, viewport={"width": 1280, "height": 900})
    yield it
    it.page.close()


def test_nothing_hostile_runs_and_the_page_is_whole(opened: Opened) -> None:
    assert opened.misdeeds == []
    assert opened.page.title() == "Benchmark results"
    assert opened.page.locator("img[src=x]").count() == 0
    assert opened.page.get_by_text(HOSTILE).count() > 0
    broken = "[...document.images].filter(i => !i.complete || i.naturalWidth === 0).length"
    assert opened.page.evaluate(broken) == 0


def test_a_script_that_is_not_ours_would_not_run(opened: Opened) -> None:
    opened.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'owned'";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\\"document.title='owned'\\">");
        }"""
    )
    opened.page.wait_for_timeout(200)
    assert opened.page.title() == "Benchmark results"
    assert any("Content Security Policy" in said for said in opened.misdeeds)


def test_a_head_sorts_by_number_and_what_cannot_be_believed_stays_last(opened: Opened) -> None:
    head = opened.page.locator("table[data-filter] th", has_text="Latency (ms)")
    before = opened.column("Latency (ms)")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    rising = opened.numbers("Latency (ms)")[:-3]
    assert rising == sorted(rising) and len(rising) == 24
    assert rising != sorted(rising, key=str), "as text it would be another order"
    assert {text.partition(" ·")[0] for text in opened.column("Verdict")[-3:]} == {
        "❌ invalid", "out of memory (slot)", "failed (load)",
    }  # fmt: skip
    head.get_by_role("button").click()
    assert opened.numbers("Latency (ms)")[:-3] == rising[::-1], "as written two of them are equal"
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    assert opened.column("Latency (ms)") == before and head.get_attribute("aria-sort") is None


def test_heads_are_reached_and_pressed_by_keyboard(opened: Opened) -> None:
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.className") == "skip"
    head = opened.page.locator("table[data-filter] th", has_text="Model").get_by_role("button")
    head.focus()
    opened.page.keyboard.press("Enter")
    assert opened.column("Model") == sorted(opened.column("Model"), key=str.casefold)
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert opened.page.evaluate(outline) == "solid"


def test_words_and_choices_filter_and_the_count_is_told(opened: Opened) -> None:
    bar = opened.page.get_by_role("search")
    bar.get_by_role("searchbox").fill("RESNET pytorch")
    assert set(opened.column("Model")) == {"resnet18", "resnet50"}
    assert set(opened.column("Backend")) == {"pytorch"}
    assert bar.locator("output").inner_text() == "6 of 27 rows"
    bar.get_by_role("button", name="Clear").click()
    bar.get_by_label("Verdict", exact=True).select_option("unstable")
    assert [text[:10] for text in opened.column("Verdict")] == ["⚠ unstable"]
    bar.get_by_label("Verdict", exact=True).select_option("")
    bar.get_by_label("Batch", exact=True).select_option("8")
    assert set(opened.column("Batch")) == {"8"}
    bar.get_by_role("searchbox").fill("<img onerror=alert(1)>")
    assert opened.column("Model") == [] and opened.misdeeds == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_itself_never_scrolls_sideways(browser: Any, file: Path, width: int, scheme: str) -> None:
    it = Opened(browser, file, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert it.page.evaluate("document.documentElement.scrollWidth") <= width
    paper, ink = it.page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light") and paper != ink
    it.page.close()


def test_on_a_phone_a_cell_is_a_card_that_opens_with_model_and_verdict(browser: Any, file: Path) -> None:
    it = Opened(browser, file, viewport={"width": 390, "height": 800})
    row = it.page.locator("table[data-filter] tbody tr").first
    model, verdict = row.locator("th"), row.locator("td").last
    tops = [found.bounding_box()["y"] for found in (model, verdict, row.locator("td").first)]
    assert tops == sorted(tops)
    box = verdict.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    it.page.get_by_label("Sorted by").select_option(label="Latency (ms) ▼")
    assert it.column("Latency (ms)")[0].startswith("283 [")
    it.page.close()


def test_on_a_phone_no_table_is_taller_than_the_screen(browser: Any, file: Path) -> None:
    it = Opened(browser, file, viewport={"width": 390, "height": 800})
    heights = [card.bounding_box()["height"] for card in it.page.locator(".cards").all()]
    assert heights and max(heights) <= 800
    it.page.close()


def test_without_scripts_it_says_the_same(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("table[data-filter] tbody tr").count() == 27
    assert page.locator("button").count() == 0, "nothing that would do nothing"
    context.close()


def test_unstable_and_invalid_words_are_not_only_colours(opened: Opened) -> None:
    words = {text.partition(" ·")[0] for text in opened.column("Verdict")}
    assert {VerdictValue.VALID.value, "⚠ unstable", "❌ invalid"} <= words
