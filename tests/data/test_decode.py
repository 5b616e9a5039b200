"""Every kind of picture becomes RGB, and what is none says why."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.pictures import encoded, picture

from zoobench.data import decode as decode_module
from zoobench.data.decode import UndecodableError, decode, stored_size


def pixels(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def png(colour_type: int, bits: int, rows: list[bytes], width: int) -> bytes:
    """A PNG that Pillow itself does not write, such as 16-bit RGB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_rgb_comes_through_untouched() -> None:
    original = np.asarray(Image.open(io.BytesIO(picture(3))))
    assert (pixels(picture(3)) == original).all()


@pytest.mark.parametrize(("orientation", "turned"), [(3, 2), (6, -1), (8, 1)])
def test_exif_says_which_side_is_up(orientation: int, turned: int) -> None:
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (pixels(encoded(image, "PNG", exif=exif)) == np.rot90(np.asarray(image), turned)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_does_not_cost_the_picture(kind: str) -> None:
    image = Image.new("RGB", (4, 2), "red")
    assert pixels(encoded(image, kind, exif=b"Exif\0\0garbage")).shape == (2, 4, 3)


def test_grey_palette_and_bilevel() -> None:
    grey = Image.fromarray(np.array([[0, 100], [200, 255]], np.uint8))
    assert (pixels(encoded(grey)) == np.asarray(grey)[..., None]).all()
    assert (pixels(encoded(grey.convert("P"))) == np.asarray(grey)[..., None]).all()
    assert set(np.unique(pixels(encoded(grey.convert("1"))))) == {0, 255}


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    for transparency in (0, bytes([0, 128])):
        shown = pixels(encoded(image, "PNG", transparency=transparency))
        assert shown.tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_alpha_is_dropped_and_not_blended() -> None:
    rgba = Image.new("RGBA", (1, 1), (200, 100, 50, 0))
    assert pixels(encoded(rgba)).tolist() == [[[200, 100, 50]]]
    la = Image.new("LA", (1, 1), (77, 0))
    assert pixels(encoded(la)).tolist() == [[[77, 77, 77]]]


def test_cmyk_of_a_jpeg_is_not_a_negative() -> None:
    """Pillow writes CMYK JPEGs as Adobe does, inverted; a TIFF holds them as they are."""
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert np.abs(pixels(encoded(red, kind)).astype(int) - [255, 0, 0]).max() <= 8, kind


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    values = np.array([[0, 257, 32_896, 65_535]], np.uint16)
    expected = [0, 1, 128, 255]
    for data in (
        encoded(Image.fromarray(values)),
        encoded(Image.fromarray(values), "TIFF"),
        encoded(Image.fromarray(values.astype(np.int32)), "TIFF"),
        b"P5 4 1 65535\n" + values.astype(">u2").tobytes(),
    ):
        assert pixels(data)[0, :, 0].tolist() == expected
    huge = Image.fromarray(np.array([[0, 2**30]], np.int32))
    assert pixels(encoded(huge, "TIFF"))[0, :, 0].tolist() == [0, 128]


def test_sixteen_bit_rgb() -> None:
    data = png(2, 16, [struct.pack(">6H", 0, 32_896, 65_535, 257, 0, 0)], 2)
    assert pixels(data).tolist() == [[[0, 128, 255], [1, 0, 0]]]


def test_one_pixel_and_an_animation() -> None:
    assert pixels(picture(0, (1, 1))).shape == (1, 1, 3)
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    shown = pixels(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert shown[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not at all a picture", "not a picture"),
        (picture(0, (64, 64), "JPEG")[:1500], "truncated"),
        (picture(0, (64, 64), "PNG")[:3000], "truncated"),
        (picture(0, (64, 64), "PNG")[:-300] + b"\0" * 300, "damaged|truncated"),
        (encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), "floating-point"),
    ],
)
def test_what_does_not_decode_says_why_in_a_few_words(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason) as error:
        decode(data)
    assert "\n" not in str(error.value) and len(str(error.value)) < 120


@pytest.mark.parametrize("side", [30, 50])
def test_a_bomb_is_an_error_of_that_picture(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """Pillow only warns above its limit, and raises above twice of it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 800)
    with pytest.raises(UndecodableError, match="too large"):
        decode(picture(0, (side, side)))


def test_pillow_does_not_print_what_it_logs() -> None:
    tiff = bytearray(encoded(Image.new("RGB", (4, 4)), "TIFF"))
    tag = tiff.index(struct.pack("<HHI", 277, 3, 1))  # samples per pixel
    tiff[tag + 8 : tag + 10] = struct.pack("<H", 99)
    code = "import sys; from zoobench.data.decode import decode; decode(sys.stdin.buffer.read())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=bytes(tiff),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(decode_module.__file__).parents[2])},
        check=False,
    )
    assert b"UndecodableError" in done.stderr
    assert b"More samples" not in done.stderr


def test_pillow_does_not_warn() -> None:
    image = Image.new("P", (1, 1))
    image.putpalette([10, 20, 30])
    noisy = encoded(image, "PNG", transparency=b"\x80")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = [decode(noisy).getpixel((0, 0)) for _ in range(2)]
    assert seen == [(10, 20, 30)] * 2


def test_a_picture_as_it_is_stored() -> None:
    """Boxes lie on that one, and its header says how large it is."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (4, 2)), exif=exif)
    assert decode(data).size == (2, 4) and decode(data, upright=False).size == stored_size(data) == (4, 2)
    assert stored_size(b"") is None and stored_size(b"no picture") is None
