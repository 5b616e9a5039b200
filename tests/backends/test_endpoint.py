"""A server by its URL: what is asked of it, what is timed, and what is said when it fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.openai_server import OpenAiServer, serving

from zoobench.backends.endpoint import Endpoint, EndpointSession
from zoobench.backends.openai_api import EndpointError, base_url, check_options, served_models
from zoobench.errors import UsageError
from zoobench.executors.local import served_artifact
from zoobench.spec import Case, ModelSpec
from zoobench.terms import TEXT, Precision


def session(server: OpenAiServer, model: str = "tiny", **options: Any) -> EndpointSession:
    artifact = served_artifact(ModelSpec(name=model, task=TEXT))
    asked = {"endpoint": server.url, "prompt_tokens": 12, "new_tokens": 5, **options}
    case = Case(
        model=model, backend="endpoint", device="remote", precision=Precision.SERVED, threads=1, options=asked
    )
    return Endpoint().load(artifact, case)


def test_an_address_may_be_written_with_or_without_its_version() -> None:
    for said in ("http://host:1", "http://host:1/", "http://host:1/v1", " http://host:1/v1/ "):
        assert base_url(said) == "http://host:1/v1"
    assert base_url("https://host/proxy") == "https://host/proxy/v1"
    for wrong in (
        "host:8000",
        "ftp://host",
        "http://",
        "http://..:80",
        "http://host:0",
        "http://host:x",
    ):
        with pytest.raises(UsageError, match="no http"):
            base_url(wrong)
    for secret in ("http://me:secret@host", "http://host:1/v1?key=secret"):
        with pytest.raises(UsageError, match="OPENAI_API_KEY") as told:
            base_url(secret)
        assert "secret" not in str(told.value)


def test_every_request_has_a_prompt_of_its_own_and_as_many_tokens_as_asked() -> None:
    with serving() as server:
        call = session(server).bind({})
        made = [call() for _ in range(3)]
        prompts = [body["prompt"] for body in server.bodies]
        assert [len(found["token_ns"]) for found in made] == [5, 5, 5]
        assert all(len(prompt) == 12 for prompt in prompts)
        assert len({tuple(prompt) for prompt in prompts}) == len(prompts), (
            "a server remembers what it has read"
        )
        last = server.bodies[-1]
        assert last["model"] == "tiny" and last["max_tokens"] == last["min_tokens"] == 5
        assert last["stream"] and last["ignore_eos"] and last["cache_prompt"] is False


def test_times_are_of_what_arrived() -> None:
    with serving(ttft_s=0.05, itl_s=0.02) as server:
        token_ns = session(server).bind({})()["token_ns"]
    assert token_ns[0] >= 50e6
    assert (np.diff(token_ns) >= 0.75 * 20e6).all()
    # The pace, and not a buffer that gives all at the end.
    assert token_ns[0] < token_ns[-1] - 3 * 20e6


def test_the_first_token_is_told_when_it_is_there() -> None:
    with serving() as server:
        call, seen = session(server).bind({}), []
        call(lambda: seen.append(1))
    assert seen == [1]


def test_words_are_sent_where_ids_are_refused_and_the_template_is_taken_off() -> None:
    with serving(takes_ids=False, template_tokens=3) as server:
        opened = session(server)
        opened.bind({})()
        assert server.bodies[-1]["prompt"].count(" ") == 12 - 3 - 1
        details = opened.evidence().details
        assert (details["prompts"], details["prompt_tokens_counted"]) == ("words", 12)
    with serving(template_tokens=20) as server, pytest.raises(EndpointError, match="raise --prompt-tokens"):
        session(server, api="chat")


def test_a_chat_is_asked_with_words() -> None:
    with serving() as server:
        made = session(server, api="chat").bind({})()
        assert server.paths[-1] == "/v1/chat/completions" and "prompt" not in server.bodies[-1]
        # The chunk that only says who speaks is no token.
        assert len(made["token_ns"]) == 5


def test_tokens_that_come_together_are_counted_by_the_server() -> None:
    with serving(tokens_a_chunk=2) as server:
        assert len(session(server).bind({})()["token_ns"]) == 3


def test_a_server_that_counts_for_nobody_is_believed_that_the_limit_ended_the_text() -> None:
    with serving(tokens_a_chunk=2, tells_usage=False) as server:
        assert len(session(server).bind({})()["token_ns"]) == 3
    with serving(knows_ignore_eos=False, tells_usage=False) as server:
        call = session(server).bind({})
        with pytest.raises(EndpointError, match="3 tokens were made, and 5 were asked for"):
            call()


def test_a_server_that_ends_by_itself_cannot_be_compared() -> None:
    with serving(knows_ignore_eos=False) as server:
        call = session(server).bind({})
        with pytest.raises(EndpointError, match="3 tokens were made, and 5 were asked for"):
            call()


def test_the_model_is_found_by_either_name_or_because_it_is_the_only_one() -> None:
    with serving(models=["org/one"]) as server:
        assert served_models(server.url) == ["org/one"]
        assert session(server, "mine").evidence().details["served_as"] == "org/one"
    with serving(models=["a", "b"]) as server, pytest.raises(EndpointError, match="it serves a, b"):
        session(server, "c")
    with serving(models=None) as server:
        assert session(server, "c").evidence().details["served_as"] == "c"
        with pytest.raises(EndpointError, match="404"):
            served_models(server.url)


def test_evidence_says_what_the_server_says_of_itself() -> None:
    with serving() as server:
        opened = session(server)
        opened.bind({})()
        found = opened.evidence()
    assert (found.device, found.version, found.details["server"]) == ("remote", "fp-1", "loopback/1")
    assert found.details["url"] == f"{server.url}/v1"


def test_the_token_comes_from_the_environment_and_is_recorded_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(token="s3cret") as server:
        with pytest.raises(EndpointError, match=r"answered 401.*OPENAI_API_KEY"):
            session(server)
        monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
        opened = session(server)
        opened.bind({})()
        assert "s3cret" not in opened.evidence().model_dump_json()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("500", "answered 500 .out of luck."),
        ("break", "the connection broke after 2 tokens"),
        ("early", "the stream ended after 2 of 5 tokens"),
        ("error", "failed while it answered .the model died."),
        ("garbage", "which is no JSON"),
        ("hang", "silent for 0.4 s after 2 tokens"),
        ("keepalive", "no token for 0.4 s"),
        ("endless", "sent more than the 5 tokens"),
        ("long line", "a line of more than 1000000 bytes"),
        ('raw {"choices": {"a": 1}}', "which is no completion"),
        ('raw {"choices": [{"delta": "abc"}]}', "which is no completion"),
        ("raw [1]", "which is no completion"),
        ("raw " + 100_000 * "[", "which is no JSON"),
    ],
)
def test_trouble_is_one_line(trouble: str, said: str) -> None:
    # Number 0 is the question whether ids are taken.
    with serving(trouble={1: trouble}) as server:
        call = session(server, timeout_s=0.4).bind({})
        with pytest.raises(EndpointError, match=said) as told:
            call()
        assert "\n" not in str(told.value) and server.url in str(told.value)
        assert len(call()["token_ns"]) == 5, "the next request has a connection that works"


def test_a_token_that_no_header_carries_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for wrong in ("s3cret\nmore", "s3crét"):
        monkeypatch.setenv("OPENAI_API_KEY", wrong)
        with pytest.raises(UsageError, match="set it again") as told:
            check_options({})
        assert "s3cr" not in str(told.value)


@pytest.mark.parametrize(
    "options", [{"timeout_s": "abc"}, {"timeout_s": -1}, {"timeout_s": 1e300}, {"api": "telepathy"}]
)
def test_an_option_that_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--options"):
        check_options(options)


def test_names_that_a_server_lists_are_used_once_or_refused() -> None:
    with serving(models=["x", "x"]) as server:
        assert served_models(server.url) == ["x"]
    for wrong in ([""], [None], ["a\nb"], ["n" * 201], []):
        with serving(models=wrong) as server, pytest.raises(EndpointError, match="name it with --models"):
            served_models(server.url)


def test_counts_that_are_none_are_not_counted() -> None:
    for counted in ("4", -4, None, 1e30):
        with serving(counts=counted) as server:
            assert len(session(server).bind({})()["token_ns"]) == 5


def test_nobody_there_is_one_line() -> None:
    with serving() as server:
        pass
    with pytest.raises(EndpointError, match=r"nothing answers.*start the server"):
        served_models(server.url)
