"""The Python API of what makes files: what it refuses before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoobench import artifacts
from zoobench.errors import UsageError


def test_a_language_models_files_are_a_folder_and_not_one_to_write() -> None:
    with pytest.raises(UsageError, match="ort_genai runs a folder of files"):
        artifacts.quantize("smollm2_135m", precision="int4", backend="ort_genai")


@pytest.mark.parametrize("command", ["export", "quantize"])
@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("net.onnx", "is the model itself or lies in its folder"),
        ("net.safetensors", "the format of .onnx"),
        ("folder.onnx", "is there and no file"),
    ],
)
def test_a_model_is_never_overwritten_by_what_is_made_of_it(
    command: str, output: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    Path("net.onnx").write_bytes(b"precious")
    make = {"export": artifacts.export, "quantize": artifacts.quantize}[command]
    with pytest.raises(UsageError, match=said):
        make("net.onnx", Path(output))
    assert Path("net.onnx").read_bytes() == b"precious"
