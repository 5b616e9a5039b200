"""The page: hostile names are text everywhere, the policy names what runs, cells tell what they are sorted by."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.show.records import full_run, make_failure, make_record, with_samples, write_results

from zoobench.show.document import Block, Column, Command, Heading, Items, Paragraph, Picture, Table
from zoobench.show.numbers import Keyed
from zoobench.show.page import to_html
from zoobench.show.report import write_report

HOSTILE = "<img src=x onerror=alert(1)>|**x**"
KNOWN_ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "href", "id", "class", "scope", "alt", "src", "aria-label", "role",
    "aria-labelledby", "data-label", "data-value", "data-choose", "data-filter",
}  # fmt: skip


class Tags(HTMLParser):
    """What a browser would make of a page.

    Attributes:
        tags: how often each tag opens.
        attributes: every name of one.
        words: the text outside style and script.
        cells: attributes and text of each cell of a table.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.words = ""
        self.cells: list[tuple[dict[str, str | None], str]] = []
        self.ids: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag in ("td", "th"):
            self.cells.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self._inside in ("td", "th") and self.cells:
            self.cells[-1] = (self.cells[-1][0], self.cells[-1][1] + data)
        if self._inside not in ("style", "script"):
            self.words += data


def everywhere(text: str) -> list[Block]:
    return [
        Heading(1, text),
        Paragraph(text, strong=True),
        *(Heading(2, text) for _ in range(5)),
        Items(((text, text),)),
        Table((Column(text), Column("n", "right")), [(text, Keyed(text, text))], choices=(text,)),
        Command((text,)),
        Picture("charts/p 50.svg", "<svg/>", text),
    ]


def test_a_hostile_name_is_text_everywhere() -> None:
    page = Tags(to_html(HOSTILE, everywhere(HOSTILE + '" onload="x')))
    assert page.attributes <= KNOWN_ATTRIBUTES
    assert page.tags["script"] == 1 and page.tags["img"] == 1, "our own ones"
    assert HOSTILE in page.words


@given(st.text(alphabet="ab1 <>&\"'=/\n-;:(){}`\u2028\u202e", max_size=40))
def test_any_text_stays_text(text: str) -> None:
    page = Tags(to_html(text, everywhere("x" + text)))
    assert page.attributes <= KNOWN_ATTRIBUTES
    assert page.tags["script"] == 1 and page.tags["style"] == 1 and page.tags["tr"] == 2


def test_a_hostile_model_is_text_in_a_whole_report(tmp_path: Path) -> None:
    kept = [
        with_samples(tmp_path / "r", make_record(HOSTILE, b, batch=n))
        for b in ("pytorch", "onnx_cpu")
        for n in (1, 2)
    ]
    results = write_results(
        tmp_path / "r", [*kept, make_failure(HOSTILE, batch=4, message=HOSTILE)], argv=["zoobench", HOSTILE]
    )
    text = write_report(results, tmp_path / "r.html", "html").report.read_text()
    page = Tags(text)
    assert page.attributes <= KNOWN_ATTRIBUTES
    assert page.tags["script"] == 1 and page.tags["img"] == 6
    for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', text):
        svg = base64.b64decode(data).decode()
        assert "<img" not in svg and "&lt;img src=x one" in svg


def test_the_policy_names_this_script_and_this_style_and_nothing_else() -> None:
    page = to_html("t", everywhere("x"))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert allowed[directive] == f"'sha256-{digest}'"
    assert allowed["default-src"] == "'none'" and allowed["img-src"] == "data:"
    assert "eval" not in page and not re.search(r"<[^>]* (on\w+|style)=", page)
    assert "innerHTML" not in page and "insertAdjacentHTML" not in page


def test_cells_tell_their_column_and_the_number_before_it_was_rounded() -> None:
    number = Keyed("9.53 [9.41, 9.70] 🟢", 9.528123456)
    table = Table((Column("Model"), Column("p50 & more", "right")), [("resnet18", number), ("b", "—")])
    cells = Tags(to_html("t", [table])).cells
    assert cells[2][0] == {"scope": "row", "data-label": "Model"}
    assert cells[3][0] == {"class": "n", "data-label": "p50 & more", "data-value": "9.528123"}
    assert cells[3][1] == "9.53 [9.41, 9.70] " and cells[5][0] == {"class": "n", "data-label": "p50 & more"}


def test_headings_have_names_of_their_own_and_the_contents_lead_to_them() -> None:
    blocks: list[Block] = [Heading(1, "main"), Paragraph("first")]
    blocks += [
        Heading(level, text)
        for level, text in ((2, "A machine"), (3, "Memory"), (2, "Another"), (3, "Memory"), (3, "…"))
    ]
    text = to_html("t", blocks)
    page = Tags(text)
    assert len(page.ids) == len(set(page.ids))
    assert {"a-machine", "memory", "memory--2", "section"} <= set(page.ids)
    assert set(re.findall(r'href="#(.*?)"', text)) - {"main"} == set(page.ids) - {"main", "main--2"}
    assert text.index("first") < text.index("<nav") < text.index("<h2")


def test_a_short_page_has_no_contents() -> None:
    assert "<nav" not in to_html("t", [Heading(1, "t"), Heading(2, "a"), Paragraph("x")])


def test_tables_of_a_report_say_what_names_them(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r", full_run())
    text = write_report(results, tmp_path / "r.html", "html").report.read_text()
    named = re.findall(r'<table aria-labelledby="(.*?)"', text)
    assert len(named) == text.count("<table") and set(named) <= set(Tags(text).ids)


def test_a_long_command_is_whole() -> None:
    long = "zoobench run --models " + " ".join(f"model_{n:03}" for n in range(200))
    assert f"<code>{long}</code>" in to_html("t", [Command((long,))])
