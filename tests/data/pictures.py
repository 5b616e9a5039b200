"""Real picture files and parquet datasets, made on the spot."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zoobench.data import DataRequest, open_source
from zoobench.data.pack import Pack, collect

if TYPE_CHECKING:
    import pyarrow as pa


def picture(seed: int = 0, size: tuple[int, int] = (8, 6), kind: str = "PNG") -> bytes:
    """Noise, so that no two are the same and nothing compresses."""
    height_width = (size[1], size[0], 3)
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, height_width, np.uint8)
    return encoded(Image.fromarray(pixels), kind)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def folder_of(root: Path, classes: dict[str, int]) -> Path:
    """`classes`: name → number of pictures, which are called 0.png, 1.png …"""
    seed = 0
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            (root / name / f"{index}.png").write_bytes(picture(seed))
            seed += 1
    return root


def features(names: Sequence[str]) -> dict[bytes, bytes]:
    """What the `datasets` library writes into a schema."""
    stated = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": stated}}).encode()}


def parquet_of(
    pictures: Sequence[bytes | None],
    labels: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    group: int = 4,
    page: int = 1024,
    plain: bool = False,
    columns: tuple[str, str] = ("image", "label"),
    more: dict[str, Sequence[Any]] | None = None,
    label_type: pa.DataType | None = None,
) -> bytes:
    """A parquet file with `group` rows in a row group and pages of 1 MB or `page` rows, in the layout of the Hub's datasets."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = (
        pa.array(pictures, pa.binary())
        if plain
        else pa.array(
            [{"bytes": content, "path": f"{index}.png"} for index, content in enumerate(pictures)],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    )
    table = pa.table({columns[0]: image, columns[1]: pa.array(labels, label_type), **(more or {})})
    if names is not None:
        table = table.replace_schema_metadata(features(names))
    out = io.BytesIO()
    pq.write_table(
        table,
        out,
        row_group_size=group,
        use_dictionary=[columns[1]],
        compression="none",
        write_batch_size=page,
    )
    return out.getvalue()


def pack_of(root: Path, contents: Sequence[bytes]) -> Pack:
    """A pack of these very bytes, in an order of its own; the id of content i is `only/<i>.png`, five digits."""
    folder = root / "pictures" / "only"
    folder.mkdir(parents=True)
    for index, content in enumerate(contents):
        (folder / f"{index:05}.png").write_bytes(content)
    request = DataRequest(str(folder.parent))
    return collect(open_source(request), request, root / "cache")
