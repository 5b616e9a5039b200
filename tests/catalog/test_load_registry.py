"""A user's own registry file, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoobench.catalog import find, load_registry
from zoobench.errors import UsageError


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_registry(path)
    line = str(caught.value)
    assert "\n" not in line
    assert repr(str(path)) in line
    return line


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_toml_in_the_form_of_the_catalog(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")
    text = (
        '[mine]\nhf_id = "o/n"\nimg_size = 32\n["local.one"]\npath = "net.onnx"\ninput_shape = [1, 28, 28]\n'
    )
    loaded = load_registry(written(tmp_path / "zoo.toml", text))
    assert list(loaded) == ["mine", "local.one"]
    assert loaded["mine"].input_shape == (3, 32, 32)
    assert loaded["local.one"].path == tmp_path / "net.onnx", (
        "relative to the registry, not to where it is run"
    )
    assert find(["mine", "local*"], loaded) == list(loaded.values())


def test_python_that_defines_its_own(tmp_path: Path) -> None:
    text = 'size = 16 * 2\nMODEL_REGISTRY = {"mine": {"hf_id": "o/n", "img_size": size}}\n'
    loaded = load_registry(written(tmp_path / "zoo.py", text))
    assert loaded["mine"].input_shape == (3, 32, 32)


def test_python_that_extends_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoobench.catalog import MODEL_REGISTRY

    text = (
        "from zoobench.catalog import MODEL_REGISTRY as zoo\n"
        'MODEL_REGISTRY = {**zoo, "mine": {"hf_id": "o/n"}}\n'
    )
    loaded = load_registry(written(tmp_path / "zoo.py", text))
    assert {"mine", "resnet18"} <= set(loaded)
    assert "mine" not in MODEL_REGISTRY


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("zoo.toml", '[a]\nhf_id = "o/n"\nimg_size =\n', "line 3"),
        ("zoo.toml", "a = 3\n", "registry entry 'a' must be a table"),
        (
            "zoo.toml",
            '[a]\nhf_id = "o/n"\nopsett = 3\n',
            "registry entry 'a': unknown key 'opsett'; did you mean 'opset'?",
        ),
        ("zoo.py", "x = 1\n\nMODEL_REGISTRY = {\n", "at line 3: SyntaxError"),
        ("zoo.py", "x = 1\ny = zzz\n", "at line 2: NameError: name 'zzz' is not defined"),
        (
            "zoo.py",
            "def f():\n    raise ValueError('two\\nlines')\nf()\n",
            "at line 2: ValueError: two lines",
        ),
        ("zoo.py", "import sys\nsys.exit(3)\n", "at line 2: SystemExit: 3"),
        ("zoo.py", "x = 1\n", "defines no dict called MODEL_REGISTRY"),
        ("zoo.py", "MODEL_REGISTRY = ['a']\n", "defines no dict called MODEL_REGISTRY"),
        ("zoo.py", "MODEL_REGISTRY = {'a': 3}\n", "registry entry 'a' must be a table"),
        ("zoo.py", "MODEL_REGISTRY = {3: {}}\n", "registry entry 3"),
        ("zoo.yaml", "a: 3\n", "must be a .toml or a .py file"),
    ],
)
def test_what_is_wrong_and_where(tmp_path: Path, name: str, text: str, says: str) -> None:
    assert says in refusal(written(tmp_path / name, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.toml")
    (tmp_path / "folder.toml").mkdir()
    assert "Is a directory" in refusal(tmp_path / "folder.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    assert "is not UTF-8 text" in refusal(tmp_path / "latin.toml")


def test_a_folder_with_the_named_file_needs_no_other(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    entry = {
        "path": str(tmp_path / "mine"),
        "file": "best.pt",
        "library": "ultralytics",
        "architecture": "yolov8n",
    }
    with pytest.raises(UsageError, match=r"holds no file 'best\.pt'"):
        find(["mine_yolo"], {"mine_yolo": entry})
    (tmp_path / "mine" / "best.pt").touch()
    (model,) = find(["mine_yolo"], {"mine_yolo": entry})
    assert (model.file, model.path) == ("best.pt", tmp_path / "mine")
