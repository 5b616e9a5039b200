"""The user's own tensors: checked before anything is measured, read again where they are timed."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from zoobench.errors import UsageError

# What numpy and zipfile throw at files that are damaged, of another kind (TypeError: a bare .npy), or encrypted.
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_inputs(file: Path, name: str, item_shape: tuple[int, ...]) -> np.ndarray:
    """The user's tensors from an .npz file, float32, shape (items, *item_shape).

    Raises:
        UsageError: not an .npz, no array of that name (and not exactly one array), or another shape.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            key = name if name in arrays else arrays.files[0] if len(arrays.files) == 1 else None
            if key is None:
                raise UsageError(
                    f"{file}: no array named {name!r}; it holds {', '.join(arrays.files) or 'nothing'}"
                )
            array = np.asarray(arrays[key])
        with np.errstate(all="ignore"):
            floats = np.ascontiguousarray(array, dtype=np.float32)
    except _UNREADABLE as error:
        raise UsageError(f"{file}: cannot be read as an .npz file of numbers ({error})") from error
    if array.ndim != len(item_shape) + 1 or array.shape[1:] != tuple(item_shape) or not len(array):
        raise UsageError(
            f"{file}: {key!r} has shape {array.shape}; (items, {', '.join(map(str, item_shape))}) is needed"
        )
    return floats
