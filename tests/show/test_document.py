"""Hostile names pass one gate, and come out of Markdown as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from zoobench.show.document import (
    Block,
    Column,
    Command,
    Heading,
    Items,
    Paragraph,
    Picture,
    Table,
    markdown_text,
    plain,
    to_markdown,
)

HOSTILE = "<img src=x onerror=alert(1)>|**x**"


def everywhere(text: str) -> list[Block]:
    return [
        Heading(1, text),
        Paragraph(text, strong=True),
        Items(((text, text),)),
        Table((Column(text), Column("n", "right")), [(text, text)]),
        Picture("charts/p 50.svg", "<svg/>", text),
    ]


def test_a_hostile_name_is_text_in_markdown() -> None:
    out = to_markdown(everywhere(HOSTILE))
    assert "<img" not in out
    assert "**x**" not in out
    rows = [row for row in out.splitlines() if row.startswith("|")]
    assert {row.count("|") for row in rows} == {3}


@pytest.mark.parametrize(
    "text",
    [
        "`code`", "[a](http://b)", "![a](b)", "*a*", "~~a~~", "_a_", "@octocat", "see #12", "http://evil.example",
        "www.evil.example", "1. list", "- list", "+ list", "# head", "> quote", "=== ", "a\nb", "a\r\n# b", "$x$",
        "[ref]: http://b", "&lt;b&gt;", "\\|", "a|b", "\u202egnp.exe", "\x1b[31mred", "mailto:a@b.c",
    ],
)  # fmt: skip
def test_nothing_that_markdown_would_act_on_is_left(text: str) -> None:
    out = markdown_text(text)
    bare = re.sub(r"&#\d+;", "X", out.replace("&#8203;", "\u200b"))
    assert not re.search(r"[`*~\\<>|\[\]$\n\r\x1b\u202e]", bare)
    assert not re.match(r"\s*([-+#=>]|\d+[.)])", bare)
    assert not re.search(r"(?i)https?:/|www\.|mailto:\w|@\w|#\d", bare)


@given(st.text(alphabet="ab1 _*`~[]()!<>&|#@:/.\\-+=$\n\"'{}", max_size=40))
def test_a_markdown_parser_finds_text_only(text: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(to_markdown([Table((Column("a"),), [("x" + text,)]), Paragraph("x" + text)]))
    inline = [child for token in tokens for child in token.children or []]
    assert {child.type for child in inline} <= {"text", "text_special"}
    assert [t.type for t in tokens].count("tr_open") == 2
    assert tokens[-1].type == "paragraph_close"
    assert (
        "".join(c.content for c in tokens[-2].children or []).replace("\u200b", "")
        == plain("x" + text).strip()
    )


@pytest.mark.parametrize("name", ["efficientnet_b0", "timm/resnet18.a1_in1k", "9.53 [9.41, 9.70] 🟢", "—"])
def test_ordinary_names_stay_searchable(name: str) -> None:
    assert markdown_text(name) == name


@given(st.text(max_size=80))
def test_any_text_stays_in_its_cell(text: str) -> None:
    out = to_markdown([Table((Column("a"), Column("b")), [(text, "end")])])
    assert len(out.split("\n")) == 4
    last = out.split("\n")[2]
    assert last.count("|") == 3 and last.endswith("| end |")
    assert "<" not in last


def test_long_text_is_clipped() -> None:
    assert len(plain("x" * 10_000)) == 500


def test_a_command_cannot_leave_its_fence() -> None:
    out = to_markdown([Command(("zoobench run --models '```\n# pwned'",))])
    fence = out.splitlines()[0].removesuffix("sh")
    assert len(fence) == 4
    assert out.splitlines()[-1] == fence
    assert len(out.splitlines()) == 3


def test_a_picture_lies_beside_the_markdown() -> None:
    picture: list[Block] = [Picture("my charts/p50.svg", "<svg/>", "what it shows")]
    assert "![what it shows](my%20charts/p50.svg)" in to_markdown(picture)


def test_a_command_is_never_cut_and_hides_nothing() -> None:
    long = "zoobench run --models " + " ".join(f"model_{n:03}" for n in range(200))
    text = to_markdown([Command((long, "echo a\u202eb \nrm"))])
    assert long in text
    assert text.splitlines()[2] == "echo a?b  rm"
