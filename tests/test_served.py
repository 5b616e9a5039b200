"""Servers that speak OpenAI's API, from the command's words to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.openai_server import OpenAiServer, serving

from zoobench import api
from zoobench.driver import Settings
from zoobench.errors import UsageError
from zoobench.executors.local import LocalExecutor
from zoobench.results.record import Record
from zoobench.show.report import write_report
from zoobench.terms import Status, VerdictValue

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOBENCH_LOCK", str(tmp_path / "lock"))


def run(
    folder: Path, server: OpenAiServer, options: dict[str, Any] | None = None, **asked: Any
) -> list[Record]:
    return api.run(
        backends=["endpoint"],
        options={"endpoint": server.url, "prompt_tokens": 16, "new_tokens": 8, **(options or {})},
        settings=Settings(results_dir=folder / "results", max_case_time_s=5),
        executor=LocalExecutor(cache=folder / "cache"),
        **asked,
    )


def test_a_server_is_measured_with_the_columns_of_every_other_runtime(tmp_path: Path) -> None:
    with serving(ttft_s=0.02, itl_s=0.004) as server:
        one, three = run(tmp_path, server, {"ttft_limit_ms": 1e4}, concurrency=[1, 3])
    assert server.most_in_flight == 3
    for record in (one, three):
        found = record.generation
        assert record.status is Status.OK and found is not None, record.error
        assert record.verdict is not None and record.verdict.value is not VerdictValue.INVALID
        assert record.model.name == "tiny" and record.model.weights == "served" and record.memory is None
        assert found.ttft.p50_ms and found.ttft.p50_ms >= 20 and found.itl.p50_ms and found.itl.p50_ms >= 3
        assert (found.new_tokens, found.good) == (8, found.requests)
    assert (
        one.generation and three.generation and one.generation.tokens_per_s and three.generation.tokens_per_s
    )
    # It sleeps, so three at once make more together; how much more depends on the machine.
    assert three.generation.tokens_per_s > 1.5 * one.generation.tokens_per_s
    assert 2 < (three.generation.mean_in_flight or 0) <= 3
    write_report(tmp_path / "results", tmp_path / "REPORT.md")
    text = (tmp_path / "REPORT.md").read_text()
    assert "Requests at once" in text and f"endpoint ({server.url.removeprefix('http://')})" in text
    assert "16 + 8 tokens, 3 clients" in text


@pytest.mark.parametrize(
    ("trouble", "said"),
    [("500", "answered 500"), ("break", "the connection broke"), ("hang", "silent for 0.5 s")],
)
def test_a_server_that_fails_leaves_a_record_with_what_was_measured(
    tmp_path: Path, trouble: str, said: str
) -> None:
    # After the question about ids, the first call and the warm-up.
    with serving(trouble={5: trouble}) as server:
        [record] = run(tmp_path, server, {"timeout_s": 0.5})
    assert record.status is Status.FAILED and record.error is not None
    assert record.error.stage == "slot" and said in record.error.message and "\n" not in record.error.message
    assert record.generation is not None and record.generation.requests == 2, "what came before is kept"


def test_the_token_reaches_the_server_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback")
    with serving(token="sk-loopback") as server:
        [record] = run(tmp_path, server)
    assert record.status is Status.OK, record.error
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert written and not any(b"sk-loopback" in file.read_bytes() for file in written)


def test_several_models_of_a_server_are_several_models(tmp_path: Path) -> None:
    with serving(models=["a", "b"]) as server:
        assert [record.model.name for record in run(tmp_path, server)] == ["a", "b"]
        [failed] = run(tmp_path, server, models=["c"])
        assert failed.error is not None and "it serves a, b" in failed.error.message


def test_what_cannot_be_asked_of_a_server_is_refused_before_anything(tmp_path: Path) -> None:
    with serving() as server:
        [record] = run(tmp_path, server, batch_sizes=[4])
        assert record.status is Status.SKIPPED and record.error and "--concurrency 4" in record.error.message
        with pytest.raises(UsageError, match="no http"):
            api.request(backends=["endpoint"], options={"endpoint": "ftp://x"})
