"""One pipeline for all runtimes, held to timm's own transform and to transformers' own processors."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from zoobench.backends.torch_yolo import import_ultralytics
from zoobench.spec import Preprocessing
from zoobench.tasks.image_classification import ImageClassification
from zoobench.tasks.pictures import placement

GREY_LEVEL = 1 / 255
SIZES = [(500, 375), (375, 500), (224, 224), (333, 251), (1024, 96), (60, 40), (1, 1), (257, 256)]


def picture(size: tuple[int, int]) -> Image.Image:
    """Smooth waves with an edge, so that a shift by one pixel shows."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack(
        [np.sin(x / 17 + c) + np.cos(y / 23 - c) + ((x + y) % 61 > 30) for c in range(3)], axis=-1
    )
    return Image.fromarray(((waves + 2) / 5 * 255).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "cfg",
    [
        {},
        {"crop_pct": 0.95, "interpolation": "bilinear"},
        {"crop_pct": 1.0, "crop_mode": "squash", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
        {"crop_pct": 0.9, "crop_mode": "border"},
        {"input_size": (3, 192, 256), "crop_pct": 0.9},
        {"crop_pct": 0.96, "interpolation": "lanczos"},
    ],
    ids=str,
)
@pytest.mark.slow
def test_it_is_timms_transform(cfg):
    timm_data = pytest.importorskip("timm.data")
    from zoobench.prepare.preprocessing import of_timm

    resolved = timm_data.resolve_data_config({}, pretrained_cfg={"num_classes": 1000, **cfg})
    theirs = timm_data.create_transform(**resolved)
    ours = of_timm(cfg, resolved["input_size"])
    for size in SIZES:
        expected, found = theirs(picture(size)).numpy(), ImageClassification().item(picture(size), ours)
        assert found.shape == expected.shape and found.dtype == np.float32
        levels = np.abs(found - expected) * np.asarray(ours.std)[:, None, None] / GREY_LEVEL
        assert levels.max() < 0.01, size


@pytest.mark.parametrize(
    ("model_type", "size", "told"),
    [
        ("vit", 224, {}),
        ("convnext", 224, {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
        ("convnext", 384, {"size": {"shortest_edge": 384}}),
        ("resnet", 224, {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}),
        ("mobilenet_v2", 224, {}),
        ("efficientnet", 224, {"size": {"height": 224, "width": 224}, "do_center_crop": False, "resample": 3}),
        ("efficientnet", 224, {"size": {"height": 256, "width": 256}, "crop_size": {"height": 224, "width": 224},
                               "do_center_crop": True, "rescale_offset": True, "rescale_factor": 1 / 127.5,
                               "do_normalize": False, "include_top": False, "resample": 2}),
        ("mobilevit", 256, {"size": {"shortest_edge": 288}, "crop_size": {"height": 256, "width": 256}, "resample": 2}),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_it_is_transformers_processor(tmp_path, model_type, size, told):
    transformers = pytest.importorskip("transformers")
    from transformers.models.auto.image_processing_auto import (
        IMAGE_PROCESSOR_MAPPING_NAMES,
        get_image_processor_class_from_name,
    )

    from zoobench.prepare.preprocessing import of_transformers

    made = get_image_processor_class_from_name(IMAGE_PROCESSOR_MAPPING_NAMES[model_type]["pil"])(**told)
    made.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    theirs = {
        kind: transformers.AutoImageProcessor.from_pretrained(tmp_path, backend=kind)
        for kind in ("pil", "torchvision")
    }
    ours = of_transformers(model_type, tmp_path, (3, size, size))
    assert ours is not None and "transformers" in ours.source
    for shape in SIZES:
        found = ImageClassification().item(picture(shape), ours)
        level = (ours.scale / np.asarray(ours.std))[:, None, None]
        off = {
            kind: np.abs(found - one(picture(shape), return_tensors="np")["pixel_values"][0]) / level
            for kind, one in theirs.items()
        }
        assert off["pil"].max() < 0.01, shape
        # torchvision's own bicubic differs from Pillow's by a second level in a few of ten thousand values.
        assert off["torchvision"].max() < 2.01 and (off["torchvision"] > 1.01).mean() < 2e-4, shape


def test_channels_and_borders():
    task = ImageClassification()
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    plain = Preprocessing(crop=(8, 6), border=(10, 20, 30), scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    item = task.item(red, plain)
    assert item.shape == (3, 8, 6)
    assert item[:, 0, 0].tolist() == [10, 20, 30] and item[:, 4, 3].tolist() == [255, 0, 0]
    flipped = task.item(red, plain.model_copy(update={"channels": "bgr"}))
    assert flipped[:, 4, 3].tolist() == [0, 0, 255]
    grey = Preprocessing(channels="grey", scale=1.0, mean=(0.5,), std=(2.0,))
    assert task.item(red, grey).shape == (1, 4, 4)
    assert task.item(red, grey)[0, 0, 0] == pytest.approx((76 - 0.5) / 2, abs=0.6)
    assert item.flags["C_CONTIGUOUS"] and flipped.flags["C_CONTIGUOUS"]


def test_a_strip_that_would_fill_the_memory_is_refused():
    with pytest.raises(ValueError, match="would become"):
        ImageClassification().item(
            Image.new("L", (5_000_000, 1)).convert("RGB"), Preprocessing(resize=(256, 256), crop=(224, 224))
        )


@pytest.mark.parametrize(
    "wrong",
    [{"std": (0.0, 1.0, 1.0)}, {"scale": float("nan")}, {"resize": (-5, 10)}, {"mean": ()}, {"crop": (0, 0)}],
)
def test_nonsense_is_refused_before_anything_is_measured(wrong):
    with pytest.raises(ValueError, match="must"):
        Preprocessing(**wrong)


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"std": (1e-40, 1.0, 1.0)}, {"std": (1e30, 1.0, 1.0)}])
def test_what_leaves_nothing_of_a_picture_is_refused(wrong):
    with pytest.raises(ValueError, match="leaves nothing of a grey level or bursts it"):
        Preprocessing(**wrong)


LETTERBOXED = [
    (1, 1),
    (1, 2000),
    (2000, 1),
    (500, 333),
    (640, 641),
    (640, 640),
    (175, 1792),
    (1280, 961),
    (3, 768),
    (500, 335),
]


@pytest.mark.slow
def test_a_yolos_picture_is_ultralytics_letterbox():
    if importlib.util.find_spec("ultralytics") is None:
        pytest.skip("ultralytics is not installed")
    import_ultralytics()
    from ultralytics.data import augment
    from ultralytics.utils import ASSETS

    from zoobench.prepare.preprocessing import letterbox

    bus = Image.open(ASSETS / "bus.jpg").convert("RGB")
    for edges in ((640, 640), (384, 640)):
        how = letterbox((3, *edges))
        for shown in [bus, *(picture(size) for size in LETTERBOXED)]:
            expected = augment.LetterBox(edges, auto=False)(image=np.asarray(shown)).transpose(2, 0, 1)
            found = ImageClassification().item(shown, how) * 255
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() < 1.01, (shown.size, edges)
            # Of a white one the border shows to the pixel.
            blank = Image.new("RGB", shown.size, "white")
            expected = augment.LetterBox(edges, auto=False)(image=np.asarray(blank)).transpose(2, 0, 1)
            assert (np.rint(ImageClassification().item(blank, how) * 255) == expected).all(), shown.size


@pytest.mark.slow
def test_linear_looks_at_the_four_nearest_pixels_as_opencv_does():
    cv2 = pytest.importorskip("cv2")
    for size in SIZES:
        shown = picture(size)
        for height, width in ((224, 224), (97, 301), (640, 480)):
            expected = cv2.resize(np.asarray(shown), (width, height), interpolation=cv2.INTER_LINEAR)
            how = Preprocessing(
                resize=(height, width), fit="squash", interpolation="linear", mean=(0, 0, 0), std=(1, 1, 1)
            )
            found = ImageClassification().item(shown, how).transpose(1, 2, 0) * 255
            assert np.abs(found - expected).max() < 1.01, (size, height, width)


def test_linear_does_not_blur_what_it_shrinks():
    # Every third pixel of stripes is itself, where a filter that sees all pixels makes grey of them.
    stripes = np.zeros((9, 9, 3), np.uint8)
    stripes[:, 1::3] = 255
    how = Preprocessing(resize=(3, 3), interpolation="linear", mean=(0, 0, 0), std=(1, 1, 1))
    assert (ImageClassification().item(Image.fromarray(stripes), how) == 1).all()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"resize": (64, 64), "fit": "longest", "crop": (64, 64)}, (32, 64, 16, 0)),
        ({"resize": (64, 64), "fit": "squash"}, (64, 64, 0, 0)),
        ({"resize": (50, 50), "crop": (40, 40)}, (50, 100, -5, -30)),
        ({"crop": (33, 211)}, (100, 200, -34, 5)),
        ({"crop": (33, 200), "corner": "floor"}, (100, 200, -33, 0)),
        ({}, (100, 200, 0, 0)),
    ],
)
def test_where_a_picture_comes_to_lie(how, expected):
    spot = placement(100, 200, Preprocessing(**how))
    assert (spot.height, spot.width, spot.top, spot.left) == expected
