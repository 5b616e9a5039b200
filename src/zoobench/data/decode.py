"""From the bytes of a picture file to RGB pixels, whatever kind of picture it is."""

from __future__ import annotations

import io
import logging
import struct
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from zoobench.errors import ZoobenchError, first_line, printable

if TYPE_CHECKING:
    from PIL.Image import Image

_SIXTEEN_BITS = 65_535
_PILLOW = r"PIL\."
_NOWHERE = logging.NullHandler()
_TRUNCATED = ("truncated", "broken data stream", "unrecognized data stream", "not enough", "too short", "eof")


class UndecodableError(ZoobenchError):
    """These bytes give no picture. `str(error)` is a short reason, such as "truncated"; the caller knows the name."""


def decode(data: bytes, *, upright: bool = True) -> Image:
    """The picture in mode RGB, turned as its EXIF data say unless not `upright`; of an animation the first frame.

    Transparency is dropped and not blended: what is stored below it shows, as in torchvision's loader. Grey
    values of 16 bits are scaled to 8. Safe in threads.

    Raises:
        UndecodableError: not a picture, truncated, damaged, or more pixels than Pillow's limit against bombs.
    """
    from PIL import Image, UnidentifiedImageError

    _silence()
    try:
        with Image.open(io.BytesIO(data)) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise UndecodableError(_too_large(f"{image.width} × {image.height} pixels"))
            image.load()
            return _rgb(_upright(image) if upright else image)
    except UndecodableError:
        raise
    except UnidentifiedImageError as error:
        raise UndecodableError("not a picture" if data else "empty") from error
    except MemoryError:
        # That is the machine's moment and not the picture's: another pass would see it.
        raise
    except Image.DecompressionBombError as error:
        raise UndecodableError(_too_large(first_line(error))) from error
    # A damaged file makes Pillow raise nearly every type there is.
    except Exception as error:
        reason = first_line(error)
        if isinstance(error, EOFError) or any(word in reason.lower() for word in _TRUNCATED):
            raise UndecodableError("truncated") from error
        raise UndecodableError(f"damaged: {printable(reason)}") from error


def stored_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of the picture as it lies in the file, from its header alone; None: it has none."""
    from PIL import Image

    _silence()
    # A damaged header makes Pillow raise nearly every type there is; decoding says what is wrong.
    with suppress(Exception), Image.open(io.BytesIO(data)) as image:
        return image.size
    return None


def _too_large(what: str) -> str:
    return f"too large: {printable(what)}"


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    # Where its data are damaged, only which side is up is not known.
    with suppress(SyntaxError, ValueError, TypeError, LookupError, OSError, struct.error):
        # In place: its copy of an upright picture costs a sixth of decoding it.
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _rgb(image: Image) -> Image:
    match image.mode:
        case "RGB":
            return image
        case "RGBa":
            return image.convert("RGBA").convert("RGB")
        case "I" | "I;16" | "I;16L" | "I;16B" | "I;16N":
            return _eight_bits(image).convert("RGB")
        case "F":
            raise UndecodableError("its pixels are floating-point numbers without a stated range")
        case _:
            return image.convert("RGB")


def _eight_bits(image: Image) -> Image:
    """Grey values of 16 bits (or 32, where larger ones occur) as 8: Pillow's own conversion would clip them."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    top = _SIXTEEN_BITS if values.max() <= _SIXTEEN_BITS else np.iinfo(np.int32).max
    return Image.fromarray(np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8))


def _silence() -> None:
    """Pillow warns about what is handled here, once a picture. `catch_warnings` would not be safe in threads."""
    if not any(getattr(module, "pattern", None) == _PILLOW for _, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW)
    # Without any handler Python prints what Pillow logs of damaged files.
    logging.getLogger("PIL").addHandler(_NOWHERE)
