"""Local parquet files: which columns, which labels, which pictures, and what is refused."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.pictures import objects_of, parquet_of, picture

from zoobench.data import DataRequest, Pick, Source, open_source
from zoobench.data.pack import collect
from zoobench.data.shelf import LocalShelf, front_matter
from zoobench.data.truth import Truth
from zoobench.errors import PrepareError, UsageError, ZoobenchError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PICTURES = [picture(seed) for seed in range(10)]
LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Source]:
    """Write files and open them: `source({"test.parquet": bytes}, split="test")`."""

    def write(files: dict[str, bytes] | bytes, **asked: str) -> Source:
        for name, content in (files if isinstance(files, dict) else {"test.parquet": files}).items():
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_bytes(content)
        return open_source(DataRequest(str(tmp_path / "set"), **asked))  # type: ignore[arg-type]

    return write


def labels(source: Source) -> list[list[int]]:
    return [block.labels.tolist() for block in source.labels()]


def refusal(kind: type[ZoobenchError], call: Callable[[], object]) -> str:
    """What the call is refused with."""
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


def test_row_groups_are_blocks_and_rows_have_ids(source: Callable[..., Source]) -> None:
    found = source(
        {
            "data/test-00000-of-00002.parquet": parquet_of(PICTURES[:6], LABELS[:6], names=["a", "b", "c"]),
            "data/test-00001-of-00002.parquet": parquet_of(PICTURES[6:], LABELS[6:], names=["a", "b", "c"]),
            "data/train-00000-of-00001.parquet": parquet_of(PICTURES, LABELS),
        },
        split="test",
    )
    assert found.classes == ("a", "b", "c")
    assert labels(found) == [[0, 1, 2, 0], [1, 2], [0, 1, 2, 0]]
    assert list(found.labels()[1].ids) == [f"data/test-00000-of-00002.parquet#{row}" for row in (4, 5)]
    assert list(found.read([Pick(2, 1), Pick(2, 3), Pick(0, 0), Pick(1, 1)])) == [
        ("data/test-00001-of-00002.parquet#1", 1, PICTURES[7]),
        ("data/test-00001-of-00002.parquet#3", 0, PICTURES[9]),
        ("data/test-00000-of-00002.parquet#0", 0, PICTURES[0]),
        ("data/test-00000-of-00002.parquet#5", 2, PICTURES[5]),
    ]
    assert found.identity["split"] == "test" and found.identity["columns"] == ["image", "label"]
    assert found.label == "set test"


def test_a_row_group_longer_than_a_batch(source: Callable[..., Source]) -> None:
    pictures = [picture(seed) for seed in range(100)]
    found = source(parquet_of(pictures, [0] * 100, group=100))
    rows = [0, 15, 16, 17, 50, 99]
    assert [content for _, _, content in found.read([Pick(0, row) for row in rows])] == [
        pictures[row] for row in rows
    ]


def test_a_single_file_with_plain_bytes_and_numbers(tmp_path: Path) -> None:
    file = tmp_path / "odd.parquet"
    file.write_bytes(parquet_of(PICTURES, LABELS, plain=True, columns=("img", "fine_label")))
    (tmp_path / "other.parquet").write_bytes(b"not opened")
    found = open_source(DataRequest(str(file)))
    assert found.classes == ("0", "1", "2")
    assert next(found.read([Pick(0, 2)])) == ("odd.parquet#2", 2, PICTURES[2])


def test_a_link_into_the_hubs_cache_is_a_parquet_file(tmp_path: Path) -> None:
    """There the file itself is called by its checksum; and what lies beside it is nobody's business."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/0123abcd").write_bytes(parquet_of(PICTURES, LABELS))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/test-00000-of-00001.parquet").symlink_to("../blobs/0123abcd")
    (tmp_path / "data/dangling.parquet").symlink_to("nowhere")
    for said in (tmp_path / "data/test-00000-of-00001.parquet", tmp_path / "data"):
        found = open_source(DataRequest(str(said)))
        assert found.labels()[0].ids[0] == "test-00000-of-00001.parquet#0"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_labels_that_are_text(source: Callable[..., Source], kind: object) -> None:
    found = source(parquet_of(PICTURES[:3], ["b", None, "a"], label_type=kind))
    assert found.classes == ("a", "b")
    assert labels(found) == [[1, -1, 0]]


def test_rows_without_a_label(source: Callable[..., Source]) -> None:
    assert labels(source(parquet_of(PICTURES[:4], [1, None, -1, -7]))) == [[1, -1, -1, -1]]


def test_class_names_of_the_card(source: Callable[..., Source]) -> None:
    card = """---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: kind
    dtype:
      class_label:
        names:
          '0': ant
          '1': bee
          '2': cow
---
# Animals
"""
    found = source(
        {"README.md": card.encode(), "test.parquet": parquet_of(PICTURES, LABELS, columns=("image", "kind"))}
    )
    assert found.classes == ("ant", "bee", "cow")


@pytest.mark.parametrize("card", ["", "# nothing", "---\n: [\n---\n", "---\n- a\n---\n", "---\nno end"])
def test_a_card_that_says_nothing(card: str) -> None:
    assert front_matter(card) == {}


def test_columns_can_be_named(source: Callable[..., Source]) -> None:
    data = parquet_of(PICTURES, LABELS, more={"label_2": [5] * 10, "thumb": PICTURES[::-1]})
    assert source(data).identity["columns"] == ["image", "label"]
    found = source(data, label_column="label_2", image_column="thumb")
    assert found.identity["columns"] == ["thumb", "label_2"]
    assert next(found.read([Pick(0, 0)])) == ("test.parquet#0", 5, PICTURES[9])


@pytest.mark.parametrize(
    ("data", "asked", "words"),
    [
        (
            parquet_of(PICTURES, LABELS, more={"labels": LABELS}),
            {},
            "several label columns, label, labels: say which with --label-column",
        ),
        (
            parquet_of(PICTURES, LABELS, columns=("image", "x")),
            {},
            "no label column that can be told, only image, x",
        ),
        (
            parquet_of(PICTURES, LABELS, plain=True, columns=("x", "label")),
            {},
            "no image column .* --image-column",
        ),
        (
            parquet_of(PICTURES, LABELS),
            {"label_column": "y"},
            "'y' does not exist; the columns are image, label",
        ),
        (parquet_of(PICTURES, LABELS), {"label_column": "image"}, "'image' cannot be one"),
        (parquet_of(PICTURES, LABELS), {"split": "train"}, "no split 'train': it has test"),
        (parquet_of(PICTURES, [10**6] * 10), {}, "which are no classes"),
    ],
)
def test_what_cannot_be_told_is_one_line(
    source: Callable[..., Source], data: bytes, asked: dict[str, str], words: str
) -> None:
    said = refusal(UsageError, lambda: source(data, **asked).classes)
    assert re.search(words, said) and "\n" not in said


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PAR1 nothing of the kind PAR1", "test.parquet cannot be read as parquet"),
        (b"", "test.parquet cannot be read as parquet"),
        (parquet_of(PICTURES, LABELS, names=["a", "b"]), "label 2 in column label is beyond the 2 classes"),
        (parquet_of(PICTURES[:1], ["z"], names=["a", "b"]), "'z' is none of the classes"),
    ],
)
def test_what_is_damaged_is_one_line(source: Callable[..., Source], data: bytes, words: str) -> None:
    said = refusal(PrepareError, lambda: source(data).labels())
    assert re.search(words, said) and "\n" not in said


def test_pictures_that_are_not_in_the_file(source: Callable[..., Source]) -> None:
    found = source(parquet_of([None, None], [0, 0]))
    said = refusal(PrepareError, lambda: list(found.read([Pick(0, 0), Pick(0, 1)])))
    assert "no picture in row 0" in said and "\n" not in said


def test_one_picture_that_lacks_is_like_one_that_does_not_decode(source: Callable[..., Source]) -> None:
    found = source(parquet_of([PICTURES[0], None], [0, 0]))
    contents = [content for *_, content in found.read([Pick(0, 0), Pick(0, 1)])]
    assert contents == [PICTURES[0], b""]


def test_without_pyarrow_the_line_says_what_to_install(
    source: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = source(parquet_of(PICTURES, LABELS))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "[data]" in refusal(UsageError, found.labels)


def test_memory_is_that_of_some_pictures_and_not_of_a_row_group(
    source: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.Generator(np.random.PCG64(0)).bytes
    found = source(parquet_of([noise(100_000) for _ in range(600)], [0] * 600, group=600, page=8))
    found.labels()
    reads: list[int] = []

    class Watched(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            content = super().read(-1 if size is None else size) or b""
            reads.append(len(content))
            return content

    monkeypatch.setattr(LocalShelf, "open", lambda shelf, name: Watched(shelf._files[name].path))
    before, peak = pa.total_allocated_bytes(), 0
    for _ in found.read([Pick(0, row) for row in range(600)]):
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert max(reads) < 10e6 and peak < 20e6
    whole = sum(reads)
    reads.clear()
    list(found.read([Pick(0, 0)]))
    assert sum(reads) < 0.2 * whole


def test_unsigned_labels_are_labels(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "u8.parquet"
    labels = pa.array([0, 1, None], pa.uint8())
    pq.write_table(pa.table({"image": [b"a", b"b", b"c"], "label": labels}), file)
    [block] = open_source(DataRequest(str(file))).labels()
    assert block.labels.tolist() == [0, 1, -1]


# objects

SIDES = [(8, 6)] * 4
ROWS: list[list[dict[str, Any]]] = [
    [{"bbox": [1.0, 1.0, 7.0, 5.0], "category": 1}, {"bbox": [5.0, 2.0, 8.0, 6.0], "category": 0}],
    [],
    [{"bbox": [2.0, 3.0, 6.0, 4.0], "category": 1}],
    [{"bbox": [4.0, 4.0, 9.5, 6.0], "category": 0}, {"bbox": [4.0, 4.0, 4.0, 6.0], "category": 0}],
]
AS_SIZES = [
    [
        {**one, "bbox": [*one["bbox"][:2], one["bbox"][2] - one["bbox"][0], one["bbox"][3] - one["bbox"][1]]}
        for one in row
    ]
    for row in ROWS
]


@pytest.mark.parametrize("structs", [True, False])
@pytest.mark.parametrize(
    ("rows", "how"), [(ROWS[:3], "left, top, right, bottom"), (AS_SIZES[:3], "left, top, width, height")]
)
@pytest.mark.parametrize("sizes", [SIDES[:3], None])
def test_objects_are_told_and_read(
    source: Callable[..., Source], rows: Any, how: str, sizes: Any, structs: bool
) -> None:
    """Without columns for the sizes, the pictures' headers tell."""
    found = source(
        objects_of(PICTURES[:3], rows, names=["cat", "dog"], sizes=sizes, structs=structs, group=2)
    )
    first, second = found.labels()
    assert found.classes == ("cat", "dog") and found.identity["columns"] == ["image", "objects"]
    assert first.labels.tolist() == [-1, -1] and list(second.ids) == ["test.parquet#2"]
    assert first.objects is not None and second.objects is not None
    assert first.objects.size(0) == ((8, 6) if sizes else None)
    assert first.objects.truth(0, (8, 6))[0] == Truth(
        8, 6, (1, 0), ((1, 1, 6, 4), (5, 2, 3, 4)), (24, 12), (False, False)
    )
    assert first.objects.truth(1, (8, 6))[0] == Truth(8, 6)
    assert second.objects.truth(0, (8, 6))[0].boxes == ((2, 3, 4, 1),)
    assert found.notes == (
        f"boxes were read as {how}, as their numbers say",
        "the dataset does not mark crowds, so what a model finds in one counts as wrong",
    )
    assert [content for _, _, content in found.read([Pick(0, 1), Pick(1, 0)])] == [PICTURES[1], PICTURES[2]]


def test_flaws_are_counted_when_sizes_come_from_pictures(
    source: Callable[..., Source], tmp_path: Path
) -> None:
    rows = [*[[{"bbox": [2.0, 2.0, 8.0, 6.0], "category": 1}]] * 60, *ROWS]
    found = source(objects_of([*PICTURES, *PICTURES * 5, *PICTURES[:4]], rows))
    with collect(found, DataRequest("x"), tmp_path / "cache") as pack:
        assert pack.boxes and pack.classes == ("0", "1") and len(pack) == 64
        assert [note.rpartition(": ")[2] for note in pack.notes[2:]] == ["1", "1"]
        assert pack.truth(63) == Truth(8, 6, (0,), ((4, 4, 4, 2),), (8,), (False,))


def test_names_of_the_card_reach_into_objects(source: Callable[..., Source]) -> None:
    card = """---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: objects
    sequence:
    - name: bbox
      sequence: float64
    - name: category
      dtype:
        class_label:
          names:
            '0': cat
            '1': dog
---
"""
    data = objects_of(PICTURES[:3], ROWS[:3], sizes=SIDES[:3])
    assert source({"README.md": card.encode(), "test.parquet": data}).classes == ("cat", "dog")


def test_categories_that_are_text_and_crowds(source: Callable[..., Source]) -> None:
    rows = [[{**one, "category": "ab"[one["category"]], "is_crowd": True} for one in row] for row in ROWS]
    found = source(objects_of(PICTURES[:3], rows[:3], sizes=SIDES[:3]))
    assert found.classes == ("a", "b") and len(found.notes) == 1
    objects = found.labels()[0].objects
    assert objects is not None and objects.truth(0, (8, 6))[0].crowds == (True, True)


def test_a_class_beside_objects_has_to_be_chosen(source: Callable[..., Source]) -> None:
    table = pq.read_table(io.BytesIO(objects_of(PICTURES[:3], ROWS[:3], sizes=SIDES[:3], names=["a", "b"])))
    stated = json.loads(table.schema.metadata[b"huggingface"])
    stated["info"]["features"]["weather"] = {"_type": "ClassLabel", "names": ["sun", "rain"]}
    both = table.append_column("weather", pa.array([0, 1, 0])).replace_schema_metadata(
        {b"huggingface": json.dumps(stated).encode()}
    )
    pq.write_table(both, out := io.BytesIO())
    data = out.getvalue()
    said = refusal(UsageError, lambda: source(data).labels())
    assert "several label columns, objects, weather: say which with --label-column" in said
    assert source(data, label_column="weather").labels()[0].objects is None
    assert source(data, label_column="objects").labels()[0].objects is not None


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        (
            [[{"bbox": [0.1, 0.1, 0.2, 0.2], "category": 0}]],
            UsageError,
            "shares of the picture and not pixels",
        ),
        (
            [[{"bbox": [1.0, 1.0, 3.0, 3.0], "category": 0}]],
            UsageError,
            "could be left, top, width, height as well",
        ),
        (
            [[{"bbox": [6.0, 5.0, 5.0, 4.0], "category": 0}]],
            UsageError,
            "neither left, top, width, height nor",
        ),
        (
            [[{"bbox": [6.0, 5.0, 5.0], "category": 0}]],
            PrepareError,
            "set: test.parquet: a box has not four numbers",
        ),
        (
            [[{"bbox": [2.0, 2.0, 8.0, 6.0], "category": -1}]],
            PrepareError,
            "test.parquet has an object without a class",
        ),
    ],
)
def test_objects_that_cannot_be_meant(
    source: Callable[..., Source], rows: Any, kind: type[ZoobenchError], words: str
) -> None:
    said = refusal(kind, lambda: source(objects_of(PICTURES[:1], rows, sizes=SIDES[:1])).labels())
    assert re.search(words, said) and "\n" not in said


def test_a_class_beyond_the_named_ones(source: Callable[..., Source]) -> None:
    data = objects_of(PICTURES[:3], ROWS[:3], names=["cat"], sizes=SIDES[:3])
    assert "label 1 in column objects is beyond the 1 classes" in refusal(
        PrepareError, lambda: source(data).labels()
    )
