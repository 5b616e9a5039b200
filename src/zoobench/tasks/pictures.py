"""Pictures as tensors: how a decoded one becomes an item of a model's input, and ones that nobody has taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoobench.spec import Preprocessing

if TYPE_CHECKING:
    from PIL import Image

_SEED = 20_240_229
_MOST_PIXELS = 100_000_000
"""Of a picture on its way: 300 MB, and several threads may have one."""


def check_pictures(input_shape: tuple[int, ...], items: int) -> np.ndarray:
    """Noise (odd rows) and smooth pictures (even rows) of unit variance, float32, shape (items, *input_shape).

    White noise excites every frequency but looks like nothing; the pictures (sums of low-frequency waves)
    have the strong neighbour correlation of photographs. The values are seeded, so that every process and
    every machine makes the same ones.
    """
    rng = np.random.Generator(np.random.PCG64(_SEED))
    rows = [
        rng.standard_normal(input_shape, dtype=np.float32) if i % 2 else _waves(rng, input_shape)
        for i in range(items)
    ]
    return np.stack(rows)


def made_picture(height: int, width: int, number: int = 0) -> Image.Image:
    """A smooth RGB picture that nobody has taken, with the contrast of the check inputs; each number's is the same every time."""
    from PIL import Image

    waves = _waves(np.random.Generator(np.random.PCG64(_SEED + number)), (3, height, width))
    return Image.fromarray((128 + 64 * waves).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


@dataclass(frozen=True)
class Placement:
    """Where a picture comes to lie on the input that is made of it, pixels.

    Attributes:
        height, width: what it is resized to.
        top, left: where its corner lies on the input; negative where the crop cuts it off.
    """

    height: int
    width: int
    top: int
    left: int


def placement(height: int, width: int, how: Preprocessing) -> Placement:
    """Of a picture of this size, prepared as `how` says."""
    to_height, to_width = (height, width) if how.resize is None else _resized(height, width, how)
    if how.crop is None:
        return Placement(to_height, to_width, 0, 0)
    top, left = (_corner(edge, crop, how) for edge, crop in zip((to_height, to_width), how.crop, strict=True))
    return Placement(to_height, to_width, top, left)


def prepared(picture: Image.Image, how: Preprocessing) -> np.ndarray:
    """One decoded picture as one item of the input, float32, (channels, height, width).

    The arithmetic of resizing and cropping is torchvision's on Pillow pictures, which timm's evaluation transform uses: the
    shorter edge exactly, the longer one rounded down. What is fitted by its longest edge comes out as in ultralytics'
    `LetterBox`.

    Args:
        picture: RGB, of any size.
        how: the model's own.
    """
    if how.channels == "grey":
        picture = picture.convert("L")
    spot = placement(picture.height, picture.width, how)
    if how.resize is not None:
        if spot.height * spot.width > _MOST_PIXELS:
            raise ValueError(
                f"{picture.height} × {picture.width} would become {spot.height} × {spot.width} pixels"
            )
        picture = _scaled(picture, spot, how)
    if how.crop is not None:
        picture = _cut(picture, spot, how.crop, how)
    pixels = np.asarray(picture)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if how.channels == "bgr":
        pixels = pixels[::-1]
    # (x · scale + offset − mean) / std, a channel at a time: it stays in the CPU's cache.
    mean, std = (np.asarray(v, np.float64)[: len(pixels)] for v in (how.mean, how.std))
    factor, shift = how.scale / std, (how.offset - mean) / std
    result = np.empty(pixels.shape, np.float32)
    for out, values, by, plus in zip(result, pixels, factor, shift, strict=True):
        np.multiply(values, np.float32(by), out=out)
        out += np.float32(plus)
    return result


def _resized(height: int, width: int, how: Preprocessing) -> tuple[int, int]:
    """Height and width that `how` asks for, at least one pixel each."""
    assert how.resize is not None
    to_height, to_width = how.resize
    if how.fit == "squash":
        return to_height, to_width
    if how.fit == "longest":
        # Multiplied as ultralytics does: dividing by the inverse rounds a few sizes to another pixel.
        gain = min(to_height / height, to_width / width)
        return max(1, round(height * gain)), max(1, round(width * gain))
    if to_height == to_width:
        if height <= width:
            return to_height, max(1, int(to_height * width / height))
        return max(1, int(to_width * height / width)), to_width
    ratio = min(height / to_height, width / to_width)
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _corner(edge: int, crop: int, how: Preprocessing) -> int:
    """Where an edge begins on the `crop` in whose middle it lies."""
    if edge < crop:
        return (crop - edge) // 2
    half = (edge - crop) / 2
    return -(round(half) if how.corner == "round" else math.floor(half))


def _scaled(picture: Image.Image, spot: Placement, how: Preprocessing) -> Image.Image:
    from PIL import Image

    size = (spot.width, spot.height)
    if how.interpolation != "linear":
        return picture.resize(size, Image.Resampling[how.interpolation.upper()])
    if picture.size == size:
        return picture
    # Unlike resize, transform looks at the four nearest pixels however far it shrinks; centres of pixels lie at halves.
    steps = (picture.width / spot.width, 0.0, 0.0, 0.0, picture.height / spot.height, 0.0)
    return picture.transform(size, Image.Transform.AFFINE, steps, Image.Resampling.BILINEAR)


def _cut(picture: Image.Image, spot: Placement, crop: tuple[int, int], how: Preprocessing) -> Image.Image:
    """The middle `crop` of the picture, on a border where the picture is smaller."""
    from PIL import Image

    height, width = crop
    if picture.height >= height and picture.width >= width:
        return picture.crop((-spot.left, -spot.top, width - spot.left, height - spot.top))
    around = Image.new(picture.mode, (width, height), how.border if picture.mode == "RGB" else how.border[0])
    around.paste(picture, (spot.left, spot.top))
    return around


def _waves(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A smooth field of unit variance: eight random waves of at most six periods across the picture."""
    height, width = shape[-2:] if len(shape) >= 2 else (1, shape[-1])
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    out = np.zeros((*shape[:-2], height, width), dtype=np.float32)
    for channel in out.reshape(-1, height, width):
        for fy, fx, phase in rng.uniform((0, 0, 0), (6, 6, 1), size=(8, 3)):
            channel += np.sin(2 * np.pi * (fy * y + fx * x + phase), dtype=np.float32)
    normalised: np.ndarray = ((out - out.mean()) / (out.std() + 1e-6)).astype(np.float32)
    return normalised.reshape(shape)
