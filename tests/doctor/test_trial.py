from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoobench.doctor import trial


def script(folder: Path, body: str) -> str:
    """A stand-in for the interpreter: `$5` is the file for the answer."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_machinery_runs_for_real_on_the_cpu_provider() -> None:
    pytest.importorskip("onnxruntime")
    answer = trial.run_trial("CPUExecutionProvider")
    assert answer.ran, answer.stderr
    assert answer.ran_on == ("CPUExecutionProvider",)
    assert answer.max_rel == 0.0


def test_a_provider_that_is_not_in_the_build() -> None:
    pytest.importorskip("onnxruntime")
    answer = trial.run_trial("OddExecutionProvider")
    assert not answer.ran
    assert answer.error == "OddExecutionProvider is not in this build of onnxruntime"
    assert "CPUExecutionProvider" in answer.available


def test_a_silent_fallback_to_the_cpu_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The provider is listed, its libraries do not load, and onnxruntime quietly takes the CPU."""
    ort = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has the provider")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        answer = trial.try_provider("CUDAExecutionProvider")
    assert not answer.ran
    assert answer.error == "the node ran on CPUExecutionProvider instead"


def test_a_child_that_dies_is_an_answer(tmp_path: Path) -> None:
    answer = trial.run_trial("torch", python=script(tmp_path, "echo libcudart is broken >&2; kill -SEGV $$"))
    assert answer.error == "the child process died (signal 11)"
    assert "libcudart is broken" in answer.stderr


def test_a_child_that_hangs_is_an_answer(tmp_path: Path) -> None:
    answer = trial.run_trial("torch", timeout_s=0.2, python=script(tmp_path, "exec sleep 30"))
    assert answer.error == "no answer within 0 s"


def test_the_child_sees_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    answer = trial.run_trial("torch", python=script(tmp_path, 'echo "token: $HF_TOKEN." >&2'))
    assert answer.stderr.strip() == "token: ."


def test_a_runtime_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> trial.Answer:
        raise ImportError("libcublas.so.12: cannot open shared object file")

    monkeypatch.setattr(trial, "try_torch", broken)
    trial.main("torch", str(tmp_path / "answer.json"))
    answer = trial.Answer.model_validate_json((tmp_path / "answer.json").read_text())
    assert "libcublas.so.12" in str(answer.error)


def test_the_profile_says_where_nodes_ran() -> None:
    def node(provider: str | None, cat: str = "Node") -> dict[str, object]:
        return {"cat": cat, "name": "n_kernel_time", "args": {"provider": provider} if provider else {}}

    events = [
        node("CPUExecutionProvider"),
        *[node("CUDAExecutionProvider")] * 2,
        node(None),
        node("x", "Session"),
    ]
    assert trial.providers_in_profile(json.dumps(events)) == ("CUDAExecutionProvider", "CPUExecutionProvider")


def test_a_wrong_result_is_not_a_success() -> None:
    assert trial._judged(1e-6, ("cuda",), {}).ran
    for wrong in (0.5, float("nan")):
        answer = trial._judged(wrong, ("cuda",), {})
        assert not answer.ran
        assert "differs" in str(answer.error)
        answer.model_dump_json()


@pytest.mark.parametrize(("number", "text"), [(92600, "9.26.0"), (8902, "8.9.2"), (None, None)])
def test_cudnn_versions(number: int | None, text: str | None) -> None:
    assert trial._cudnn_text(number) == text


@pytest.mark.slow
def test_torch_without_a_gpu_says_why() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    answer = trial.run_trial("torch")
    assert not answer.ran
    assert answer.error
