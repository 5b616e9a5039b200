"""Fixtures for everybody, and a Hub environment that no test inherits from the machine it runs on."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.loopback_hub import LoopbackHub

from zoobench.hub import connection

# huggingface_hub reads some of these once, when it is imported, and HTTP clients read the proxies.
for _name in (
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HUGGINGFACE_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN",
    "TRANSFORMERS_OFFLINE",
):
    os.environ.pop(_name, None)
# A shell that puts the tests in the background has them, and all their children, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# What tests see of a machine that is busy testing must not be remembered, nor tests meet a run of the developer's.
_scratch = tempfile.mkdtemp(prefix="zoobench-tests-")
atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
os.environ["ZOOBENCH_CACHE"] = f"{_scratch}/cache"
os.environ["ZOOBENCH_LOCK"] = f"{_scratch}/lock"
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_TOKEN_PATH"] = os.devnull

COMPUTING = {
    "backends", "catalog", "dashboard", "hub", "judge", "prepare", "show", "tasks", "worker",
    "test_arms", "test_start_up", "test_stats", "test_workflow",
}  # fmt: skip
"""Folders and modules whose slow tests time nothing, so that they may run beside others."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test is `alone` unless it is known to time nothing: a neighbour would be in what it measures."""
    for item in items:
        if item.get_closest_marker("slow") and not COMPUTING & {item.path.parent.name, item.path.stem}:
            item.add_marker(pytest.mark.alone)


@pytest.fixture
def loopback_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A Hub on loopback for this process and its children, with an empty cache in `tmp_path / "hf"`."""
    with LoopbackHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setattr(connection, "_probed", {})
        yield hub


@pytest.fixture(scope="session")
def language_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `cache` all tests of language models share: the builder takes seconds for each file."""
    return tmp_path_factory.mktemp("language_models")


@pytest.fixture
def gradients_after() -> Iterator[None]:
    """A backend turns gradients off in its process, which is this one where a test loads it itself."""
    import torch

    yield
    torch.set_grad_enabled(True)
