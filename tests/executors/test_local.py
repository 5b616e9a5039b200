"""The local executor: workers that break leave the rest alone, and groups run in order."""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path

import pytest

from zoobench.errors import pip_install
from zoobench.executors import Listener, Preparation
from zoobench.executors.local import LocalExecutor, fake_artifact
from zoobench.measure import channel
from zoobench.measure.channel import Launch
from zoobench.measure.conductor import Seat
from zoobench.measure.effort import EFFORTS
from zoobench.outcome import Slot
from zoobench.spec import Case, ModelSpec
from zoobench.terms import Effort, Status, WeightsPolicy

pytestmark = pytest.mark.slow

QUICK = EFFORTS[Effort.QUICK]

PREPARER = """
    import json, os, signal, sys
    requests = os.fdopen(int(sys.argv[sys.argv.index("--read") + 1]), "rb")
    replies = os.fdopen(int(sys.argv[sys.argv.index("--write") + 1]), "wb", buffering=0)
    say = lambda message: replies.write(json.dumps(message).encode() + b"\\n")
    say({"id": 0, "ok": True, "result": {"protocol": 1, "role": "prepare"}})
    for line in requests:
        request = json.loads(line)
        number, model = request["id"], request["args"]["model"]
        if model["name"] == "hostile":
            sys.stderr.write("a bomb in the weights")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGSEGV)
        if model["name"] == "devourer":
            os.kill(os.getpid(), signal.SIGKILL)
        if model["name"] == "broken":
            error = {"kind": "prepare", "type": "PrepareError", "message": "broken: no config.json"}
            say({"id": number, "ok": False, "error": error})
            continue
        say({"id": number, "event": "progress", "data": "exporting"})
        notes = [f"by {os.getpid()}"]
        say({"id": number, "ok": True, "result": {"model": model, "artifacts": {}, "folders": {}, "notes": notes}})
"""


def preparer(folder: Path) -> Launch:
    package = folder / "zoobench" / "worker"
    package.mkdir(parents=True)
    for init in (package.parent / "__init__.py", package / "__init__.py"):
        init.touch()
    (package / "__main__.py").write_text(textwrap.dedent(PREPARER))
    return Launch(package_root=folder)


def prepare(executor: LocalExecutor, *names: str, progress: list[tuple[str, str]]) -> list[Preparation]:
    return list(
        executor.prepare(
            [(ModelSpec(name=name), ["torch"]) for name in names],
            weights=WeightsPolicy.RANDOM,
            allow_pickle=False,
            on_progress=lambda name, text: progress.append((name, text)),
        )
    )


def test_a_model_that_takes_its_worker_down_leaves_the_next_alone(tmp_path: Path):
    progress: list[tuple[str, str]] = []
    executor = LocalExecutor(tmp_path / "cache", preparer(tmp_path))
    first, second, hostile, broken, last = prepare(
        executor, "first", "second", "hostile", "broken", "last", progress=progress
    )
    assert (hostile.error, hostile.error_kind) == ("the worker was killed by SIGSEGV", "died")
    assert (broken.error, broken.error_kind) == ("broken: no config.json", "prepare")
    for well in (first, second, last):
        assert well.error is None
    assert first.notes == second.notes, "one worker prepares all models"
    assert last.notes != first.notes, "a fresh worker follows the one that died"
    assert progress == [(name, "exporting") for name in ("first", "second", "last")]


def test_a_model_that_eats_all_memory_leaves_the_next_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # As if the kernel had counted: every kill is for memory.
    monkeypatch.setattr(channel, "_oom_kills", itertools.count().__next__)
    executor = LocalExecutor(tmp_path / "cache", preparer(tmp_path))
    devourer, *others = prepare(executor, "devourer", "next", "last", progress=[])
    assert devourer.error_kind == "out_of_memory"
    assert [well.error for well in others] == [None, None]


def test_the_fake_backends_artifact_needs_no_worker(tmp_path: Path):
    executor = LocalExecutor(tmp_path, Launch(python="/no/such/python"))
    models = [(ModelSpec(name="m"), ["fake"]), (ModelSpec(name="n"), ["torch"])]
    made, failed = executor.prepare(
        models, weights=WeightsPolicy.AUTO, allow_pickle=False, on_progress=lambda *_: None
    )
    assert made.artifacts["fake"].model == "m"
    assert failed.error and "cannot be started" in failed.error
    assert executor.probe(["fake"]) == {"fake": None}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(
            "raise ModuleNotFoundError('gone', name='openvino')",
            f"openvino cannot be imported; {pip_install('openvino')}",
            id="not installed",
        ),
        pytest.param(
            "raise RuntimeError('no such plugin')", "probing it failed: no such plugin", id="broken"
        ),
        pytest.param(
            "import os; os.abort()", "probing it failed: the worker was killed by SIGABRT", id="crashes"
        ),
    ],
)
def test_a_backend_that_cannot_be_probed_leaves_the_others_alone(tmp_path: Path, body: str, reason: str):
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text(body)
    executor = LocalExecutor(tmp_path, Launch(env={"PYTHONPATH": str(tmp_path)}))
    found = executor.probe(["fake", "openvino", "pytorch"])
    assert found == {"fake": None, "openvino": reason, "pytorch": None}


def seat(model: str = "m", arm: str = "base", **options: float | str) -> Seat:
    case = Case(model=model, backend="fake", threads=1, arm=arm, options=options)
    return Seat(case, fake_artifact(ModelSpec(name=model)), provider="fake")


def test_a_role_inside_the_parent_takes_turns_with_a_real_process(tmp_path: Path):
    virtual = seat(arm="base", fake_p50_ms=5.0)
    wall = seat(arm="head", fake_p50_ms=5.0, fake_clock="wall")
    (group,) = LocalExecutor(tmp_path).run([[virtual, wall]], QUICK, seed=1, listener=Listener())
    assert [result.status for result in group.results] == [Status.OK, Status.OK]
    clocks = [result.evidence.details["clock"] for result in group.results if result.evidence]
    assert clocks == ["virtual", "wall"]
    inside, process = (result.slots[0].noise for result in group.results)
    assert inside.parent_cpu is None, "no sensor looks at what takes no time"
    assert process.parent_cpu is not None
    for result in group.results:
        # The shortest call: on a busy machine others have to wait.
        assert result.latency and result.latency.min_ms == pytest.approx(5.0, rel=0.2)


def test_groups_run_in_order_and_stop_at_an_interruption(tmp_path: Path):
    def on_slot(case: Case, slot: Slot) -> None:
        seen.append(case.model)
        if case.model == "b":
            raise KeyboardInterrupt

    seen: list[str] = []
    groups = ([seat(name)] for name in "abc")
    results = list(LocalExecutor(tmp_path).run(groups, QUICK, seed=7, listener=Listener(on_slot=on_slot)))
    assert [result.interrupted for result in results] == [False, True]
    assert set(seen) == {"a", "b"}
    assert [result.results[0].seed for result in results] == [7, 8]
