"""COCO's annotations: which file, which pictures, what is on them, and what is refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.pictures import coco_of, picture

from zoobench.data import DataRequest, Pick, check_local, open_source
from zoobench.data.pack import INDEX_FILE, PACK_FILE, Pack, collect
from zoobench.data.truth import Truth
from zoobench.errors import PrepareError, UsageError

BOXES: dict[str, list[list[float]]] = {
    "b.png": [[90, 1, 2, 10.5, 4], [1, 0, 0, 40, 30]],
    "a.png": [],
    "sub/c.png": [[13, 5, 5, 1, 1]],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return coco_of(tmp_path / "coco", BOXES)


def packed(said: Path, cache: Path, **asked: Any) -> Pack:
    request = DataRequest(str(said), **asked)
    return collect(open_source(request), request, cache)


def truths(pack: Pack) -> dict[str, Truth | None]:
    return {pack.entry(index).id: pack.truth(index) for index in range(len(pack))}


def refused(said: Path, **asked: Any) -> str:
    with pytest.raises((PrepareError, UsageError)) as error:
        open_source(DataRequest(str(said), **asked)).labels()
    assert "\n" not in str(error.value)
    return str(error.value)


def changed(folder: Path, change: Any) -> Path:
    file = folder / "annotations/instances_val2017.json"
    stored = json.loads(file.read_text())
    change(stored)
    file.write_text(json.dumps(stored))
    return folder


def test_pictures_and_what_is_on_them(folder: Path, tmp_path: Path) -> None:
    source = open_source(DataRequest(str(folder)))
    (block,) = source.labels()
    assert source.classes == ("person", "stop", "toothbrush")
    assert list(block.ids) == ["val2017/a.png", "val2017/b.png", "val2017/sub/c.png"]
    assert block.labels.tolist() == [-1, -1, -1]
    assert [content for _, _, content in source.read([Pick(0, 1), Pick(0, 2)])] == [
        picture(0, (40, 30)),
        picture(2, (40, 30)),
    ]
    with packed(folder, tmp_path / "cache") as pack:
        assert pack.boxes and pack.label == "coco val2017" and pack.notes == ()
        assert truths(pack) == {
            "val2017/a.png": Truth(40, 30),
            "val2017/b.png": Truth(
                40, 30, (2, 0), ((1, 2, 10.5, 4), (0, 0, 40, 30)), (42.0, 1200.0), (False, False)
            ),
            "val2017/sub/c.png": Truth(40, 30, (1,), ((5, 5, 1, 1),), (1.0,), (False,)),
        }
        assert Pack.open(pack.folder).truth(1) == pack.truth(1)


def test_areas_and_crowds(folder: Path, tmp_path: Path) -> None:
    changed(folder, lambda stored: stored["annotations"][0].update(area=17.25, iscrowd=1))
    truth = truths(packed(folder, tmp_path / "cache"))["val2017/b.png"]
    assert truth is not None and truth.areas == (17.25, 1200) and truth.crowds == (True, False)


@pytest.mark.parametrize("place", ["val2017", "images/val2017", "images"])
@pytest.mark.parametrize("as_file", [True, False])
def test_where_pictures_are_looked_for(tmp_path: Path, place: str, as_file: bool) -> None:
    root = coco_of(tmp_path / "coco", BOXES, place=place)
    (root / "val2017").mkdir(exist_ok=True)
    said = root / "annotations/instances_val2017.json" if as_file else root
    assert len(open_source(DataRequest(str(said))).labels()[0].ids) == 3


@pytest.mark.parametrize("place", [".", "images", "val2017"])
def test_pictures_beside_the_json(tmp_path: Path, place: str) -> None:
    root = coco_of(tmp_path / "coco", BOXES, place=f"annotations/{place}")
    source = open_source(DataRequest(str(root / "annotations/instances_val2017.json")))
    assert [content for _, _, content in source.read([Pick(0, 1)])] == [picture(0, (40, 30))]


def test_the_file_and_its_folder_are_the_same_pictures(folder: Path, tmp_path: Path) -> None:
    one = packed(folder, tmp_path / "cache")
    other = packed(folder / "annotations/instances_val2017.json", tmp_path / "cache")
    assert one.ids_sha256 == other.ids_sha256 and one.labels_sha256 == other.labels_sha256


@pytest.mark.parametrize(
    ("there", "asked", "taken"),
    [
        (["train2017", "val2017", "val"], None, "val2017"),
        (["train", "val", "test"], None, "val"),
        (["train", "test"], None, "test"),
        (["train2014", "val2014"], None, "val2014"),
        (["train"], None, "train"),
        (["train2017", "val2017"], "train2017", "train2017"),
    ],
)
def test_which_split(tmp_path: Path, there: list[str], asked: str | None, taken: str) -> None:
    for split in there:
        coco_of(tmp_path / "coco", {f"{split}.png": []}, split=split, place=split)
    source = open_source(DataRequest(str(tmp_path / "coco"), split=asked))
    assert list(source.labels()[0].ids) == [f"{taken}/{taken}.png"]
    assert source.identity["split"] == taken


@pytest.mark.parametrize(
    ("there", "asked", "words"),
    [
        (["val2014", "val2015"], None, "several splits, val2014, val2015: say which with --split"),
        (["one", "two"], None, "several splits, one, two"),
        (["val"], "test", "no split 'test': it has val"),
    ],
)
def test_a_split_that_cannot_be_told(tmp_path: Path, there: list[str], asked: str | None, words: str) -> None:
    for split in there:
        coco_of(tmp_path / "coco", BOXES, split=split)
    assert words in refused(tmp_path / "coco", split=asked)


def test_a_split_of_a_file(folder: Path) -> None:
    file = folder / "annotations/instances_val2017.json"
    assert "is one file and has no split 'val'" in refused(file, split="val")
    assert open_source(DataRequest(str(file), split="val2017")).classes


def test_a_sample_is_the_same_whatever_the_order_of_the_json(folder: Path, tmp_path: Path) -> None:
    many: dict[str, list[list[float]]] = {f"{n:03}.png": [[1, n % 9, 1, 5, 5]] for n in range(40)}
    root = coco_of(tmp_path / "many", many)
    first = packed(root, tmp_path / "cache", samples=10)
    changed(root, lambda stored: [stored[key].reverse() for key in stored])
    again, other = (packed(root, tmp_path / "cache", samples=10, seed=seed) for seed in (0, 1))
    assert truths(first) == truths(again) and first.folder != again.folder
    assert truths(first).keys() != truths(other).keys()
    assert all(
        truth is not None and truth.boxes[0][0] == int(name[-7:-4]) % 9
        for name, truth in truths(first).items()
    )


def test_what_is_wrong_with_boxes_is_counted(folder: Path, tmp_path: Path) -> None:
    wrong: dict[str, list[list[float]]] = {
        "a.png": [[1, 30, 1, 20, 5], [1, 50, 1, 5, 5], [1, 1, 1, 0, 5]],
        "b.png": [[1, 30, 1, 20, 5]],
    }
    root = coco_of(tmp_path / "wrong", wrong)
    pack = packed(root, tmp_path / "cache")
    assert [note.rpartition(": ")[2] for note in pack.notes] == ["2", "1", "1"]
    assert [len(truth.boxes) for truth in truths(pack).values() if truth] == [1, 1]
    (pack.folder / PACK_FILE).unlink()
    assert packed(root, tmp_path / "cache").notes == pack.notes


def test_sizes_that_are_not_stated_are_the_pictures(folder: Path, tmp_path: Path) -> None:
    for image in ({}, {"width": 0, "height": 0}, {"width": "40", "height": None}):
        sizeless = [{"id": 100, "file_name": "b.png", **image}]
        root = coco_of(folder, {"b.png": [[1, 30, 1, 20, 5]]}, images=sizeless)
        truth = truths(packed(root, tmp_path / "cache"))["val2017/b.png"]
        assert truth == Truth(40, 30, (0,), ((30, 1, 10, 5),), (50.0,), (False,))


@pytest.mark.parametrize("place", ["cat", "boxes", "areas", "crowds"])
def test_a_truth_that_was_changed_is_mended(folder: Path, tmp_path: Path, place: str) -> None:
    pack = packed(folder, tmp_path / "cache")
    index = pack.folder / INDEX_FILE
    before = index.read_text()
    swaps = {"cat": ("[2, 0]", "[0, 2]"), "boxes": ("10.5", "10.4"), "areas": ("42.0", "43.0")}
    index.write_text(before.replace(*swaps.get(place, ("[false]", "[true]"))))
    assert index.read_text() != before
    with pytest.raises(PrepareError, match="labels are not those"):
        Pack.open(pack.folder)
    assert truths(packed(folder, tmp_path / "cache")) == truths(pack)
    (pack.folder / PACK_FILE).unlink()
    index.write_text(before.replace('"truth": {', '"other": {'))
    assert truths(packed(folder, tmp_path / "cache")) == truths(pack)


def test_labels_sha256_covers_the_truths_and_not_where_they_came_from(folder: Path, tmp_path: Path) -> None:
    first = packed(folder, tmp_path / "cache").labels_sha256
    shutil.copytree(folder, tmp_path / "copy")
    assert packed(tmp_path / "copy", tmp_path / "cache").labels_sha256 == first
    for change in (
        lambda s: s["annotations"][0].update(bbox=[1, 2, 10.25, 4]),
        lambda s: s["annotations"][0].update(category_id=13),
        lambda s: s["annotations"][0].update(area=3),
        lambda s: s["annotations"][0].update(iscrowd=1),
        lambda s: s["images"][0].update(width=41),
        lambda s: s["categories"][0].update(name="brush"),
    ):
        shutil.rmtree(tmp_path / "copy")
        shutil.copytree(folder, tmp_path / "copy")
        assert packed(changed(tmp_path / "copy", change), tmp_path / "cache").labels_sha256 != first


def _set(part: str, number: int, **values: Any) -> Any:
    return lambda stored: stored[part][number].update(values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("images"), 'has no list "images", so it is not COCO\'s'),
        (lambda s: s.pop("annotations"), 'no list "annotations"'),
        (lambda s: s.update(categories={}), 'no list "categories"'),
        (lambda s: s["annotations"].append(7), '"annotations" that is no table'),
        (lambda s: s.update(images=[], annotations=[]), "no pictures"),
        (_set("annotations", 1, category_id=7), '(id 1) whose category_id 7 is not in its "categories"'),
        (_set("annotations", 1, category_id=None), "category_id None is not"),
        (_set("annotations", 2, image_id=7), '(id 2) whose image_id 7 is not in its "images"'),
        (_set("annotations", 2, image_id=[1]), "image_id [1] is not"),
        (_set("images", 1, id=100), "has 2 picture ids 100"),
        (_set("images", 1, file_name="b.png"), "has 2 pictures called b.png"),
        (_set("images", 1, file_name=None), "without a file_name"),
        (_set("images", 1, id=None), "a picture with the id None"),
        (_set("categories", 1, id=90), "has 2 category ids 90"),
        (_set("categories", 1, id="x"), "no whole number"),
        (_set("categories", 1, name=None), "(id 1) without a name"),
        (_set("images", 1, file_name="../a.png"), "leads out of its folder"),
        (_set("images", 1, file_name="sub/../../a.png"), "leads out of its folder"),
        (_set("images", 1, file_name="/etc/passwd"), "leads out of its folder"),
        (_set("annotations", 1, bbox=[1, 2, 3]), "(id 1) that has the bbox [1, 2, 3], not four numbers"),
        (_set("annotations", 1, bbox=[1, 2, 3, "x"]), "not four numbers"),
        (_set("annotations", 1, bbox=[1, 2, 3, 10**400]), "not four numbers"),
        (lambda s: [a.update(bbox=[1]) for a in s["annotations"]], "(id 0) that has the bbox [1]"),
        (_set("annotations", 1, bbox=None, segmentation=[[1, 2, 3, 4]]), "(id 1) that has no bbox"),
        (lambda s: s["annotations"][1].pop("bbox"), "(id 1) that has no bbox"),
    ],
)
def test_annotations_that_cannot_be_meant(folder: Path, change: Any, words: str) -> None:
    said = refused(changed(folder, change))
    assert words in said and "instances_val2017.json" in said


@pytest.mark.parametrize("content", [b"", b"{", b'{"images": [', b"\xff\xfe\xfa", b"[" * 100_000])
def test_what_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "annotations/instances_val2017.json").write_bytes(content)
    assert "is no json" in refused(folder)


@pytest.mark.parametrize("content", [b"[]", b"7", b"null", b'"x"'])
def test_json_of_something_else(folder: Path, content: bytes) -> None:
    (folder / "annotations/instances_val2017.json").write_bytes(content)
    assert "so it is not COCO's" in refused(folder)


def test_pictures_that_are_missing(folder: Path) -> None:
    (folder / "val2017/a.png").unlink()
    (folder / "val2017/sub/c.png").unlink()
    said = refused(folder, samples=1)
    assert "names 3 pictures, and 2 of them are not in" in said and "such as a.png" in said
    assert "--samples does not help" in said
    with pytest.raises(PrepareError, match="2 of them"):
        check_local(DataRequest(str(folder)))
    shutil.rmtree(folder / "val2017")
    assert "3 of them are not in" in refused(folder)


def test_names_that_no_file_can_have(folder: Path) -> None:
    assert "1 of them" in refused(changed(folder, _set("images", 1, file_name="x" * 5000)))


def test_a_path_that_is_not_there_and_flags_that_mean_nothing(folder: Path, tmp_path: Path) -> None:
    assert "no such file or folder" in refused(Path("some/where.json"))
    with pytest.raises(UsageError, match="no such file"):
        check_local(DataRequest("some/where.json"))
    assert "neither configs nor columns" in refused(folder, config="x")


@pytest.mark.parametrize("number", [float("nan"), None])
def test_boxes_that_are_no_numbers_are_no_error(folder: Path, tmp_path: Path, number: float | None) -> None:
    changed(folder, _set("annotations", 0, bbox=[number, 1, 2, 3]))
    assert packed(folder, tmp_path / "cache").notes == ("boxes without width or height, left out: 1",)


def test_no_annotations_at_all(tmp_path: Path) -> None:
    (block,) = open_source(DataRequest(str(coco_of(tmp_path / "coco", {"a.png": []})))).labels()
    assert block.objects is not None and block.objects.truth(0, (40, 30))[0] == Truth(40, 30)
    assert isinstance(block.objects.boxes, np.ndarray)
