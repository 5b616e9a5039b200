"""Pictures as tensors: how a decoded one becomes an item of a model's input, and ones that nobody has taken."""

from __future__ import annotations

import math
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


def made_picture(height: int, width: int) -> Image.Image:
    """A smooth RGB picture that nobody has taken, the same every time: for what depends on its size alone."""
    from PIL import Image

    waves = _waves(np.random.Generator(np.random.PCG64(_SEED)), (3, height, width))
    return Image.fromarray((128 + 50 * waves).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def prepared(picture: Image.Image, how: Preprocessing) -> np.ndarray:
    """One decoded picture as one item of the input, float32, (channels, height, width).

    The arithmetic of resizing and cropping is torchvision's on Pillow pictures, which timm's evaluation transform uses: the
    shorter edge exactly, the longer one rounded down.

    Args:
        picture: RGB, of any size.
        how: the model's own.
    """
    from PIL import Image

    if how.channels == "grey":
        picture = picture.convert("L")
    if how.resize is not None:
        size = _resized(picture.height, picture.width, how)
        if size[0] * size[1] > _MOST_PIXELS:
            raise ValueError(f"{picture.height} × {picture.width} would become {size[0]} × {size[1]} pixels")
        picture = picture.resize((size[1], size[0]), Image.Resampling[how.interpolation.upper()])
    if how.crop is not None:
        picture = _centre(picture, how.crop, how)
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
    if how.fit == "shortest" and to_height == to_width:
        if height <= width:
            return to_height, max(1, int(to_height * width / height))
        return max(1, int(to_width * height / width)), to_width
    ratios = height / to_height, width / to_width
    ratio = max(ratios) if how.fit == "longest" else min(ratios)
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _centre(picture: Image.Image, crop: tuple[int, int], how: Preprocessing) -> Image.Image:
    """The middle `crop` of the picture, on a border where the picture is smaller."""
    from PIL import Image

    height, width = crop
    if picture.height < height or picture.width < width:
        around = Image.new(
            picture.mode,
            (max(width, picture.width), max(height, picture.height)),
            how.border if picture.mode == "RGB" else how.border[0],
        )
        around.paste(picture, (max(0, (width - picture.width) // 2), max(0, (height - picture.height) // 2)))
        picture = around
    corner = round if how.corner == "round" else math.floor
    left, top = corner((picture.width - width) / 2), corner((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))


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
