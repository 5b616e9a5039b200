"""YOLO by ultralytics: silent, offline, from its own pickles and from nothing else's."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_detectors import small

from zoobench.backends import torch_yolo
from zoobench.backends.torch_module import load_torch_module
from zoobench.backends.torch_yolo import build_yolo, description_of, settled
from zoobench.errors import PrepareError
from zoobench.hub.snapshots import local_snapshot
from zoobench.prepare.build import build_torch
from zoobench.prepare.eager import reference_outputs
from zoobench.prepare.weights import LoadedModel, load_model
from zoobench.spec import ModelSpec
from zoobench.tasks import open_task

if importlib.util.find_spec("ultralytics") is None:
    pytest.skip("ultralytics is not installed", allow_module_level=True)
pytestmark = pytest.mark.slow

# The architecture at a sixteenth of its width: what is tested here does not depend on it.
NARROW = [0.33, 0.0625, 256]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    def described(architecture: str) -> dict[str, Any]:
        yaml = description_of(architecture)
        return {**yaml, "scales": {**yaml["scales"], yaml["scale"]: NARROW}}

    monkeypatch.setattr("zoobench.prepare.yolo.description_of", described)


def narrow_yolo(classes: int = 80) -> Any:
    yaml = description_of("yolov8n")
    torch.manual_seed(5)
    return build_yolo({**yaml, "scales": {"n": NARROW}}, classes)


def saved(file: Path, model: Any, names: dict[int, str], **more: Any) -> None:
    """As the trainer's `save_model` and `strip_optimizer` write it: the module itself, in half precision."""
    from ultralytics.utils import IterableSimpleNamespace

    model.names = names
    model.args = IterableSimpleNamespace(task="detect", imgsz=640)
    file.parent.mkdir(exist_ok=True)
    body = {
        "epoch": -1,
        "best_fitness": np.float64(0.37),
        "model": model.half(),
        "ema": None,
        "optimizer": None,
        "train_args": {"task": "detect", "imgsz": 640},
        "date": "2026-01-01",
        "license": "AGPL-3.0",
        **more,
    }
    torch.save(body, file)


def spec(folder: Path, **more: Any) -> ModelSpec:
    return small("yolo", size=64, **{"name": "m", "path": folder, "file": "yolov8n.pt", **more})


def loaded(folder: Path, **more: Any) -> LoadedModel:
    return load_model(spec(folder, **more), local_snapshot(folder, allow_pickle=True, only="yolov8n.pt"))


def outputs_of(module: Any) -> np.ndarray:
    inputs = open_task("object_detection").check_inputs((3, 64, 64))
    return reference_outputs(module, inputs, ("output0",))["output0"]


def test_what_ultralytics_saved_is_loaded(tmp_path: Path) -> None:
    original = narrow_yolo(3)
    saved(tmp_path / "yolov8n.pt", original, {0: "cat", 1: "dog", 2: "cow"})
    model = loaded(tmp_path)
    assert (model.library, model.architecture, model.weights) == ("ultralytics", "yolov8n", "local")
    assert model.labels == ("cat", "dog", "cow") and model.outputs == ("output0",)
    expected = outputs_of(settled(original.float(), (3, 64, 64)))
    assert expected.shape == (8, 4 + 3, 84)
    assert np.allclose(outputs_of(model.module), expected, atol=1e-4)


def test_it_says_how_it_is_read_and_how_it_wants_its_pictures(tmp_path: Path) -> None:
    saved(tmp_path / "yolov8n.pt", narrow_yolo(), {i: f"LABEL_{i}" for i in range(80)})
    model = loaded(tmp_path)
    assert model.labels == "coco-80"
    detector, how = model.detector, model.preprocessing
    assert detector is not None and detector.outputs == ("output0",)
    assert (detector.axes, detector.box_format, detector.box_unit) == ("columns", "cxcywh", "pixels")
    assert (detector.activation, detector.suppress, detector.ordered) == ("none", True, True)
    assert (how.resize, how.crop, how.fit, how.border) == ((64, 64), (64, 64), "longest", (114, 114, 114))
    assert (how.interpolation, how.scale, how.mean, how.std) == ("linear", 1 / 255, (0.0,) * 3, (1.0,) * 3)


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_anything_else_in_the_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    saved(tmp_path / "bomb" / "yolov8n.pt", narrow_yolo(), {0: "a"}, train_args=Bomb(mark))
    saved(tmp_path / "other" / "yolov8n.pt", torch.nn.Sequential(torch.nn.Bilinear(2, 2, 2)), {0: "a"})
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "yolov8n.pt").write_bytes(pickle.dumps({"model": 1}))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "yolov8n.pt").write_bytes(b"PK\x03\x04")
    for name in ("bomb", "other", "plain", "cut"):
        with pytest.raises(
            PrepareError, match=r"^m: yolov8n\.pt is no yolov8n that ultralytics saved"
        ) as caught:
            loaded(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_a_pickle_needs_permission_and_the_architecture_its_name(tmp_path: Path) -> None:
    saved(tmp_path / "yolov8n.pt", narrow_yolo(), {i: str(i) for i in range(80)})
    with pytest.raises(PrepareError, match=r"only pickled weights .yolov8n\.pt.*--allow-pickle"):
        local_snapshot(tmp_path, only="yolov8n.pt")
    with pytest.raises(PrepareError, match=r"has no file yolov8x\.pt"):
        local_snapshot(tmp_path, allow_pickle=True, only="yolov8x.pt")
    # The file tells of its layers itself.
    assert loaded(tmp_path, architecture=None).config["yaml"]["scales"] == narrow_yolo().yaml["scales"]
    with pytest.raises(PrepareError, match="is no yolo11n that"):
        loaded(tmp_path, architecture="yolo11n")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"architecture": "yolov8q"}, "knows no architecture 'yolov8q'"),
        ({"architecture": "../yolov8n"}, "knows no architecture"),
        ({"architecture": "yolov10n"}, "knows no architecture 'yolov10n'"),
        ({"architecture": "yolo26n"}, "suppresses boxes itself"),
        ({"img_size": 100}, "multiples of 32"),
        ({"img_size": None, "input_shape": (1, 64, 64)}, r"takes \(3, height, width\)"),
    ],
)
def test_what_cannot_be_built_is_one_line(more: dict[str, Any], reason: str) -> None:
    told = {"size": 64, **({"size": more.pop("img_size") or 64} if "img_size" in more else {}), **more}
    with pytest.raises(PrepareError, match=reason) as caught:
        load_model(small("yolo", **told), None)
    assert "\n" not in str(caught.value)


def test_an_artifact_rebuilds_the_same_module_without_the_description(tmp_path: Path) -> None:
    artifact = build_torch(tmp_path, small("yolo", size=64), None, seed=0, recipe={})
    assert (artifact.library, artifact.labels, artifact.outputs) == ("ultralytics", "coco-80", ("output0",))
    assert "ultralytics" in artifact.made_with
    module = load_torch_module(artifact)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in module.modules()), (
        "folded, as ultralytics runs it"
    )
    scores = outputs_of(module)[:, 4:]
    with np.load(tmp_path / "reference.npz") as reference:
        assert np.array_equal(scores.transpose(0, 2, 1), reference["scores"])
    assert 0.08 <= (scores.max(1) > 0.25).mean() <= 0.12, "post-processing has something to do"


def test_the_batch_may_change_and_nothing_is_traced_twice() -> None:
    module = settled(narrow_yolo(), (3, 64, 64))
    head, pictures = module.model[-1], torch.rand(5, 3, 64, 64)
    anchors = head.anchors
    with torch.no_grad():
        together, alone = module(pictures), torch.cat([module(picture[None]) for picture in pictures])
    assert torch.allclose(together, alone, atol=1e-3)
    assert head.anchors is anchors and anchors.shape == (2, 84)
    assert torch._dynamo.explain(module)(pictures).graph_break_count == 0


def test_without_the_extra_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "ultralytics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(PrepareError, match=r"pip install .*\[ultralytics\]' .AGPL-3.0."):
        torch_yolo.import_ultralytics()


@pytest.mark.slow
def test_it_is_silent_offline_and_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('it asked the network')\n"
        "socket.socket.connect = socket.getaddrinfo = socket.gethostbyname = refuse\n"
        "from zoobench.backends.torch_yolo import build_yolo, description_of, settled\n"
        "import torch\n"
        "settled(build_yolo(description_of('yolov8n'), 80), (3, 64, 64))(torch.zeros(2, 3, 64, 64))\n"
    )
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir(), temporary.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO_", "ULTRALYTICS_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**kept, "HOME": str(home), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.rglob("*")) == list(temporary.rglob("*")) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([-1, 1, "TorchVision", [64, "resnet18", "DEFAULT"]], "the layer 'TorchVision'"),
        ([-1, 1, "DetectionModel", ["'/etc/passwd'"]], "the layer 'DetectionModel'"),
        ([-1, 10**6, "C2f", [64, True]], "'C2f', 1000000 times"),
    ],
)
def test_a_file_tells_of_layers_and_of_nothing_else(tmp_path: Path, row: list[Any], said: str) -> None:
    model = narrow_yolo()
    model.yaml = {**model.yaml, "backbone": [row, *model.yaml["backbone"][1:]]}
    saved(tmp_path / "yolov8n.pt", model, {i: str(i) for i in range(80)})
    with pytest.raises(PrepareError, match=said):
        loaded(tmp_path, architecture=None)


def test_what_is_no_detector_is_told_in_our_words(tmp_path: Path) -> None:
    torch.save({"model": {"weights": torch.zeros(3)}}, tmp_path / "yolov8n.pt")
    with pytest.raises(PrepareError, match="holds no whole model"):
        loaded(tmp_path)
    torch.save({"model": torch.nn.LSTM(2, 2)}, tmp_path / "yolov8n.pt")
    with pytest.raises(
        PrepareError, match=r"it holds torch\.nn\.modules\.rnn\.LSTM, which no detector needs"
    ) as caught:
        loaded(tmp_path)
    assert "weights_only" not in str(caught.value)
