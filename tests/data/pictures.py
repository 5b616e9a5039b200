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


def coco_of(
    root: Path,
    boxes: dict[str, Sequence[Sequence[float]]],
    *,
    split: str = "val2017",
    place: str = "val2017",
    size: tuple[int, int] = (40, 30),
    **changes: Any,
) -> Path:
    """A COCO folder: `boxes` are (category id, left, top, width, height) by file name; `changes` replace parts of the json."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, (name, its) in enumerate(boxes.items()):
        file = root / place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number, size))
        images.append({"id": 100 - number, "file_name": name, "width": size[0], "height": size[1]})
        annotations += [
            {
                "id": len(annotations) + i,
                "image_id": 100 - number,
                "category_id": c,
                "bbox": box,
                "iscrowd": 0,
            }
            for i, (c, *box) in enumerate(its)
        ]
    categories = [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 13, "name": "stop"}]
    stored = {"images": images, "annotations": annotations, "categories": categories, **changes}
    (root / f"annotations/instances_{split}.json").write_text(json.dumps(stored))
    return root


def objects_of(
    pictures: Sequence[bytes],
    rows: Sequence[Sequence[dict[str, Any]]],
    *,
    names: Sequence[str] | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
    structs: bool = False,
    column: str = "objects",
    group: int = 4,
) -> bytes:
    """A parquet file with a column of objects: a struct of lists, or with `structs` a list of structs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = next((list(row[0]) for row in rows if row), ["bbox", "category"])
    image = pa.array([{"bytes": content, "path": None} for content in pictures])
    lists = [{field: [thing[field] for thing in row] for field in fields} for row in rows]
    columns = {"image_id": list(range(len(rows))), "image": image}
    if sizes is not None:
        columns |= {"width": [w for w, _ in sizes], "height": [h for _, h in sizes]}
    table = pa.table({**columns, column: pa.array([list(row) for row in rows] if structs else lists)})
    if names is not None:
        kind = next(field for field in fields if field in ("category", "label"))
        inner = {"bbox": {"_type": "Sequence"}, kind: {"names": list(names), "_type": "ClassLabel"}}
        stated = {column: {"feature": inner, "_type": "Sequence"}}
        table = table.replace_schema_metadata(
            {b"huggingface": json.dumps({"info": {"features": stated}}).encode()}
        )
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=group)
    return out.getvalue()
