"""A folder without results: what, where, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoobench.results.watch import Folder, State
from zoobench.show.document import Heading, to_markdown
from zoobench.show.no_results import explained, problem_list


@pytest.mark.parametrize("state", [state for state in State if state is not State.FILLED])
def test_every_state_names_the_folder_and_says_what_to_do(state: State) -> None:
    problems = ("/data/my results/runs/r/records.jsonl:1: not a JSON object; left out",)
    blocks = explained(Folder(Path("/data/my results"), state, problems=problems))
    assert isinstance(blocks[0], Heading)
    text = to_markdown(blocks)
    assert "/data/my results" in text
    assert any(word in text for word in ("zoobench run", "zoobench dashboard", "Upgrade", "looks again"))


def test_many_problems_are_cut_and_counted() -> None:
    blocks = problem_list(tuple(f"line {n}" for n in range(45)))
    text = to_markdown(blocks)
    assert "line 19" in text
    assert "line 20" not in text
    assert "And 25 more." in text
    assert problem_list(()) == []
