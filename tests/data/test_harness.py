"""Tasks of lm-evaluation-harness as a person writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoobench.data.harness import text_tasks
from zoobench.errors import UsageError


def test_a_name_is_left_to_the_harness_and_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    file, data = tmp_path / "mine.yaml", tmp_path / "mine.jsonl"
    file.write_text(
        "task: mine\ndataset_kwargs: {data_files: {test: mine.jsonl}}\ndoc_to_text: !function utils.ask\n"
    )
    data.write_text("{}\n")
    named, mine, *more = text_tasks(["hellaswag", str(file), str(file)], 100)
    assert (named.name, named.sha256, named.limit) == ("hellaswag", None, 100) and not more
    assert mine.name == str(file) and mine.sha256
    # The data and the code that it names are a part of it.
    seen = {mine.sha256}
    for beside, content in ((data, "{} "), (tmp_path / "utils.py", "def ask(doc): ...")):
        beside.write_text(content)
        seen.add(text_tasks([str(file)])[0].sha256)
    (tmp_path / "other.jsonl").write_text("{}")
    seen.add(text_tasks([str(file)])[0].sha256)
    assert len(seen) == 3
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in (file, data, tmp_path / "utils.py"):
        (moved / path.name).write_bytes(path.read_bytes())
    assert text_tasks([str(moved / "mine.yaml")])[0].identity == text_tasks([str(file)])[0].identity
    assert text_tasks(["a"], 5)[0].identity != text_tasks(["a"])[0].identity


def test_a_long_word_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    file.write_text(f"task: long\ndescription: {'模' * 300}\n")
    assert text_tasks([str(file)])[0].sha256


@pytest.mark.parametrize(
    ("said", "limit", "message"),
    [
        ("nowhere.yaml", None, "--lm-eval nowhere.yaml: No such file or directory; give a task's YAML file"),
        ("tasks/mine", None, "--lm-eval 'tasks/mine': the name of a task, or a path that ends in .yaml"),
        ("", None, "--lm-eval '': the name of a task"),
        ("arc_easy", 0, "--lm-eval-limit 0: at least 1 question is needed"),
    ],
)
def test_what_cannot_be_meant_is_one_line(said: str, limit: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        text_tasks([said], limit)
